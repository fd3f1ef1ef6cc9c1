"""A reader for short questions that is connected once and kept: a new one takes a tenth of a second for its first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from schemas.kafka.ports import Kafka, Reader


class KeptReader:
    """A reader that is used by one after another, and connected again after a fault.

    Args:
        kafka: where the topics are.
        committed_only: see `ports.Kafka.reader`.
    """

    def __init__(self, kafka: Kafka, *, committed_only: bool = False):
        self._kafka, self._committed_only = kafka, committed_only
        self._lock = asyncio.Lock()
        self._stack: AsyncExitStack | None = None
        self._reader: Reader | None = None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Reader]:
        """The reader, for the block alone. It reads what the last one has read, until somebody says something else.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """
        async with self._lock:
            try:
                if self._reader is None:
                    self._stack = AsyncExitStack()
                    reader = self._kafka.reader(committed_only=self._committed_only)
                    self._reader = await self._stack.enter_async_context(reader)
                yield self._reader
            except BaseException:
                await self._drop()
                raise

    async def close(self) -> None:
        """Close the connections."""
        async with self._lock:
            await self._drop()

    async def _drop(self) -> None:
        stack, self._stack, self._reader = self._stack, None, None
        if stack is not None:
            await stack.aclose()
