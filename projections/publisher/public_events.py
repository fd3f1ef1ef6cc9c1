"""Which events are published, and as what (contract: `triggers-and-events`, "The envelope", "Published events").

Beside those of the contract, the rejection of a submission is published (see `docs/intake.md`).
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas import events
from schemas.definition.instants import format_instant
from schemas.records import Recorded

APP: Final = "orchestration"
VERSION: Final = "v2"


class Envelope(Struct, frozen=True, kw_only=True):
    """A message as its consumers read it; the fields are in the order of the contract."""

    idempotency_key: str
    date: str
    app: str = APP
    version: str = VERSION
    type: str
    payload: dict[str, Any]


class PublicEvent(Struct, frozen=True):
    """A record of the public topic."""

    type: str
    key: bytes
    """Id of the instance or trigger."""
    value: bytes


class Publication(Struct, frozen=True):
    """How events of one class are published."""

    type: str
    payload: Callable[[str, Any], dict[str, Any]]
    """From the aggregate's id and the event; `error` is added to it."""
    failed_type: str | None = None
    """The type of those that have an error, where it is another one."""


def _workflow(
    instance_id: str, event: events.InstanceStarted | events.InstanceEnded | events.StageStarted | events.StageEnded
) -> dict[str, Any]:
    return {"id": event.workflow_id, "instanceID": instance_id}


def _stage(instance_id: str, event: events.StageStarted | events.StageEnded) -> dict[str, Any]:
    return {**_workflow(instance_id, event), "number": event.number}


def _occurrence(trigger_id: str, event: events.TriggerFired | events.TriggerFailed) -> dict[str, Any]:
    return {"id": event.occurrence_id, "triggerID": trigger_id}


def _fired(trigger_id: str, event: events.TriggerFired) -> dict[str, Any]:
    return {**_occurrence(trigger_id, event), "workflowInstanceID": event.instance_id}


def _submission(instance_id: str, event: events.SubmissionRejected) -> dict[str, Any]:
    payload = {"instanceID": instance_id, "submission": event.type, "code": event.code}
    return payload if event.idempotency_key is None else {**payload, "idempotencyKey": event.idempotency_key}


PUBLICATIONS: Final[dict[type[Struct], Publication]] = {
    events.InstanceStarted: Publication("STARTED_WORKFLOW", _workflow),
    events.InstanceEnded: Publication("SUCCEEDED_WORKFLOW", _workflow, "FAILED_WORKFLOW"),
    events.StageStarted: Publication("STARTED_WORKFLOW_STAGE", _stage),
    events.StageEnded: Publication("SUCCEEDED_WORKFLOW_STAGE", _stage, "FAILED_WORKFLOW_STAGE"),
    events.TriggerFired: Publication("SUCCEEDED_TRIGGER", _fired),
    events.TriggerFailed: Publication("FAILED_TRIGGER", _occurrence),
    events.SubmissionRejected: Publication("REJECTED_SUBMISSION", _submission),
}
"""Events of other classes are not published."""

_encoder = msgspec.json.Encoder()


def public_event(partition: int, recorded: Recorded) -> PublicEvent | None:
    """The public form of an event, or None if it has none.

    Args:
        partition: of topic `events`. With the offset it makes the idempotency key, which is the same whenever and by
            whomever the event is published.
        recorded: the event.
    """
    event = recorded.event
    publication = PUBLICATIONS.get(type(event))
    if publication is None:
        return None
    type_, payload = publication.type, publication.payload(recorded.aggregate_id, event)
    error = getattr(event, "error", None)
    if error is not None:
        type_, payload["error"] = publication.failed_type or type_, error
    envelope = Envelope(
        idempotency_key=f"{APP}-{partition}-{recorded.offset}",
        date=format_instant(event.at),
        type=type_,
        payload=payload,
    )
    return PublicEvent(type_, recorded.aggregate_id.encode(), _encoder.encode(envelope))
