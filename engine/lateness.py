"""How late the event loop is: whatever holds it up also holds up turns, heartbeats and probes."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

EVERY_SECONDS: Final = 0.05
"""How often the loop is asked to be in time. What holds it up for less than this is seen in part only."""

WINDOW_SECONDS: Final = 60.0
"""For how long the worst is told. With less than the pause between two scrapes, Prometheus would miss it."""


class _Late(NamedTuple):
    at: float
    seconds: float


class Lateness:
    """Measures how late the running event loop is.

    Args:
        monotonic: seconds that never go back.
    """

    def __init__(self, monotonic: Callable[[], float]):
        self._monotonic = monotonic
        self._worst: deque[_Late] = deque()
        """Each is worse than all that came after it."""

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = self._monotonic() + EVERY_SECONDS
            await asyncio.sleep(EVERY_SECONDS)
            now = self._monotonic()
            self._note(_Late(now, max(now - due, 0.0)))

    def worst_seconds(self) -> float:
        """By how much it was late at most within the last minute; seconds."""
        self._forget_before(self._monotonic() - WINDOW_SECONDS)
        return self._worst[0].seconds if self._worst else 0.0

    def _note(self, late: _Late) -> None:
        while self._worst and self._worst[-1].seconds <= late.seconds:
            self._worst.pop()
        self._worst.append(late)
        self._forget_before(late.at - WINDOW_SECONDS)

    def _forget_before(self, begin: float) -> None:
        while self._worst and self._worst[0].at < begin:
            self._worst.popleft()
