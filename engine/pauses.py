"""Pauses in long pieces of work, so that heartbeats, probes and other partitions have their turn meanwhile.

A loop that may take long makes a `Breather` and calls `step` each time round. Of all that work so, one goes on in each
round of the event loop: sixteen partitions that are restored hold it up no longer than one.
"""

import asyncio
from collections import deque
from typing import Final
from weakref import WeakKeyDictionary

from engine.ports import Clock

MAX_SLICE_SECONDS: Final = 0.005
"""How long work goes on before it lets others run. A step may take some milliseconds of its own; without a limit a
restore would stop the heartbeats of the whole engine."""

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
            if PAUSE_SECONDS > 0:
                await asyncio.sleep(PAUSE_SECONDS)
            await _line().turn()
            self._since = self._monotonic()


class _Line:
    """Those who want to go on, in turn: one in each round of the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_moving = False

    async def turn(self) -> None:
        """Wait for the next turn; all others that are ready run meanwhile."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if not self._is_moving:
            self._is_moving = True
            loop.call_soon(self._move)
        await turn

    def _move(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # it may have been cancelled
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._move)
                return
        self._is_moving = False


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()


def _line() -> _Line:
    """That of the running event loop."""
    loop = asyncio.get_running_loop()
    line = _lines.get(loop)
    if line is None:
        line = _lines[loop] = _Line()
    return line
