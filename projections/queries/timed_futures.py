"""Futures that fail when they were waited for too long, with one timer for all of them.

All have the same time, so the one that was made first is due first. A timer for each would cost more than to wait does.
"""

import asyncio
from collections import deque
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class _Timed(NamedTuple):
    ends_at: float
    future: "asyncio.Future[Any]"


class TimedFutures(Generic[T]):
    """Makes futures.

    Args:
        seconds: until a future that is not done gets a `TimeoutError`.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._made: deque[_Timed] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def new(self) -> "asyncio.Future[T]":
        """A future whose time begins now."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._forget_done()
        self._made.append(_Timed(loop.time() + self._seconds, future))
        if self._timer is None:
            self._timer = loop.call_at(self._made[0].ends_at, self._due, loop)
        return future

    def _due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._forget_done()
        while self._made and self._made[0].ends_at <= loop.time():
            self._made.popleft().future.set_exception(TimeoutError())
            self._forget_done()
        if self._made:
            self._timer = loop.call_at(self._made[0].ends_at, self._due, loop)

    def _forget_done(self) -> None:
        while self._made and self._made[0].future.done():
            self._made.popleft()
