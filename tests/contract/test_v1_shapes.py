"""Answers of surface v1 have exactly the contract's shapes (contract: `http-api`): no key more, no key less."""

from datetime import datetime
from uuid import UUID, uuid4

import pytest
from msgspec import Raw

from api.ports import ActivityRow, StageHistoryRow
from tests.contract.shapes import (
    DELETED_WORKFLOW,
    ENDED_ACTIVITY,
    ENDED_STAGE,
    ENDED_STATUS,
    FAILED_ACTIVITY,
    FAILED_STAGE,
    FAILED_STATUS,
    RETRIED_ACTIVITY,
    RUNNING_ACTIVITY,
    STAGE,
    STATUS,
    WORKFLOW,
    assert_shape,
)
from tests.unit.api.fakes import START, Backend, Client, make_client

BARE_INSTANCE = {
    "id": UUID,
    "workflowID": UUID,
    "createdAt": datetime,
    "updatedAt": datetime,
    "terminated": bool,
    "status": [],
    "statuses": [],
}
INSTANCE = {**BARE_INSTANCE, "workflow": WORKFLOW, "status": [STATUS], "statuses": [STATUS]}
ENDED_INSTANCE = {**INSTANCE, "terminatedAt": datetime, "status": [ENDED_STATUS], "statuses": [ENDED_STATUS]}
FAILED_INSTANCE = {**ENDED_INSTANCE, "error": str, "status": [FAILED_STATUS], "statuses": [FAILED_STATUS]}


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def client(backend: Backend) -> Client:
    return make_client(backend)


async def test_workflow(backend: Backend, client: Client) -> None:
    created = await client.call("POST", "/workflows", {"stages": [{"noop": {}}]})
    assert_shape(created.json(), {"data": WORKFLOW})
    target = f"/workflows/{created.data['id']}"
    assert_shape((await client.call("GET", target)).json(), {"data": WORKFLOW})
    assert_shape((await client.call("GET", "/workflows")).json(), {"data": [WORKFLOW]})
    assert (await client.call("DELETE", target)).body == b""
    assert_shape((await client.call("GET", target)).json(), {"data": DELETED_WORKFLOW})


async def test_instance(backend: Backend, client: Client) -> None:
    backend.ends_at_once = False
    runs = f"/workflows/{backend.add_workflow(uuid4()).id}/instances"
    started = await client.call("POST", runs)
    assert_shape(started.json(), {"data": BARE_INSTANCE})
    target = f"/instances/{started.data['id']}"
    assert_shape((await client.call("GET", target)).json(), {"data": INSTANCE})
    assert_shape((await client.call("GET", "/instances")).json(), {"data": [INSTANCE]})
    assert_shape((await client.call("POST", f"{runs}?wait=true")).json(), {"data": INSTANCE})
    backend.ends_at_once = True
    assert_shape((await client.call("POST", f"{runs}?wait=true")).json(), {"data": ENDED_INSTANCE})
    assert (await client.call("PUT", f"{target}/abort")).body == b""
    assert_shape((await client.call("GET", target)).json(), {"data": FAILED_INSTANCE})
    shown = (await client.call("GET", target)).data
    assert shown["status"] == shown["statuses"]
    assert_shape((await client.call("GET", "/instances")).json(), {"data": [FAILED_INSTANCE, INSTANCE, ENDED_INSTANCE]})


async def test_an_instance_of_a_deleted_workflow_is_shown_with_it(backend: Backend, client: Client) -> None:
    workflow = backend.add_workflow(uuid4())
    await client.call("DELETE", f"/workflows/{workflow.id}")
    instance = backend.add_instance(uuid4(), workflow.id)
    answer = await client.call("GET", f"/instances/{instance.id}")
    assert_shape(answer.json(), {"data": {**INSTANCE, "workflow": DELETED_WORKFLOW}})


async def test_histories(backend: Backend, client: Client) -> None:
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    given = Raw(b'{"ledger":"default","data":{}}')
    backend.histories[instance.id] = [
        StageHistoryRow(0, "RunNoop", given, START, START),
        StageHistoryRow(1, "RunSend", given, START, START, "boom"),
        StageHistoryRow(2, "RunSend", given, START),
    ]
    name = "CreateTransaction"
    backend.activity_rows[instance.id, 1] = [
        ActivityRow(0, name, given, given, 1, START, START),
        ActivityRow(1, name, given, None, 3, START, START, "boom", "boom"),
        ActivityRow(2, name, given, None, 1, START, next_execution=START),
        ActivityRow(3, name, given, None, 2, START, last_failure="boom", next_execution=START),
    ]
    stages = await client.call("GET", f"/instances/{instance.id}/history")
    assert_shape(stages.json(), {"data": [ENDED_STAGE, FAILED_STAGE, STAGE]})
    activities = await client.call("GET", f"/instances/{instance.id}/stages/1/history")
    assert_shape(activities.json(), {"data": [ENDED_ACTIVITY, FAILED_ACTIVITY, RUNNING_ACTIVITY, RETRIED_ACTIVITY]})


async def test_info_and_errors(client: Client) -> None:
    assert_shape((await client.call("GET", "/_info")).json(), {"version": str})
    for target in ("/nope", "/instances/x"):
        assert_shape((await client.call("GET", target)).json(), {"errorCode": str, "errorMessage": str})


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/workflows", 200),
        ("GET", "/workflows/x", 404),
        ("GET", "/nope", 404),
        ("PATCH", "/workflows", 405),
        ("POST", "/workflows", 400),
    ],
)
async def test_every_body_is_json_without_parameters(client: Client, method: str, target: str, status: int) -> None:
    answer = await client.call(method, target)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
