"""One partition of the log, from its position on: read, map, publish."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from projections.cancellation import to_its_end
from projections.log_watch import LogWatch
from projections.publisher.errors import LogUnknown
from projections.publisher.metrics import Metrics
from projections.publisher.positions import PublishedPosition
from projections.publisher.public_events import PublicEvent, public_event
from projections.publisher.public_writer import PublicWriter
from schemas.encryption_marks import KeyMissing
from schemas.epochs import EpochFilter
from schemas.kafka import KafkaFault, Member, Place
from schemas.log_integrity import (
    LogFault,
    check_end,
    check_identity,
    follows,
    unreadable_here,
)
from schemas.records import Record, RecordCodec, UndecodableRecord, UnknownMessage

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
        watch: looks at the log.
        metrics: what is counted.
        advanced: called when all is well: records were read, or there are none.
        fault: why the partition stood still before this.
    """

    def __init__(
        self,
        place: Place,
        member: Member,
        writer: PublicWriter,
        watch: LogWatch,
        metrics: Metrics,
        *,
        advanced: Callable[[], None],
        fault: LogFault | None = None,
    ):
        self._place = place
        self._member = member
        self._writer = writer
        self._watch = watch
        self._metrics = metrics
        self._advanced = advanced
        self._fault = fault
        self._codec = RecordCodec()
        self._position = self._recorded = PublishedPosition()
        self._repaired = 0

    async def run(self) -> None:
        """Publish until cancelled; a transaction under way is ended first.

        Raises:
            TransactionFailed: start over with a new object.
            LogUnknown: the same.
            LogFault: the log is not what the position says. Look again later, with a new object.
            KafkaFault: the member can't go on.
        """
        try:
            # The client library leaves a connection open that is cancelled while it is made.
            self._position = self._recorded = await to_its_end(self._writer.open())
            if self._position == PublishedPosition():
                await to_its_end(self._writer.check_not_lost())
            self._position = await self._start()
            while True:
                taken = await self._member.take(IDLE_SECONDS, MAX_BATCH_RECORDS, [self._place])
                if records := taken.get(self._place):
                    published = await self._publish(records)
                    self._advanced()
                    await asyncio.sleep(PACE_SECONDS if published else 0)
                await self._check()
        finally:
            # Nothing comes until it is said again where it begins.
            self._member.pause(self._place)
            await self._writer.close()

    async def _start(self) -> PublishedPosition:
        """Have records handed over from the position on, once the log is what it says."""
        partition, position = self._place.partition, self._position
        unclaimed = [partition] if self._fault is not None and self._fault.reason == "claim" else []
        try:
            look = await self._watch.look({partition: position}, unclaimed)
        except KafkaFault as error:
            raise LogUnknown(str(error)) from error
        if partition in look.faults:
            raise look.faults[partition]
        self._repaired = look.repaired.get(partition, 0)
        self._show_lag(look.ends[partition])  # one whose every transaction is refused never comes to `_check`
        self._member.start_at(self._place, position.next_offset)
        if look.ends[partition] == position.next_offset:
            self._advanced()
        return replace(position, topic_id=position.topic_id or look.topic_id)

    def _show_lag(self, end: int) -> None:
        self._metrics.lag.labels(self._place.partition).set(max(0, end - self._position.next_offset))

    async def _check(self) -> None:
        """Raises: LogFault: the topic is not the same any more, or ends before the position."""
        partition, position = self._place.partition, self._position
        end = self._member.highwater(self._place)
        if end is not None:
            self._show_lag(end)
            if end < position.next_offset:
                # It may be older than the position, which another publisher may have moved.
                check_end(partition, position.next_offset, (await self._member.limits([self._place]))[self._place].end)
        with contextlib.suppress(KafkaFault):  # later then; the member tells when Kafka is away
            check_identity(position.topic_id, await self._watch.topic_id(), partition=partition)

    async def _publish(self, records: Sequence[Record]) -> bool:
        """Whether there was something to publish."""
        gap: LogFault | None = None
        if not follows(records, self._position.next_offset):
            next_offset = self._position.next_offset
            records, gap = await self._watch.check_holes(self._member, self._place, next_offset, records)
            if gap is not None and not records:
                raise gap
        public, position, fault = self._read(records)
        # Who repairs has to see that all before a gap is published.
        if public or gap is not None or position.next_offset - self._recorded.next_offset >= MAX_UNRECORDED:
            started = time.perf_counter()
            # A transaction that stays open would hold up the topic's consumers.
            await to_its_end(self._writer.publish(public, position))
            self._metrics.transaction_seconds.observe(time.perf_counter() - started)
            self._recorded = position
        self._position = position
        for type_, count in Counter(event.type for event in public).items():
            self._metrics.events.labels(type_).inc(count)
        fault = fault or gap
        if fault is not None:
            raise fault
        return bool(public)

    def _read(self, records: Sequence[Record]) -> tuple[list[PublicEvent], PublishedPosition, LogFault | None]:
        """What is to be published, the position behind it, and why it ends there, if not with the last record."""
        epochs, public = EpochFilter(self._position.epoch, self._place.partition, self._repaired), []
        fault, next_offset = None, records[-1].offset + 1
        for record in records:
            try:
                if not epochs.admits(record):
                    continue
                recorded = self._codec.decode_event(record)
            except LogFault as found:
                fault, next_offset = found, record.offset
                break
            except (UnknownMessage, KeyMissing) as error:
                fault, next_offset = unreadable_here(self._place.partition, record, error), record.offset
                break
            except UndecodableRecord as error:
                self._metrics.undecodable.inc()
                logger.error("event record %d/%d is not published: %s", self._place.partition, record.offset, error)
                continue
            event = public_event(self._place.partition, recorded)
            if event is not None:
                public.append(event)
        return public, replace(self._position, next_offset=next_offset, epoch=epochs.epoch), fault
