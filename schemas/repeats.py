"""Faults that are met again and again, as by each request while Postgres is away: a line of the log now and then."""

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Struct

SILENCE_SECONDS: Final = 60.0
"""Between two lines about the same fault. Without it, an outage under load would fill the disk with what it says."""


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


class Repeats:
    """Says when a fault is worth a line.

    Args:
        silence_seconds: between two lines about the same fault.
        monotonic: the time, in seconds; that of the event loop when not given.
    """

    def __init__(self, silence_seconds: float = SILENCE_SECONDS, monotonic: Callable[[], float] = _loop_time) -> None:
        self._silence_seconds, self._monotonic = silence_seconds, monotonic
        self._lines: dict[str, _Line] = {}

    def met(self, fault: str) -> int | None:
        """Note that a fault was met.

        Args:
            fault: the same text for the same fault.

        Returns:
            How often it was met since the last line, this time included; None if there is no need for another one yet.
        """
        now = self._monotonic()
        last = self._lines.get(fault)
        if last is not None and now - last.at < self._silence_seconds:
            last.repeats += 1
            return None
        self._lines = {text: line for text, line in self._lines.items() if now - line.at < self._silence_seconds}
        self._lines[fault] = _Line(now)
        return 1 if last is None else 1 + last.repeats


class _Line(Struct):
    at: float
    repeats: int = 0
