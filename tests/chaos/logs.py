"""What our processes write and should not: tracebacks, errors, complaints of asyncio; and what a fault explains.

Warnings are how a process says that something is away, and during faults that is true.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from tests.chaos.evidence import Line
from tests.complaints import TEXTS

LINE: Final = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+Z) (\w+) (\S+) (.*)$")
"""Time, level, logger and message of a line."""
LEVELS: Final = ("ERROR", "CRITICAL")
SIGNS: Final = ("Traceback (most recent call last)", "never awaited", "Unclosed ", *TEXTS)
"""In lines of any level, and outside of lines."""
SHOWN_LINES: Final = 25
MAX_SHOWN: Final = 4000
KAFKA_CLIENT: Final = "aiokafka"
"""Its loggers. It reports an error for whatever it can't do while a broker is away, and then does it again."""


class LogScanner:
    """Reads on what processes write.

    Args:
        outputs: files by process, now.
        brokers_failed: whether a fault of brokers or of the network explains what was written at a time (of `time`).
    """

    def __init__(self, outputs: Callable[[], Mapping[str, Sequence[Path]]], brokers_failed: Callable[[float], bool]):
        self._outputs, self._brokers_failed = outputs, brokers_failed
        self._read: dict[Path, int] = {}

    def scan(self) -> list[Line]:
        """What should not be there and has come since the last scan."""
        found: list[Line] = []
        for process, paths in self._outputs().items():
            for path in paths:
                found += [Line(process, text) for text in self._bad(self._new(path))]
        return found

    def _new(self, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                data = file.read()
        except FileNotFoundError:
            return []
        self._read[path] = self._read.get(path, 0) + len(data)
        return data.decode(errors="replace").splitlines()

    def _bad(self, lines: Sequence[str]) -> list[str]:
        bad: list[str] = []
        number = 0
        while number < len(lines):
            end = number + 1
            while end < len(lines) and not LINE.match(lines[end]):
                end += 1  # what belongs to the line, such as its traceback
            block = lines[number:end]
            if not self._allowed(block):
                bad.append("\n".join(block[:SHOWN_LINES])[:MAX_SHOWN])
            number = end
        return bad

    def _allowed(self, block: Sequence[str]) -> bool:
        match = LINE.match(block[0])
        signs = any(sign in line for line in block for sign in SIGNS)
        if match is None:
            return not signs
        at, level, name, _ = match.groups()
        if name.startswith(KAFKA_CLIENT):
            return (level not in LEVELS and not signs) or self._brokers_failed(datetime.fromisoformat(at).timestamp())
        return level not in LEVELS and not signs
