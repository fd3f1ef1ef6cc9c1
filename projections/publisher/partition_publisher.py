"""One partition of the log, from its position on: read, map, publish."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from projections.publisher.cancellation import to_its_end
from projections.publisher.errors import LogBehindPosition
from projections.publisher.metrics import Metrics
from projections.publisher.positions import PublishedPosition
from projections.publisher.public_events import PublicEvent, public_event
from projections.publisher.public_writer import PublicWriter
from schemas.epochs import EpochFilter
from schemas.kafka import Member, Place
from schemas.records import Record, RecordCodec, UndecodableRecord

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 1.0
"""How long to wait for records before the lag is shown again. Longer, and the metric would be as old as that."""
MAX_BATCH_RECORDS: Final = 2000
"""Most records read for one transaction, which bounds its size, and how long the event loop is busy with it."""
PACE_SECONDS: Final = 0.2
"""From one transaction to the next, unless there was nothing to publish. A transaction costs the broker ten times what
its records do: without a pace, a stream of single events would take more of it than all the rest."""
MAX_UNRECORDED: Final = 10_000
"""Records without a public event that are passed over before their position is written down: a publisher that starts
reads them again."""


class PartitionPublisher:
    """Publishes one partition.

    Args:
        place: the partition of `events`; it is assigned to the member.
        member: takes records of the log.
        writer: of this partition, not opened; closed at the end.
        metrics: what is counted.
    """

    def __init__(self, place: Place, member: Member, writer: PublicWriter, metrics: Metrics):
        self._place = place
        self._member = member
        self._writer = writer
        self._metrics = metrics
        self._codec = RecordCodec()
        self._position = self._recorded = PublishedPosition()
        self.advanced = False
        """Whether anything was read; what fails later is another failure."""

    async def run(self) -> None:
        """Publish until cancelled; a transaction under way is ended first.

        Raises:
            TransactionFailed: start over with a new object.
            LogBehindPosition: the log is not the one that the position is from.
            KafkaFault: the member can't go on.
        """
        try:
            # The client library leaves a connection open that is cancelled while it is made.
            self._position = self._recorded = await to_its_end(self._writer.open())
            self._position = await self._start()
            while True:
                taken = await self._member.take(IDLE_SECONDS, MAX_BATCH_RECORDS, [self._place])
                if records := taken.get(self._place):
                    published = await self._publish(records)
                    await asyncio.sleep(PACE_SECONDS if published else 0)
                end = self._member.highwater(self._place)
                if end is not None:
                    self._metrics.lag.labels(self._place.partition).set(max(0, end - self._position.next_offset))
        finally:
            await self._writer.close()

    async def _start(self) -> PublishedPosition:
        """Have records handed over from the position on, or from the oldest one if that is behind it."""
        position = self._position
        oldest = (await self._member.limits([self._place]))[self._place].oldest
        if oldest > position.next_offset:
            lost = oldest - position.next_offset
            self._metrics.expired.inc(lost)
            logger.error("%d records of partition %d expired unpublished", lost, self._place.partition)
            position = PublishedPosition(oldest, position.epoch)
        self._member.start_at(self._place, position.next_offset)
        return position

    async def _publish(self, records: Sequence[Record]) -> bool:
        """Whether there was something to publish."""
        if records[0].offset < self._position.next_offset:
            # Kafka does not have the offset, so the member went on at the oldest one.
            raise LogBehindPosition(
                f"partition {self._place.partition} of {self._place.topic} ends before {self._position.next_offset},"
                " where the publisher was: the log was cut or created again; to publish it from its start, delete the"
                " records of `events.published`"
            )
        public, position = self._read(records)
        if public or position.next_offset - self._recorded.next_offset >= MAX_UNRECORDED:
            started = time.perf_counter()
            # A transaction that stays open would hold up the topic's consumers.
            await to_its_end(self._writer.publish(public, position))
            self._metrics.transaction_seconds.observe(time.perf_counter() - started)
            self._recorded = position
        self._position, self.advanced = position, True
        for type_, count in Counter(event.type for event in public).items():
            self._metrics.events.labels(type_).inc(count)
        return bool(public)

    def _read(self, records: Sequence[Record]) -> tuple[list[PublicEvent], PublishedPosition]:
        epochs, public = EpochFilter(self._position.epoch), []
        for record in records:
            if not epochs.admits(record):
                continue
            try:
                recorded = self._codec.decode_event(record)
            except UndecodableRecord as error:
                self._metrics.undecodable.inc()
                logger.error("event record %d/%d is not published: %s", self._place.partition, record.offset, error)
                continue
            event = public_event(self._place.partition, recorded)
            if event is not None:
                public.append(event)
        return public, PublishedPosition(records[-1].offset + 1, epochs.epoch)
