"""Commands: what is asked of the engine. One record on topic `commands` each, keyed by the aggregate's id.

The API appends them, engines do for triggers, and projections for bulk operations. Other services append submissions.

A command is accepted when Kafka has acknowledged it. Every accepted command leaves at least one record with its offset
as `cause` on topic `events`: an event, a rejection or a mark that it was skipped.

Commands that people cause say who wants it (`by`: the subject of the token, None when authorization is off) and why
(`reason`: what the request's `X-Reason` says, None without one). What follows from them says the same.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta, Raw, Struct

from schemas.ended_activities import EndedActivity
from schemas.ids import Id

Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]

MAX_PAGE_INSTANCES: Final = 1000
"""Most instances of a page of a bulk operation. Each engine remembers those of a page, and they go out at once."""

NO_STAGES: Final = Raw(b"null")
"""Stages of a workflow that was deleted."""


class CreateWorkflow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Create the workflow whose id is the key. The definition has been validated."""

    name: str
    stages: list[dict[str, Any]]
    request_digest: str | None = None
    """Digest of the request that carried an `Idempotency-Key`; another digest for the same id is refused."""
    max_attempts: int | None = None
    """`activityMaxAttempts` of the definition; None when it has none."""
    by: str | None = None
    reason: str | None = None


class DeleteWorkflow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Delete the workflow whose id is the key; repeatable."""

    by: str | None = None
    reason: str | None = None


class RunWorkflow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Start the instance whose id is the key.

    It carries the definition, so that instances of one workflow spread over all partitions and keep what they started
    with.
    """

    workflow_id: Id
    stages: Raw
    """The definition, as JSON: most readers pass it on or over."""
    variables: dict[str, str]
    request_digest: str | None = None
    """Digest of the request that carried an `Idempotency-Key`."""
    source: str | None = None
    """Set when an engine sends it: the partition of the event log that holds the event it follows from."""
    sequence: Offset = 0
    """Only with `source`: the offset of that event. Commands of one source come in this order, so one that is not
    above the last is a repetition."""
    seen_offset: Offset = 0
    """Only with `request_digest`: the events of the instance's partition below this offset were in the read model when
    the API looked for the instance there and found none. The engine knows what came later: together
    they know all."""
    max_attempts: int | None = None
    """As in `CreateWorkflow`."""
    trigger_id: Id | None = None
    """Only with `source`: the trigger that started it."""
    occurrence_id: Id | None = None
    """Likewise: its occurrence."""
    by: str | None = None
    reason: str | None = None


class SendEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Send an event to the instance whose id is the key."""

    name: str
    payload: dict[str, Any] = {}
    """The body's other keys; kept in the log, without effect."""
    request_key: str | None = None
    """A UUID made of the `Idempotency-Key`, if there was one."""
    request_digest: str | None = None
    """With `request_key`: digest of the request."""
    seen_requests: Offset | None = None
    """With `request_key`: how many requests with a key to this instance the read model knew when it did not know this
    one. None if the sender does not say; then one that the engine has forgotten has its effect again."""
    by: str | None = None
    reason: str | None = None


class ResumeActivity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Go on with a paused activity of the instance whose id is the key: it gets a new budget of attempts."""

    stage: int
    index: int
    """Position among the stage's activities, from 0."""
    paused_at: datetime
    """Which pause is meant: a repetition must not end the next one."""
    by: str | None = None
    request_key: str | None = None
    """As in `SendEvent`."""
    request_digest: str | None = None
    seen_requests: Offset | None = None
    reason: str | None = None
    bulk_id: Id | None = None
    """As in `AbortInstance`."""
    bulk_page: int = 0


class AbortInstance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """End the instance whose id is the key with error `canceled`."""

    request_key: str | None = None
    """As in `SendEvent`: a repetition must not end an instance that was retried since."""
    request_digest: str | None = None
    seen_requests: Offset | None = None
    by: str | None = None
    reason: str | None = None
    bulk_id: Id | None = None
    """The bulk operation that sends it. Within a page of it, an instance is sent one command; another one that comes,
    and all those of earlier pages, are repetitions."""
    bulk_page: int = 0
    """Only with `bulk_id`: the page that the instance is in."""


class RetryInstance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Run the instance whose id is the key once more, from the stage that failed or was aborted.

    Engines forget instances that have ended. So it carries what the read model knows of this one, all of one moment.
    """

    workflow_id: Id
    stages: Raw
    """The definition, as JSON."""
    variables: dict[str, str]
    run_digest: str | None = None
    """Digest of the request that ran the instance, if that had an `Idempotency-Key`."""
    max_attempts: int | None = None
    """As in `CreateWorkflow`."""
    version: Offset
    """That of its last event."""
    ended_at: datetime
    stage: Offset
    """Number of the stage to begin with."""
    activities: list[EndedActivity] = []
    """Those of this stage, in order."""
    arrived: list[Offset] = []
    """Numbers of the `wait_event` stages whose event has come, and that have not ended."""
    requests: list[tuple[str, str]] = []
    """Keys and digests of requests that were carried out, as in `SendEvent`."""
    earlier_requests: Offset = 0
    """How many others were, which are not told since they are too many."""
    retries: Offset = 0
    """How often it was retried before."""
    seen_offset: Offset = 0
    """The events of the instance's partition below this offset were in the read model then. The engine knows what came
    later: a retry in between shows."""
    request_key: str | None = None
    """As in `SendEvent`."""
    request_digest: str | None = None
    seen_requests: Offset | None = None
    by: str | None = None
    reason: str | None = None
    bulk_id: Id | None = None
    """As in `AbortInstance`."""
    bulk_page: int = 0


class CreateTrigger(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Create the trigger whose id is the key. Its expressions compile, and its workflow existed."""

    name: str
    event: str
    version: str | None = None
    workflow_id: Id
    filter: str | None = None
    vars: dict[str, str] | None = None
    request_digest: str | None = None
    by: str | None = None
    reason: str | None = None


class DeleteTrigger(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Delete the trigger whose id is the key."""

    by: str | None = None
    reason: str | None = None


class FireTrigger(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message matched the trigger whose id is the key. The engine that read it has evaluated the variables."""

    occurrence_id: Id
    event: Raw
    """The envelope as it came."""
    source: str
    """Topic and partition that the message came from."""
    offset: Offset
    """Its offset there. Messages of one source come in this order, so one that is not above the last is a
    repetition."""
    once_key: str | None = None
    """What the trigger fires for once, ever (contract: triggers-and-events); another message with it changes
    nothing."""
    identity: str | None = None
    """What tells a message that its producer sent twice: another one with it changes nothing for a time."""
    stages: Raw = NO_STAGES
    """The workflow's definition."""
    variables: dict[str, str] = {}
    error: str | None = None
    """Why a variable could not be evaluated."""
    max_attempts: int | None = None
    """The workflow's, as in `CreateWorkflow`."""


class EvaluateTrigger(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message may fire the trigger whose id is the key: its filter or variables need the answers of links.

    The fields are those of `FireTrigger`.
    """

    occurrence_id: Id
    event: Raw
    source: str
    offset: Offset
    once_key: str | None = None
    identity: str | None = None
    stages: Raw = NO_STAGES
    max_attempts: int | None = None


class PassOverInstance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The instance whose id is the key is in a page of a bulk operation, which has no command for it any more.

    It is rejected with the code and message that it carries. So the operation learns that this one is dealt with, as it
    does of all others.
    """

    bulk_id: Id
    bulk_page: int
    code: str
    message: str


class StartBulk(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Begin the bulk operation whose id is the key: an action on all instances that pass a filter."""

    action: str
    """One of `schemas.bulk.ACTIONS`."""
    filter: Raw
    """As JSON, see `projections.queries`. Only what runs the operation reads it."""
    expected: int | None = None
    """How many instances passed the filter when it was asked for; None when they were too many to be counted."""
    newest_at: datetime | None = None
    """When the newest of them was created; None if there was none. The clock that says so may be ahead of ours."""
    by: str | None = None
    reason: str | None = None
    request_digest: str | None = None
    """As in `CreateWorkflow`."""


class AdvanceBulk(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The next page of the bulk operation whose id is the key: to these instances its action is sent next.

    All commands of the pages before have been decided. What runs the operation may send this again, or two of them may
    send it with other instances: the first one for a page counts.
    """

    page: Annotated[int, Meta(ge=0)]
    """Its number, from 0."""
    instances: Annotated[list[Id], Meta(min_length=1, max_length=MAX_PAGE_INSTANCES)]
    created_at: datetime
    """When the last of them was created: the page after it goes on behind that."""
    lost: Annotated[int, Meta(ge=0)] = 0
    """Of how many commands of the page before nobody knows the outcome."""


class StopBulk(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Let no further page of the bulk operation whose id is the key begin; repeatable."""

    by: str | None = None
    reason: str | None = None


class EndBulk(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All commands of the bulk operation whose id is the key have been decided, and no page follows."""

    pages: Annotated[int, Meta(ge=0)]
    """How many pages it had. If there is one more by now, it goes on."""
    lost: Annotated[int, Meta(ge=0)] = 0
    """As in `AdvanceBulk`."""


By = Annotated[str, Meta(min_length=1, max_length=200, description="Who wants it; nobody checks that.")]
Reason = Annotated[str, Meta(max_length=500, description="Why.")]
IdempotencyKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        description=(
            "Names this request among those to the instance. Another record with the same key and content has no"
            " second effect; one with other content is rejected. The header `Idempotency-Key` of the API is the same."
        ),
    ),
]


class SubmitRun(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Start the instance whose id is the key, for another service. The id is a UUID of version 7.

    The engine looks up the definition, see `engine.core.submissions`.
    """

    workflow_id: Annotated[Id, Meta(description="The workflow, which exists and is not deleted.")]
    variables: Annotated[dict[str, str], Meta(description="What `${name}` in the definition stands for.")] = {}
    by: By | None = None
    reason: Reason | None = None


class SubmitEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Send an event to the instance whose id is the key, for another service."""

    name: Annotated[str, Meta(min_length=1, description="The event that a stage `wait_event` waits for.")]
    payload: Annotated[dict[str, Any], Meta(description="Kept in the log, without effect.")] = {}
    idempotency_key: IdempotencyKey
    by: By | None = None
    reason: Reason | None = None


class SubmitAbort(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """End the instance whose id is the key with error `canceled`, for another service."""

    idempotency_key: IdempotencyKey
    by: By | None = None
    reason: Reason | None = None


Submission = SubmitRun | SubmitEvent | SubmitAbort
"""What other services append themselves. Their layout is a contract: see `docs/intake.md`. A field that nobody knows is
refused, since a name with a typing error would be a variable that is missing."""

MAX_SUBMISSION_BYTES: Final = 1024 * 1024
"""Largest value of one. It is written into the log while the definition is looked up, together with others."""

HEADER_TEXT: Final = r"\A[!-~]([ -~]*[!-~])?\Z"
"""What the idempotency key of one is made of: what arrives over HTTP as it was sent. A key with another character, or
with a space at an end, would be another one when the same request is sent to the API, and it would act twice."""

PageCommand = AbortInstance | ResumeActivity | RetryInstance | PassOverInstance
"""What a bulk operation sends to the instances of a page."""

Command = (
    CreateWorkflow
    | DeleteWorkflow
    | RunWorkflow
    | SendEvent
    | ResumeActivity
    | AbortInstance
    | RetryInstance
    | PassOverInstance
    | CreateTrigger
    | DeleteTrigger
    | FireTrigger
    | EvaluateTrigger
    | StartBulk
    | AdvanceBulk
    | StopBulk
    | EndBulk
    | SubmitRun
    | SubmitEvent
    | SubmitAbort
)
