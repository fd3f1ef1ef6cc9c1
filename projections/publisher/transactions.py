"""The transactional producer of one partition. Each call has a deadline. A failure ends its use."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import msgspec
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    ProducerFenced,
    UnknownTopicOrPartitionError,
)

from projections.publisher.errors import Fenced, TransactionFailed
from projections.publisher.positions import PublishedPosition, last_position
from projections.publisher.public_events import PublicEvent
from schemas.kafka import Producer, end
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS_PUBLISHED, public_topic, topic_name

TRANSACTIONAL_ID: Final = "orchestration-publisher-"
"""Followed by the partition: one id for each, so that its new publisher shuts out the one before."""
TIMEOUT_SECONDS: Final = 8.0
"""Deadline of each step here; aiokafka's calls can hang when a broker goes away. Less than the group's rebalance
timeout, so that a publisher can end the transaction of a partition that it has to give away."""
OPEN_TIMEOUT_MS: Final = 15_000
"""When Kafka aborts an open transaction by itself. Until then it holds up the consumers of its partition, if the
publisher was killed and no other one takes over."""
BATCH_BYTES: Final = 1024 * 1024
"""Size of the record batches in a transaction, well below what the topic takes: Kafka refuses larger ones."""

Record = tuple[bytes, bytes]
"""Key and value."""


class Transactions:
    """Publishes the events of one partition of the log.

    Args:
        settings: how to reach Kafka.
        partition: its number.
    """

    def __init__(self, settings: KafkaSettings, partition: int):
        self._settings = settings
        self._partition = partition
        self._public = public_topic(settings)
        self._published = topic_name(settings, EVENTS_PUBLISHED)
        self._producer = Producer(
            settings,
            transactional_id=f"{settings.topic_prefix}{TRANSACTIONAL_ID}{partition}",
            transaction_timeout_ms=OPEN_TIMEOUT_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=4 * BATCH_BYTES,
        )

    async def open(self) -> PublishedPosition:
        """Shut out all earlier publishers of the partition, and return how far they came.

        Raises:
            TransactionFailed: it could not be done.
        """
        async with _failures():
            # Resolves the transaction of the one before: it answers only when that is committed or aborted everywhere.
            await self._producer.start()
            for topic in (self._public, self._published):
                await self._check(topic)
            return await last_position(self._settings, self._partition)

    async def publish(self, events: Iterable[PublicEvent], position: PublishedPosition) -> None:
        """Append events and the position behind them, in one transaction.

        Raises:
            Fenced: another publisher has opened the partition; nothing was published.
            TransactionFailed: whether it was done is unknown until the partition is opened again.
        """
        async with _failures():
            await self._producer.begin_transaction()
            acks = [
                *await self._send(self._public, [(event.key, event.value) for event in events]),
                *await self._send(self._published, [(b"%d" % self._partition, msgspec.json.encode(position))]),
            ]
            # A commit doesn't look at what became of the batches.
            await asyncio.gather(*acks)
            await self._producer.commit_transaction()

    async def close(self) -> None:
        """Close the connections. A transaction that is open stays so until the partition is opened again."""
        await end(self._producer)

    async def _check(self, topic: str) -> None:
        with contextlib.suppress(UnknownTopicOrPartitionError):
            if self._partition in await self._producer.partitions_for(topic):
                return
        raise TransactionFailed(
            f"topic {topic} has no partition {self._partition}: it is made by `orchestration topics create`"
        )

    async def _send(self, topic: str, records: Sequence[Record]) -> list[asyncio.Future[object]]:
        acks = []
        batch = self._producer.create_batch()
        for key, value in records:
            if batch.append(timestamp=None, key=key, value=value) is None:
                acks.append(await self._producer.send_batch(batch, topic, partition=self._partition))
                batch = self._producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)
        if batch.record_count():
            acks.append(await self._producer.send_batch(batch, topic, partition=self._partition))
        return acks


@contextlib.asynccontextmanager
async def _failures() -> AsyncIterator[None]:
    """Sets the deadline and turns the client's errors into ours."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            yield
    except (ProducerFenced, InvalidProducerEpoch) as error:
        raise Fenced from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise TransactionFailed(repr(error)) from error
