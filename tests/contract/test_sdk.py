"""The current generated client, unmodified, runs every orchestration operation of both its generations (v1 and v2)."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from formance_sdk_python import SDK
from formance_sdk_python.models.errors import ResponseValidationError, SDKBaseError

from tests.integration.installation import Installation

BIG = 12345678901234567890
SEND: dict[str, Any] = {
    "send": {
        "source": {"account": {"id": "world"}},
        "destination": {"account": {"id": "users:7"}},
        "amount": {"amount": BIG, "asset": "EUR/2"},
    }
}
STAGES: list[dict[str, Any]] = [SEND, {"wait_event": {"event": "approved"}}, {"noop": {}}]


@pytest.fixture(scope="module")
async def installation(
    kafka_bootstrap_servers: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    folder = tmp_path_factory.mktemp("sdk")
    async with Installation(kafka_bootstrap_servers, database_url, folder, sandbox=True) as installation:
        yield installation


class Client:
    """One generation of the client's orchestration operations; an answer's `data` or cursor comes back."""

    def __init__(self, url: str, generation: str):
        self.generation = generation
        self._operations = getattr(SDK(server_url=url).orchestration, generation)

    async def call(self, operation: str, /, **request: Any) -> Any:
        """Call an operation in a thread, as a user of the blocking client would."""
        method = getattr(self._operations, operation)
        given = {"request": request} if "request" in inspect.signature(method).parameters else {}
        answer = await asyncio.to_thread(method, **given)
        bodies = [value for name, value in answer if name not in ("content_type", "status_code", "raw_response")]
        body = next((value for value in bodies if value is not None), None)
        for part in ("data", "cursor"):
            if hasattr(body, part):
                return getattr(body, part)
        return body


@pytest.fixture(params=["v1", "v2"])
def client(request: pytest.FixtureRequest, installation: Installation) -> Client:
    return Client(installation.api.url, request.param)


def listed(answer: Any) -> list[Any]:
    """The rows of a list, be it a page or all."""
    rows: list[Any] = answer if isinstance(answer, list) else answer.data
    return rows


async def test_every_operation(client: Client) -> None:
    workflow = await client.call("create_workflow", name="sdk", stages=STAGES)
    assert workflow.config.name == "sdk"
    assert (await client.call("get_workflow", flow_id=workflow.id)).id == workflow.id
    assert workflow.id in [row.id for row in listed(await client.call("list_workflows"))]

    instance = await client.call("run_workflow", workflow_id=workflow.id, request_body={"order": "A-1"})
    assert instance.workflow_id == workflow.id
    running = await client.call("list_instances", workflow_id=workflow.id, running=True)
    assert [row.id for row in listed(running)] == [instance.id]
    await client.call("send_event", instance_id=instance.id, request_body={"name": "approved"})
    async with asyncio.timeout(60):
        while not (await client.call("get_instance", instance_id=instance.id)).terminated:  # noqa: ASYNC110 - polls
            await asyncio.sleep(0.05)
    history = await client.call("get_instance_history", instance_id=instance.id)
    assert [stage.name for stage in history] == ["RunSend", "RunWaitEvent", "RunNoop"]
    assert await client.call("get_instance_stage_history", instance_id=instance.id, number=1) == []
    await check_activities(client, instance.id)

    aborted = await client.call("run_workflow", workflow_id=workflow.id)
    await client.call("cancel_event", instance_id=aborted.id)
    assert (await client.call("get_instance", instance_id=aborted.id)).error == "canceled"

    trigger = await client.call("create_trigger", event="PAID", workflow_id=workflow.id, name="sdk trigger")
    assert (await client.call("read_trigger", trigger_id=trigger.id)).event == "PAID"
    assert trigger.id in [row.id for row in listed(await client.call("list_triggers", name="SDK"))]
    assert listed(await client.call("list_triggers_occurrences", trigger_id=trigger.id)) == []
    if client.generation == "v2":
        tested = await client.call("test_trigger", trigger_id=trigger.id, request_body={"a": 1})
        assert tested.filter_ is None
    await client.call("delete_trigger", trigger_id=trigger.id)
    await client.call("delete_workflow", flow_id=workflow.id)
    assert workflow.id not in [row.id for row in listed(await client.call("list_workflows"))]


async def check_activities(client: Client, instance_id: str) -> None:
    """The v1 half declares an object where a list of transactions comes, with the reference too: it can't read it."""
    if client.generation == "v1":
        with pytest.raises(ResponseValidationError):
            await client.call("get_instance_stage_history", instance_id=instance_id, number=0)
        return
    (activity,) = await client.call("get_instance_stage_history", instance_id=instance_id, number=0)
    assert activity.name == "CreateTransaction"
    (transaction,) = activity.output.create_transaction.data
    assert [posting.amount for posting in transaction.postings] == [BIG]


@pytest.mark.parametrize("operation", ["get_workflow", "get_instance", "run_workflow"])
async def test_an_unknown_id_is_an_error_that_the_client_can_read(client: Client, operation: str) -> None:
    unknown = "6e0c7f9e-0000-4000-8000-000000000000"
    names = {"get_workflow": "flow_id", "get_instance": "instance_id", "run_workflow": "workflow_id"}
    with pytest.raises(SDKBaseError) as caught:
        await client.call(operation, **{names[operation]: unknown})
    assert caught.value.status_code == 404
    data: Any = vars(caught.value)["data"]
    assert data.error_code == ("VALIDATION" if client.generation == "v1" else "NOT_FOUND")
