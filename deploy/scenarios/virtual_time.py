"""An event loop whose time jumps: when nothing is ready, it is at once as late as the next timer. It has no sockets."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")


class NothingCanHappen(RuntimeError):
    """Everything waits and no timer is set. A defect of the runner, which has to end before that."""


class _Jumps:
    """What the loop takes for a selector."""

    def __init__(self) -> None:
        self.microseconds = 0

    def select(self, timeout: float | None) -> Sequence[Any]:
        if timeout is None:
            raise NothingCanHappen
        if timeout > 0:
            self.microseconds += max(round(timeout * 1_000_000), 1)
        return ()


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that owns its time."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Jumps()
        # A timer within half a microsecond is due: it was set in floats.
        self._clock_resolution = 0.000_000_5

    @property
    def microseconds(self) -> int:
        """Since the loop was made."""
        return self._selector.microseconds

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._selector.microseconds / 1_000_000

    def _process_events(self, event_list: Sequence[Any]) -> None:
        """Nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody has to be woken up: there is one thread."""


class VirtualClock:
    """`engine.ports.Clock` in virtual time: that of the loop, and the jumps between what goes on there.

    Jumps are not the loop's: it counts seconds as floats, which are too coarse after years.

    Args:
        start: what it says when the loop is made.
        loop: whose time it is.
    """

    def __init__(self, start: datetime, loop: VirtualLoop):
        self._base, self._loop = start, loop

    def now(self) -> datetime:
        """Now, UTC, microseconds."""
        return self._base + timedelta(microseconds=self._loop.microseconds)

    def monotonic(self) -> float:
        """Seconds since the epoch."""
        return self.now().timestamp()

    def jump(self, duration: timedelta) -> None:
        """Be so much later at once. No timer of the loop may be set meanwhile."""
        self._base += duration


def in_virtual_time(loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, and end what it has left behind."""
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
