"""The state of a partition that is at work is the state that a restore of the same log would come to, whole."""

from collections.abc import Iterable
from typing import Any

from engine.aggregates import Aggregates, Bounds
from engine.partition import Partition
from schemas.records import Recorded


def check_restorable(partition: Partition, admitted: Iterable[Recorded], bounds: Bounds) -> None:
    """Compare what a partition has in memory with what the log says.

    Args:
        partition: which; nothing is compared before it is restored.
        admitted: the events of its log that count, in order.
        bounds: how much it remembers.

    Raises:
        AssertionError: they differ.
    """
    if not partition.restored:
        return
    live, fresh = state_of(partition), restored(admitted, partition.end, bounds)
    for name, expected in fresh.items():
        assert live[name] == expected, f"a restore would come to other {name}: {expected}, not {live[name]}"


def state_of(partition: Partition) -> dict[str, Any]:
    """All that a partition has in memory, to be compared."""
    return _dump(partition._aggregates)


def restored(admitted: Iterable[Recorded], stop: int, bounds: Bounds) -> dict[str, Any]:
    """What a partition would have in memory after a restore from the events before an offset."""
    aggregates = Aggregates(bounds)
    for recorded in admitted:
        if recorded.offset >= stop:
            break
        aggregates.restore(recorded)
    aggregates.settle()
    return _dump(aggregates)


def _dump(aggregates: Aggregates) -> dict[str, Any]:
    return {
        "workflows": aggregates._workflows,
        "triggers": aggregates._triggers,
        "fired": aggregates._fired,
        "pending": aggregates._pending,
        "sequences": aggregates._sequences,
        "waiting": (aggregates.waiting, aggregates.waiting_bytes),
        # Those with a call in flight are kept for its result.
        "instances": {instance.id: instance for instance in aggregates.instances() if not instance.ended},
        "identities": aggregates._identities._known,
    }
