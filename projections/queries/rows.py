"""What the read model answers: rows that render quickly. Times are UTC with microseconds, JSON is verbatim."""

from datetime import datetime
from typing import Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from msgspec import Raw, Struct

Row = TypeVar("Row")


class Slice(Struct, Generic[Row], frozen=True):
    """Some consecutive rows of a list."""

    rows: list[Row]
    more: bool = False
    """Whether the list goes on behind them, or in front of them when it is read backwards."""
    reached: "RowPosition | None" = None
    """Where it goes on, if that is not next to the last of them: up to there nothing else was found."""


class RowPosition(NamedTuple):
    """The place of a row in a list: newest first by creation, then by id."""

    created_at: datetime
    id: UUID


class WorkflowRow(Struct, frozen=True):
    """A workflow; `stages` is the JSON list as it was created."""

    id: UUID
    name: str
    stages: Raw
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    request: str | None = None
    """Digest of the request that carried an `Idempotency-Key`."""
    max_attempts: int | None = None
    """`activityMaxAttempts` of the definition."""
    acts: Raw | None = None
    """Who created and deleted it, and why: a JSON list of `schemas.resources.Act`. None when nobody is known, and in
    the workflow of an instance."""

    @property
    def position(self) -> RowPosition:
        """Its place in lists."""
        return RowPosition(self.created_at, self.id)


class Pause(Struct, frozen=True, array_like=True):
    """Why an activity is paused, and which."""

    stage: int
    index: int
    max_attempts: int
    last_failure: str
    last_failure_type: str | None = None


class WaitingRow(Struct, frozen=True, array_like=True):
    """What an instance waits for; a list of its fields in the column."""

    reason: Literal["event", "delay", "retry", "resume"]
    since: datetime
    name: str | None = None
    """Of the event, or of the activity."""
    until: datetime | None = None
    """When a delay ends, or the next attempt starts."""
    attempt: int | None = None
    """The attempt that comes next, or the one that failed last."""
    pause: Pause | None = None
    """Only when it waits for a person."""


class StageRow(Struct, frozen=True, array_like=True):
    """A started stage as an instance's status shows it; a list of its fields in announcements."""

    number: int
    started_at: datetime
    terminated_at: datetime | None = None
    error: str | None = None


class InstanceRow(Struct, frozen=True):
    """An instance with its workflow as it is now, and its started stages in order."""

    id: UUID
    workflow_id: UUID
    created_at: datetime
    updated_at: datetime
    terminated_at: datetime | None
    error: str | None
    workflow: WorkflowRow
    stages: list[StageRow]
    request: str | None = None
    """Digest of the request that carried an `Idempotency-Key`."""
    variables: Raw | None = None
    """The JSON object that it was started with; None where the read model does not know it."""
    trigger_id: UUID | None = None
    """The trigger that started it."""
    occurrence_id: UUID | None = None
    """Likewise: its occurrence."""
    waiting: WaitingRow | None = None
    """What it waits for; None while it goes on by itself, and after its end."""
    acts: Raw | None = None
    """What people did to it, and why, as in a workflow."""

    @property
    def position(self) -> RowPosition:
        """Its place in lists."""
        return RowPosition(self.created_at, self.id)


class StageHistoryRow(Struct, frozen=True):
    """A started stage as the history shows it, with the `name` that it has there: `RunSend` and the like."""

    number: int
    name: str
    input: Raw
    started_at: datetime
    terminated_at: datetime | None = None
    error: str | None = None


class ActivityRow(Struct, frozen=True):
    """An activity of a stage. `attempt` is the one that runs, comes next at `next_execution`, or was the last."""

    index: int
    name: str
    input: Raw
    output: Raw | None
    attempt: int
    started_at: datetime
    terminated_at: datetime | None = None
    error: str | None = None
    last_failure: str | None = None
    next_execution: datetime | None = None
    paused_at: datetime | None = None
    """When it was paused; None while it is not."""
    max_attempts: int | None = None
    """The limit for which it is paused."""
    last_failure_type: str | None = None
    """The stack's errorCode of the last failure, while it is paused."""


class TriggerRow(Struct, frozen=True):
    """A trigger; `vars` is the JSON object of expressions as it was created, None when none was given."""

    id: UUID
    name: str
    event: str
    version: str | None
    workflow_id: UUID
    filter: str | None
    vars: Raw | None
    created_at: datetime
    deleted_at: datetime | None = None
    request: str | None = None
    """Digest of the request that carried an `Idempotency-Key`."""
    acts: Raw | None = None
    """As in a workflow."""

    @property
    def position(self) -> RowPosition:
        """Its place in lists."""
        return RowPosition(self.created_at, self.id)


class StartedRow(Struct, frozen=True):
    """An instance that a trigger started, as it is now."""

    id: UUID
    workflow_id: UUID
    created_at: datetime
    updated_at: datetime
    terminated_at: datetime | None = None
    error: str | None = None


class OccurrenceRow(Struct, frozen=True):
    """What a trigger did about a message: it started an instance, or failed with `error`."""

    id: UUID
    trigger_id: UUID
    date: datetime
    workflow_instance_id: UUID | None
    event: Raw
    """The message, a JSON object."""
    error: str | None = None
    instance: StartedRow | None = None
    """None when nothing was started, and until the start is in the read model."""

    @property
    def position(self) -> RowPosition:
        """Its place in lists."""
        return RowPosition(self.date, self.id)


class Rejection(Struct, frozen=True):
    """Why a command changed nothing; `code` is one of `schemas.rejections`."""

    code: str
    message: str
