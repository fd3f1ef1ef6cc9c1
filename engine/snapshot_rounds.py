"""Writes the snapshots of one partition, in rounds, while its owner goes on.

A round:

    due ──► another partition's round ends ──► writer open ──► cut ──► entries, bit by bit ──► marker, commit

- *due*: `snapshot_seconds` after the last one if events have come since, or earlier after many events.
- *cut*: after a turn, when the state is what the log is proven to hold. It is exact and takes no time; the owner goes
  on while the entries are written.
- *writer*: opened by the owner when it takes the partition over, before it reads the last snapshot, so nobody changes
  any more what it has read. Opening shuts out the writers of earlier owners.

A stale owner writes nothing: a cut needs a proof of the claim that began after the writer was opened. If there had been
a newer claim by then, the proof would have failed; and whoever claims later opens its writer later still, which shuts
this one out.

A round that fails costs nothing but time: the next one writes all of it again. If it is not known what the topic holds
(its last snapshot could not be used, earlier writers could not be shut out before it was read, or the topic has lost
records that it had acknowledged), or if rounds have failed for so long that it is too much to remember, the next round
is a *full* one: all entries, and tombstones for all keys of the topic that are not among them.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from itertools import chain
from typing import Final, NamedTuple

from engine.core.shard import Shard
from engine.core.snapshots import Cut
from engine.errors import EngineError, SnapshotFailed, SnapshotFenced, SnapshotsLost
from engine.known_snapshots import KnownSnapshots
from engine.metrics import Metrics
from engine.ports import Clock, Snapshots, SnapshotWriter
from engine.snapshot_records import (
    MARKER_KEY,
    Marker,
    entry_records,
    marker_record,
    size_of,
    slices,
    tombstones,
)
from schemas.log_integrity import LogFault
from schemas.records import NewRecord

logger = logging.getLogger(__name__)

SNAPSHOT_EVENTS: Final = 20_000
"""After so many events a round is due before its time: a restore replays about as many a second, and a partition that
is very busy would come to ten times as many."""

BYTES_PER_SECOND: Final = 8 * 1024 * 1024
"""How fast an engine writes snapshots. A full round of a million instances would else keep the processor and the broker
busy for a minute, and turns would be slow."""

ROUND_SECONDS: Final = 240.0
"""Deadline of a round; less than Kafka leaves a transaction open. Enough for two gigabytes."""

MAX_GONE: Final = 100_000
"""How many tombstones may be due after a round that failed, beside as many as there are entries. If there are more, the
next round is a full one. What lived at each round that failed would else be remembered until one is written: a
partition with an entry that does not fit into the topic would fill the memory within hours."""

FIRST_PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 60.0
"""Pauses after rounds that fail double up to this. Without them a topic that does not take snapshots would keep the
engine busy with writing them."""

WITHOUT_KEY: Final = (
    "The partition goes on, but the older its snapshot is, the longer a restart takes: start this process again with"
    " the key."
)
"""What a key that is missing means for a round. Readers that need it stand still; rounds stop nobody."""


class LogTopics(NamedTuple):
    """The topics that a partition's state comes from: Kafka's ids, empty where they are not known."""

    events: str = ""
    commands: str = ""
    partitions: int = 0
    """How many of them the installation uses; 0 if it is not known."""


class _Point(NamedTuple):
    """Where a cut was made."""

    cut: Cut
    next_offset: int
    next_command: int


class SnapshotRounds:
    """Writes the snapshots of one partition.

    Args:
        number: of the partition.
        snapshots: the topic.
        clock: the time.
        metrics: what the engine counts.
        seconds: when a round is due.
        writing: held during a round: an engine writes one snapshot at a time.
        wake: has the owner look at `wants_turn`.
        ask_proof: has the owner prove its claim.
    """

    def __init__(
        self,
        number: int,
        *,
        snapshots: Snapshots,
        clock: Clock,
        metrics: Metrics,
        seconds: float,
        writing: asyncio.Lock,
        wake: Callable[[], None],
        ask_proof: Callable[[], None],
    ):
        self._number, self._snapshots, self._clock, self._metrics = number, snapshots, clock, metrics
        self._seconds, self._writing = seconds, writing
        self._wake, self._ask_proof = wake, ask_proof
        self._writer: SnapshotWriter | None = None
        self._opened_at = 0.0
        self._shard: Shard | None = None
        self._epoch = -1
        self._topics = LogTopics()
        self._task: asyncio.Task[None] | None = None
        self._wanted_from = 0
        """The end of the log from which on a round is due."""
        self._reached = asyncio.Event()
        self._next_offset = 0
        """All events before it are in the newest snapshot."""
        self._end = 0
        self._taken_at = clock.monotonic()
        """When the newest snapshot was taken; without one, since when there should be one."""
        self._known = KnownSnapshots(number, snapshots)
        self._due: asyncio.Future[_Point] | None = None
        """The round that waits for its cut."""
        self._cut: Cut | None = None
        """The last one. A round that is given up in the moment of its cut does not get to see it."""

    async def open(self) -> bool:
        """Shut out the writers of earlier owners, to be called by a new owner behind its claim; whether that worked."""
        try:
            self._writer = await self._snapshots.open(self._number)
        except SnapshotFailed as error:
            logger.warning("partition %d goes on without snapshots for now: %s", self._number, error)
            return False
        self._opened_at = self._clock.monotonic()
        return True

    def start(
        self,
        shard: Shard,
        *,
        epoch: int,
        end: int,
        marker: Marker | None,
        snapshot_end: int = 0,
        topics: LogTopics | None = None,
    ) -> None:
        """Begin to write snapshots.

        Args:
            shard: the state, restored.
            epoch: the owner's claim.
            end: of the log.
            marker: of the snapshot that the topic is known to hold, if any.
            snapshot_end: the offset behind that marker.
            topics: what the state comes from.
        """
        self._shard, self._epoch, self._end, self._topics = shard, epoch, end, topics or LogTopics()
        if marker is None:
            shard.rebase()
        else:
            self._next_offset = marker.next_offset
            self._known.start(marker, snapshot_end)
            self._taken_at -= max((self._clock.now() - marker.at).total_seconds(), 0.0)
            self._metrics.snapshot_size.labels(self._number).set(marker.summary.entries)
        self._metrics.snapshot_age.labels(self._number).set_function(self._age)
        self._task = asyncio.create_task(self._run(), name=f"snapshots-{self._number}")

    async def stop(self) -> None:
        """Write nothing more. A round that is under way leaves its transaction open: whoever opens next aborts it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            for gauge in (self._metrics.snapshot_age, self._metrics.snapshot_size):
                with contextlib.suppress(KeyError):
                    gauge.remove(self._number)
        self._shard = self._cut = None
        await self._close()

    def _age(self) -> float:
        return self._clock.monotonic() - self._taken_at if self._end > self._next_offset else 0.0

    # Called by the owner

    @property
    def wants_turn(self) -> bool:
        """Whether a round waits for the end of a turn."""
        return self._due is not None

    def after_turn(self, end: int, next_command: int, proven_at: float) -> None:
        """The state is what the log is proven to hold, and settled.

        Args:
            end: of the log.
            next_command: behind the last command that was decided.
            proven_at: when the last proof of the claim began.
        """
        self._end = end
        if end >= self._wanted_from:
            self._reached.set()
        due = self._due
        if due is None or self._shard is None:
            return
        if proven_at < self._opened_at:
            self._ask_proof()
            return
        self._due = None
        if not due.done():
            self._cut = self._shard.cut()
            due.set_result(_Point(self._cut, end, next_command))

    # Rounds

    async def _run(self) -> None:
        while True:
            await self._until_due()
            pause = FIRST_PAUSE_SECONDS
            while not await self._try():
                await self._close()
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_SECONDS)

    async def _try(self) -> bool:
        """Whether a round was written."""
        try:
            async with self._writing, asyncio.timeout(ROUND_SECONDS):
                with self._metrics.snapshot_round_seconds.time():
                    await self._round()
        except (EngineError, LogFault, TimeoutError) as error:
            self._failed(error, "fenced" if isinstance(error, SnapshotFenced) else "failed")
            return False
        except Exception as error:  # a defect must not leave the partition without snapshots
            logger.exception("a snapshot could not be written", extra={"partition": self._number})
            self._failed(error, "fault")
            return False
        self._metrics.snapshot_rounds.labels("written").inc()
        return True

    def _failed(self, error: Exception, outcome: str) -> None:
        self._due = None
        if self._cut is not None:
            self._cut.close(written=False)
        self._known.failed()
        shard = self._shard
        if shard is not None:
            lost = isinstance(error, SnapshotsLost)
            if lost or shard.changes > 2 * shard.entries + MAX_GONE:
                shard.rebase()
                self._known.forget()
        self._metrics.snapshot_rounds.labels(outcome).inc()
        told = f"{error.problem} {WITHOUT_KEY}" if isinstance(error, LogFault) else repr(error)
        logger.warning("a snapshot of partition %d was not written, and is tried again: %s", self._number, told)
        if outcome == "fenced":
            self._ask_proof()

    async def _until_due(self) -> None:
        self._reached.clear()
        self._wanted_from = self._next_offset + SNAPSHOT_EVENTS
        if self._end < self._wanted_from:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._reached.wait()
        self._wanted_from = self._next_offset + 1
        if self._end < self._wanted_from:
            await self._reached.wait()

    async def _round(self) -> None:
        if self._writer is None:
            self._writer = await self._snapshots.open(self._number)
            self._opened_at = self._clock.monotonic()
        await self._known.check()
        self._due = asyncio.get_running_loop().create_future()
        self._wake()
        point = await self._due
        written = False
        try:
            marker = self._marker(point)
            entries, size = await self._write(self._writer, point.cut, marker)
            written = True
        finally:
            point.cut.close(written=written)
        self._next_offset, self._taken_at = point.next_offset, self._clock.monotonic()
        self._metrics.snapshot_entries.inc(entries)
        self._metrics.snapshot_bytes.inc(size)
        self._metrics.snapshot_size.labels(self._number).set(marker.summary.entries)

    def _marker(self, point: _Point) -> Marker:
        return Marker(
            next_offset=point.next_offset,
            epoch=self._epoch,
            next_command=point.next_command,
            events_id=self._topics.events,
            commands_id=self._topics.commands,
            partitions=self._topics.partitions,
            at=self._clock.now(),
            summary=point.cut.summary,
        )

    async def _write(self, writer: SnapshotWriter, cut: Cut, marker: Marker) -> tuple[int, int]:
        """Write a cut and its marker; how many records, and their bytes."""
        stale = await self._stale_keys(cut) if cut.is_full else []
        count = size = 0
        for records in slices(chain(tombstones(stale, marker.at), entry_records(cut.entries(), marker.at))):
            count += len(records)
            size += await self._append(writer, records)
        last = marker_record(marker)
        await self._append(writer, [last])
        self._known.commits(marker)
        await writer.commit()
        self._known.committed()
        return count + 1, size + size_of(last)

    async def _append(self, writer: SnapshotWriter, records: list[NewRecord]) -> int:
        """Append records, no faster than `BYTES_PER_SECOND`; their bytes."""
        begin, size = self._clock.monotonic(), sum(map(size_of, records))
        self._known.appended(await writer.append(records), len(records))
        took = self._clock.monotonic() - begin
        await asyncio.sleep(max(size / BYTES_PER_SECOND - took, 0.0))
        return size

    async def _stale_keys(self, cut: Cut) -> list[bytes]:
        """The keys that have a value in the topic and none in a cut."""
        stale: set[bytes] = set()
        async for records in self._snapshots.read(self._number):
            for record in records:
                self._known.read(record)
                key = record.key or b""
                if record.value is None:
                    stale.discard(key)
                elif key != MARKER_KEY and not cut.has(key.decode(errors="replace")):
                    stale.add(key)
        return sorted(stale)

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()
