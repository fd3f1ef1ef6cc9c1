"""Topic `snapshots` in memory, behind the engine's port: for unit tests as it is, for simulations with faults."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from engine.errors import ReadFailed, SnapshotFailed, SnapshotFenced
from engine.snapshot_records import MARKER_KEY
from schemas.records import NewRecord, Record
from tests.simulation.memory import StoredRecord

MAX_READ = 100
"""Records that are read at once."""


@dataclass
class SnapshotFaults:
    """How often what goes wrong; all zero when the network is quiet."""

    unopened: float = 0.0
    """A writer is not opened; it may have shut out those before all the same."""
    refused: float = 0.0
    """An append or a commit is refused: nothing of the transaction counts."""
    lost_ack: float = 0.0
    """The commit is made, but its acknowledgement never comes."""
    late: float = 0.0
    """The commit fails, and the transaction counts some seconds later: if Kafka has got the request, at the latest when
    the next writer is open, and else only if none is open by then."""
    unreadable: float = 0.0
    """A read breaks off."""
    slow: float = 0.0
    """A call takes seconds."""


@dataclass
class Transaction:
    """A transaction of a partition."""

    records: list[StoredRecord] = field(default_factory=list)
    bases: dict["SnapshotPartition", int] = field(default_factory=dict)
    """See `MemorySnapshots.bases`, of its writer."""
    is_decided: bool = False
    """Whether it is to be committed, and nothing can keep that from happening."""


@dataclass(eq=False)
class SnapshotPartition:
    """A partition of the topic: what is committed, and which writer may write."""

    records: list[StoredRecord] = field(default_factory=list)
    """Those that are committed."""
    end: int = 0
    writer: int = 0
    """Of the writer that was opened last; all before it are shut out."""
    transaction: Transaction = field(default_factory=Transaction)
    """The open one. Nothing is in it between two transactions."""
    harmed_to: int = -2
    """The offset of the newest snapshot when the topic was harmed last, which nobody can know."""
    broken: list[str] = field(default_factory=list)
    """What no writer may do."""

    def append(self, records: Sequence[NewRecord]) -> int:
        """Append records to the open transaction; the offset of the first."""
        base = self.end
        for record in records:
            self.transaction.records.append(StoredRecord(self.end, record.key, record.value, tuple(record.headers)))
            self.end += 1
        return base

    def finish(self, transaction: Transaction, *, commit: bool) -> None:
        """End a transaction, unless it has ended, by a mark of its own."""
        if self.transaction is not transaction:
            return
        if commit:
            self._check_base(transaction)
            self.records += transaction.records
            transaction.bases[self] = self.last_marker()
        self.end += 1
        self.transaction = Transaction()

    def last_marker(self) -> int:
        """The offset of the newest snapshot; -1 if there is none."""
        return max((record.offset for record in self.records if record.key == MARKER_KEY), default=-1)

    def _check_base(self, transaction: Transaction) -> None:
        """Who writes only what changed has to know what is there."""
        if self.last_marker() not in (self.harmed_to, transaction.bases.get(self, -1)):
            left = self.content.keys() - {record.key for record in transaction.records}
            if left:
                self.broken.append("changes were written on a snapshot that their writer did not know")

    def open(self) -> int:
        """Open a writer, once the transaction of the one before is committed or aborted; its number."""
        if self.transaction.records:
            self.finish(self.transaction, commit=self.transaction.is_decided)
        self.writer += 1
        return self.writer

    def commit(self, records: Sequence[NewRecord]) -> None:
        """Append records in a transaction of their own."""
        self.append(records)
        self.finish(self.transaction, commit=True)

    @property
    def content(self) -> dict[bytes | None, bytes | None]:
        """The last value of each key that has one, in the order of these."""
        found: dict[bytes | None, bytes | None] = {}
        for record in self.records:
            found.pop(record.key, None)
            found[record.key] = record.value
        return {key: value for key, value in found.items() if value is not None}

    # What happens to topics

    def compact(self, rng: random.Random | None = None) -> None:
        """Remove what later records replace, and tombstones.

        Args:
            rng: how far compaction comes, and what it leaves. Without it, it comes to the end and leaves nothing.
        """
        stop = len(self.records) if rng is None else rng.randint(0, len(self.records))
        last = {record.key: record for record in self.records[:stop]}
        replaced: list[StoredRecord] = []
        left: set[bytes | None] = set()
        for record in self.records[:stop]:
            if record is not last[record.key]:
                if rng is None or rng.random() < 0.7:
                    replaced.append(record)
                else:
                    left.add(record.key)
            elif record.value is None and record.key not in left and (rng is None or rng.random() < 0.5):
                replaced.append(record)
        self._remove(replaced)

    def _remove(self, records: Iterable[StoredRecord]) -> None:
        gone = set(map(id, records))
        self.records = [record for record in self.records if id(record) not in gone]

    def tear(self, offset: int) -> None:
        """Lose all from an offset on, and give these offsets to others: a broker came back without its last records."""
        self.records = [record for record in self.records if record.offset < offset]
        self.transaction.records = [record for record in self.transaction.records if record.offset < offset]
        self.end = min(self.end, offset)
        self.harmed_to = self.last_marker()

    def lose_oldest(self, offset: int) -> None:
        """Lose all before an offset: somebody has given the topic a retention."""
        self.records = [record for record in self.records if record.offset >= offset]

    def rewrite(self, rng: random.Random) -> None:
        """Replace all by the snapshot of another build: what looks like a state of this one means something else."""
        content = self.content
        last = content.pop(MARKER_KEY, None)
        if last is None or len(content) + 2 > self.end:
            return  # it would end behind what its owner knows, who would not notice
        self.tear(0)
        for key, value in content.items():
            if rng.random() < 0.5 and key is not None and key.startswith(b"instance/") and value is not None:
                state = msgspec.json.decode(value)
                state[1] += 1  # its version
                content[key] = msgspec.json.encode(state)
        marker = msgspec.json.decode(last) | {"schema": 2}
        records = [NewRecord(key or b"", value, [], 0) for key, value in content.items()]
        self.commit([*records, NewRecord(MARKER_KEY, msgspec.json.encode(marker), [], 0)])
        self.harmed_to = self.last_marker()


class SnapshotTopic(dict[int, SnapshotPartition]):
    """The topic, shared by all engines."""

    def __missing__(self, partition: int) -> SnapshotPartition:
        return self.setdefault(partition, SnapshotPartition())


class MemorySnapshots:
    """`engine.ports.Snapshots` of one engine on the shared topic.

    Args:
        topic: shared with other engines; one of its own when not given.
        rng: decides latencies and faults; without it there are none.
        faults: how often what goes wrong; may be changed while running.
    """

    def __init__(
        self,
        topic: SnapshotTopic | None = None,
        rng: random.Random | None = None,
        faults: SnapshotFaults | None = None,
    ):
        self.topic = SnapshotTopic() if topic is None else topic
        self.faults = faults or SnapshotFaults()
        self.away = False
        """Whether nothing answers."""
        self.refuses_writers = False
        self.bases: dict[SnapshotPartition, int] = {}
        """By partition, the offset of the marker that this engine has read or written last."""
        self._rng = rng

    async def open(self, partition: int) -> "MemorySnapshotWriter":
        """See `Snapshots.open`."""
        await self.latency()
        if self.away or self.refuses_writers:
            raise SnapshotFailed("away")
        log = self.topic[partition]
        failed = self.fails(self.faults.unopened)
        if not failed or self.fails(0.5):
            number = log.open()
        await self.latency()
        if failed:
            raise SnapshotFailed("not opened")
        return MemorySnapshotWriter(self, log, number)

    async def read(self, partition: int) -> AsyncIterator[Sequence[Record]]:
        """See `Snapshots.read`."""
        log = self.topic[partition]
        records, last = list(log.records), log.last_marker()
        while records:
            count = self._portion()
            portion, records = records[:count], records[count:]
            await self.latency()
            self._check_reachable()
            kept = set(map(id, log.records))  # compaction may have gone on meanwhile
            if portion := [record for record in portion if id(record) in kept]:
                yield portion
        self._check_reachable()
        self.bases[log] = last

    async def last(self, partition: int) -> Record | None:
        """See `Snapshots.last`."""
        self._check_reachable()
        records = self.topic[partition].records
        return records[-1] if records else None

    def _check_reachable(self) -> None:
        if self.away or self.fails(self.faults.unreadable):
            raise ReadFailed("away")

    def _portion(self) -> int:
        return MAX_READ if self._rng is None else self._rng.randint(1, 20)

    def fails(self, chance: float) -> bool:
        """Whether something goes wrong that has this chance to."""
        return self._rng is not None and chance > 0 and self._rng.random() < chance

    def delay(self, least: float, most: float) -> float:
        """A time in seconds."""
        return 0.0 if self._rng is None else self._rng.uniform(least, most)

    async def latency(self) -> None:
        """The time that a call takes."""
        if self._rng is not None:
            slow = self.fails(self.faults.slow)
            await asyncio.sleep(self.delay(1.0, 8.0) if slow else self.delay(0.0, 0.02))


class MemorySnapshotWriter:
    """`engine.ports.SnapshotWriter` in memory.

    Args:
        snapshots: of its engine.
        log: the partition.
        number: its own.
    """

    def __init__(self, snapshots: MemorySnapshots, log: SnapshotPartition, number: int):
        self._snapshots, self._log, self._number = snapshots, log, number
        self.closed = False

    async def append(self, records: Sequence[NewRecord]) -> int:
        """See `SnapshotWriter.append`."""
        await self._reach()
        base = self._log.append(records)
        self._log.transaction.bases = self._snapshots.bases
        await self._snapshots.latency()
        return base

    async def commit(self) -> None:
        """See `SnapshotWriter.commit`."""
        await self._reach()
        transaction, faults = self._log.transaction, self._snapshots.faults
        if self._snapshots.fails(faults.late):
            transaction.is_decided = self._snapshots.fails(0.5)
            seconds = self._snapshots.delay(0.01, 20.0)
            asyncio.get_running_loop().call_later(seconds, lambda: self._log.finish(transaction, commit=True))
            await asyncio.sleep(self._snapshots.delay(0.0, 10.0))
            self._fail("late")
        self._log.finish(transaction, commit=True)
        if self._snapshots.fails(faults.lost_ack):
            await asyncio.sleep(self._snapshots.delay(0.0, 10.0))
            self._fail("acknowledgement lost")
        await self._snapshots.latency()

    async def close(self) -> None:
        """See `SnapshotWriter.close`."""
        self.closed = True

    async def _reach(self) -> None:
        """Get to the topic, as the writer that may write."""
        await self._snapshots.latency()
        if self.closed or self._snapshots.away:
            raise SnapshotFailed("away")
        if self._log.writer != self._number:
            raise SnapshotFenced("a later writer was opened")
        if self._snapshots.fails(self._snapshots.faults.refused):
            self._fail("refused")

    def _fail(self, reason: str) -> None:
        self.closed = True
        raise SnapshotFailed(reason)
