"""Tables `counts` and `past_counts` in memory, as `sql/project/counts.sql` and `sql/merge_counts.sql` leave them.

Here a count is the sum of all writers, and those that are 0 are left out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from projections.counting import (
    HOURS_PER_DAY,
    CountKey,
    Counts,
    add_instance,
    add_stage,
    add_up,
    by_step,
    counts_of,
    kept_since,
    take_start_out,
)
from projections.fold import Batch
from projections.rows import Instance, Stage


class PastKey(NamedTuple):
    """A bucket of a row of `past_counts`."""

    step: int
    """Hours in it: 1 or 24."""
    key: CountKey


class Changing(NamedTuple):
    """The rows that a batch changes, as they were before."""

    instances: list[Instance]
    stages: list[Stage]


def changing(batch: Batch, instances: Mapping[str, Instance], stages: Mapping[tuple[str, int], Stage]) -> Changing:
    """The rows of these tables that a batch is about to change."""
    ids = [id for id, row in batch.instances.items() if row.created_at is None and id in instances]
    keys = [key for key, row in batch.stages.items() if row.started_at is None and key in stages]
    return Changing([instances[id] for id in ids], [stages[key] for key in keys])


def added(
    batch: Batch, before: Changing, instances: Mapping[str, Instance], stages: Mapping[tuple[str, int], Stage]
) -> Counts:
    """What a batch has added to the counts.

    Args:
        batch: what was written.
        before: what it has changed.
        instances: the table, after it was written.
        stages: likewise.
    """
    counts, ended = counts_of(batch)
    for row in before.instances:
        add_instance(counts, row, -1)
        add_instance(counts, instances[row.id])
    changed = [(row, -1) for row in before.stages]
    changed += [(stages[row.instance_id, row.number], 1) for row in before.stages]
    for stage, times in [*changed, *((stage, 1) for stage in ended)]:
        instance = instances.get(stage.instance_id)
        if instance is not None and instance.workflow_id is not None:
            add_stage(counts, stage, instance.workflow_id, times)
    return counts


def add_restored(counts: Counts, restored: Iterable[Instance]) -> None:
    """Count instances that were deleted before they were retried. They had started before."""
    for row in restored:
        add_instance(counts, row)
        take_start_out(counts, row)


def merge(counts: dict[CountKey, int], past: dict[PastKey, int], now_hour: int) -> None:
    """Move the counts of hours that are over, and delete hours that are long past.

    Args:
        counts: table `counts`.
        past: table `past_counts`.
        now_hour: the present hour.
    """
    for key in [key for key in counts if 0 <= key.hour < now_hour - 1]:
        count = counts.pop(key)
        places = (PastKey(step, key._replace(hour=by_step(key.hour, step))) for step in (1, HOURS_PER_DAY))
        add_up(past, ((place, count) for place in places))
    first = kept_since(now_hour)
    for old in [old for old in past if old.step == 1 and old.key.hour < first]:
        del past[old]


def in_steps(counts: Mapping[CountKey, int], past: Mapping[PastKey, int], step: int) -> Counts:
    """All counts, in steps of 1 or 24 hours."""
    added_up: Counts = Counter()
    add_up(added_up, ((key._replace(hour=by_step(key.hour, step)), count) for key, count in counts.items()))
    add_up(added_up, ((old.key, count) for old, count in past.items() if old.step == step))
    return added_up
