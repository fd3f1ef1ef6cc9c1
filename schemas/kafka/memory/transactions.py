"""The writer of transactions in memory. See `schemas.kafka.transactions` for what it is the twin of."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Final

from schemas.kafka.errors import KafkaFault, TransactionFailed
from schemas.kafka.memory.log import Sent
from schemas.kafka.memory.process import Process, within
from schemas.kafka.ports import NO_RECORDS, Outgoing, Place

TRANSACTION_SECONDS: Final = 8.0


class MemoryTransactions:
    """`ports.Transactions` in memory.

    Args:
        process: whose it is.
        name: see `ports.Kafka.transactions`, as all that follows.
        open_seconds: when the cluster aborts an open transaction by itself.
    """

    def __init__(self, process: Process, name: str, *, open_seconds: float):
        self._process, self._name, self._open_seconds = process, name, open_seconds
        self._epoch: int | None = None
        self._committed = 0
        self._number, self._sequence = process.cluster.number(), 0

    async def open(self) -> None:
        """See `ports.Transactions.open`."""
        async with _failures():
            self._epoch = await self._process.ask(
                "open transaction", lambda: self._process.cluster.open_transactional(self._name)
            )
        self._committed = 0

    async def partitions(self, topic: str) -> int:
        """See `ports.Transactions.partitions`."""
        async with _failures():
            count = await self._process.ask("topics", lambda: sum(1 for _ in self._process.cluster.places(topic)))
        return count

    async def append(self, records: Mapping[Place, Sequence[Outgoing]]) -> dict[Place, int]:
        """See `ports.Transactions.append`."""
        async with _failures():
            firsts = await self._append(self._own_epoch(), records)
        return firsts

    async def commit(self, records: Mapping[Place, Sequence[Outgoing]] = NO_RECORDS) -> None:
        """See `ports.Transactions.commit`."""
        epoch, cluster = self._own_epoch(), self._process.cluster
        async with _failures():
            await self._append(epoch, records)
            commit = partial(cluster.commit_transaction, self._name, epoch, self._committed)
            await self._process.ask("end transaction", commit)
            self._committed += 1

    def _own_epoch(self) -> int:
        if self._epoch is None:
            raise TransactionFailed("it is not open")
        return self._epoch

    async def _append(self, epoch: int, records: Mapping[Place, Sequence[Outgoing]]) -> dict[Place, int]:
        return {place: await self._append_batch(epoch, place, some) for place, some in records.items()}

    async def _append_batch(self, epoch: int, place: Place, records: Sequence[Outgoing]) -> int:
        process, cluster, self._sequence = self._process, self._process.cluster, self._sequence + 1
        sent = Sent(self._number, self._sequence)
        append = partial(
            cluster.receive_transactional, self._name, epoch, place, records, self._open_seconds, sent, self._committed
        )
        received = await process.ask("append to transaction", append)
        return -1 if received.is_repeated and process.network.forgets_offset(process.name) else received.base

    async def close(self) -> None:
        """See `ports.Transactions.close`."""
        self._epoch = None
        if seconds := self._process.network.closing_seconds(self._process.name):
            await asyncio.sleep(seconds)


@contextlib.asynccontextmanager
async def _failures() -> AsyncIterator[None]:
    try:
        async with within(TRANSACTION_SECONDS):
            yield
    except TransactionFailed:
        raise
    except KafkaFault as error:
        raise TransactionFailed(repr(error)) from error
