"""What one partition's publisher writes: public events and the position behind them, in one transaction."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from projections.publisher.lost_positions import check_not_lost
from projections.publisher.positions import PublishedPosition, last_position, position_record
from projections.publisher.public_events import PublicEvent
from schemas.kafka import Kafka, KafkaFault, Place, TransactionFailed
from schemas.records import NewRecord
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS_PUBLISHED, public_topic, topic_name

TRANSACTIONAL_ID: Final = "orchestration-publisher-"
"""Followed by the partition: one id for each, so that its new publisher shuts out the one before."""
OPEN_SECONDS: Final = 8.0
"""Deadline of opening a partition. Less than the group's rebalance timeout: a publisher that has to give the partition
away meanwhile ends in time."""
UNFINISHED_SECONDS: Final = 15.0
"""When Kafka aborts an unfinished transaction by itself. Until then it holds up the consumers of its partition, if the
publisher was killed and no other one takes over."""
BATCH_BYTES: Final = 1024 * 1024
"""Size of the record batches in a transaction, well below what the topic takes: Kafka refuses larger ones."""


class PublicWriter:
    """Writes the public events of one partition of the log. After an error it is closed and a new one made.

    Args:
        kafka: where the topics are.
        settings: names of the topics.
        partition: its number.
        clock: seconds since 1970, for the records.
    """

    def __init__(
        self, kafka: Kafka, settings: KafkaSettings, partition: int, *, clock: Callable[[], float] = time.time
    ):
        self._kafka = kafka
        self._clock = clock
        self._public = Place(public_topic(settings), partition)
        self._published = Place(topic_name(settings, EVENTS_PUBLISHED), partition)
        self._transactions = kafka.transactions(
            f"{settings.topic_prefix}{TRANSACTIONAL_ID}{partition}",
            open_seconds=UNFINISHED_SECONDS,
            max_batch_bytes=BATCH_BYTES,
        )

    async def open(self) -> PublishedPosition:
        """Shut out all earlier publishers of the partition, and return how far they came.

        Raises:
            TransactionFailed: it could not be done.
        """
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                # Settles the transaction of the one before, so that its position is known from here on.
                await self._transactions.open()
                for place in (self._public, self._published):
                    await self._check(place)
                return await last_position(self._kafka, self._published)
        except TransactionFailed:
            raise
        except (KafkaFault, TimeoutError) as error:
            raise TransactionFailed(repr(error)) from error

    async def check_not_lost(self) -> None:
        """Check that there was no position because nothing was published, see `lost_positions`.

        Raises:
            LogFault: positions are lost.
            TransactionFailed: Kafka is away.
        """
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await check_not_lost(self._kafka, self._published, self._public)
        except (KafkaFault, TimeoutError) as error:
            raise TransactionFailed(repr(error)) from error

    async def publish(self, events: Iterable[PublicEvent], position: PublishedPosition) -> None:
        """Append events and the position behind them, in one transaction.

        Raises:
            Fenced: another publisher has opened the partition; nothing was published.
            TransactionFailed: whether it was done is unknown until the partition is opened again.
        """
        now_ms = int(self._clock() * 1000)
        await self._transactions.commit(
            {
                self._public: [NewRecord(event.key, event.value, [], now_ms) for event in events],
                self._published: [position_record(self._published.partition, position, now_ms)],
            }
        )

    async def close(self) -> None:
        """Close the connections. An unfinished transaction stays so until the partition is opened again."""
        await self._transactions.close()

    async def _check(self, place: Place) -> None:
        if place.partition >= await self._transactions.partitions(place.topic):
            raise TransactionFailed(
                f"topic {place.topic} has no partition {place.partition}: create it by `orchestration topics create`"
            )
