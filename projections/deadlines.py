"""Deadlines that cost little: one timer for many blocks of code that follow each other."""

import asyncio
from types import TracebackType
from typing import Any


class Deadline:
    """`asyncio.timeout` for one block after the other.

    To start and end a timer for each would take a fifth of what a short statement costs us. So the timer of an earlier
    block goes on, and is set again when it is due before the one that runs now.

    Args:
        seconds: how long a block may take.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._task: asyncio.Task[Any] | None = None
        """Whose block runs."""
        self._ends_at = 0.0
        self._cancelling = 0
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        """Begin a block."""
        task = asyncio.current_task()
        if task is None or self._task is not None:
            raise RuntimeError("a deadline is for one task at a time")
        loop = task.get_loop()
        self._task, self._cancelling, self._is_over = task, task.cancelling(), False
        self._ends_at = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(self._ends_at, self._due, loop)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it.

        Raises:
            TimeoutError: it took too long.
        """
        task, self._task = self._task, None
        if self._is_over and task is not None:
            is_ours = task.uncancel() <= self._cancelling
            if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError(f"no answer within {self._seconds:g} s") from error

    def close(self) -> None:
        """End the timer, unless a block runs."""
        if self._timer is not None and self._task is None:
            self._timer.cancel()
            self._timer = None

    def _due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._task is None:
            return
        if loop.time() < self._ends_at:
            self._timer = loop.call_at(self._ends_at, self._due, loop)
            return
        self._is_over = True
        self._task.cancel()
