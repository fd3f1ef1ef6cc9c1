"""Surface "flows": flows are workflows, runs are instances (contract: `http-api`, Surface "flows")."""

from typing import Any
from uuid import uuid4

import pytest

from schemas.commands import AbortInstance, CreateWorkflow, RunWorkflow, SendEvent
from tests.unit.api.fakes import Backend, make_client

UNKNOWN = "6e0c0000-0000-0000-0000-000000000000"


async def test_a_flow_is_the_workflow_of_v1() -> None:
    backend = Backend()
    client = make_client(backend)
    created = await client.call("POST", "/flows", {"name": "payout", "stages": [{"noop": None}]})
    assert created.status == 201
    ((key, command),) = backend.commands
    assert isinstance(command, CreateWorkflow)
    assert created.data["id"] == str(key)
    for flows, workflows in (("/flows", "/workflows"), (f"/flows/{key}", f"/workflows/{key}")):
        shown = await client.call("GET", flows)
        assert shown.status == 200
        assert shown.json() == (await client.call("GET", workflows)).json()


async def test_a_run_is_the_instance_of_v1() -> None:
    backend = Backend()
    client = make_client(backend)
    flow = backend.add_workflow(uuid4())
    started = await client.call("POST", f"/flows/{flow.id}/runs?wait=true", {"order": "A-1", "none": None})
    assert started.status == 201
    ((key, command),) = backend.commands
    assert isinstance(command, RunWorkflow)
    assert (command.workflow_id, command.variables) == (str(flow.id), {"order": "A-1", "none": ""})
    shown = (await client.call("GET", f"/flows/{flow.id}/runs/{key}")).data
    assert started.data == shown
    instance = (await client.call("GET", f"/instances/{key}")).data
    assert {**shown, "statuses": None} == {
        name: None if name == "statuses" else value
        for name, value in instance.items()
        if name not in ("workflow", "status")
    }


async def test_idempotency_keys_are_shared_with_v1() -> None:
    backend = Backend()
    client = make_client(backend)
    headers = {"Idempotency-Key": "k"}
    flow = await client.call("POST", "/flows", {"stages": []}, headers)
    assert (await client.call("POST", "/workflows", {"stages": []}, headers)).json() == flow.json()
    run = await client.call("POST", f"/flows/{flow.data['id']}/runs", b"", headers)
    again = await client.call("POST", f"/workflows/{flow.data['id']}/instances", b"", headers)
    assert again.data["id"] == run.data["id"]
    assert len(backend.commands) == 2


async def test_runs_are_those_of_the_flow() -> None:
    backend = Backend()
    flow, other = backend.add_workflow(uuid4()), backend.add_workflow(uuid4())
    ids = [str(backend.add_instance(uuid4(), flow.id, ended).id) for ended in (True, False)]
    backend.add_instance(uuid4(), other.id)
    client = make_client(backend)
    for query in ("", "/", "?running=true", f"?workflowID={other.id}", "?pageSize=1&cursor=x"):
        shown = await client.call("GET", f"/flows/{flow.id}/runs{query}")
        assert [run["id"] for run in shown.data] == ids


async def test_a_deleted_flow_shows_its_runs_and_starts_no_more() -> None:
    backend = Backend()
    client = make_client(backend)
    flow = backend.add_workflow(uuid4())
    run = backend.add_instance(uuid4(), flow.id)
    await client.call("DELETE", f"/workflows/{flow.id}")
    assert [shown["id"] for shown in (await client.call("GET", f"/flows/{flow.id}/runs")).data] == [str(run.id)]
    assert (await client.call("GET", f"/flows/{flow.id}/runs/{run.id}")).status == 200
    assert (await client.call("POST", f"/flows/{flow.id}/runs")).error == (404, "VALIDATION")


async def test_events_and_aborts_reach_the_instance() -> None:
    backend = Backend()
    run = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    client = make_client(backend)
    target = f"/flows/{str(run.workflow_id).upper()}/runs/{run.id}"
    assert (await client.call("POST", f"{target}/events", {"name": "go", "by": 1})).status == 204
    assert (await client.call("PUT", f"{target}/abort")).status == 204
    assert backend.commands == [(run.id, SendEvent(name="go", payload={"by": 1})), (run.id, AbortInstance())]
    assert (await client.call("PUT", f"{target}/abort")).status == 204
    assert (await client.call("POST", f"{target}/events", {"name": "go"})).error == (400, "VALIDATION")
    assert backend.commands[2:] == [(run.id, AbortInstance())]


OF_A_RUN = [
    ("GET", "", b""),
    ("POST", "/events", {"name": "go"}),
    ("PUT", "/abort", b""),
]


@pytest.mark.parametrize(("method", "path", "body"), OF_A_RUN)
@pytest.mark.parametrize(
    ("flow", "run"),
    [("other", "run"), (UNKNOWN, "run"), ("abc", "run"), ("flow", UNKNOWN), ("flow", "abc"), ("run", "flow")],
)
async def test_a_run_is_found_only_under_its_own_flow(method: str, path: str, body: Any, flow: str, run: str) -> None:
    backend = Backend()
    workflow, other = backend.add_workflow(uuid4()), backend.add_workflow(uuid4())
    instance = backend.add_instance(uuid4(), workflow.id)
    ids = {"flow": str(workflow.id), "other": str(other.id), "run": str(instance.id)}
    target = f"/flows/{ids.get(flow, flow)}/runs/{ids.get(run, run)}{path}"
    assert (await make_client(backend).call(method, target, body)).error == (404, "VALIDATION")
    assert not backend.commands


@pytest.mark.parametrize(
    ("method", "target", "body", "expected"),
    [
        ("POST", "/flows", b"", 400),
        ("POST", "/flows", b"{", 400),
        ("POST", "/flows", {"stages": [{"sned": {}}]}, 400),
        ("GET", "/flows/abc", b"", 404),
        ("GET", f"/flows/{UNKNOWN}", b"", 404),
        ("DELETE", f"/flows/{UNKNOWN}", b"", 405),
        ("GET", "/flows/abc/runs", b"", 404),
        ("GET", f"/flows/{UNKNOWN}/runs", b"", 404),
        ("POST", f"/flows/{UNKNOWN}/runs", b"", 404),
        ("POST", "/flows/{flow}/runs", [], 400),
        ("POST", "/flows/{flow}/runs", {"a": 1}, 400),
        ("POST", "/flows/{flow}/runs/{run}/events", b"", 400),
        ("POST", "/flows/{flow}/runs/{run}/events", {}, 400),
        ("PUT", "/flows/{flow}/runs", b"", 405),
        ("DELETE", "/flows/{flow}/runs/{run}", b"", 405),
        ("GET", "/flows/{flow}/runs/{run}/abort", b"", 405),
        ("POST", "/flows", b" " * 3000, 413),
    ],
)
async def test_every_refusal_is_validation(method: str, target: str, body: Any, expected: int) -> None:
    backend = Backend()
    run = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    client = make_client(backend, max_body_bytes=2048)
    answer = await client.call(method, target.format(flow=run.workflow_id, run=run.id), body)
    assert answer.error == (expected, "VALIDATION")
    assert not backend.commands


async def test_collections_and_items_take_a_trailing_slash() -> None:
    backend = Backend()
    run = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    client = make_client(backend)
    for path in ("/flows/", f"/flows/{run.workflow_id}/", f"/flows/{run.workflow_id}/runs/"):
        assert (await client.call("GET", path)).status == 200
    assert (await client.call("GET", f"/flows/{run.workflow_id}/runs/{run.id}/")).status == 200
    assert (await client.call("POST", "/flows/", {"stages": []})).status == 201
    assert (await client.call("POST", f"/flows/{run.workflow_id}/runs/")).status == 201
