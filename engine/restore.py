"""Builds the state of a partition for its new owner: the newest snapshot, and the events behind it.

    snapshot of topic `snapshots` ──usable──► its entries, then the events from `next_offset` to the claim
                                  └─unusable─► all events, if the log still begins at offset 0

A snapshot is used whole or not at all. It is left aside when

- it does not end with a marker,
- it is of another schema, lacks entries or has too many, or can't be decoded.

Without it, a log that has lost its oldest events can't be restored from, and the partition stands still
(`SnapshotUnusable`): deciding on half a state could move money twice. It stands still as well if the log does not go on
where the snapshot ends, or is not what the claims in it say (`LogFault`): then it was cut, or created again.

An event that can't be decoded or does not follow sets its aggregate aside, and no other. That its command was decided
counts all the same. An event of a type or schema that this build does not know stops the partition: the build is older
than the one that wrote it, and would set aside whatever the newer one has worked on.

Others run all the time: no step takes more than some milliseconds.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from engine.core.duplicates import Bounds
from engine.core.errors import SnapshotUnreadable
from engine.core.shard import Shard
from engine.core.snapshots import Loader
from engine.errors import SnapshotUnusable
from engine.log_checks import NOT_REPAIRED, ClaimTrail, Inspected, known_by_marker, last_filler
from engine.metrics import Metrics
from engine.pauses import Breather
from engine.ports import Clock, EventLog, Snapshots
from engine.snapshot_records import MARKER_KEY, Marker, read_marker
from schemas.encryption_marks import KeyMissing
from schemas.epochs import EpochFilter, header, is_claim
from schemas.error_texts import cut_error
from schemas.fillers import is_filler, is_loss
from schemas.log_integrity import REMEDIES, LogFault, check_end, check_holes, follows, key_missing, newer_build
from schemas.records import Record, RecordCodec, UndecodableRecord, UnknownMessage, read_number
from schemas.topics import EVENTS

logger = logging.getLogger(__name__)

LOG_SECONDS: Final = 5.0
"""How often the progress of a restore is logged: somebody who waits for it wants to see that it goes on."""

SETTLE_RECORDS: Final = 200
"""After so many events their states are encoded. With many more, that one step would hold up the event loop."""


class Restored(NamedTuple):
    """The state of a partition before its owner's first turn."""

    shard: Shard
    next_command: int
    """Behind the last command that was decided."""
    marker: Marker | None
    """Of the snapshot that it was built from; None if it was built from all events."""
    snapshot_end: int = 0
    """The offset behind that marker in the topic of snapshots."""


class Restore:
    """Restores a partition once.

    Args:
        number: which partition.
        log: the event log.
        snapshots: the topic of snapshots.
        codec: reads records.
        clock: the time.
        metrics: what the engine counts.
        bounds: how much is remembered of what is over.
        max_attempts: see `Shard`.
    """

    def __init__(
        self,
        number: int,
        *,
        log: EventLog,
        snapshots: Snapshots,
        codec: RecordCodec,
        clock: Clock,
        metrics: Metrics,
        bounds: Bounds,
        max_attempts: int | None = None,
    ):
        self._number, self._log, self._snapshots, self._codec = number, log, snapshots, codec
        self._clock, self._metrics = clock, metrics
        self._new_shard = partial(Shard, bounds, max_attempts)
        self._breather = Breather(clock)
        self._began_at = self._logged_at = clock.monotonic()
        self._entries = self._events = 0

    async def run(self, epoch: int, inspected: Inspected) -> Restored:
        """Build the state as it is right before a claim.

        Args:
            epoch: the offset of the claim.
            inspected: the partition as it was before the claim.

        Raises:
            LogFault: the log is not the one that the snapshot and the claims know, is of a newer build, or needs a key
                that this engine does not have.
            SnapshotUnusable: no snapshot can be used, and the log does not begin at offset 0.
            TooManySetAside: so many aggregates do not fold that it can't be these.
            ReadFailed: the log or the snapshots can't be reached.
        """
        try:
            restored = await self._run_repaired(epoch, inspected)
        except KeyMissing as error:
            raise key_missing(EVENTS, self._number, error) from error
        finally:
            self._metrics.restore_events_left.remove(self._number)
        seconds = self._clock.monotonic() - self._began_at
        self._metrics.restore_seconds.observe(seconds)
        logger.info(
            "partition %d is restored from %s in %.1f s",
            self._number,
            self._shown(),
            seconds,
            extra={"partition": self._number, "epoch": epoch, "instances": restored.shard.instances},
        )
        return restored

    async def _run_repaired(self, epoch: int, inspected: Inspected) -> Restored:
        """Build the state. If the log does not fit, look whether somebody has said that it is known, and try again."""
        try:
            return await self._run(epoch, inspected)
        except LogFault as fault:
            if fault.reason in REMEDIES:
                raise
            start = max(inspected.known.next_offset - 1, 0)
            repaired = await last_filler(self._number, self._log, start, epoch, self._breather)
            if repaired == inspected.repaired:
                raise
        # Behind the handler: the fault keeps what was restored in memory.
        self._entries = self._events = 0
        return await self._run(epoch, inspected._replace(repaired=repaired))

    async def _run(self, epoch: int, inspected: Inspected) -> Restored:
        self._metrics.restore_events_left.labels(self._number).set(epoch)
        reason: str | None = None
        try:
            shard = self._new_shard()
            found = await self._snapshot(shard, epoch, inspected)
            if found is not None:
                marker, end = found
                return Restored(shard, await self._replay(shard, marker, epoch, inspected), marker, end)
        except SnapshotUnreadable as error:
            reason = str(error)
            logger.warning("the snapshot of partition %d is left aside: %s", self._number, error)
        try:
            return await self._whole(epoch, inspected)
        except SnapshotUnreadable as error:
            if not inspected.has_snapshot and not inspected.lacks_events and await self._is_known(epoch):
                return await self._whole(epoch, inspected._replace(lacks_events=True))
            raise SnapshotUnusable(
                f"partition {self._number} can't be restored: {error}, and "
                + ("it has no snapshot" if reason is None else f"its snapshot can't be used: {reason}")
            ) from error

    async def _whole(self, epoch: int, inspected: Inspected) -> Restored:
        """Build the state from all events.

        Raises:
            SnapshotUnreadable: some are lost, and nobody has said that it is known.
        """
        self._entries = self._events = 0
        shard = self._new_shard()
        return Restored(shard, await self._replay(shard, None, epoch, inspected), None)

    async def _is_known(self, epoch: int) -> bool:
        """Whether a filler behind all events says that what is lost without a snapshot is known."""
        found = await last_filler(self._number, self._log, 0, epoch, self._breather, behind_events=True)
        return found != NOT_REPAIRED

    # The snapshot

    async def _snapshot(self, shard: Shard, epoch: int, inspected: Inspected) -> tuple[Marker, int] | None:
        """Take over the newest snapshot; its marker and the offset behind that. None if there is no snapshot.

        Raises:
            SnapshotUnreadable: it must not be used.
        """
        loader = Loader(shard)
        last: Record | None = None
        async for records in self._snapshots.read(self._number):
            for record in records:
                if record.key != MARKER_KEY:
                    loader.put((record.key or b"").decode(errors="surrogateescape"), record.value)
            last = records[-1]
            self._entries += len(records)
            self._metrics.restored_records.labels("snapshot").inc(len(records))
            self._progress(epoch)
            await self._breather.step()
        if last is None:
            return None
        if last.key != MARKER_KEY:
            raise SnapshotUnreadable("it does not end with a marker")
        marker = read_marker(last.value)
        await self._check(marker, epoch, inspected)
        for _ in loader.finish(marker.summary):
            await self._breather.step()
        return marker, last.offset + 1

    async def _check(self, marker: Marker, epoch: int, inspected: Inspected) -> None:
        """Check that the log goes on where a snapshot ends.

        Raises:
            LogFault: `cut` or `claim`.
        """
        check_end(self._number, marker.next_offset, epoch)
        if inspected.repaired != NOT_REPAIRED:
            return
        async for records in self._log.read(self._number, marker.next_offset - 1, marker.next_offset):
            for record in records:
                owner = record.offset if is_claim(record) else read_number(header(record.headers, "epoch"))
                if owner != marker.epoch and not is_filler(record):
                    text = (
                        f"the record at offset {record.offset} is not of the claim at {marker.epoch}, as the newest "
                        "snapshot says: the log was cut, and has grown again"
                    )
                    raise LogFault("claim", EVENTS, self._number, text)

    # The events

    async def _replay(self, shard: Shard, marker: Marker | None, epoch: int, inspected: Inspected) -> int:
        """Take over the events behind a snapshot, or all of them; the next command behind them.

        Raises:
            LogFault: some of them are missing, or claims know more than there is.
            SnapshotUnreadable: the log does not begin with the first event, and there is no snapshot.
        """
        start, next_command, claimed = 0, 0, -1
        if marker is not None:
            start, next_command, claimed = marker.next_offset, marker.next_command, marker.epoch
        admitted = EpochFilter(claimed, self._number, inspected.repaired)
        trail = ClaimTrail(self._number, self._codec, known_by_marker(marker), inspected.repaired)
        position = start
        async for records in self._log.read(self._number, start, epoch):
            if not follows(records, position):
                if position == start and marker is None and not inspected.lacks_events:
                    break
                admitted.epoch = max(admitted.epoch, await self._gap(records, position, inspected))
            for count, record in enumerate(records, 1):
                if admitted.admits(record):
                    next_command = max(next_command, self._fold(shard, record))
                else:
                    trail.note(record)
                    if marker is None and not inspected.lacks_events and is_loss(record):
                        raise SnapshotUnreadable(f"events are lost, in whose place are fillers from {record.offset} on")
                if count % SETTLE_RECORDS == 0:
                    shard.settle()
                await self._breather.step()
            shard.settle()
            position = records[-1].offset + 1
            self._events += len(records)
            self._metrics.restored_records.labels("events").inc(len(records))
            self._metrics.restore_events_left.labels(self._number).set(epoch - position)
            self._progress(epoch - position)
        if position == start < epoch and not await self._are_marks(start, epoch):
            raise SnapshotUnreadable(f"the log does not have the event at offset {start} any more")
        state = inspected.state
        if trail.commands_end(next_command) > state.commands.end:
            # The owner before may have gone on until the claim, with commands that came after the look.
            state = await self._log.look(self._number)
        return trail.check(next_command, state)

    async def _gap(self, records: Sequence[Record], position: int, inspected: Inspected) -> int:
        """The newest claim before records that don't follow on what was read; -1 if they don't tell.

        Raises:
            LogFault: records are missing, and nobody has said that it is known.
        """
        if inspected.repaired == NOT_REPAIRED and not inspected.lacks_events:
            oldest, find_marks = inspected.state.events.oldest, partial(self._log.marks, self._number)
            _, fault = await check_holes(self._number, position, records, oldest, find_marks)
            if fault is not None:
                raise fault
        first = records[0].offset
        epochs = (read_number(header(record.headers, "epoch")) for record in records)
        return next((epoch for epoch in epochs if epoch is not None and epoch < first), -1)

    async def _are_marks(self, start: int, stop: int) -> bool:
        """Whether nothing is there but the ends of others' transactions."""
        return (await self._log.marks(self._number, start, stop)).issuperset(range(start, stop))

    def _fold(self, shard: Shard, record: Record) -> int:
        """Take over an event; the next command behind it, 0 if it has no cause.

        Raises:
            LogFault: this build does not know what it is.
            TooManySetAside: it does not fold, as so many others.
        """
        try:
            recorded = self._codec.decode_event(record)
        except UnknownMessage as error:
            raise newer_build(self._number, record, error) from error
        except UndecodableRecord as error:
            if record.key:
                self._set_aside(shard, record.key.decode(errors="replace"), record, error)
            else:  # such as the proof of a claim
                text = "the event at offset %d of partition %d can't be used, and is of no aggregate: %s"
                logger.error(text, record.offset, self._number, error)
            cause = read_number(header(record.headers, "cause"))
        else:
            cause = recorded.cause
            try:
                shard.replay(recorded.aggregate_id, (recorded.event,), recorded.offset)
            except MemoryError:  # that is not the aggregate's
                raise
            except Exception as error:  # whatever goes wrong with one aggregate
                self._set_aside(shard, recorded.aggregate_id, record, error)
        return 0 if cause is None else cause + 1

    def _set_aside(self, shard: Shard, key: str, record: Record, error: Exception) -> None:
        text = f"the event at offset {record.offset} can't be used: {type(error).__name__}: {error}"
        logger.error(
            "aggregate %s of partition %d is set aside: %s", cut_error(key), self._number, text, exc_info=error
        )
        shard.set_aside(key, text)

    # Progress

    def _progress(self, events_left: int) -> None:
        now = self._clock.monotonic()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            logger.info(
                "partition %d is being restored: %s read, %d events left", self._number, self._shown(), events_left
            )

    def _shown(self) -> str:
        return f"{self._entries} records of snapshots and {self._events} events"
