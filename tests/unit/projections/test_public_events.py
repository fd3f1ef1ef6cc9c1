"""What is published of each event, field by field (contract: `triggers-and-events`)."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from projections.publisher.public_events import PUBLICATIONS, public_event
from schemas import events
from schemas.records import MESSAGES, Recorded
from tests.definitions import definition

AT = datetime(2026, 3, 1, 10, 0, 5, 510_000, tzinfo=UTC)
INSTANCE, WORKFLOW, TRIGGER, OCCURRENCE = "b1f7", "6e0c", "0c55", "77aa"
OF_INSTANCE: dict[str, Any] = {"at": AT, "workflow_id": WORKFLOW}
OF_TRIGGER: dict[str, Any] = {"at": AT, "occurrence_id": OCCURRENCE, "event": {}, "source": "ledger", "offset": 3}
FIRED: dict[str, Any] = {"workflow_id": WORKFLOW, "instance_id": INSTANCE, "stages": [], "variables": {}}
RUN = {"id": WORKFLOW, "instanceID": INSTANCE}
STAGE = {**RUN, "number": 2}

PUBLISHED = [
    (events.InstanceStarted(**OF_INSTANCE, stages=definition([]), variables={}), "STARTED_WORKFLOW", RUN),
    (events.InstanceEnded(**OF_INSTANCE), "SUCCEEDED_WORKFLOW", RUN),
    (events.InstanceEnded(**OF_INSTANCE, error="canceled"), "FAILED_WORKFLOW", {**RUN, "error": "canceled"}),
    (events.StageStarted(**OF_INSTANCE, number=2, name="RunSend", input={}), "STARTED_WORKFLOW_STAGE", STAGE),
    (events.StageEnded(**OF_INSTANCE, number=2), "SUCCEEDED_WORKFLOW_STAGE", STAGE),
    (events.StageEnded(**OF_INSTANCE, number=2, error=""), "FAILED_WORKFLOW_STAGE", {**STAGE, "error": ""}),
    (
        events.TriggerFired(**OF_TRIGGER, **FIRED),
        "SUCCEEDED_TRIGGER",
        {"id": OCCURRENCE, "triggerID": TRIGGER, "workflowInstanceID": INSTANCE},
    ),
    (
        events.TriggerFailed(**OF_TRIGGER, error="no link"),
        "FAILED_TRIGGER",
        {"id": OCCURRENCE, "triggerID": TRIGGER, "error": "no link"},
    ),
    (
        events.SubmissionRejected(at=AT, code="NO_WORKFLOW", error="it was deleted", type="SubmitRun"),
        "REJECTED_SUBMISSION",
        {"instanceID": INSTANCE, "submission": "SubmitRun", "code": "NO_WORKFLOW", "error": "it was deleted"},
    ),
    (
        events.SubmissionRejected(at=AT, code="ENDED", error="", type="SubmitEvent", idempotency_key="k"),
        "REJECTED_SUBMISSION",
        {"instanceID": INSTANCE, "submission": "SubmitEvent", "code": "ENDED", "idempotencyKey": "k", "error": ""},
    ),
]


def recorded(event: Any, at: int = 18842) -> Recorded:
    aggregate_id = TRIGGER if type(event).__name__.startswith("Trigger") else INSTANCE
    return Recorded(aggregate_id, 1, event, at, None)


@pytest.mark.parametrize(("event", "type_", "payload"), PUBLISHED)
def test_an_event_is_published_as(event: Any, type_: str, payload: dict[str, Any]) -> None:
    public = public_event(3, recorded(event))
    assert public is not None
    assert public.type == type_
    assert public.key.decode() == recorded(event).aggregate_id
    assert json.loads(public.value) == {
        "idempotency_key": "orchestration-3-18842",
        "date": "2026-03-01T10:00:05.51Z",
        "app": "orchestration",
        "version": "v2",
        "type": type_,
        "payload": payload,
    }


def test_the_value_is_the_contracts_text() -> None:
    public = public_event(3, recorded(events.StageStarted(**OF_INSTANCE, number=0, name="RunNoop", input={})))
    assert public is not None
    assert public.value.decode() == (
        '{"idempotency_key":"orchestration-3-18842","date":"2026-03-01T10:00:05.51Z","app":"orchestration",'
        '"version":"v2","type":"STARTED_WORKFLOW_STAGE","payload":{"id":"6e0c","instanceID":"b1f7","number":0}}'
    )


def test_every_event_of_the_log_has_a_key_of_its_own() -> None:
    event = events.InstanceEnded(**OF_INSTANCE)
    places = [(1, 11), (11, 1), (1, 1), (11, 11)]
    values = {public_event(partition, recorded(event, offset)) for partition, offset in places}
    assert len({json.loads(public.value)["idempotency_key"] for public in values if public}) == len(places)


@pytest.mark.parametrize(
    "event",
    [
        events.WorkflowCreated(at=AT, name="", stages=[]),
        events.ActivityFailed(at=AT, stage=0, index=0, attempt=1, error="500", retry_at=AT),
        events.ActivityEnded(at=AT, stage=0, index=0, attempt=1, error="500"),
        events.CommandRejected(at=AT, code="NOT_FOUND", message=""),
    ],
)
def test_other_events_are_not_published(event: Any) -> None:
    assert public_event(0, recorded(event)) is None


def test_no_published_event_lacks_a_case_here() -> None:
    assert set(PUBLICATIONS) == {type(event) for event, _, _ in PUBLISHED}
    assert set(PUBLICATIONS) <= set(MESSAGES.values())


def test_the_docs_name_every_public_event() -> None:
    text = (Path(__file__).parents[3] / "docs" / "triggers.md").read_text()
    types = {
        name for publication in PUBLICATIONS.values() for name in (publication.type, publication.failed_type) if name
    }
    assert {name for name in types if f"`{name}`" not in text} == set()
