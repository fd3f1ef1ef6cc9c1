"""Counts of the read model in memory: what `sql/project/counts.sql` and `merge_counts.sql` leave in table `counts`.

Here a count is the sum of all writers, and those that are 0 are left out.
"""

from collections.abc import Mapping
from typing import NamedTuple

from projections.counting import CountKey, Counts, add_instance, add_stage, by_day, counts_of
from projections.fold import Batch
from projections.rows import Instance, Stage


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


def add(counts: dict[CountKey, int], more: Mapping[CountKey, int]) -> None:
    """Change the counts of the table."""
    for key, count in more.items():
        total = counts.get(key, 0) + count
        if total:
            counts[key] = total
        else:
            counts.pop(key, None)


def merge_days(counts: dict[CountKey, int], before_hour: int) -> None:
    """Make the hours before one into days."""
    for key in [key for key in counts if 0 <= key.hour < before_hour and by_day(key.hour) != key.hour]:
        add(counts, {key._replace(hour=by_day(key.hour)): counts.pop(key)})
