"""Counts: roll-ups of instances and their stages, which statistics are answered from. Pure.

A count is how many things share a key (`CountKey`). It is always what counting the rows of `instances` and `stages`
would come to, since each batch adds what its rows change:

| what, stage | hour | how many |
|---|---|---|
| a state, -1 | `NOW` | instances that are in this state |
| `started`, -1 | when they started | instances, of the workflow and of all together |
| `succeeded`, `failed` or `aborted`, -1 | when they ended | likewise, by how long they took |
| likewise, the stage's number | when it ended | stages with this number, by how long they took |

So an instance that is retried no longer counts among those that have ended, and counts again when it ends again. A
stage counts once for each time that it ran.

Batches add to table `counts`. When an hour is over, the projections move its counts to `past_counts`, where an hour and
a day are one row each; so a quarter is read as fast as a day. What is asked for is the sum of both.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeVar

from projections.fold import Batch
from projections.rows import Instance, PastStage, Stage
from projections.states import ended_state

NOW: Final = -1
"""In place of an hour: what holds now."""
INSTANCE: Final = -1
"""In place of the number of a stage: the whole instance."""
STARTED: Final = "started"
ALL_WORKFLOWS: Final = "00000000-0000-0000-0000-000000000000"
"""In place of a workflow: all of them together. What happens is counted for the workflow and for all, so that nobody
has to add up very many rows."""

HOURS_PER_DAY: Final = 24
KEPT_DAYS: Final = 8
"""For how long hours are told apart. Of older days only sums are kept; otherwise a year would take as many rows as
twenty-four years."""

_STEPS: Final = (1000, 1600, 2500, 4000, 6300)
BOUNDS: Final[tuple[int, ...]] = tuple(step * 10**power for power in range(10) for step in _STEPS)
"""Where one bucket of durations ends and the next begins, in microseconds: from 1 ms to 72 days, five for each power of
ten. With more there would be more rows to read. Function `duration_bucket` of the read model has the same."""

_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)


class CountKey(NamedTuple):
    """What is counted. See the module."""

    what: str
    stage: int
    hour: int
    """Hours since 1970, in UTC."""
    workflow_id: str
    bucket: int = 0
    """Of how long it took; 0 for what has not ended."""


Counts = Counter[CountKey]
K = TypeVar("K")


class BatchCounts(NamedTuple):
    """What a batch adds, as far as it tells by itself. The rows that it changes tell the rest, when it is written."""

    counts: Counts
    """Of its new instances, and of the stages that these have started and ended."""
    stages: list[Stage]
    """That have started and ended in it, of instances that are older than the batch."""


def counts_of(batch: Batch) -> BatchCounts:
    """What a batch adds."""
    counts: Counts = Counter()
    stages: list[Stage] = []
    for instance in batch.instances.values():
        if instance.created_at is not None:
            add_instance(counts, instance)
    for stage in batch.stages.values():
        if stage.started_at is not None and stage.terminated_at is not None:
            instance = batch.instances[stage.instance_id]
            if instance.workflow_id is None:
                stages.append(stage)
            else:
                add_stage(counts, stage, instance.workflow_id)
    return BatchCounts(counts, stages)


def hour_of(at: datetime) -> int:
    """The hour that an instant is in, in hours since 1970."""
    return int(at.timestamp() // 3600)


def moment_of(hour: int) -> datetime:
    """When an hour begins."""
    return _EPOCH + hour * _HOUR


def bucket_of(started: datetime, ended: datetime) -> int:
    """The bucket of how long something took: how many of `BOUNDS` are not above that."""
    return bisect_right(BOUNDS, (ended - started) // _MICROSECOND)


def add_instance(counts: Counts, instance: Instance, times: int = 1) -> None:
    """Count an instance, or take one out.

    Args:
        counts: are changed.
        instance: the whole row.
        times: 1 or -1.
    """
    workflow_id, state = instance.workflow_id, instance.state
    started, ended = instance.created_at, instance.terminated_at
    if workflow_id is None or started is None:
        return
    hour = hour_of(started)
    counts[CountKey(STARTED, INSTANCE, hour, workflow_id)] += times
    counts[CountKey(STARTED, INSTANCE, hour, ALL_WORKFLOWS)] += times
    if state is None:  # written by an older build, which told no states
        return
    counts[CountKey(state, INSTANCE, NOW, workflow_id)] += times
    if ended is not None:
        hour, bucket = hour_of(ended), bucket_of(started, ended)
        counts[CountKey(state, INSTANCE, hour, workflow_id, bucket)] += times
        counts[CountKey(state, INSTANCE, hour, ALL_WORKFLOWS, bucket)] += times


def take_start_out(counts: Counts, instance: Instance) -> None:
    """Don't count the start of an instance that was counted. Of one that was restored, the row begins later."""
    if instance.workflow_id is not None and instance.created_at is not None:
        hour = hour_of(instance.created_at)
        counts[CountKey(STARTED, INSTANCE, hour, instance.workflow_id)] -= 1
        counts[CountKey(STARTED, INSTANCE, hour, ALL_WORKFLOWS)] -= 1


def add_stage(counts: Counts, stage: Stage | PastStage, workflow_id: str, times: int = 1) -> None:
    """Count a stage if it has ended, or take one out.

    Args:
        counts: are changed.
        stage: the whole row.
        workflow_id: of its instance.
        times: 1 or -1.
    """
    if (key := stage_key(stage, workflow_id)) is not None:
        counts[key] += times


def stage_key(stage: Stage | PastStage, workflow_id: str = "") -> CountKey | None:
    """Where a stage counts; None if it has not ended."""
    started, ended = stage.started_at, stage.terminated_at
    if started is None or ended is None:
        return None
    return CountKey(ended_state(stage.error), stage.number, hour_of(ended), workflow_id, bucket_of(started, ended))


def by_step(hour: int, step: int) -> int:
    """The hour in which the step begins that an hour is in; `NOW` stays.

    Args:
        hour: which.
        step: how many hours it has: 1 or 24.
    """
    return hour if hour == NOW else hour // step * step


def by_day(hour: int) -> int:
    """The hour in which the day begins that an hour is in; `NOW` stays."""
    return by_step(hour, HOURS_PER_DAY)


def kept_since(now_hour: int) -> int:
    """The first hour that is still told apart; of days before, only sums are kept."""
    return by_day(now_hour) - KEPT_DAYS * HOURS_PER_DAY


def add_up(counts: MutableMapping[K, int], more: Iterable[tuple[K, int]]) -> None:
    """Add to counts; what is 0 then is left out."""
    for key, count in more:
        if total := counts.get(key, 0) + count:
            counts[key] = total
        else:
            counts.pop(key, None)


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """How long it took at most, for this share of what is counted; None when nothing is.

    Args:
        buckets: how many, by bucket.
        share: 0.5 for the median.

    Returns:
        Seconds: the middle of the bucket in which it lies, so it is off by 27 of 100 at most, if it is above 1 ms.
    """
    left = share * sum(buckets.values())
    if left <= 0:
        return None
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            return _middle(bucket)
    return None


def _middle(bucket: int) -> float:
    """The middle of a bucket, in seconds."""
    if bucket == 0:
        return BOUNDS[0] / 2e6
    low = BOUNDS[bucket - 1]
    high = BOUNDS[bucket] if bucket < len(BOUNDS) else low
    return math.sqrt(low * high) * 1e-6
