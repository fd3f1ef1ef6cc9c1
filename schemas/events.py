"""Events: what has happened. One record on topic `events` each, keyed by the aggregate's id; the log is the truth.

All times are UTC, microseconds. Events that are published name their workflow, so that the publisher needs no state.
Events that follow from a command of a person say `by` whom and for what `reason`, as the command does; both are None
when nobody and nothing is known, and in events of older builds.
An event's meaning is frozen once released: a change is a new schema version with an upcaster (`schemas.upcasters`).
"""

from datetime import datetime
from typing import Any

from msgspec import Raw, Struct

from schemas.commands import SubmitAbort, SubmitEvent, SubmitRun
from schemas.ended_activities import KeptActivity

CANCELED = "canceled"
"""Error of everything that an abort ends (contract: workflows, Abort)."""


class WorkflowCreated(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workflow exists from here on."""

    at: datetime
    name: str
    stages: list[dict[str, Any]]
    request_digest: str | None = None
    max_attempts: int | None = None
    """`activityMaxAttempts` of the definition; None when it has none."""
    by: str | None = None
    reason: str | None = None


class WorkflowDeleted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workflow can't be run any more; its running instances go on."""

    at: datetime
    by: str | None = None
    reason: str | None = None


class InstanceStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An instance of a workflow began, with the definition it keeps."""

    at: datetime
    workflow_id: str
    stages: Raw
    """The definition, as JSON: most readers pass it on or over."""
    variables: dict[str, str]
    request_digest: str | None = None
    source: str | None = None
    """The partition of the event log whose event at offset `sequence` it follows from; None for a client's command."""
    sequence: int = 0
    max_attempts: int | None = None
    """As in `WorkflowCreated`."""
    trigger_id: str | None = None
    """The trigger that started it; None for a client's command, and in events of older builds."""
    occurrence_id: str | None = None
    """Likewise: the trigger's occurrence."""
    by: str | None = None
    reason: str | None = None


class StageStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The instance entered a stage."""

    at: datetime
    workflow_id: str
    number: int
    name: str
    """As the history shows it: `RunSend`, …"""
    input: dict[str, Any]
    """The resolved stage as the history shows it; the fields as given when they could not be resolved."""
    wait_until: datetime | None = None
    """When a delay ends."""


class StageEnded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The running stage succeeded, or failed with `error`."""

    at: datetime
    workflow_id: str
    number: int
    error: str | None = None


class EventReceived(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event was sent to the instance."""

    at: datetime
    name: str
    payload: dict[str, Any] = {}
    stage: int | None = None
    """Number of the `wait_event` stage that takes it, running or still to come; None when none does."""
    request_key: str | None = None
    request_digest: str | None = None
    by: str | None = None
    reason: str | None = None


class ActivityStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The running stage needs a call to the stack; its first attempt follows."""

    at: datetime
    stage: int
    index: int
    """Position among the stage's activities, from 0."""
    name: str
    input: dict[str, Any]
    key_number: int = 0
    """Which idempotency key its calls have: that of earlier passes, or one that is new in this pass (see
    `InstanceRetried`). The first one is 0."""
    key_used: bool = False
    """Whether a call of an earlier pass has had this key, so that the stack may know it."""


class ActivityFailed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attempt failed and another one follows at `retry_at`."""

    at: datetime
    stage: int
    index: int
    attempt: int
    """The attempt that failed, from 1."""
    error: str
    retry_at: datetime


class ActivityPaused(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last attempt that the activity may have has failed. It waits for `ActivityResumed`.

    `at` tells this pause from others of the activity: it is above the time of the one before.
    """

    at: datetime
    stage: int
    index: int
    attempt: int
    """The attempt that failed, which was the last of its budget."""
    max_attempts: int
    """The limit that held then."""
    name: str
    """Of the activity."""
    error: str
    code: str | None = None
    """The stack's errorCode, when it sent one."""


class ActivityResumed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person has the paused activity go on: it has a new budget, and its attempts count from 1 again."""

    at: datetime
    stage: int
    index: int
    by: str | None = None
    request_key: str | None = None
    request_digest: str | None = None
    reason: str | None = None
    bulk_id: str | None = None
    """As in `InstanceEnded`."""
    bulk_page: int = 0


class ActivityEnded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The activity succeeded with `output`, or failed for good with `error`."""

    at: datetime
    stage: int
    index: int
    attempt: int
    output: Any = None
    error: str | None = None
    code: str | None = None
    """The stack's errorCode, when it sent one."""


class LateResultRecorded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call that was in flight when its instance ended came back. Nothing changes."""

    at: datetime
    stage: int
    index: int
    attempt: int
    output: Any = None
    error: str | None = None
    retries: int = 0
    """How often the instance had been retried when the call began."""


class InstanceEnded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The instance succeeded, or ended with the error of the stage that failed."""

    at: datetime
    workflow_id: str
    error: str | None = None
    request_key: str | None = None
    """Only when an abort ended it, as the three behind it."""
    request_digest: str | None = None
    by: str | None = None
    reason: str | None = None
    arrived: list[int] = []
    """Only with an error: numbers of the `wait_event` stages whose event has come, and that have not ended."""
    bulk_id: str | None = None
    """The bulk operation whose command did it; None if none did."""
    bulk_page: int = 0
    """Only with `bulk_id`: the page of the operation that the instance is in."""


class InstanceRetried(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An instance that had failed or was aborted runs once more: another *pass*, from the stage that did not succeed.

    It says all that the instance goes on with, since engines have forgotten it. `StageStarted` of that stage follows.
    """

    at: datetime
    workflow_id: str
    stages: Raw
    """The definition, as JSON."""
    variables: dict[str, str]
    run_digest: str | None = None
    """The `request_digest` of `InstanceStarted`."""
    max_attempts: int | None = None
    version: int
    """Its own position among the instance's events."""
    retries: int
    """Which retry this is, from 1."""
    stage: int
    """Number of the stage that the pass begins with."""
    kept: list[KeptActivity] = []
    """The activities of this stage that are not done again; those behind them are."""
    key_number: int = 0
    """Of the first activity behind them, as in `ActivityStarted`."""
    key_used: bool = False
    """Likewise."""
    arrived: list[int] = []
    """As in `InstanceEnded`."""
    requests: list[tuple[str, str]] = []
    """Keys and digests of requests that were carried out."""
    earlier_requests: int = 0
    """How many others were, which only the read model knows."""
    request_key: str | None = None
    request_digest: str | None = None
    by: str | None = None
    reason: str | None = None
    bulk_id: str | None = None
    """As in `InstanceEnded`."""
    bulk_page: int = 0


class TriggerCreated(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A trigger listens from here on."""

    at: datetime
    name: str
    event: str
    version: str | None = None
    workflow_id: str
    filter: str | None = None
    vars: dict[str, str] | None = None
    request_digest: str | None = None
    by: str | None = None
    reason: str | None = None


class TriggerDeleted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A trigger fires no more."""

    at: datetime
    by: str | None = None
    reason: str | None = None


class TriggerFired(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message fired the trigger: an instance of its workflow is to be started."""

    at: datetime
    occurrence_id: str
    event: Any
    """The envelope as it came."""
    source: str
    offset: int
    once_key: str | None = None
    identity: str | None = None
    """Tells the same message when its producer sends it again; None when it has nothing that does."""
    workflow_id: str
    instance_id: str
    stages: Raw
    """The workflow's definition. Only what starts the instance reads it."""
    variables: dict[str, str]
    max_attempts: int | None = None
    """The workflow's, as in `WorkflowCreated`."""


class TriggerFailed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message fired the trigger, but nothing can be started, for the reason in `error`."""

    at: datetime
    occurrence_id: str
    event: Any
    source: str
    offset: int
    once_key: str | None = None
    identity: str | None = None
    error: str


class EvaluationStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message waits until links have told whether it fires the trigger, and with which variables."""

    at: datetime
    occurrence_id: str
    """Of the occurrence, if it becomes one."""
    event: Raw
    """The envelope as it came."""
    source: str
    offset: int
    once_key: str | None = None
    identity: str | None = None
    stages: Raw
    """The workflow's definition when the message came."""
    max_attempts: int | None = None
    """Likewise, as in `WorkflowCreated`."""


class EvaluationFailed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A link could not be fetched, and the evaluation is tried again at `retry_at`."""

    at: datetime
    occurrence_id: str
    attempt: int
    """The attempt that failed, from 1."""
    error: str
    retry_at: datetime


class EvaluationEnded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The message does not fire the trigger. If it does, `TriggerFired` or `TriggerFailed` ends its evaluation."""

    at: datetime
    occurrence_id: str


class InstanceRequested(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The command that starts the instance of an occurrence stands in the log of commands."""

    at: datetime
    occurrence_id: str


class BulkStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A bulk operation begins. It acts on instances that were created before `begin_at`, or before this without it."""

    at: datetime
    action: str
    filter: Raw
    """As JSON: most readers pass it on or over."""
    expected: int | None = None
    """How many instances passed the filter when it was asked for; None when they were too many to be counted."""
    begin_at: datetime | None = None
    """Only where it is later than `at`: some that were there have a later time, from a clock that was ahead."""
    by: str | None = None
    reason: str | None = None
    request_digest: str | None = None


class BulkAdvanced(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of a bulk operation: these instances are sent its action next, and no others until they are done."""

    at: datetime
    page: int
    """Its number, from 0."""
    instances: list[str]
    created_at: datetime
    """When the last of them was created: the page after it goes on behind that."""
    sent: int
    """How many instances there are in all pages so far."""
    lost: int = 0
    """For how many instances of the pages before nobody knows what became of their commands."""


class BulkStopped(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person wants no further page of a bulk operation. The one under way comes to its end."""

    at: datetime
    by: str | None = None
    reason: str | None = None


class BulkEnded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All commands of a bulk operation have been decided, and it sends no others."""

    at: datetime
    lost: int = 0
    """As in `BulkAdvanced`."""


class CommandRejected(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command changed nothing, for a reason that its sender is told."""

    at: datetime
    code: str
    """One of `schemas.rejections`."""
    message: str
    bulk_id: str | None = None
    """As in `InstanceEnded`: whose command it was."""
    bulk_page: int = 0
    request_key: str | None = None
    """Only of an abort with an Idempotency-Key whose instance had ended. Its repetition must not end the next pass."""
    request_digest: str | None = None


class CommandSkipped(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command changed nothing because its effect exists already; its sender reads what exists."""

    at: datetime


class SubmissionHeld(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A submission waits until the definition is known that it needs, or behind another one to the same instance."""

    at: datetime
    run: SubmitRun | None = None
    """It is the one of these that is not None."""
    event: SubmitEvent | None = None
    abort: SubmitAbort | None = None


class SubmissionReleased(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first submission to an instance that was held is decided now. What follows from it comes next."""

    at: datetime


class SubmissionRejected(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A submission changed nothing. It is published: its sender waits for no answer of ours."""

    at: datetime
    code: str
    """One of `schemas.rejections`."""
    error: str
    type: str
    """Of the submission, such as `SubmitRun`."""
    idempotency_key: str | None = None
    """Of the submission, if it has one."""


class PartitionClaimed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An engine owns the partition from here on. The offset of this record is the epoch of everything it writes."""

    at: datetime
    owner: str
    """Which engine, for people who read the log; a claim is known by its offset."""
    events_id: str = ""
    """Kafka's id of topic `events` as the engine saw it; empty where the broker does not tell it, and in old claims."""
    commands_id: str = ""
    """Likewise of `commands`."""
    commands_end: int = 0
    """Where the partition of `commands` ended. It does not end before that any more, unless it was cut."""
    events_end: int = 0
    """Where the partition of `events` ended before, if its owner has found that it ends before that now: it was cut."""


class ClaimConfirmed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The partition's owner is about to start calls and had nothing else to append that proves its claim."""

    at: datetime


InstanceEvent = (
    InstanceStarted
    | StageStarted
    | StageEnded
    | EventReceived
    | ActivityStarted
    | ActivityFailed
    | ActivityPaused
    | ActivityResumed
    | ActivityEnded
    | LateResultRecorded
    | InstanceEnded
    | InstanceRetried
)
WorkflowEvent = WorkflowCreated | WorkflowDeleted
TriggerEvent = (
    TriggerCreated
    | TriggerDeleted
    | TriggerFired
    | TriggerFailed
    | EvaluationStarted
    | EvaluationFailed
    | EvaluationEnded
    | InstanceRequested
)
BulkEvent = BulkStarted | BulkAdvanced | BulkStopped | BulkEnded
SubmissionEvent = SubmissionHeld | SubmissionReleased | SubmissionRejected
Outcome = CommandRejected | CommandSkipped
Event = WorkflowEvent | InstanceEvent | TriggerEvent | BulkEvent | SubmissionEvent | Outcome | ClaimConfirmed
