"""Answers of surface "flows" have exactly the contract's shapes (contract: `http-api`, Surface "flows")."""

from datetime import datetime
from uuid import UUID, uuid4

import pytest

from tests.contract.shapes import DELETED_WORKFLOW, WORKFLOW, assert_shape
from tests.unit.api.fakes import Backend, Client, make_client

STATUS = {"stage": int, "occurrenceID": UUID, "startedAt": datetime}
ENDED_STATUS = {**STATUS, "terminatedAt": datetime}
FAILED_STATUS = {**ENDED_STATUS, "error": str}
BARE_RUN = {
    "id": UUID,
    "workflowID": UUID,
    "createdAt": datetime,
    "updatedAt": datetime,
    "terminated": bool,
    "statuses": [],
}
RUN = {**BARE_RUN, "statuses": [STATUS]}
ENDED_RUN = {**RUN, "terminatedAt": datetime, "statuses": [ENDED_STATUS]}
FAILED_RUN = {**ENDED_RUN, "error": str, "statuses": [FAILED_STATUS]}


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def client(backend: Backend) -> Client:
    return make_client(backend)


async def test_flow(backend: Backend, client: Client) -> None:
    created = await client.call("POST", "/flows", {"stages": [{"noop": {}}]})
    assert_shape(created.json(), {"data": WORKFLOW})
    target = f"/flows/{created.data['id']}"
    assert_shape((await client.call("GET", target)).json(), {"data": WORKFLOW})
    assert_shape((await client.call("GET", "/flows")).json(), {"data": [WORKFLOW]})
    await client.call("DELETE", f"/workflows/{created.data['id']}")
    assert_shape((await client.call("GET", target)).json(), {"data": DELETED_WORKFLOW})
    assert_shape((await client.call("GET", "/flows")).json(), {"data": []})


async def test_run(backend: Backend, client: Client) -> None:
    backend.ends_at_once = False
    runs = f"/flows/{backend.add_workflow(uuid4()).id}/runs"
    assert_shape((await client.call("GET", runs)).json(), {"data": []})
    started = await client.call("POST", runs)
    assert_shape(started.json(), {"data": BARE_RUN})
    target = f"{runs}/{started.data['id']}"
    assert_shape((await client.call("GET", target)).json(), {"data": RUN})
    assert_shape((await client.call("POST", f"{runs}?wait=true")).json(), {"data": RUN})
    backend.ends_at_once = True
    assert_shape((await client.call("POST", f"{runs}?wait=true")).json(), {"data": ENDED_RUN})
    event = await client.call("POST", f"{target}/events", {"name": "go"})
    assert (event.status, event.body, event.headers) == (204, b"", {})
    aborted = await client.call("PUT", f"{target}/abort")
    assert (aborted.status, aborted.body, aborted.headers) == (204, b"", {})
    assert_shape((await client.call("GET", target)).json(), {"data": FAILED_RUN})
    assert_shape((await client.call("GET", runs)).json(), {"data": [FAILED_RUN, RUN, ENDED_RUN]})


async def test_statuses_name_their_run(backend: Backend, client: Client) -> None:
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    backend.end(instance.id, "boom")
    shown = (await client.call("GET", f"/flows/{instance.workflow_id}/runs/{instance.id}")).data
    (of_v1,) = (await client.call("GET", f"/instances/{instance.id}")).data["statuses"]
    assert shown["error"] == "boom"
    assert shown["statuses"] == [
        {("occurrenceID" if name == "instanceID" else name): value for name, value in of_v1.items()}
    ]


async def test_info(client: Client) -> None:
    assert_shape((await client.call("GET", "/_info")).json(), {"version": str})
