"""Rows of the read model as resources (contract: `http-api`, Resources). Differences are in the surfaces."""

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import UNSET, Raw

from api.ports import ActivityRow, InstanceRow, OccurrenceRow, StageHistoryRow, StartedRow, TriggerRow, WorkflowRow
from schemas.activities import shown_input
from schemas.resources import (
    ActivityHistory,
    Instance,
    StageHistory,
    StageStatus,
    Trigger,
    TriggerOccurrence,
    Workflow,
    WorkflowConfig,
)

Shown = TypeVar("Shown", bound=Instance)


def workflow(row: WorkflowRow) -> Workflow:
    """A workflow."""
    return Workflow(
        id=row.id,
        config=WorkflowConfig(name=row.name, stages=row.stages),
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=UNSET if row.deleted_at is None else row.deleted_at,
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
        )
        for stage in row.stages
    ]


def stage_history(row: StageHistoryRow) -> StageHistory:
    """A started stage with its resolved input."""
    return StageHistory(
        name=row.name,
        input=row.input,
        started_at=row.started_at,
        terminated=row.terminated_at is not None,
        terminated_at=UNSET if row.terminated_at is None else row.terminated_at,
        error=UNSET if row.error is None else row.error,
    )


def activity_history(row: ActivityRow) -> ActivityHistory:
    """An activity of a stage. While it runs or waits, it shows its attempt, and when that starts."""
    return ActivityHistory(
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
    )


def trigger(row: TriggerRow) -> Trigger:
    """A trigger."""
    return Trigger(
        id=row.id,
        created_at=row.created_at,
        name=row.name,
        event=row.event,
        version=UNSET if row.version is None else row.version,
        workflow_id=row.workflow_id,
        filter=UNSET if row.filter is None else row.filter,
        vars=UNSET if row.vars is None else row.vars,
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
