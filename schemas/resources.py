"""HTTP resources: the bodies of requests and answers, and the source of the OpenAPI document.

Shapes and field names are those of the contract (http-api, Resources). An optional field without a value is left out.
"""

from datetime import datetime
from typing import Annotated, Final, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from schemas.bulk import Action

T = TypeVar("T")

Instant = Annotated[datetime, Meta(tz=True)]
"""RFC 3339, UTC with `Z`, microseconds."""
Stages = Annotated[Raw, Meta(extra_json_schema={"type": "array", "items": {"type": "object"}})]
"""JSON that is answered as it was stored, without decoding it."""
JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
"""Likewise."""
StringMap = Annotated[Raw, Meta(extra_json_schema={"type": "object", "additionalProperties": {"type": "string"}})]
"""Likewise."""
Expressions = Annotated[Raw, Meta(extra_json_schema={"type": "object", "additionalProperties": {"type": "string"}})]
"""Likewise."""


ActKind = Literal["create", "run", "event", "resume", "abort", "retry", "delete"]
"""What somebody did."""


class Act(Struct, frozen=True, kw_only=True):
    """What somebody did: `by` is the subject of the token, `reason` what the request said, `name` that of the event."""

    at: Instant
    action: ActKind
    name: str | UnsetType = UNSET
    by: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


_ACT: Final = msgspec.json.schema_components((Act,))[1]["Act"]
Acts = Annotated[Raw, Meta(extra_json_schema={"type": "array", "items": _ACT})]
"""A list of `Act` that is answered as it was stored."""


class WorkflowConfig(Struct, frozen=True, kw_only=True, rename="camel"):
    """A definition as it was created; the name is `""` when none was given."""

    name: str
    stages: Stages
    activity_max_attempts: int | UnsetType = UNSET


class PendingActivity(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"activity_id": "activityID", "temporal_run_id": "temporalRunID", "max_attempts": "maxAttempts"}
    | {"paused_at": "pausedAt", "last_failure": "lastFailure", "last_failure_type": "lastFailureType"},
):
    """An activity that is paused, since its last attempt has failed. It waits until somebody resumes it."""

    activity_id: str
    temporal_run_id: UUID
    name: str
    attempt: int
    max_attempts: int
    reason: str
    paused_at: Instant
    last_failure: str
    last_failure_type: str | UnsetType = UNSET


class Workflow(Struct, frozen=True, kw_only=True, rename="camel"):
    """A workflow."""

    id: UUID
    config: WorkflowConfig
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | UnsetType = UNSET


class V2Workflow(Workflow, frozen=True, kw_only=True, rename="camel"):
    """A workflow on surface v2. `acts` says who created and deleted it, and why; missing when nobody is known."""

    acts: Acts | UnsetType = UNSET


class StageStatus(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"instance_id": "instanceID", "pending_activities": "pendingActivities"}
    | {"started_at": "startedAt", "terminated_at": "terminatedAt"},
):
    """One started stage of an instance."""

    stage: int
    instance_id: UUID
    started_at: Instant
    terminated_at: Instant | UnsetType = UNSET
    error: str | UnsetType = UNSET
    pending_activities: list[PendingActivity] | UnsetType = UNSET


class RunStatus(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"occurrence_id": "occurrenceID", "pending_activities": "pendingActivities"}
    | {"started_at": "startedAt", "terminated_at": "terminatedAt"},
):
    """One started stage on surface flows."""

    stage: int
    occurrence_id: UUID
    started_at: Instant
    terminated_at: Instant | UnsetType = UNSET
    error: str | UnsetType = UNSET
    pending_activities: list[PendingActivity] | UnsetType = UNSET


class Instance(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "workflow_id": "workflowID",
        "created_at": "createdAt",
        "updated_at": "updatedAt",
        "terminated_at": "terminatedAt",
    },
):
    """What every surface shows of an instance."""

    id: UUID
    workflow_id: UUID
    created_at: Instant
    updated_at: Instant
    terminated: bool
    terminated_at: Instant | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Waiting(Struct, frozen=True, kw_only=True, rename={"reason": "for"}):
    """What an instance waits for: an event, the end of a delay, the next attempt of an activity, or a person's resume.

    `name` is that of the event or of the activity. `until` is when a delay ends, or when the next attempt starts: once
    that is past, it runs. `attempt` is the next one, or the one that failed last.
    """

    reason: Literal["event", "delay", "retry", "resume"]
    name: str | UnsetType = UNSET
    since: Instant
    until: Instant | UnsetType = UNSET
    attempt: int | UnsetType = UNSET


class StartedBy(Struct, frozen=True, kw_only=True, rename={"trigger_id": "triggerID", "occurrence_id": "occurrenceID"}):
    """The occurrence of a trigger that started an instance."""

    trigger_id: UUID
    occurrence_id: UUID


InstanceState = Literal["running", "waiting", "delayed", "retrying", "paused", "succeeded", "failed", "aborted"]
"""What an instance is doing, or how it ended."""


class V2WorkflowInstance(Instance, frozen=True, kw_only=True):
    """An instance on surface v2.

    `state` is missing only in the answer to a run that is not waited for, and with `unreadable`. `variables` are those
    that it was started with, `trigger` says what started it if that was not a client, and `waiting` what it waits for.
    These are missing where the read model does not know them: of what an older build has written, until it is rebuilt.
    `waiting` is missing too while the instance goes on by itself, and after its end.

    `acts` says what people did to the instance, and why, oldest first: the first act and the last 99. It is missing
    when nobody is known.
    `retries` says how often the instance was retried; it is missing if it never was. A retry lets an instance that has
    ended run once more: `terminated` is false again then, and `status` has the stages that count now.

    `unreadable` says that this server can't read what the instance waits for, and what to do: `state` and `waiting` are
    missing then, and so are the pending activities in `status`. All the rest counts.
    """

    state: InstanceState | UnsetType = UNSET
    workflow: Workflow | UnsetType = UNSET
    status: list[StageStatus]
    variables: StringMap | UnsetType = UNSET
    trigger: StartedBy | UnsetType = UNSET
    waiting: Waiting | UnsetType = UNSET
    acts: Acts | UnsetType = UNSET
    retries: int | UnsetType = UNSET
    unreadable: str | UnsetType = UNSET


class WorkflowInstance(Instance, frozen=True, kw_only=True):
    """An instance on surface v1. `statuses` repeats `status`: clients of the first generation require it everywhere."""

    workflow: Workflow | UnsetType = UNSET
    status: list[StageStatus]
    statuses: list[StageStatus]


class WorkflowOccurrence(Instance, frozen=True, kw_only=True):
    """An instance on surface flows, where it is called a run or an occurrence."""

    statuses: list[RunStatus]


class StageHistory(Struct, frozen=True, kw_only=True, rename="camel"):
    """One started stage with its resolved input."""

    name: str
    input: JsonObject
    started_at: Instant
    terminated: bool
    terminated_at: Instant | UnsetType = UNSET
    error: str | UnsetType = UNSET


class ActivityHistory(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"started_at": "startedAt", "terminated_at": "terminatedAt", "last_failure": "lastFailure"}
    | {"next_execution": "nextExecution", "activity_id": "activityID", "temporal_run_id": "temporalRunID"}
    | {"pause_reason": "pauseReason", "last_failure_type": "lastFailureType"},
):
    """One activity of a stage. `input` and `output` have one key, the activity's name.

    While it is paused, it has the last five fields (the type of the failure if the stack told one).
    """

    name: str
    input: JsonObject
    output: JsonObject | UnsetType = UNSET
    error: str | UnsetType = UNSET
    terminated: bool
    started_at: Instant
    terminated_at: Instant | UnsetType = UNSET
    attempt: int
    last_failure: str | UnsetType = UNSET
    next_execution: Instant | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    activity_id: str | UnsetType = UNSET
    temporal_run_id: UUID | UnsetType = UNSET
    pause_reason: str | UnsetType = UNSET
    last_failure_type: str | UnsetType = UNSET


class V2StageHistory(StageHistory, frozen=True, kw_only=True):
    """One started stage on surface v2.

    After a retry, the stage that did not succeed has an entry for each pass, the last one for what counts now. The
    others have `retries`: how often the instance had been retried before.
    """

    stage: int
    retries: int | UnsetType = UNSET


class V2ActivityHistory(ActivityHistory, frozen=True, kw_only=True):
    """One activity on surface v2. `retries` as in the stage's history: those with it are of an earlier pass."""

    retries: int | UnsetType = UNSET


class LogRecord(Struct, frozen=True, kw_only=True, rename="camel"):
    """A record of an instance in the event log, as it is there.

    `version` is its number among the instance's events; the outcome of a command that changed nothing has none.
    `cause` is the offset of the command that caused it, in the partition of the same number of topic `commands`.
    `reason` says why a record does not count. `error` says why it can't be read.
    """

    partition: int
    offset: int
    at: Instant | UnsetType = UNSET
    type: str | UnsetType = UNSET
    version: int | UnsetType = UNSET
    cause: int | UnsetType = UNSET
    epoch: int | UnsetType = UNSET
    counts: bool
    reason: str | UnsetType = UNSET
    event: JsonObject | UnsetType = UNSET
    error: str | UnsetType = UNSET


class InstanceLog(Struct, frozen=True, kw_only=True, rename="camel"):
    """Records of an instance, in order. `next` is the cursor to go on with: without it, there are no more.

    They stand between those of other instances, from offset `from` of the partition up to `to`; it was read up to
    `readTo`. These two are not part of it any more.
    """

    records: list[LogRecord]
    partition: int
    start: int = field(name="from")
    to: int
    read_to: int
    next: str | UnsetType = UNSET


class Trigger(Struct, frozen=True, kw_only=True, rename={"workflow_id": "workflowID"} | {"created_at": "createdAt"}):
    """What messages start which workflow; the name is `""` when none was given."""

    id: UUID
    created_at: Instant
    name: str
    event: str
    version: str | UnsetType = UNSET
    workflow_id: UUID
    filter: str | UnsetType = UNSET
    vars: Expressions | UnsetType = UNSET


class V2Trigger(Trigger, frozen=True, kw_only=True):
    """A trigger on surface v2; `acts` as in a workflow."""

    acts: Acts | UnsetType = UNSET


class TriggerBody(Struct, frozen=True, kw_only=True, rename={"workflow_id": "workflowID"}):
    """Body of a request that creates a trigger; null counts as not given, and unknown keys are ignored.

    `event` and `version` are the `type` and `version` of the messages that fire it. `filter` and the values of `vars`
    are expressions, in which `event` is the payload of the message; `vars` are the variables of the instance.
    """

    name: str | None = None
    event: Annotated[str, Meta(min_length=1)]
    version: str | None = None
    workflow_id: Annotated[str, Meta(min_length=1)]
    filter: str | None = None
    vars: dict[str, str] | None = None


class TriggerOccurrence(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"trigger_id": "triggerID"}
    | {"workflow_instance_id": "workflowInstanceID", "workflow_instance": "workflowInstance"},
):
    """What a trigger did about a message: it started an instance, or failed with `error`. `event` is the message."""

    id: UUID
    trigger_id: UUID
    date: Instant
    workflow_instance_id: UUID | UnsetType = UNSET
    workflow_instance: Instance | UnsetType = UNSET
    event: JsonObject
    error: str | UnsetType = UNSET


class FilterResult(Struct, frozen=True, kw_only=True):
    """Whether a trigger would fire; `error` says why its filter could not be evaluated."""

    match: bool
    error: str | UnsetType = UNSET


class VariableResult(Struct, frozen=True, kw_only=True):
    """A variable that a trigger would start its workflow with, or why it has no value."""

    value: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


class TriggerTest(Struct, frozen=True, kw_only=True):
    """What a trigger would make of a payload.

    `filter` is missing when the trigger has none, `variables` when it would not fire or has none.
    """

    filter: FilterResult | UnsetType = UNSET
    variables: dict[str, VariableResult] | UnsetType = UNSET


class ValidationFinding(Struct, frozen=True, kw_only=True):
    """Something that is wrong with a definition, or that its author should know.

    Creation refuses a definition for an `error`. `path` is as in error messages (`stages[0].send.amount`), `""` for
    the whole. Line and column count from 1, columns in characters; they are missing where the place is not known.
    """

    severity: Literal["error", "warning"]
    path: str
    line: int | UnsetType = UNSET
    column: int | UnsetType = UNSET
    message: str
    suggestion: str | UnsetType = UNSET


class VariableUse(Struct, frozen=True, kw_only=True, rename="camel"):
    """A text of a definition in which a variable is named; `read_as` is what its field takes the text for."""

    path: str
    line: int | UnsetType = UNSET
    column: int | UnsetType = UNSET
    field: str
    read_as: Literal["string", "integer", "boolean", "date-time", "duration", "choice"]


class WorkflowVariable(Struct, frozen=True, kw_only=True):
    """A variable that a workflow uses. Without one that is required, an instance fails."""

    name: str
    required: bool
    uses: list[VariableUse]


class Validation(Struct, frozen=True, kw_only=True, rename="camel"):
    """All that can be said of a definition before it is created.

    `valid` tells whether creation accepts it. Findings are in the order of the text. Very many are cut: `omitted` says
    how many are missing, `omitted_uses` how many uses of variables.
    """

    valid: bool
    findings: list[ValidationFinding]
    omitted: int | UnsetType = UNSET
    variables: list[WorkflowVariable]
    omitted_uses: int | UnsetType = UNSET
    stages: int
    size: int
    max_size: int


class Data(Struct, Generic[T], frozen=True):
    """The envelope of all answers but pages."""

    data: T


class Page(Struct, Generic[T], frozen=True, kw_only=True, rename="camel"):
    """A page of a list on surface v2. `previous` is missing on the first page, `next` on the last."""

    page_size: int
    has_more: bool
    previous: str | UnsetType = UNSET
    next: str | UnsetType = UNSET
    data: list[T]


class Paged(Struct, Generic[T], frozen=True):
    """The envelope of a page."""

    cursor: Page[T]


class ServerInfo(Struct, frozen=True):
    """Answer of `/_info`."""

    version: str


ErrorCode = Literal["VALIDATION", "NOT_FOUND", "CONFLICT", "INTERNAL"]


class Error(Struct, frozen=True, kw_only=True, rename="camel"):
    """Body of every error. Clients read the status and the code; the message is for people."""

    error_code: ErrorCode
    error_message: str


class BulkOperation(Struct, frozen=True, kw_only=True, rename="camel"):
    """An action on all instances that pass a filter, as far as it has come.

    `expected` is how many passed the filter when it was started; it is missing when they were too many to be counted.
    `sent` are the instances that the operation has come to so far. `done` of them were acted on, `refused` were not,
    with the reasons in `refusals`; for the rest that is still to come. `lost` are those for which nobody knows.
    """

    id: UUID
    action: str
    filter: JsonObject
    state: Literal["running", "stopping", "completed", "stopped"]
    created_at: Instant
    updated_at: Instant
    terminated_at: Instant | UnsetType = UNSET
    expected: int | UnsetType = UNSET
    sent: int
    done: int
    refused: int
    refusals: dict[str, int]
    lost: int | UnsetType = UNSET
    by: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    stopped_at: Instant | UnsetType = UNSET
    stopped_by: str | UnsetType = UNSET
    stopped_reason: str | UnsetType = UNSET


class BulkPreview(Struct, frozen=True):
    """What a bulk operation would act on now: how many instances, or that there are `more` than that, and some."""

    action: str
    matching: int
    more: bool
    sample: list[V2WorkflowInstance]


class BulkBody(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"everything": "all", "dry_run": "dryRun"},
):
    """Body of a request that starts a bulk operation.

    `filter` has the filters of the list of instances, each a text or a list of texts, and not empty. Without any, `all`
    must be true. With `dryRun` nothing is done: the answer says which instances there are.
    """

    action: Action
    filter: dict[str, str | list[str] | bool] | None = None
    everything: bool | None = None
    dry_run: bool | None = None


class EventBody(Struct, frozen=True, kw_only=True):
    """Body of a request that sends an event; other keys are allowed and kept in the log."""

    name: Annotated[str, Meta(min_length=1)]


class ResumeBody(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"temporal_run_id": "temporalRunID", "paused_at": "pausedAt"},
):
    """Body of a request that resumes an activity: which pause is meant, as `pendingActivities` show it."""

    temporal_run_id: Annotated[str, Meta(min_length=1)]
    paused_at: Instant
