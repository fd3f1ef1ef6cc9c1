"""Topic `snapshots` in memory, behind the engine's port: for unit tests as it is, for simulations with faults."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from engine.errors import ReadFailed, SnapshotFailed, SnapshotFenced
from schemas.records import NewRecord, Record
from tests.simulation.memory import StoredRecord

MAX_READ = 100
"""Records that are read at once."""


@dataclass
class SnapshotPartition:
    """A partition of the topic: what is committed, and which writer may write."""

    records: list[StoredRecord] = field(default_factory=list)
    end: int = 0
    writer: int = 0
    """Of the writer that was opened last; all before it are shut out."""

    def commit(self, records: Sequence[NewRecord]) -> None:
        """Append records and the mark that ends their transaction."""
        for record in records:
            self.records.append(StoredRecord(self.end, record.key, record.value, tuple(record.headers)))
            self.end += 1
        self.end += 1

    @property
    def content(self) -> dict[bytes | None, bytes | None]:
        """The last value of each key that has one, in the order of these."""
        found: dict[bytes | None, bytes | None] = {}
        for record in self.records:
            found.pop(record.key, None)
            found[record.key] = record.value
        return {key: value for key, value in found.items() if value is not None}

    def compact(self) -> None:
        """Keep the last record of each key alone, and no tombstones."""
        last = {record.key: record for record in self.records}
        self.records = [record for record in self.records if last[record.key] is record and record.value is not None]


class SnapshotTopic(dict[int, SnapshotPartition]):
    """The topic, shared by all engines."""

    def __missing__(self, partition: int) -> SnapshotPartition:
        return self.setdefault(partition, SnapshotPartition())


class MemorySnapshots:
    """`engine.ports.Snapshots` of one engine on the shared topic.

    Args:
        topic: shared with other engines; one of its own when not given.
    """

    def __init__(self, topic: SnapshotTopic | None = None):
        self.topic = SnapshotTopic() if topic is None else topic
        self.away = False
        """Whether nothing answers."""
        self.refuses_writers = False

    async def open(self, partition: int) -> "MemorySnapshotWriter":
        """See `Snapshots.open`."""
        if self.away or self.refuses_writers:
            raise SnapshotFailed("away")
        log = self.topic[partition]
        log.writer += 1
        return MemorySnapshotWriter(self, log)

    async def read(self, partition: int) -> AsyncIterator[Sequence[Record]]:
        """See `Snapshots.read`."""
        records = list(self.topic[partition].records)
        for start in range(0, len(records), MAX_READ):
            self._check_reachable()
            yield records[start : start + MAX_READ]
        self._check_reachable()

    async def last(self, partition: int) -> Record | None:
        """See `Snapshots.last`."""
        self._check_reachable()
        records = self.topic[partition].records
        return records[-1] if records else None

    def _check_reachable(self) -> None:
        if self.away:
            raise ReadFailed("away")


class MemorySnapshotWriter:
    """`engine.ports.SnapshotWriter` in memory.

    Args:
        snapshots: of its engine.
        log: the partition, whose last writer it is for now.
    """

    def __init__(self, snapshots: MemorySnapshots, log: SnapshotPartition):
        self._snapshots, self._log, self._number = snapshots, log, log.writer
        self._appended: list[NewRecord] = []
        self.closed = False

    async def append(self, records: Sequence[NewRecord]) -> None:
        """See `SnapshotWriter.append`."""
        self._check()
        self._appended += records

    async def commit(self) -> None:
        """See `SnapshotWriter.commit`."""
        self._check()
        self._log.commit(self._appended)
        self._appended = []

    async def close(self) -> None:
        """See `SnapshotWriter.close`."""
        self.closed = True

    def _check(self) -> None:
        if self.closed or self._snapshots.away:
            raise SnapshotFailed("away")
        if self._log.writer != self._number:
            raise SnapshotFenced("a later writer was opened")
