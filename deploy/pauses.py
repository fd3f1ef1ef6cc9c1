"""How long nobody starts a process again that has ended."""

from typing import Final

FIRST_PAUSE_SECONDS: Final = 0.5
MAX_PAUSE_SECONDS: Final = 10.0
"""Pauses before a process is started again double up to this. Without them, a process that can't run is a busy loop."""
STEADY_SECONDS: Final = 60.0
"""A process that ran this long starts with the first pause again."""


class Pauses:
    """The pauses of one process."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE_SECONDS

    def after(self, ran_seconds: float) -> float:
        """The pause before the next start, in seconds.

        Args:
            ran_seconds: how long the process has run.
        """
        pause = FIRST_PAUSE_SECONDS if ran_seconds >= STEADY_SECONDS else self._next
        self._next = min(pause * 2, MAX_PAUSE_SECONDS)
        return pause
