"""The state of a partition that is at work is the state that a restore of the same log would come to, whole."""

from collections.abc import Iterable

from engine.core.duplicates import Bounds
from engine.core.shard import Shard
from engine.partition import Partition
from schemas.records import Recorded


def check_restorable(partition: Partition, admitted: Iterable[Recorded], bounds: Bounds) -> None:
    """Compare what a partition has in memory with what the log says.

    Args:
        partition: which; nothing is compared before it is restored, or while its turn is on the way to the log.
        admitted: the events of its log that count, in order.
        bounds: how much it remembers.

    Raises:
        AssertionError: they differ.
    """
    if not partition.restored or partition.in_turn:
        return
    live, fresh = partition.shard.contents(), restored(admitted, partition.end, bounds).contents()
    for name, expected in fresh.items():
        assert live[name] == expected, f"a restore would come to other {name}: {expected}, not {live[name]}"


def restored(admitted: Iterable[Recorded], stop: int, bounds: Bounds) -> Shard:
    """What a partition would have in memory after a restore from the events before an offset."""
    shard = Shard(bounds)
    for recorded in admitted:
        if recorded.offset >= stop:
            break
        shard.replay(recorded.aggregate_id, (recorded.event,), recorded.offset)
    shard.settle()
    return shard
