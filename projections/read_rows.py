"""What the read model answers: rows that render quickly. Times are UTC with microseconds, JSON is verbatim."""

from datetime import datetime
from typing import Annotated, Final, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from msgspec import Meta, Raw, Struct

Row = TypeVar("Row")

LIVE: Final = 2**31 - 1
"""Stands for the number of retries in the places of what counts now. The true number grows with each retry: a history
that is read in parts would show something twice."""


class Slice(Struct, Generic[Row], frozen=True):
    """Some consecutive rows of a list."""

    rows: list[Row]
    more: bool = False
    """Whether the list goes on behind them, or in front of them when it is read backwards."""
    reached: "RowPosition | None" = None
    """Where it goes on, if that is not next to the last of them: up to there nothing else was found."""
    preceded: bool | None = None
    """Whether there are rows at the position that they are next to, or on its other side; None if that was not read."""


class RowPosition(NamedTuple):
    """The place of a row in a list: newest first by creation, then by id."""

    created_at: Annotated[datetime, Meta(tz=True)]
    id: UUID


class HistoryPlace(NamedTuple):
    """The place of a row in a history: by number, then by pass."""

    number: int
    """Of the stage, or the index of the activity."""
    retries: int = LIVE
    """How often the instance had been retried before the pass; `LIVE` for what counts now."""


BEFORE_ALL: Final = HistoryPlace(-1)
"""In front of every row."""


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


class UnreadableWaiting(Struct, frozen=True):
    """What an instance waits for, where this build can't read it: a newer one has written it, or its row is damaged."""

    problem: str


class Retryable(Struct, frozen=True, array_like=True):
    """What a retry of an instance that ended with an error goes on with, beside its rows; a list in the column."""

    version: int
    """That of its last event."""
    arrived: list[int] = []
    """Numbers of the stages whose event has come, and that have not ended."""


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
    waiting: WaitingRow | UnreadableWaiting | None = None
    """What it waits for; None while it goes on by itself, and after its end."""
    acts: Raw | None = None
    """What people did to it, and why, as in a workflow."""
    retries: int = 0
    """How often it was retried."""

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
    retries: int = LIVE

    @property
    def place(self) -> HistoryPlace:
        """Its place in the history."""
        return HistoryPlace(self.number, self.retries)


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
    """The stack's errorCode of the last failure, while it is paused and once it has failed for good."""
    retries: int = LIVE

    @property
    def place(self) -> HistoryPlace:
        """Its place in the history of its stage."""
        return HistoryPlace(self.index, self.retries)


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


class EndedActivityRow(Struct, frozen=True):
    """An activity of the stage that did not succeed."""

    index: int
    name: str
    input: str
    """JSON."""
    output: str | None
    """JSON."""
    ended: bool
    error: str | None
    last_failure: str | None
    code: str | None
    key_number: int
    key_used: bool


class EndedStageRow(Struct, frozen=True):
    """The last stage that an instance has started."""

    number: int
    terminated_at: datetime | None
    error: str | None


class DeletedInstance(Struct, frozen=True):
    """An instance that ended long ago, and was started by a request with a key."""

    id: UUID
    request: str
    """Digest of the request."""


class KnownRequests(NamedTuple):
    """What is known of an instance's requests with a key."""

    digest: str | None
    """Of the one with the key that was asked for; None if there was none."""
    total: int
    """How many there were altogether."""


class RetryableRow(Struct, frozen=True):
    """What a retry of an instance goes on with, all of one moment."""

    workflow_id: UUID
    stages: Raw
    """The definition."""
    variables: Raw | None
    request: str | None
    """Digest of the request that ran it."""
    max_attempts: int | None
    terminated_at: datetime | None
    error: str | None
    retries: int
    retryable: Retryable | None
    """None while it runs, after a success, and in rows of older builds."""
    stage: EndedStageRow | None
    """None if none was started."""
    activities: list[EndedActivityRow]
    """Those of this stage, in order."""
    requests: list[tuple[str, str]]
    """Keys and digests of requests that were carried out."""
    earlier_requests: int
    """How many others were."""
    next_offset: int
    """The events of its partition below this are in all of this."""


class Rejection(Struct, frozen=True):
    """Why a command changed nothing; `code` is one of `schemas.rejections`."""

    code: str
    message: str
