"""HTTP resources of statistics (`GET /v2/stats`)."""

from typing import Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from schemas.resources import Instant, Waiting

Step = Literal["hour", "day"]


class Durations(Struct, frozen=True, kw_only=True, rename={"p50": "p50Seconds", "p95": "p95Seconds"}):
    """How many have ended, and how long they took: half of them at most `p50Seconds`, 95 of 100 at most `p95Seconds`.

    Both are in seconds, and off by a quarter or a little more at most. They are missing when the count is 0.
    """

    count: int
    p50: float | UnsetType = UNSET
    p95: float | UnsetType = UNSET


class Outcomes(Struct, frozen=True, kw_only=True):
    """Those that have ended, by how they did."""

    succeeded: Durations
    failed: Durations
    aborted: Durations


class StateCounts(Struct, frozen=True, kw_only=True):
    """How many instances are in which state now."""

    running: int = 0
    waiting: int = 0
    delayed: int = 0
    retrying: int = 0
    paused: int = 0
    succeeded: int = 0
    failed: int = 0
    aborted: int = 0


class StatsStep(Struct, frozen=True, kw_only=True, rename={"start": "from"}):
    """What has happened in an hour or a day: instances that were started in it, and those that have ended in it."""

    start: Instant
    started: int
    ended: Outcomes


class StageStep(Struct, frozen=True, kw_only=True, rename={"start": "from"}):
    """Stages with one number that have ended in an hour or a day."""

    start: Instant
    ended: Outcomes


class StageStats(Struct, frozen=True, kw_only=True):
    """Stages with one number, in all instances of a workflow. Steps in which none has ended are left out."""

    stage: int
    ended: Outcomes
    steps: list[StageStep]


class WorkflowStats(Struct, frozen=True, kw_only=True, rename={"workflow_id": "workflowID"}):
    """In which states the instances of a workflow are now."""

    workflow_id: UUID
    name: str
    states: StateCounts


class OldestInstance(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"instance_id": "instanceID", "workflow_id": "workflowID", "created_at": "createdAt"},
):
    """Of the instances that are in a state now, the one that was started first."""

    state: Literal["running", "waiting", "delayed", "retrying", "paused"]
    instance_id: UUID
    workflow_id: UUID
    created_at: Instant
    waiting: Waiting | UnsetType = UNSET


class Stats(Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"} | {"omitted": "omittedWorkflows"}):
    """How many instances there are, and what has happened within some time, which is cut into hours or days of UTC.

    An instance that was retried counts where it ends at last. `workflows` begins with those that have most instances
    which have not ended; `omittedWorkflows` says how many are not listed. `stages` is there when a single workflow is
    asked for.
    """

    start: Instant
    end: Instant
    step: Step
    states: StateCounts
    oldest: list[OldestInstance]
    started: int
    ended: Outcomes
    steps: list[StatsStep]
    workflows: list[WorkflowStats]
    omitted: int | UnsetType = UNSET
    stages: list[StageStats] | UnsetType = UNSET
