"""Topic `snapshots` in memory, behind the engine's port."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from engine.errors import ReadFailed, SnapshotFailed, SnapshotFenced
from schemas.records import NewRecord, Record
from tests.ports.log import StoredRecord

MAX_READ = 100
"""Records that are read at once."""


@dataclass(eq=False)
class SnapshotPartition:
    """A partition of the topic: what is committed, and which writer may write."""

    records: list[StoredRecord] = field(default_factory=list)
    """Those that are committed."""
    end: int = 0
    writer: int = 0
    """Of the writer that was opened last; all before it are shut out."""
    transaction: list[StoredRecord] = field(default_factory=list)
    """What the open one has. Nothing is in it between two transactions."""

    def append(self, records: Sequence[NewRecord]) -> int:
        """Append records to the open transaction; the offset of the first."""
        base = self.end
        for record in records:
            self.transaction.append(StoredRecord(self.end, record.key, record.value, tuple(record.headers)))
            self.end += 1
        return base

    def finish(self, *, commit: bool) -> None:
        """End the transaction, by a mark of its own."""
        if commit:
            self.records += self.transaction
        self.end += 1
        self.transaction = []

    def open(self) -> int:
        """Open a writer, once the transaction of the one before is aborted; its number."""
        if self.transaction:
            self.finish(commit=False)
        self.writer += 1
        return self.writer

    def commit(self, records: Sequence[NewRecord]) -> None:
        """Append records in a transaction of their own."""
        self.append(records)
        self.finish(commit=True)

    @property
    def content(self) -> dict[bytes | None, bytes | None]:
        """The last value of each key that has one, in the order of these."""
        found: dict[bytes | None, bytes | None] = {}
        for record in self.records:
            found.pop(record.key, None)
            found[record.key] = record.value
        return {key: value for key, value in found.items() if value is not None}

    # What happens to topics

    def compact(self) -> None:
        """Remove what later records replace, and tombstones."""
        last = {record.key: record for record in self.records}
        self.records = [r for r in self.records if r is last[r.key] and r.value is not None]

    def tear(self, offset: int) -> None:
        """Lose all from an offset on, and give these offsets to others: a broker came back without its last records."""
        self.records = [record for record in self.records if record.offset < offset]
        self.transaction = [record for record in self.transaction if record.offset < offset]
        self.end = min(self.end, offset)


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
        return MemorySnapshotWriter(self, log, log.open())

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
        log: the partition.
        number: its own.
    """

    def __init__(self, snapshots: MemorySnapshots, log: SnapshotPartition, number: int):
        self._snapshots, self._log, self._number = snapshots, log, number
        self.closed = False

    async def append(self, records: Sequence[NewRecord]) -> int:
        """See `SnapshotWriter.append`."""
        self._reach()
        return self._log.append(records)

    async def commit(self) -> None:
        """See `SnapshotWriter.commit`."""
        self._reach()
        self._log.finish(commit=True)

    async def close(self) -> None:
        """See `SnapshotWriter.close`."""
        self.closed = True

    def _reach(self) -> None:
        """Get to the topic, as the writer that may write."""
        if self.closed or self._snapshots.away:
            raise SnapshotFailed("away")
        if self._log.writer != self._number:
            raise SnapshotFenced("a later writer was opened")
