"""Rows of the read model as resources (contract: `http-api`, Resources). Differences are in the surfaces."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from api.ports import (
    LIVE,
    ActivityRow,
    InstanceRow,
    OccurrenceRow,
    OldestRow,
    StageHistoryRow,
    StartedRow,
    TriggerRow,
    UnreadableWaiting,
    WaitingRow,
    WorkflowRow,
)
from projections.queries.errors import RowUnreadable
from schemas.activities import shown_input
from schemas.error_texts import cut_error
from schemas.resources import (
    ActivityHistory,
    Instance,
    PendingActivity,
    StageHistory,
    StageStatus,
    StartedBy,
    Trigger,
    TriggerOccurrence,
    Waiting,
    Workflow,
    WorkflowConfig,
)

Shown = TypeVar("Shown", bound=Instance)
ShownWorkflow = TypeVar("ShownWorkflow", bound=Workflow)
ShownTrigger = TypeVar("ShownTrigger", bound=Trigger)


def workflow(row: WorkflowRow) -> Workflow:
    """A workflow."""
    return workflow_as(Workflow, row)


def workflow_as(kind: Callable[..., ShownWorkflow], row: WorkflowRow, **more: Any) -> ShownWorkflow:
    """A workflow.

    Args:
        kind: the surface's type.
        row: the row.
        more: the fields that only this type has.
    """
    return kind(
        id=row.id,
        config=WorkflowConfig(
            name=row.name,
            stages=row.stages,
            activity_max_attempts=UNSET if row.max_attempts is None else row.max_attempts,
        ),
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=UNSET if row.deleted_at is None else row.deleted_at,
        **more,
    )


def instance(kind: Callable[..., Shown], row: InstanceRow | StartedRow, **more: Any) -> Shown:
    """An instance.

    Args:
        kind: the surface's type.
        row: the row.
        more: the fields that only this type has.
    """
    return kind(
        id=row.id,
        workflow_id=row.workflow_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        terminated=row.terminated_at is not None,
        terminated_at=UNSET if row.terminated_at is None else row.terminated_at,
        error=UNSET if row.error is None else row.error,
        **more,
    )


def status(row: InstanceRow) -> list[StageStatus]:
    """One entry per started stage, in order."""
    return [
        StageStatus(
            stage=stage.number,
            instance_id=row.id,
            started_at=stage.started_at,
            terminated_at=UNSET if stage.terminated_at is None else stage.terminated_at,
            error=UNSET if stage.error is None else stage.error,
            pending_activities=_pending(row, stage.number),
        )
        for stage in row.stages
    ]


def waiting(row: InstanceRow | OldestRow) -> Waiting | UnsetType:
    """What an instance waits for; left out while it goes on by itself."""
    found = row.waiting
    if not isinstance(found, WaitingRow):
        return UNSET
    return Waiting(
        reason=found.reason,
        name=UNSET if found.name is None else found.name,
        since=found.since,
        until=UNSET if found.until is None else found.until,
        attempt=UNSET if found.attempt is None else found.attempt,
    )


def unreadable(row: InstanceRow) -> str | UnsetType:
    """What of an instance can't be read here, and what to do about it; left out of nearly all."""
    found = row.waiting
    if not isinstance(found, UnreadableWaiting):
        return UNSET
    return cut_error(str(RowUnreadable(f"what instance {row.id} waits for", found.problem)))


def acts(row: WorkflowRow | InstanceRow | TriggerRow) -> Raw | UnsetType:
    """What people did to it, and why; left out when nobody is known."""
    return UNSET if row.acts is None else row.acts


def started_by(row: InstanceRow) -> StartedBy | UnsetType:
    """The occurrence that started an instance; left out of those that clients have started."""
    if row.trigger_id is None or row.occurrence_id is None:
        return UNSET
    return StartedBy(trigger_id=row.trigger_id, occurrence_id=row.occurrence_id)


def _pending(row: InstanceRow, stage: int) -> list[PendingActivity] | UnsetType:
    """The paused activities of a stage, of which there is at most one; left out without any."""
    waiting = row.waiting
    if not isinstance(waiting, WaitingRow) or waiting.pause is None or waiting.pause.stage != stage:
        return UNSET
    pause = waiting.pause
    activity = PendingActivity(
        activity_id=str(pause.index),
        temporal_run_id=row.id,
        name=waiting.name or "",
        attempt=waiting.attempt or pause.max_attempts,
        max_attempts=pause.max_attempts,
        reason=_reason(pause.max_attempts),
        paused_at=waiting.since,
        last_failure=pause.last_failure,
        last_failure_type=UNSET if pause.last_failure_type is None else pause.last_failure_type,
    )
    return [activity]


def _reason(max_attempts: int) -> str:
    return f"ACTIVITY_ATTEMPT_LIMIT:{max_attempts}"


StageShown = TypeVar("StageShown", bound=StageHistory)
ActivityShown = TypeVar("ActivityShown", bound=ActivityHistory)


def stage_history(kind: Callable[..., StageShown], row: StageHistoryRow, **more: Any) -> StageShown:
    """A started stage with its resolved input.

    Args:
        kind: the surface's type.
        row: the stage.
        more: the fields that only this type has.
    """
    return kind(
        name=row.name,
        input=row.input,
        started_at=row.started_at,
        terminated=row.terminated_at is not None,
        terminated_at=UNSET if row.terminated_at is None else row.terminated_at,
        error=UNSET if row.error is None else row.error,
        **more,
    )


def past_retries(row: StageHistoryRow | ActivityRow) -> int | UnsetType:
    """How often an instance had been retried before an earlier pass; left out of what counts now."""
    return UNSET if row.retries == LIVE else row.retries


def activity_history(
    kind: Callable[..., ActivityShown], instance_id: UUID | None, row: ActivityRow, **more: Any
) -> ActivityShown:
    """An activity of a stage. While it runs or waits, it shows its attempt, and when that starts.

    Args:
        kind: the surface's type.
        instance_id: whose activity it is.
        row: the activity.
        more: the fields that only this type has.
    """
    history = kind(
        name=row.name,
        input=_under(row.name, shown_input(row.name, row.input)),
        output=UNSET if row.output is None else _under(row.name, row.output),
        error=UNSET if row.error is None else row.error,
        terminated=row.terminated_at is not None,
        started_at=row.started_at,
        terminated_at=UNSET if row.terminated_at is None else row.terminated_at,
        attempt=row.attempt,
        last_failure=UNSET if row.last_failure is None else row.last_failure,
        next_execution=UNSET if row.next_execution is None else row.next_execution,
        **more,
    )
    if row.max_attempts is None or instance_id is None:
        return history
    return replace(
        history,
        paused=True,
        activity_id=str(row.index),
        temporal_run_id=instance_id,
        pause_reason=_reason(row.max_attempts),
        last_failure_type=UNSET if row.last_failure_type is None else row.last_failure_type,
    )


def trigger(row: TriggerRow) -> Trigger:
    """A trigger."""
    return trigger_as(Trigger, row)


def trigger_as(kind: Callable[..., ShownTrigger], row: TriggerRow, **more: Any) -> ShownTrigger:
    """A trigger; the arguments as in `workflow_as`."""
    return kind(
        id=row.id,
        created_at=row.created_at,
        name=row.name,
        event=row.event,
        version=UNSET if row.version is None else row.version,
        workflow_id=row.workflow_id,
        filter=UNSET if row.filter is None else row.filter,
        vars=UNSET if row.vars is None else row.vars,
        **more,
    )


def occurrence(row: OccurrenceRow) -> TriggerOccurrence:
    """An occurrence, with its instance as it is now."""
    started = row.instance
    return TriggerOccurrence(
        id=row.id,
        trigger_id=row.trigger_id,
        date=row.date,
        workflow_instance_id=UNSET if row.workflow_instance_id is None else row.workflow_instance_id,
        workflow_instance=UNSET if started is None else instance(Instance, started),
        event=row.event,
        error=UNSET if row.error is None else row.error,
    )


def _under(name: str, value: Raw) -> Raw:
    """An object with one key, the activity's name."""
    return Raw(b'{"%s":%s}' % (name.encode(), bytes(value)))
