"""Triggers, occurrences and tests of triggers have exactly the contract's shapes (contract: `triggers-and-events`)."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import Raw

from api.ports import OccurrenceRow, StartedRow
from schemas.commands import CreateTrigger
from tests.contract.shapes import assert_shape
from tests.unit.api.fakes import START, Backend, Client, make_client

BARE_TRIGGER = {"id": UUID, "createdAt": datetime, "name": str, "event": str, "workflowID": UUID}
TRIGGER = {**BARE_TRIGGER, "version": str, "filter": str, "vars": {"from": str}}
ENVELOPE = {"idempotency_key": str, "date": datetime, "app": str, "version": str, "type": str, "payload": dict}
OCCURRENCE = {"id": UUID, "triggerID": UUID, "date": datetime, "event": ENVELOPE}
INSTANCE = {"id": UUID, "workflowID": UUID, "createdAt": datetime, "updatedAt": datetime, "terminated": bool}
FIRED = {**OCCURRENCE, "workflowInstanceID": UUID, "workflowInstance": INSTANCE}
ENDED = {**FIRED, "workflowInstance": {**INSTANCE, "terminatedAt": datetime}}
FAILED_INSTANCE = {**FIRED, "workflowInstance": {**INSTANCE, "terminatedAt": datetime, "error": str}}
FAILED = {**OCCURRENCE, "error": str}
ERROR = {"errorCode": str, "errorMessage": str}

EVENT = (
    b'{"idempotency_key": "", "date": "2026-03-01T10:00:05.4Z", "app": "ledger", "version": "v2", '
    b'"type": "COMMITTED_TRANSACTIONS", "payload": {"ledger": "main"}}'
)


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def client(backend: Backend) -> Client:
    return make_client(backend)


def complete(workflow_id: UUID) -> CreateTrigger:
    """The contract's example."""
    return CreateTrigger(
        name="payouts",
        event="COMMITTED_TRANSACTIONS",
        version="v2",
        workflow_id=str(workflow_id),
        filter='event.ledger == "main"',
        vars={"from": "event.transactions[0].postings[0].source"},
    )


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({}, BARE_TRIGGER),
        (
            {"name": "payouts", "version": "v2", "filter": "true", "vars": {"from": "event.a"}, "unknown": [1]},
            TRIGGER,
        ),
    ],
)
async def test_trigger(backend: Backend, client: Client, fields: dict[str, Any], shape: dict[str, Any]) -> None:
    workflow = backend.add_workflow(uuid4())
    body = {"event": "COMMITTED_TRANSACTIONS", "workflowID": str(workflow.id), **fields}
    created = await client.call("POST", "/triggers", body)
    assert created.status == 201
    assert_shape(created.json(), {"data": shape})
    target = f"/triggers/{created.data['id']}"
    assert (await client.call("GET", target)).json() == created.json()
    assert (await client.call("GET", "/triggers")).json() == {"data": [created.data]}
    deleted = await client.call("DELETE", target)
    assert (deleted.status, deleted.body, deleted.headers) == (204, b"", {})
    assert (await client.call("GET", "/triggers")).json() == {"data": []}


async def test_occurrences(backend: Backend, client: Client) -> None:
    row = backend.add_trigger(uuid4(), complete(uuid4()))
    id, workflow_id = uuid4(), row.workflow_id
    instances = [
        StartedRow(id, workflow_id, START, START),
        StartedRow(id, workflow_id, START, START, START),
        StartedRow(id, workflow_id, START, START, START, "canceled"),
    ]
    backend.occurrence_rows = [
        *(OccurrenceRow(uuid4(), row.id, START, id, Raw(EVENT), instance=instance) for instance in instances),
        OccurrenceRow(uuid4(), row.id, START, id, Raw(EVENT)),
        OccurrenceRow(uuid4(), row.id, START, None, Raw(EVENT), "from: cannot fetch source from nil"),
    ]
    answer = await client.call("GET", f"/triggers/{row.id}/occurrences")
    started = {**OCCURRENCE, "workflowInstanceID": UUID}
    assert_shape(answer.json(), {"data": [FIRED, ENDED, FAILED_INSTANCE, started, FAILED]})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("payload", "expressions", "shape"),
    [
        ({}, {}, {}),
        ({}, {"filter": "1 == 2"}, {"filter": {"match": bool}}),
        ({}, {"filter": "event.a.b == 1"}, {"filter": {"match": bool, "error": str}}),
        (
            {},
            {"filter": "true", "vars": {"from": "1", "who": "event.a.b"}},
            {"filter": {"match": bool}, "variables": {"from": {"value": str}, "who": {"error": str}}},
        ),
    ],
)
async def test_trigger_test(
    backend: Backend, client: Client, payload: Any, expressions: dict[str, Any], shape: dict[str, Any]
) -> None:
    row = backend.add_trigger(uuid4(), CreateTrigger(name="", event="X", workflow_id=str(uuid4()), **expressions))
    answer = await client.call("POST", f"/v2/triggers/{row.id}/test", payload)
    assert answer.status == 200
    assert_shape(answer.json(), {"data": shape})


@pytest.mark.parametrize(
    ("method", "target", "body", "error"),
    [
        ("GET", "/triggers/x", b"", (404, "NOT_FOUND")),
        ("DELETE", "/triggers/x", b"", (404, "NOT_FOUND")),
        ("POST", "/triggers", b"{}", (400, "VALIDATION")),
        ("POST", "/triggers", {"event": "X", "workflowID": "x"}, (404, "NOT_FOUND")),
        ("GET", "/triggers?pageSize=x", b"", (400, "VALIDATION")),
        ("PATCH", "/triggers", b"", (405, "VALIDATION")),
        ("PUT", "/triggers/x", b"", (405, "VALIDATION")),
        ("POST", "/triggers/x/occurrences", b"", (405, "VALIDATION")),
        ("POST", "/triggers/x/test", {}, (404, "NOT_FOUND")),  # only surface v2 has it
        ("POST", "/v2/triggers/x/test", {}, (404, "NOT_FOUND")),
        ("POST", "/v2/triggers/x/test", b"", (400, "VALIDATION")),
        ("POST", "/v2/triggers/x/test", b"[]", (400, "VALIDATION")),
        ("POST", "/v2/triggers/x/test", b"{", (400, "VALIDATION")),
    ],
)
async def test_errors(client: Client, method: str, target: str, body: Any, error: tuple[int, str]) -> None:
    answer = await client.call(method, target, body)
    assert_shape(answer.json(), ERROR)
    assert answer.error == error
