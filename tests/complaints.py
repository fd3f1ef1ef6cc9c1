"""What asyncio complains about: errors that nobody looked at, and work that was forgotten. No process of ours may."""

import logging
from typing import Final

TEXTS: Final = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending",
)
SHOWN_LINES: Final = 12
STAND_INS: Final = "aiohttp/web_"
"""Servers that stand in for the stack, in tests alone; a request to them may be forgotten with its loop."""


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
        text = logging.Formatter().format(record)
        if STAND_INS not in text:
            self.heard += complaints(text)
