"""The writer of transactions. aiokafka's calls can hang when a broker goes away, so each has a deadline here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced, UnknownTopicOrPartitionError

from schemas.kafka.batches import batches
from schemas.kafka.client import ending
from schemas.kafka.errors import Fenced, TransactionFailed
from schemas.kafka.ports import NO_RECORDS, Outgoing, Place
from schemas.kafka.producer_client import ProducerClient, end
from schemas.settings import KafkaSettings

TRANSACTION_SECONDS: Final = 8.0
"""Deadline of each step. Less than the rebalance timeout of the publishers' group: one can end its transaction of a
partition that it has to give away."""
BATCHES_PER_REQUEST: Final = 4
"""Batches of several partitions that fit into one request."""


class TransactionalProducer:
    """`ports.Transactions` on aiokafka.

    Args:
        settings: how to reach Kafka.
        name: see `ports.Kafka.transactions`, as all that follows.
        open_seconds: when Kafka aborts an open transaction by itself.
        max_batch_bytes: size of the batches.
    """

    def __init__(self, settings: KafkaSettings, name: str, *, open_seconds: float, max_batch_bytes: int):
        self._begun = False
        self._producer = ProducerClient(
            settings,
            transactional_id=name,
            transaction_timeout_ms=int(open_seconds * 1000),
            max_batch_size=max_batch_bytes,
            max_request_size=BATCHES_PER_REQUEST * max_batch_bytes,
        )

    async def open(self) -> None:
        """See `ports.Transactions.open`."""
        async with _failures(self._producer):
            # It answers only when the transaction of the one before is committed or aborted everywhere.
            await self._producer.start()

    async def partitions(self, topic: str) -> int:
        """See `ports.Transactions.partitions`."""
        async with _failures(self._producer):
            with contextlib.suppress(UnknownTopicOrPartitionError):
                return len(await self._producer.partitions_for(topic))
        return 0

    async def append(self, records: Mapping[Place, Sequence[Outgoing]]) -> dict[Place, int]:
        """See `ports.Transactions.append`."""
        async with _failures(self._producer):
            firsts = await self._append(records)
        return firsts

    async def commit(self, records: Mapping[Place, Sequence[Outgoing]] = NO_RECORDS) -> None:
        """See `ports.Transactions.commit`."""
        async with _failures(self._producer):
            await self._append(records)
            await self._producer.commit_transaction()
            self._begun = False

    async def _append(self, records: Mapping[Place, Sequence[Outgoing]]) -> dict[Place, int]:
        if not self._begun:
            await self._producer.begin_transaction()
            self._begun = True
        places, acknowledgements = [], []
        for place, some in records.items():
            for batch in batches(self._producer, some):
                places.append(place)
                acknowledgements.append(await self._producer.send_batch(batch, place.topic, partition=place.partition))
        # A commit doesn't look at what became of the batches.
        appended = await asyncio.gather(*acknowledgements)
        firsts: dict[Place, int] = {}
        for place, batch in zip(places, appended, strict=True):
            firsts.setdefault(place, batch.offset)
        return firsts

    async def close(self) -> None:
        """See `ports.Transactions.close`."""
        await end(self._producer)


@contextlib.asynccontextmanager
async def _failures(producer: ProducerClient) -> AsyncIterator[None]:
    """Sets the deadline and turns the client's errors into ours."""
    try:
        async with asyncio.timeout(TRANSACTION_SECONDS):
            yield
    except (ProducerFenced, InvalidProducerEpoch) as error:
        raise Fenced("another writer of this name was opened") from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise TransactionFailed(repr(_cause(producer) or error)) from error


def _cause(producer: ProducerClient) -> BaseException | None:
    """Why Kafka refuses the transaction, if it has said so.

    aiokafka appends all the same, and the broker answers that with an error of its own.
    """
    refused = producer._txn_manager._transaction_waiter  # noqa: SLF001
    return ending(refused) if refused is not None and refused.done() else None
