"""Pauses in long pieces of work, so that heartbeats, probes and other partitions have their turn meanwhile.

A loop that may take long makes a `Breather` and calls `step` each time round.
"""

import asyncio
from typing import Final

from engine.ports import Clock

MAX_SLICE_SECONDS: Final = 0.005
"""How long work goes on before it lets others run. Several partitions may be at such work at once, and a step may take
some milliseconds of its own; without a limit a restore would stop the heartbeats of the whole engine."""

PAUSE_SECONDS: Final = 0.0
"""How long the work then waits at least. At 0, all others that are ready run once."""


class Breather:
    """Lets others run when a piece of work has gone on for long enough.

    Args:
        clock: tells how long.
    """

    def __init__(self, clock: Clock):
        self._monotonic = clock.monotonic
        self._since = self._monotonic()

    async def step(self) -> None:
        """A step of the work is done. To be called at least every few milliseconds; mostly it returns at once."""
        if self._monotonic() - self._since >= MAX_SLICE_SECONDS:
            await asyncio.sleep(PAUSE_SECONDS)
            self._since = self._monotonic()
