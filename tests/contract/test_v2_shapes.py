"""Answers of surface v2 have exactly the contract's shapes (contract: `http-api`, `triggers-and-events`)."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import Raw

from api.ports import ActivityRow, OccurrenceRow, StageHistoryRow, StartedRow
from schemas.commands import CreateTrigger
from tests.contract.shapes import (
    DELETED_WORKFLOW,
    ENDED_ACTIVITY,
    ENDED_STAGE,
    ENDED_STATUS,
    FAILED_STATUS,
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
}
INSTANCE = {**BARE_INSTANCE, "state": str, "workflow": WORKFLOW, "status": [STATUS]}
ENDED_INSTANCE = {**INSTANCE, "terminatedAt": datetime, "status": [ENDED_STATUS]}
FAILED_INSTANCE = {**ENDED_INSTANCE, "error": str, "status": [FAILED_STATUS]}
TRIGGER = {"id": UUID, "createdAt": datetime, "name": str, "event": str, "workflowID": UUID}
FULL_TRIGGER = {**TRIGGER, "version": str, "filter": str, "vars": {"from": str}}
STARTED = {"id": UUID, "workflowID": UUID, "createdAt": datetime, "updatedAt": datetime, "terminated": bool}
FAILED_OCCURRENCE = {"id": UUID, "triggerID": UUID, "date": datetime, "event": {"type": str}, "error": str}
OCCURRENCE = {
    "id": UUID,
    "triggerID": UUID,
    "date": datetime,
    "event": {"type": str},
    "workflowInstanceID": UUID,
    "workflowInstance": STARTED,
}


def page(*items: Any, **neighbours: Any) -> Any:
    """The shape of a page."""
    return {"cursor": {"pageSize": int, "hasMore": bool, "data": list(items), **neighbours}}


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def client(backend: Backend) -> Client:
    return make_client(backend)


async def shape_of(client: Client, target: str) -> Any:
    answer = await client.call("GET", target)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


@pytest.mark.parametrize(
    "target", ["/v2/workflows", "/v2/instances", "/v2/triggers", f"/v2/triggers/{UUID(int=7)}/occurrences"]
)
async def test_an_empty_list_is_an_empty_page(client: Client, target: str) -> None:
    assert await shape_of(client, target) == {"cursor": {"pageSize": 15, "hasMore": False, "data": []}}


async def test_pages(backend: Backend, client: Client) -> None:
    for _ in range(3):
        backend.add_workflow(uuid4())
    first = await shape_of(client, "/v2/workflows?pageSize=1")
    assert_shape(first, page(WORKFLOW, next=str))
    second = await shape_of(client, f"/v2/workflows?cursor={first['cursor']['next']}")
    assert_shape(second, page(WORKFLOW, previous=str, next=str))
    third = await shape_of(client, f"/v2/workflows?cursor={second['cursor']['next']}")
    assert_shape(third, page(WORKFLOW, previous=str))
    assert [shown["cursor"]["hasMore"] for shown in (first, second, third)] == [True, True, False]


async def test_workflow(backend: Backend, client: Client) -> None:
    created = await client.call("POST", "/v2/workflows", {"stages": [{"noop": {}}]})
    assert_shape(created.json(), {"data": WORKFLOW})
    target = f"/v2/workflows/{created.data['id']}"
    assert_shape(await shape_of(client, target), {"data": WORKFLOW})
    assert_shape(await shape_of(client, "/v2/workflows"), page(WORKFLOW))
    deleted = await client.call("DELETE", target)
    assert (deleted.status, deleted.body, deleted.headers) == (204, b"", {})
    assert_shape(await shape_of(client, target), {"data": DELETED_WORKFLOW})


async def test_instance(backend: Backend, client: Client) -> None:
    backend.ends_at_once = False
    runs = f"/v2/workflows/{backend.add_workflow(uuid4()).id}/instances"
    started = await client.call("POST", runs)
    assert_shape(started.json(), {"data": BARE_INSTANCE})
    target = f"/v2/instances/{started.data['id']}"
    assert_shape(await shape_of(client, target), {"data": INSTANCE})
    assert_shape((await client.call("POST", f"{runs}?wait=true")).json(), {"data": INSTANCE})
    backend.ends_at_once = True
    assert_shape((await client.call("POST", f"{runs}?wait=true")).json(), {"data": ENDED_INSTANCE})
    assert (await client.call("POST", f"{target}/events", {"name": "go"})).status == 204
    assert (await client.call("PUT", f"{target}/abort")).status == 204
    assert_shape(await shape_of(client, target), {"data": FAILED_INSTANCE})
    assert_shape(await shape_of(client, "/v2/instances"), page(ENDED_INSTANCE, INSTANCE, FAILED_INSTANCE))


async def test_histories_stay_in_the_envelope_of_v1(backend: Backend, client: Client) -> None:
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    given = Raw(b'{"ledger":"default","data":{}}')
    backend.histories[instance.id] = [StageHistoryRow(0, "RunSend", given, START, START)]
    backend.activity_rows[instance.id, 0] = [ActivityRow(0, "CreateTransaction", given, given, 1, START, START)]
    assert_shape(
        await shape_of(client, f"/v2/instances/{instance.id}/history"), {"data": [{**ENDED_STAGE, "stage": int}]}
    )
    assert_shape(await shape_of(client, f"/v2/instances/{instance.id}/stages/0/history"), {"data": [ENDED_ACTIVITY]})


async def test_trigger(backend: Backend, client: Client) -> None:
    workflow = backend.add_workflow(uuid4())
    least = {"event": "PAID", "workflowID": str(workflow.id)}
    created = await client.call("POST", "/v2/triggers", least)
    assert_shape(created.json(), {"data": TRIGGER})
    most = {**least, "name": "n", "version": "v2", "filter": "true", "vars": {"from": "event.from"}}
    full = await client.call("POST", "/v2/triggers", most)
    assert_shape(full.json(), {"data": FULL_TRIGGER})
    target = f"/v2/triggers/{full.data['id']}"
    assert_shape(await shape_of(client, target), {"data": FULL_TRIGGER})
    assert_shape(await shape_of(client, "/v2/triggers"), page(FULL_TRIGGER, TRIGGER))
    tested = await client.call("POST", f"{target}/test", {"from": "world"})
    assert tested.json() == {"data": {"filter": {"match": True}, "variables": {"from": {"value": "world"}}}}
    deleted = await client.call("DELETE", target)
    assert (deleted.status, deleted.body, deleted.headers) == (204, b"", {})


async def test_occurrences(backend: Backend, client: Client) -> None:
    workflow = backend.add_workflow(uuid4())
    trigger = backend.add_trigger(uuid4(), CreateTrigger(name="", event="PAID", workflow_id=str(workflow.id)))
    started = StartedRow(UUID(int=7), workflow.id, START, START)
    event = Raw(b'{"type":"PAID"}')
    backend.occurrence_rows = [
        OccurrenceRow(UUID(int=2), trigger.id, START, started.id, event, None, started),
        OccurrenceRow(UUID(int=1), trigger.id, START, None, event, "boom"),
    ]
    shown = await shape_of(client, f"/v2/triggers/{trigger.id}/occurrences")
    assert_shape(shown, page(OCCURRENCE, FAILED_OCCURRENCE))


async def test_info_and_errors(client: Client) -> None:
    assert_shape(await shape_of(client, "/v2/_info"), {"version": str})
    for target in ("/v2/nope", "/v2/instances/x", "/v2/instances?cursor=x"):
        assert_shape((await client.call("GET", target)).json(), {"errorCode": str, "errorMessage": str})
