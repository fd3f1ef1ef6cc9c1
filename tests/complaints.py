"""What asyncio complains about: errors that nobody looked at, and work that was forgotten. No process of ours may."""

import logging
from typing import Final

TEXTS: Final = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending",
)
SHOWN_LINES: Final = 12


def complaints(output: str) -> list[str]:
    """The complaints in what a process has written, each with the lines behind it."""
    lines = output.splitlines()
    return [
        "\n".join(lines[number : number + SHOWN_LINES])
        for number, line in enumerate(lines)
        if any(text in line for text in TEXTS)
    ]


class ComplaintsHandler(logging.Handler):
    """Collects the complaints of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, with its traceback."""
        self.heard += complaints(logging.Formatter().format(record))
