"""Reads that callers share who ask for the same at the same time, such as a page that many people watch.

Whoever asks while the same read is in flight shares the next one, which starts when that is over. Nobody joins the one
in flight: its answer may be older than what they have been promised.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

V = TypeVar("V")


class SharedReads:
    """Runs each read once for all who wait for it. How long one takes is bounded by the read itself."""

    def __init__(self) -> None:
        self._reads: dict[Hashable, _Reads] = {}

    async def get(self, key: Hashable, read: Callable[[], Awaitable[V]]) -> V:
        """What a read that begins now or later comes to.

        Args:
            key: the same for the same read.
            read: runs on for those who share it when this caller has gone.

        Raises:
            Exception: what the read raises.
        """
        reads = self._reads.get(key)
        if reads is None:
            reads = self._reads[key] = _Reads()
            try:
                return await read()  # for nobody else
            finally:
                self._go_on(key, reads)
        if reads.next is None:
            reads.next = asyncio.get_running_loop().create_future(), read
        value: V = await asyncio.shield(reads.next[0])
        return value

    def _start(
        self, key: Hashable, reads: "_Reads", read: Callable[[], Awaitable[Any]], answer: "asyncio.Future[Any]"
    ) -> None:
        async def run() -> None:
            try:
                value = await read()
            except asyncio.CancelledError:
                answer.cancel()
                raise
            except Exception as error:
                answer.set_exception(error)
                answer.exception()  # whoever waited for it may have gone
            else:
                answer.set_result(value)
            finally:
                self._go_on(key, reads)

        reads.task = asyncio.create_task(run())

    def _go_on(self, key: Hashable, reads: "_Reads") -> None:
        if reads.next is None:
            del self._reads[key]
            return
        (answer, read), reads.next = reads.next, None
        self._start(key, reads, read, answer)


class _Reads:
    """The reads of one key, of which one is in flight."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        """Of the last one that callers share; an event loop alone would not keep it."""
        self.next: tuple[asyncio.Future[Any], Callable[[], Awaitable[Any]]] | None = None
