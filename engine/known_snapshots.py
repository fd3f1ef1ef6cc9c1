"""What the writer of a partition's snapshots knows of their topic: so it notices that records were lost."""

from datetime import datetime
from typing import NamedTuple

from engine.core.errors import SnapshotUnreadable
from engine.errors import SnapshotFailed, SnapshotsLost
from engine.ports import Snapshots
from engine.snapshot_records import MARKER_KEY, Marker, read_marker
from schemas.records import Record


class _Id(NamedTuple):
    """By what a snapshot is told from any other."""

    epoch: int
    next_offset: int
    at: datetime


class KnownSnapshots:
    """What the topic is known to hold of a partition, at least.

    A writer learns by the place of what it appends whether the topic still ends where it did. After a round that has
    failed it does not: nobody knows which of its records are there, and how far they go. Then the last snapshot tells.

    Args:
        number: of the partition.
        snapshots: the topic.
    """

    def __init__(self, number: int, snapshots: Snapshots):
        self._number, self._snapshots = number, snapshots
        self._last: _Id | None = None
        """The last snapshot; None if it is not known what the topic holds. Then the next one is whole."""
        self._tried: _Id | None = None
        """What may be there instead: the snapshot of a round that has failed, whose commit may have worked."""
        self._end = 0
        """The topic does not end before this offset."""
        self._is_certain = True

    def start(self, marker: Marker, end: int) -> None:
        """Take over what was read: the last marker, and the offset behind it."""
        self._last, self._end = _id(marker), end

    def forget(self) -> None:
        """The next snapshot is whole. Whoever writes it reads the topic before."""
        self._last, self._end, self._is_certain = None, 0, True

    def read(self, record: Record) -> None:
        """A record of the topic was read."""
        self._end = max(self._end, record.offset + 1)

    def appended(self, base: int, count: int) -> None:
        """Records were appended; at which offset is unknown if it is negative.

        Raises:
            SnapshotsLost: records that were there are gone.
            SnapshotFailed: nobody knows whether that is so.
        """
        if base < 0:
            raise SnapshotFailed("nobody knows where its records are")
        known, self._end = self._end, base + count
        if base < known:
            raise SnapshotsLost(f"its snapshots had records up to offset {known}, and now end at {base}")

    def commits(self, marker: Marker) -> None:
        """A snapshot is about to be committed."""
        self._tried = _id(marker)

    def committed(self) -> None:
        """It is."""
        self._last, self._tried, self._is_certain = self._tried, None, True

    def failed(self) -> None:
        """A round has failed; its writer is closed."""
        self._is_certain = False

    async def check(self) -> None:
        """After a round that has failed, before the next one: look at the last snapshot, once a new writer is open.

        Raises:
            SnapshotsLost: it is another one than it must be.
            ReadFailed: the topic can't be reached.
            LogFault: the last snapshot needs a key that this engine does not have.
        """
        if self._last is None or self._is_certain:
            return
        record = await self._snapshots.last(self._number)
        found = _found(record)
        if record is None or found is None or found not in (self._last, self._tried):
            raise SnapshotsLost("another snapshot is the last one than was written last")
        self.read(record)
        self._last, self._tried, self._is_certain = found, None, True


def _found(record: Record | None) -> _Id | None:
    """The snapshot that the last record of the topic ends; None if it is none of ours."""
    if record is None or record.key != MARKER_KEY:
        return None
    try:
        return _id(read_marker(record.value))
    except SnapshotUnreadable:
        return None


def _id(marker: Marker) -> _Id:
    return _Id(marker.epoch, marker.next_offset, marker.at)
