"""What a restore comes to, from the whole log and from a snapshot with the events behind it: the live state."""

import bisect
from collections.abc import Iterable, Sequence

from engine.core.duplicates import Bounds
from engine.core.errors import SnapshotUnreadable
from engine.core.shard import Shard
from engine.core.snapshots import Loader
from engine.partition import Partition
from engine.snapshot_records import MARKER_KEY, Marker, read_marker
from schemas.records import Record, Recorded

BAD = object()
"""In place of an event, what nobody can read."""


class Restored:
    """What a restore from the log of one partition comes to. It goes on from where it was the last time.

    Args:
        admitted: the events of the log that count, in order; more come.
        bounds: how much the partition remembers.
    """

    def __init__(self, admitted: Sequence[Recorded], bounds: Bounds):
        self._admitted, self._bounds = admitted, bounds
        self._shard, self._count = Shard(bounds), 0

    def until(self, stop: int) -> Shard:
        """What a restore from the events before an offset comes to."""
        count = bisect.bisect_left(self._admitted, stop, key=lambda recorded: recorded.offset)
        if count < self._count:
            return restored(self._admitted, stop, self._bounds)
        replay(self._shard, self._admitted[self._count : count])
        self._count = count
        return self._shard

    def check(self) -> None:
        """To go on comes to the same as to begin again.

        Raises:
            AssertionError: it does not.
        """
        stop = self._count and self._admitted[self._count - 1].offset + 1
        check_same(self._shard, restored(self._admitted, stop, self._bounds), "one that went on")


def check_restorable(partition: Partition, restored: Restored) -> None:
    """Compare what a partition has in memory with what the log says.

    Args:
        partition: which; nothing is compared before it is restored, or while its turn is on the way to the log.
        restored: what its log says.

    Raises:
        AssertionError: they differ.
    """
    if partition.restored and not partition.in_turn:
        check_same(partition.shard, restored.until(partition.end), "what is in memory")


def check_snapshot(
    snapshot: Sequence[Record],
    admitted: Sequence[Recorded],
    restored: Restored,
    bounds: Bounds,
    *,
    is_harmed: bool = False,
) -> Marker | None:
    """Compare what a snapshot says with what the log says.

    Args:
        snapshot: the records that a restore reads of a partition of the topic.
        admitted: the events of the log that count, in order.
        restored: what the same log says.
        bounds: how much a partition remembers.
        is_harmed: whether it may be that no restore would use it.

    Returns:
        The snapshot's marker; None if there is no snapshot that a restore would use.

    Raises:
        AssertionError: they differ, or it can't be used although nobody has harmed it.
    """
    shard = Shard(bounds)
    try:
        marker = load(shard, snapshot)
    except SnapshotUnreadable as error:
        if not is_harmed:
            raise AssertionError(f"a snapshot can't be used: {error}") from error
        return None
    if marker is not None:
        replay(shard, (recorded for recorded in admitted if recorded.offset >= marker.next_offset))
        check_same(shard, restored.until(len(admitted) and admitted[-1].offset + 1), "a snapshot")
    return marker


def load(shard: Shard, records: Sequence[Record]) -> Marker | None:
    """Read a snapshot into a new shard, as a restore does; its marker, None if there is no snapshot.

    Raises:
        SnapshotUnreadable: it must not be used.
    """
    if not records:
        return None
    if records[-1].key != MARKER_KEY:
        raise SnapshotUnreadable("it does not end with a marker")
    loader = Loader(shard)
    for record in records:
        if record.key != MARKER_KEY:
            loader.put((record.key or b"").decode(), record.value)
    marker = read_marker(records[-1].value)
    for _ in loader.finish(marker.summary):
        pass
    return marker


def check_same(found: Shard, expected: Shard, what: str) -> None:
    """Check that two states are the same, except for how they put what is wrong with an aggregate."""
    has, wanted = found.contents(), expected.contents()
    has["aside"], wanted["aside"] = list(found.aside), list(expected.aside)
    for name in wanted:
        assert has[name] == wanted[name], f"a restore from the log comes to other {name} than {what}: {wanted[name]}"


def restored(admitted: Iterable[Recorded], stop: int, bounds: Bounds) -> Shard:
    """What a partition would have in memory after a restore from the events before an offset."""
    shard = Shard(bounds)
    replay(shard, (recorded for recorded in admitted if recorded.offset < stop))
    return shard


def replay(shard: Shard, events: Iterable[Recorded]) -> None:
    """Take over events. One that nobody can read sets its aggregate aside."""
    for recorded in events:
        if recorded.event is BAD:
            shard.set_aside(recorded.aggregate_id, "it is bad")
        else:
            shard.replay(recorded.aggregate_id, (recorded.event,), recorded.offset)
    shard.settle()
