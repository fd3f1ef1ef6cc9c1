"""Triggers over HTTP: create, read, list, delete, occurrences (contract: `triggers-and-events`, Trigger resource)."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import Raw

from api.ports import OccurrenceRow, Rejection, StartedRow
from schemas import rejections
from schemas.commands import CreateTrigger, DeleteTrigger
from tests.unit.api.fakes import START, Backend, make_client

UNKNOWN = "6e0c0000-0000-0000-0000-000000000000"
NOT_FOUND = (404, "NOT_FOUND")
INVALID = (400, "VALIDATION")


def trigger(workflow_id: object, **fields: Any) -> dict[str, Any]:
    return {"event": "COMMITTED_TRANSACTIONS", "workflowID": str(workflow_id), **fields}


def stored(backend: Backend, name: str = "") -> UUID:
    """A trigger in the read model; each is the older one of those of the same time."""
    workflow = backend.add_workflow(uuid4())
    id = UUID(int=1000 - len(backend.trigger_rows))
    return backend.add_trigger(id, CreateTrigger(name=name, event="X", workflow_id=str(workflow.id))).id


async def test_create_appends_one_command_and_answers_from_the_read_model() -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    body = trigger(
        workflow.id, name="payouts", version="v2", filter="event.ledger == 'main'", vars={"from": "event.a"}, more=1
    )
    answer = await make_client(backend).call("POST", "/triggers", body)
    assert answer.status == 201
    ((key, command),) = backend.commands
    assert command == CreateTrigger(
        name="payouts",
        event="COMMITTED_TRANSACTIONS",
        version="v2",
        workflow_id=str(workflow.id),
        filter="event.ledger == 'main'",
        vars={"from": "event.a"},
    )
    assert answer.data == {
        "id": str(key),
        "createdAt": "2026-03-01T10:00:01.120931Z",
        "name": "payouts",
        "event": "COMMITTED_TRANSACTIONS",
        "version": "v2",
        "workflowID": str(workflow.id),
        "filter": "event.ledger == 'main'",
        "vars": {"from": "event.a"},
    }


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, {}),
        ({"name": None, "version": None, "filter": None, "vars": None}, {}),
        ({"version": "", "filter": "", "vars": {}}, {"version": "", "filter": "", "vars": {}}),
        ({"filter": "1+1"}, {"filter": "1+1"}),
        ({"filter": "nobody_knows.this"}, {"filter": "nobody_knows.this"}),
    ],
)
async def test_what_was_not_given_is_left_out(given: dict[str, Any], shown: dict[str, Any]) -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    data = (await make_client(backend).call("POST", "/triggers", trigger(workflow.id, **given))).data
    assert data.pop("name") == ""
    assert {key: value for key, value in data.items() if key in ("version", "filter", "vars")} == shown
    assert set(data) == {"id", "createdAt", "event", "workflowID", *shown}


async def test_the_workflow_is_found_in_any_letter_case() -> None:
    backend = Backend()
    workflow = backend.add_workflow(UUID("6e0cabcd-0000-4000-8000-00000000abcd"))
    answer = await make_client(backend).call("POST", "/triggers", trigger(str(workflow.id).upper()))
    assert answer.data["workflowID"] == str(workflow.id)


REFUSED: list[tuple[Any, str]] = [
    (b"", "a body is required"),
    (b" \n", "a body is required"),
    (b"{", "malformed JSON"),
    (b"{} x", "malformed JSON"),
    (b"null", "must be an object"),
    ([], "must be an object"),
    ("text", "must be an object"),
    ({"workflowID": UNKNOWN}, "event: "),
    ({"event": "", "workflowID": UNKNOWN}, "event: "),
    ({"event": None, "workflowID": UNKNOWN}, "event: "),
    ({"event": 1, "workflowID": UNKNOWN}, "event: must be a string"),
    ({"event": "X"}, "workflowID: "),
    ({"event": "X", "workflowID": ""}, "workflowID: "),
    ({"event": "X", "workflowID": None}, "workflowID: "),
    ({"event": "X", "workflowID": 7}, "workflowID: must be a string"),
    (trigger(UNKNOWN, Filter="true"), "filter: must be written like this, not Filter"),
    ({"Event": "X", "workflowID": UNKNOWN}, "event: "),
    ({"event": "X", "workflowId": UNKNOWN}, "workflowID: "),
    (trigger(UNKNOWN, name=1), "name: must be a string"),
    (trigger(UNKNOWN, version=2), "version: must be a string"),
    (trigger(UNKNOWN, filter=True), "filter: must be a string"),
    (trigger(UNKNOWN, vars=[]), "vars: must be an object"),
    (trigger(UNKNOWN, vars="a"), "vars: must be an object"),
    (trigger(UNKNOWN, vars={"a": 1}), "vars.a: must be a string"),
    (trigger(UNKNOWN, vars={"a": None}), "vars.a: must be a string"),
    (trigger(UNKNOWN, filter="event."), "filter: unexpected"),
    (trigger(UNKNOWN, filter=" "), "filter: unexpected end of expression"),
    (trigger(UNKNOWN, vars={"a": ""}), "vars.a: unexpected end of expression"),
    (trigger(UNKNOWN, vars={"a": "event.a", "b": "now()"}), "vars.b: the function now is not supported"),
    (trigger(UNKNOWN, vars={"a": f"[{'event.a,' * 500}event.["}), "vars.a: unexpected"),
    (trigger(UNKNOWN, vars={str(n): "1" for n in range(401)}), "vars: at most 400 variables are allowed, not 401"),
    (trigger(UNKNOWN, vars={str(n): "1" for n in range(16_129)}), "vars: at most 400 variables are allowed, not 16129"),
    (
        trigger(UNKNOWN, filter="true", vars={str(n): f'"{"x" * 9995}"' for n in range(11)}),
        "vars: the filter and the variables have more than 100000 characters together",
    ),
    (
        trigger(
            UNKNOWN,
            vars={str(n): rf'event matches "\\pL{{20}}{n}" or event matches "\\pL{{19}}{n}"' for n in range(20)},
        ),
        "the patterns of the filter and the variables together are too large",
    ),
]


@pytest.mark.parametrize(("body", "message"), REFUSED, ids=[str(body)[:60] for body, _ in REFUSED])
async def test_a_bad_body_is_refused_before_the_workflow_is_looked_for(body: Any, message: str) -> None:
    backend = Backend()
    answer = await make_client(backend).call("POST", "/triggers", body)
    assert answer.error == INVALID
    assert message in answer.json()["errorMessage"]
    assert not backend.commands


async def test_as_many_variables_as_are_allowed() -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    body = trigger(str(workflow.id), vars={f"v{n}": "event.a" for n in range(400)})
    assert (await make_client(backend).call("POST", "/triggers", body)).status == 201


async def test_the_workflow_must_be_there() -> None:
    backend = Backend()
    deleted = backend.add_workflow(uuid4())
    client = make_client(backend)
    await client.call("DELETE", f"/workflows/{deleted.id}")
    for workflow_id in (deleted.id, UNKNOWN, "abc"):
        answer = await client.call("POST", "/triggers", trigger(workflow_id))
        assert answer.error == NOT_FOUND
        why = "is deleted" if workflow_id == deleted.id else "not found"
        assert answer.json()["errorMessage"] == f"workflow '{workflow_id}' {why}"
    assert len(backend.commands) == 1


async def test_a_body_over_the_limit() -> None:
    answer = await make_client(Backend(), max_body_bytes=1024).call("POST", "/triggers", trigger("x" * 1024))
    assert answer.error == (413, "VALIDATION")


async def test_the_same_key_and_body_is_answered_with_the_same_trigger() -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    client = make_client(backend)
    key = {"Idempotency-Key": "k"}
    body = trigger(workflow.id, vars={"a": "1", "b": "2"})
    first = await client.call("POST", "/triggers", body, key)
    reordered = {**trigger(workflow.id), "vars": {"b": "2", "a": "1"}}
    assert (await client.call("POST", "/triggers", dict(reversed(reordered.items())), key)).data == first.data
    assert (await client.call("POST", "/triggers", {**body, "name": "x"}, key)).error == INVALID
    await client.call("DELETE", f"/workflows/{workflow.id}")
    assert (await client.call("POST", "/triggers", body, key)).data == first.data
    assert len([c for _, c in backend.commands if isinstance(c, CreateTrigger)]) == 1
    other = await client.call("POST", "/workflows", {"stages": []}, key)
    assert other.status == 201
    assert other.data["id"] != first.data["id"]


async def test_a_rejection_is_the_answer() -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    backend.reject, backend.overtaken = Rejection(rejections.CONFLICT, "used with another body"), True
    client = make_client(backend)
    answer = await client.call("POST", "/triggers", trigger(workflow.id), {"Idempotency-Key": "k"})
    assert answer.error == INVALID
    backend.reject, backend.overtaken = Rejection(rejections.FAULT, "internal fault"), False
    assert (await client.call("POST", "/triggers", trigger(workflow.id))).error == (500, "INTERNAL")


async def test_away_or_behind() -> None:
    backend = Backend()
    existing = stored(backend)
    client = make_client(backend, command_timeout_seconds=0.01)
    body = trigger(backend.trigger_rows[existing].workflow_id)
    backend.stalled = True
    for method, target in (("POST", "/triggers"), ("DELETE", f"/triggers/{existing}")):
        assert (await client.call(method, target, body)).error == (503, "INTERNAL")
    backend.postgres_away = True
    for target in ("/triggers", f"/triggers/{existing}", f"/triggers/{existing}/occurrences"):
        assert (await client.call("GET", target)).error == (503, "INTERNAL")


async def test_a_deleted_trigger_is_gone() -> None:
    backend = Backend()
    kept, deleted = stored(backend), stored(backend)
    client = make_client(backend)
    answer = await client.call("DELETE", f"/triggers/{deleted}")
    assert (answer.status, answer.body, answer.headers) == (204, b"", {})
    assert backend.commands == [(deleted, DeleteTrigger())]
    for method in ("GET", "DELETE"):
        assert (await client.call(method, f"/triggers/{deleted}")).error == NOT_FOUND
    assert len(backend.commands) == 1
    assert [row["id"] for row in (await client.call("GET", "/triggers/")).data] == [str(kept)]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("trigger_id", ["abc", UNKNOWN, UNKNOWN.replace("-", "")])
async def test_unknown_ids(method: str, trigger_id: str) -> None:
    assert (await make_client(Backend()).call(method, f"/triggers/{trigger_id}")).error == NOT_FOUND


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["Payouts", "refunds", "payments 100%"]),
        ("?name=", ["Payouts", "refunds", "payments 100%"]),
        ("?name=PAY", ["Payouts", "payments 100%"]),
        ("?name=%25", ["payments 100%"]),
        ("?name=x", []),
        ("?pageSize=0", ["Payouts", "refunds", "payments 100%"]),
        ("?pageSize=", ["Payouts", "refunds", "payments 100%"]),
        ("?pageSize=2", ["Payouts", "refunds"]),
        ("?pageSize=5000", ["Payouts", "refunds", "payments 100%"]),
        ("?name=pay&pageSize=1", ["Payouts"]),
        ("?cursor=abc", ["Payouts", "refunds", "payments 100%"]),
    ],
)
async def test_lists(query: str, names: list[str]) -> None:
    backend = Backend()
    for name in ("Payouts", "refunds", "payments 100%"):
        stored(backend, name)
    answer = await make_client(backend).call("GET", f"/triggers{query}")
    assert [row["name"] for row in answer.data] == names


@pytest.mark.parametrize(("query", "rows"), [("", 20), ("?pageSize=0", 20), ("?pageSize=00", 20), ("?pageSize=16", 16)])
async def test_lists_are_complete_unless_a_size_is_given(query: str, rows: int) -> None:
    backend = Backend()
    ids = [str(stored(backend)) for _ in range(20)]
    answer = await make_client(backend).call("GET", f"/triggers{query}")
    assert [row["id"] for row in answer.data] == ids[:rows]


@pytest.mark.parametrize("size", ["-1", "abc", "1.5", "1e2", "+1"])
async def test_a_bad_page_size_is_refused(size: str) -> None:
    assert (await make_client(Backend()).call("GET", f"/triggers?pageSize={size}")).error == INVALID


async def test_occurrences() -> None:
    backend = Backend()
    started, behind, failed, other = uuid4(), uuid4(), uuid4(), stored(backend)
    trigger_id, instance_id = stored(backend), uuid4()
    event = Raw(b'{ "type":"X","payload":{"n":12345678901234567890123} }')
    instance = StartedRow(instance_id, uuid4(), START, START, START, "canceled")
    backend.occurrence_rows = [
        OccurrenceRow(started, trigger_id, START, instance_id, event, instance=instance),
        OccurrenceRow(behind, trigger_id, START, instance_id, event),
        OccurrenceRow(failed, trigger_id, START, None, event, "who: no such link"),
        OccurrenceRow(uuid4(), other, START, None, event, "x"),
    ]
    client = make_client(backend)
    answer = await client.call("GET", f"/triggers/{trigger_id}/occurrences")
    instant = "2026-03-01T10:00:00.120931Z"
    common = {
        "triggerID": str(trigger_id),
        "date": instant,
        "event": {"type": "X", "payload": {"n": 12345678901234567890123}},
    }
    assert answer.data == [
        {
            "id": str(started),
            **common,
            "workflowInstanceID": str(instance_id),
            "workflowInstance": {
                "id": str(instance_id),
                "workflowID": str(instance.workflow_id),
                "createdAt": instant,
                "updatedAt": instant,
                "terminated": True,
                "terminatedAt": instant,
                "error": "canceled",
            },
        },
        {"id": str(behind), **common, "workflowInstanceID": str(instance_id)},
        {"id": str(failed), **common, "error": "who: no such link"},
    ]
    assert bytes(event) in answer.body
    await client.call("DELETE", f"/triggers/{trigger_id}")
    assert (await client.call("GET", f"/triggers/{trigger_id}/occurrences")).data == answer.data


@pytest.mark.parametrize("trigger_id", ["abc", UNKNOWN])
async def test_an_unknown_trigger_has_no_occurrences(trigger_id: str) -> None:
    answer = await make_client(Backend()).call("GET", f"/triggers/{trigger_id}/occurrences")
    assert (answer.status, answer.data) == (200, [])
