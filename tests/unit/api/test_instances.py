"""Instances: run, read, list, events, abort, histories (contract: `http-api`, Surface v1)."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec import Raw

from api.ports import ActivityRow, Rejection, StageHistoryRow
from projections.counting import ALL_WORKFLOWS, INSTANCE, NOW, CountKey
from schemas.commands import AbortInstance, RunWorkflow, SendEvent
from tests.unit.api.fakes import START, Answer, Backend, make_client
from tests.unit.api.whole import Whole

UNKNOWN = "6e0c0000-0000-0000-0000-000000000000"


async def run(backend: Backend, body: Any = b"", query: str = "") -> Answer:
    workflow = backend.add_workflow(uuid4())
    return await make_client(backend).call("POST", f"/workflows/{workflow.id}/instances{query}", body)


async def test_a_run_sends_the_definition_and_answers_without_workflow_and_status() -> None:
    backend = Backend()
    backend.ends_at_once = False
    answer = await run(backend, {"order": "A-1"})
    ((key, command),) = backend.commands
    assert isinstance(command, RunWorkflow)
    (workflow,) = backend.workflow_rows.values()
    assert command.workflow_id == str(workflow.id)
    assert msgspec.json.decode(msgspec.json.encode(command))["stages"] == [{"noop": {}}]
    assert command.variables == {"order": "A-1"}
    assert (command.request_digest, command.seen_offset) == (None, 0)
    assert answer.status == 201
    assert answer.data == {
        "id": str(key),
        "workflowID": str(workflow.id),
        "createdAt": "2026-03-01T10:00:01.120931Z",
        "updatedAt": "2026-03-01T10:00:01.120931Z",
        "terminated": False,
        "status": [],
        "statuses": [],
    }


@pytest.mark.parametrize(
    ("body", "variables"),
    [
        (b"", {}),
        (b"  ", {}),
        (b"null", {}),
        (b"{}", {}),
        (b'{"a": null, "b": "x"}', {"a": "", "b": "x"}),
        (b'{"a": "1", "a": "2"}', {"a": "2"}),
    ],
)
async def test_variables(body: bytes, variables: dict[str, str]) -> None:
    backend = Backend()
    assert (await run(backend, body)).status == 201
    ((_, command),) = backend.commands
    assert isinstance(command, RunWorkflow)
    assert command.variables == variables


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"true", b'{"a": 1}', b'{"a": {}}', b'{"a": "b"} c', b"{a}"])
async def test_other_bodies_are_refused(body: bytes) -> None:
    backend = Backend()
    assert (await run(backend, body)).error == (400, "VALIDATION")
    assert not backend.commands


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"amount": 1250}', "variable 'amount' must be a string: write \"1250\""),
        (b'{"amount": 12.50}', "variable 'amount' must be a string, in quotes"),
        (b'{"vip": true}', "variable 'vip' must be a string, in quotes"),
        (
            b'{"variables": {"a": "1"}}',
            'variable \'variables\' must be a string: the body itself is the object of variables, {"name": "text"}',
        ),
    ],
)
async def test_a_variable_that_is_not_a_string_is_refused_with_a_hint(body: bytes, message: str) -> None:
    assert (await run(Backend(), body)).json()["errorMessage"] == message


@pytest.mark.parametrize("workflow_id", ["abc", UNKNOWN])
async def test_an_unknown_workflow_does_not_run(workflow_id: str) -> None:
    backend = Backend()
    answer = await make_client(backend).call("POST", f"/workflows/{workflow_id}/instances")
    assert answer.error == (404, "VALIDATION")
    assert not backend.commands


async def test_a_deleted_workflow_does_not_run() -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    client = make_client(backend)
    await client.call("DELETE", f"/workflows/{workflow.id}")
    answer = await client.call("POST", f"/workflows/{workflow.id}/instances")
    assert answer.error == (404, "VALIDATION")
    assert answer.json()["errorMessage"] == f"workflow '{workflow.id}' is deleted"
    assert len(backend.commands) == 1


@pytest.mark.parametrize(
    "query", ["?wait=true", "?wait=1", "?wait=TRUE", "?x=1&wait=True", "?wait=true&wait=false", "?wait=&wait=1"]
)
async def test_wait_answers_like_get_after_the_end(query: str) -> None:
    backend = Backend()
    backend.ends_at_once = False
    backend.on_wait_ended = backend.end
    answer = await run(backend, query=query)
    assert answer.status == 201
    assert answer.data["terminated"] is True
    assert answer.data["terminatedAt"]
    assert answer.data["workflow"]["config"]["name"] == "payout"
    assert len(answer.data["statuses"]) == 1
    assert answer.data == (await make_client(backend).call("GET", f"/instances/{answer.data['id']}")).data


async def test_wait_needs_no_second_look_when_the_instance_ended_with_its_command() -> None:
    backend = Backend()
    answer = await run(backend, query="?wait=true")
    assert answer.data["terminated"] is True
    assert backend.calls == ["append", "instance"]


async def test_a_run_that_is_waited_for_is_answered_when_postgres_goes_away() -> None:
    """It has started. Whoever is told of an error starts another one."""
    backend = Backend()
    backend.ends_at_once = False
    backend.announces = True

    def away(instance_id: UUID) -> None:
        backend.postgres_away = True

    backend.on_wait_ended = away
    answer = await run(backend, query="?wait=true")
    assert answer.status == 201
    assert answer.data["terminated"] is False
    assert UUID(answer.data["id"]) in backend.instance_rows


async def test_what_is_announced_of_a_start_is_not_read_again() -> None:
    backend = Backend()
    backend.announces = True
    answer = await run(backend, query="?wait=true")
    assert backend.calls == ["append"]
    shown = await make_client(backend).call("GET", f"/instances/{answer.data['id']}")
    assert answer.data == shown.data


async def test_past_the_ceiling_wait_answers_the_current_state() -> None:
    backend = Backend()
    backend.ends_at_once = False
    answer = await run(backend, query="?wait=true")
    assert "wait_ended" in backend.calls
    assert answer.status == 201
    assert answer.data["terminated"] is False
    assert answer.data["status"][0]["stage"] == 0
    assert answer.data["workflow"]


@pytest.mark.parametrize("query", ["", "?wait=", "?wait=yes", "?wait=false", "?Wait=true", "?wait=0", "?wait"])
async def test_anything_else_does_not_wait(query: str) -> None:
    backend = Backend()
    backend.ends_at_once = False
    answer = await run(backend, query=query)
    assert "wait_ended" not in backend.calls
    assert answer.data["status"] == []


async def test_a_failed_instance_shows_its_error() -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    instance = backend.add_instance(uuid4(), workflow.id)
    backend.end(instance.id, "canceled")
    data = (await make_client(backend).call("GET", f"/instances/{instance.id}")).data
    assert data["error"] == "canceled"
    assert data["status"][0]["error"] == "canceled"
    assert data["status"][0]["instanceID"] == str(instance.id)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", "running ended other"),
        ("?running=true", "running other"),
        ("?running=1", "running other"),
        ("?running=no", "running ended other"),
        ("?workflowID={workflow}", "running ended"),
        ("?workflowID={workflow}&running=TRUE", "running"),
        ("?workflowID=", "running ended other"),
        ("?workflowID=&workflowID={workflow}&running=&running=true", "running"),
        ("?workflowID=abc", ""),
        (f"?workflowID={UNKNOWN}", ""),
        ("?workflowId={workflow}", "running ended other"),
        ("?cursor=x&pageSize=-1", "running ended other"),
    ],
)
async def test_lists_are_filtered(query: str, shown: str) -> None:
    backend = Backend()
    workflow, another = backend.add_workflow(uuid4()), backend.add_workflow(uuid4())
    names = {
        backend.add_instance(uuid4(), workflow.id).id: "running",
        backend.add_instance(uuid4(), workflow.id, ended=True).id: "ended",
        backend.add_instance(uuid4(), another.id).id: "other",
    }
    answer = await make_client(backend).call("GET", "/instances" + query.format(workflow=workflow.id))
    assert answer.status == 200
    assert [names[UUID(row["id"])] for row in answer.data] == shown.split()
    assert all("statuses" in row and "workflow" in row for row in answer.data)


@pytest.mark.parametrize(
    "target", ["GET {}", "POST {}/events", "PUT {}/abort", "GET {}/history", "GET {}/stages/0/history"]
)
@pytest.mark.parametrize("instance_id", ["abc", UNKNOWN, "%20"])
async def test_unknown_instances(target: str, instance_id: str) -> None:
    method, path = target.format(f"/instances/{instance_id}").split(" ", 1)
    backend = Backend()
    body = {"name": "x"} if method == "POST" else b""
    assert (await make_client(backend).call(method, path, body)).error == (404, "VALIDATION")
    assert not backend.commands


async def test_an_event_is_sent_with_its_other_keys() -> None:
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    body = {"name": "approved", "by": {"n": 2**70}}
    answer = await make_client(backend).call("POST", f"/instances/{instance.id}/events", body)
    assert (answer.status, answer.body, answer.headers) == (204, b"", {})
    assert backend.commands == [(instance.id, SendEvent(name="approved", payload={"by": {"n": 2**70}}))]


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"{}", b'{"name": ""}', b'{"name": 1}', b'{"Name": "x"}']
)
async def test_events_without_a_name_are_refused(body: bytes) -> None:
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    answer = await make_client(backend).call("POST", f"/instances/{instance.id}/events", body)
    assert answer.error == (400, "VALIDATION")
    assert not backend.commands


@pytest.mark.parametrize("known", [True, False])
async def test_an_ended_instance_takes_no_event_and_its_abort_changes_nothing(known: bool) -> None:
    """Also when the end shows only when the engine decides the command."""
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id, ended=known)
    backend.reject = None if known else Rejection("ENDED", "the instance has ended")
    client = make_client(backend)
    event = await client.call("POST", f"/instances/{instance.id}/events", {"name": "x"})
    assert event.error == (400, "VALIDATION")
    assert (await client.call("PUT", f"/instances/{instance.id}/abort")).status == 204
    assert len(backend.commands) == (0 if known else 2)


async def test_the_abort_of_one_that_has_failed_is_left_to_the_engine() -> None:
    """It may have been retried, and the read model may not know yet: answered 204, it would go on to pay."""
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    backend.end(instance.id, "no funds")
    backend.reject = Rejection("ENDED", "the instance has ended")
    assert (await make_client(backend).call("PUT", f"/instances/{instance.id}/abort")).status == 204
    assert backend.commands == [(instance.id, AbortInstance())]


async def test_abort() -> None:
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    client = make_client(backend)
    answer = await client.call("PUT", f"/instances/{instance.id}/abort", b"ignored")
    assert (answer.status, answer.body) == (204, b"")
    assert backend.commands == [(instance.id, AbortInstance())]
    assert (await client.call("GET", f"/instances/{instance.id}")).data["error"] == "canceled"


@pytest.mark.parametrize(
    ("number", "status"),
    [
        ("0", 200),
        ("1", 200),
        ("2", 404),
        ("abc", 404),
        ("+0", 404),
        ("-0", 404),
        ("-1", 404),
        ("00", 404),
        ("0.0", 404),
        ("%D9%A0", 404),
        ("99999999999999999999999", 404),
    ],
)
async def test_stage_numbers(number: str, status: int) -> None:
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    backend.activity_rows = {(instance.id, 0): [], (instance.id, 1): []}
    answer = await make_client(backend).call("GET", f"/instances/{instance.id}/stages/{number}/history")
    if status == 200:
        assert (answer.status, answer.data) == (200, [])
    else:
        assert answer.error == (404, "VALIDATION")


async def test_histories_are_shown_exactly() -> None:
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    amount = str(2**100)
    given = Raw(b'{"amount":' + amount.encode() + b"}")
    backend.histories[instance.id] = [StageHistoryRow(0, "RunSend", given, START, START, "boom")]
    backend.activity_rows[instance.id, 0] = [
        ActivityRow(0, "GetPayment", given, None, 4, START, last_failure="poor", next_execution=START)
    ]
    client = make_client(backend)
    at = "2026-03-01T10:00:00.120931Z"
    (stage,) = (await client.call("GET", f"/instances/{instance.id}/history")).data
    assert stage == {
        "name": "RunSend",
        "input": {"amount": 2**100},
        "startedAt": at,
        "terminated": True,
        "terminatedAt": at,
        "error": "boom",
    }
    (activity,) = (await client.call("GET", f"/instances/{instance.id}/stages/0/history")).data
    assert activity == {
        "name": "GetPayment",
        "input": {"GetPayment": {"amount": 2**100}},
        "startedAt": at,
        "terminated": False,
        "attempt": 4,
        "lastFailure": "poor",
        "nextExecution": at,
    }


@pytest.mark.parametrize("more", [b"", b',"Ledger":"main","Data":{"amount":1}'])
async def test_the_input_of_a_transaction_is_shown_under_both_names(more: bytes) -> None:
    """Also where the read model holds both, as older builds wrote it."""
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    data = b'{"amount":%d}' % 2**100
    given = Raw(b'{"ledger":"main","data":' + data + more + b"}")
    backend.histories[instance.id] = [StageHistoryRow(0, "RunSend", Raw(b"{}"), START, None, None)]
    backend.activity_rows[instance.id, 0] = [ActivityRow(0, "CreateTransaction", given, None, 1, START)]
    (activity,) = (await make_client(backend).call("GET", f"/instances/{instance.id}/stages/0/history")).data
    shown = {"ledger": "main", "data": {"amount": 2**100}}
    assert activity["input"] == {"CreateTransaction": shown | {"Ledger": "main", "Data": shown["data"]}}


async def test_an_instance_whose_waiting_cannot_be_read_is_shown_without_it_and_says_so() -> None:
    """Such as one that a newer build has written. The others of a page, and requests at the same time, don't notice."""
    whole = Whole()
    client = whole.client
    workflow = (await client.call("POST", "/workflows", {"stages": [{"wait_event": {"event": "go"}}]})).data["id"]
    runs = [await client.call("POST", f"/workflows/{workflow}/instances") for _ in range(4)]
    ids = [run.data["id"] for run in runs]
    before = (await client.call("GET", f"/v2/instances/{ids[0]}")).data
    whole.database.tables.instances[ids[0]].waiting = '["something new"]'
    lists = [await client.call("GET", path) for path in ("/v2/instances", "/v2/instances?state=waiting")]
    for page in (answer.json()["cursor"]["data"] for answer in lists):
        assert [shown["id"] for shown in page] == ids[::-1]
        assert [shown.get("state") for shown in page] == ["waiting"] * 3 + [None]
        assert [("waiting" in shown, "unreadable" in shown) for shown in page] == [(True, False)] * 3 + [(False, True)]
    shown = await asyncio.gather(*(client.call("GET", f"/v2/instances/{id}") for id in ids))
    assert [answer.status for answer in shown] == [200] * 4
    found = shown[0].data
    unreadable = found.pop("unreadable")
    assert ids[0] in unreadable
    assert "upgrade this process" in unreadable
    assert found == {name: value for name, value in before.items() if name not in ("state", "waiting")}
    for path in ("/instances", f"/flows/{workflow}/runs"):
        answer = await client.call("GET", path)
        assert [shown["id"] for shown in answer.data] == ids[::-1]
    stats = await client.call("GET", "/v2/stats")
    assert stats.data["states"]["waiting"] == 4
    assert (await client.call("PUT", f"/instances/{ids[0]}/abort")).status == 204


async def test_statistics_with_a_state_that_nobody_knows_say_what_to_do() -> None:
    """Left out, it would be missing without a sign."""
    whole = Whole()
    whole.database.tables.counts[CountKey("suspended", INSTANCE, NOW, ALL_WORKFLOWS, 0)] = 3
    answer = await whole.client.call("GET", "/v2/stats")
    assert answer.error == (500, "INTERNAL")
    assert "3 instances are counted as 'suspended'" in answer.json()["errorMessage"]
    assert "upgrade this process" in answer.json()["errorMessage"]


async def test_a_bulk_operation_names_the_instance_whose_pause_it_cannot_read() -> None:
    whole = Whole()
    client = whole.client
    workflow = (await client.call("POST", "/workflows", {"stages": [{"wait_event": {"event": "go"}}]})).data["id"]
    id = (await client.call("POST", f"/workflows/{workflow}/instances")).data["id"]
    row = whole.database.tables.instances[id]
    row.waiting, row.state = '["something new"]', "paused"
    body = {"action": "resume", "filter": {"workflowID": workflow}, "dryRun": True}
    answer = await client.call("POST", "/v2/instances/bulk", body)
    assert answer.error == (500, "INTERNAL")
    assert f"instance {id} can't be read here" in answer.json()["errorMessage"]


async def test_a_retry_of_what_cannot_be_read_says_what_to_do() -> None:
    whole = Whole()
    client = whole.client
    workflow = (await client.call("POST", "/workflows", {"stages": [{"wait_event": {"event": "go"}}]})).data["id"]
    id = (await client.call("POST", f"/workflows/{workflow}/instances")).data["id"]
    await client.call("PUT", f"/instances/{id}/abort")
    whole.database.tables.instances[id].retryable = '["something new"]'
    answer = await client.call("POST", f"/v2/instances/{id}/retry")
    assert answer.error == (500, "INTERNAL")
    assert f"instance {id} needs can't be read here" in answer.json()["errorMessage"]
    assert "upgrade this process" in answer.json()["errorMessage"]
