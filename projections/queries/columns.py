"""The columns of the statements in `sql`, in their order, and the rows that they become.

`followed` is the last column of lists: whether one more row follows.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from projections.acts import acts_of
from projections.read_rows import (
    ActivityRow,
    EndedActivityRow,
    EndedStageRow,
    InstanceRow,
    OccurrenceRow,
    Retryable,
    RetryableRow,
    StageHistoryRow,
    StageRow,
    StartedRow,
    TriggerRow,
    UnreadableWaiting,
    WaitingRow,
    WorkflowRow,
)

_decode_waiting = msgspec.json.Decoder(WaitingRow).decode
_decode_retryable = msgspec.json.Decoder(Retryable).decode
_decode_activities = msgspec.json.Decoder(list[EndedActivityRow]).decode
_decode_requests = msgspec.json.Decoder(list[tuple[str, str]]).decode


class WorkflowColumns(NamedTuple):
    """Of `workflows` and `workflows_page`."""

    id: UUID
    name: str
    definition: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    request: str | None
    max_attempts: int | None
    acts: str | None
    followed: bool | None = None

    def row(self) -> WorkflowRow:
        """As a row."""
        return WorkflowRow(
            self.id,
            self.name,
            _raw(self.definition),
            self.created_at,
            self.updated_at,
            self.deleted_at,
            self.request,
            self.max_attempts,
            acts_of(self.acts),
        )


class InstanceColumns(NamedTuple):
    """Of `instances` and `instances_page`: an instance, its workflow, and its stages as arrays (None for no stage)."""

    id: UUID
    workflow_id: UUID
    created_at: datetime
    updated_at: datetime
    terminated_at: datetime | None
    error: str | None
    request: str | None
    variables: str | None
    trigger_id: UUID | None
    occurrence_id: UUID | None
    activity: str | None
    waiting: str | None
    acts: str | None
    retries: int | None
    workflow_name: str
    workflow_definition: str
    workflow_created_at: datetime
    workflow_updated_at: datetime
    workflow_deleted_at: datetime | None
    workflow_request: str | None
    workflow_max_attempts: int | None
    stage_numbers: list[int] | None
    stage_starts: list[datetime]
    stage_ends: list[datetime | None]
    stage_errors: list[str | None]
    followed: bool | None = None
    matches: bool = True
    stopped: bool = False
    """These two when it was searched for, see `found_instances`."""

    @property
    def is_deleted(self) -> bool:
        """Whether it is one of `keyed_instances` that is deleted. Then there are no others than `id` and `request`."""
        return self.workflow_id is None

    def row(self) -> InstanceRow:
        """As a row."""
        workflow = workflow_of(self.workflow_id, *self[14:21])
        stages: list[StageRow] = []
        if self.stage_numbers is not None:
            stages = list(map(StageRow, self.stage_numbers, self.stage_starts, self.stage_ends, self.stage_errors))
        return instance_of(workflow, stages, *self[:14])


class StageColumns(NamedTuple):
    """Of `history`."""

    number: int
    retries: int
    name: str
    input: str
    started_at: datetime
    terminated_at: datetime | None
    error: str | None
    followed: bool | None

    def row(self) -> StageHistoryRow:
        """As a row."""
        return StageHistoryRow(
            self.number, self.name, _raw(self.input), self.started_at, self.terminated_at, self.error, self.retries
        )


class ActivityColumns(NamedTuple):
    """Of `activities`."""

    activity_index: int
    retries: int
    name: str
    input: str
    output: str | None
    attempt: int
    started_at: datetime
    terminated_at: datetime | None
    error: str | None
    last_failure: str | None
    next_execution: datetime | None
    paused_at: datetime | None
    max_attempts: int | None
    last_failure_type: str | None
    followed: bool | None

    def row(self) -> ActivityRow:
        """As a row."""
        return ActivityRow(
            self.activity_index,
            self.name,
            _raw(self.input),
            None if self.output is None else _raw(self.output),
            self.attempt,
            self.started_at,
            self.terminated_at,
            self.error,
            self.last_failure,
            self.next_execution,
            self.paused_at,
            self.max_attempts,
            self.last_failure_type,
            self.retries,
        )


class RetryableColumns(NamedTuple):
    """Of `retryable`."""

    workflow_id: UUID
    definition: str
    variables: str | None
    request: str | None
    max_attempts: int | None
    terminated_at: datetime | None
    error: str | None
    retries: int | None
    retryable: str | None
    stage_number: int | None
    stage_terminated_at: datetime | None
    stage_error: str | None
    activities: str | None
    requests: str | None
    count_requests: int
    next_offset: int

    def row(self) -> RetryableRow:
        """As a row."""
        return RetryableRow(
            self.workflow_id,
            _raw(self.definition),
            None if self.variables is None else _raw(self.variables),
            self.request,
            self.max_attempts,
            self.terminated_at,
            self.error,
            self.retries or 0,
            None if self.retryable is None else _decode_retryable(self.retryable),
            None
            if self.stage_number is None
            else EndedStageRow(self.stage_number, self.stage_terminated_at, self.stage_error),
            [] if self.activities is None else _decode_activities(self.activities),
            [] if self.requests is None else _decode_requests(self.requests),
            self.count_requests if self.requests is None else 0,
            self.next_offset,
        )


class TriggerColumns(NamedTuple):
    """Of `triggers` and `triggers_page`."""

    id: UUID
    name: str
    event: str
    version: str | None
    workflow_id: UUID
    filter: str | None
    vars: str | None
    created_at: datetime
    deleted_at: datetime | None
    request: str | None
    acts: str | None
    followed: bool | None = None

    def row(self) -> TriggerRow:
        """As a row."""
        return TriggerRow(
            self.id,
            self.name,
            self.event,
            self.version,
            self.workflow_id,
            self.filter,
            None if self.vars is None else _raw(self.vars),
            self.created_at,
            self.deleted_at,
            self.request,
            acts_of(self.acts),
        )


class OccurrenceColumns(NamedTuple):
    """Of `occurrences_page`: an occurrence, and the instance that it started (None until that is in the read model)."""

    id: UUID
    trigger_id: UUID
    date: datetime
    workflow_instance_id: UUID | None
    event: str
    error: str | None
    instance_id: UUID | None
    instance_workflow_id: UUID
    instance_created_at: datetime
    instance_updated_at: datetime
    instance_terminated_at: datetime | None
    instance_error: str | None
    followed: bool | None

    def row(self) -> OccurrenceRow:
        """As a row."""
        started: StartedRow | None = None
        if self.instance_id is not None:
            started = StartedRow(
                self.instance_id,
                self.instance_workflow_id,
                self.instance_created_at,
                self.instance_updated_at,
                self.instance_terminated_at,
                self.instance_error,
            )
        return OccurrenceRow(
            self.id, self.trigger_id, self.date, self.workflow_instance_id, _raw(self.event), self.error, started
        )


def workflow_of(
    id: UUID,
    name: str,
    definition: str,
    created_at: datetime,
    updated_at: datetime,
    deleted_at: datetime | None,
    request: str | None,
    max_attempts: int | None,
) -> WorkflowRow:
    """The workflow of an instance, of its columns."""
    return WorkflowRow(id, name, _raw(definition), created_at, updated_at, deleted_at, request, max_attempts)


def instance_of(
    workflow: WorkflowRow,
    stages: list[StageRow],
    id: UUID,
    workflow_id: UUID,
    created_at: datetime,
    updated_at: datetime,
    terminated_at: datetime | None,
    error: str | None,
    request: str | None,
    variables: str | None,
    trigger_id: UUID | None,
    occurrence_id: UUID | None,
    activity: str | None,
    waiting: str | None,
    acts: str | None,
    retries: int | None,
) -> InstanceRow:
    """An instance, of its columns."""
    return InstanceRow(
        id,
        workflow_id,
        created_at,
        updated_at,
        terminated_at,
        error,
        workflow,
        stages,
        request,
        None if variables is None else _raw(variables),
        trigger_id,
        occurrence_id,
        None if waiting is None else waiting_row(waiting, activity),
        acts_of(acts),
        retries or 0,
    )


def waiting_row(text: str, activity: str | None) -> WaitingRow | UnreadableWaiting:
    """What an instance waits for. The events of retries don't name their activity.

    One that can't be read takes nothing else along: the instance, and the others of a list, are shown without it.
    """
    try:
        waiting = _decode_waiting(text)
    except msgspec.MsgspecError as error:
        return UnreadableWaiting(str(error))
    return replace(waiting, name=activity) if waiting.reason == "retry" else waiting


def _raw(json: str) -> Raw:
    return Raw(json.encode())
