"""Faults that are met again and again, as by each request while Postgres is away: a line of the log now and then."""

import asyncio
from typing import Final

from msgspec import Struct

SILENCE_SECONDS: Final = 60.0
"""Between two lines about the same fault. Without it, an outage under load would fill the disk with what it says."""


class Repeats:
    """Says when a fault is worth a line."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def met(self, fault: str) -> int | None:
        """Note that a fault was met.

        Args:
            fault: the same text for the same fault.

        Returns:
            How often it was met since the last line, this time included; None if there is no need for another one yet.
        """
        now = asyncio.get_running_loop().time()
        last = self._lines.get(fault)
        if last is not None and now - last.at < SILENCE_SECONDS:
            last.repeats += 1
            return None
        self._lines = {text: line for text, line in self._lines.items() if now - line.at < SILENCE_SECONDS}
        self._lines[fault] = _Line(now)
        return 1 if last is None else 1 + last.repeats


class _Line(Struct):
    at: float
    repeats: int = 0
