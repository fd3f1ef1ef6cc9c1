"""Every operation of the first generation's client, as that client calls it, and its models laid over the answers.

The client refuses an answer whose content type is not exactly `application/json`, whose status is not the declared
one, which lacks a required field or holds `null` or another type where its model wants something else; and an error
whose code it does not know (contract: `http-api`, Rules for every operation, Errors, Resources).
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from tests.integration.http_client import Answer, Client, Json
from tests.integration.installation import Installation
from tests.integration.sandbox_client import SandboxClient
from tests.integration.waiting import eventually

Model = dict[str, Any]
"""Fields by name; a name with `?` is optional. A type, a model, or a list of one of them."""

ACCEPT = {"accept": "application/json"}
UNKNOWN = "6e0cfb6e-3c8f-4d4b-9a53-000000000000"

WORKFLOW: Model = {
    "id": str,
    "createdAt": datetime,
    "updatedAt": datetime,
    "config": {"name?": str, "stages": [dict]},
}
STATUS: Model = {
    "stage": int,
    "instanceID": str,
    "startedAt": datetime,
    "terminatedAt?": datetime,
    "error?": str,
}
INSTANCE: Model = {
    "id": str,
    "workflowID": str,
    "createdAt": datetime,
    "updatedAt": datetime,
    "statuses": [STATUS],
    "status?": [STATUS],
    "terminated": bool,
    "terminatedAt?": datetime,
    "error?": str,
}
STAGE_HISTORY: Model = {
    "name": str,
    "input": dict,
    "terminated": bool,
    "startedAt": datetime,
    "terminatedAt?": datetime,
    "error?": str,
}
POSTING: Model = {"amount": int, "asset": str, "source": str, "destination": str}
TRANSACTION: Model = {
    "id": int,
    "txid": int,
    "timestamp": datetime,
    "postings": [POSTING],
    "reference?": str,
    "metadata": dict,
}
ACTIVITY_HISTORY: Model = {
    "name": str,
    "input": {"CreateTransaction": {"ledger": str, "data": {"postings": [POSTING], "metadata": dict}}},
    "output?": {"CreateTransaction": {"data": [TRANSACTION]}},
    "error?": str,
    "terminated": bool,
    "startedAt": datetime,
    "terminatedAt?": datetime,
    "lastFailure?": str,
    "attempt": int,
    "nextExecution?": datetime,
}
ERROR: Model = {"errorCode": str, "errorMessage": str}


def decode(value: Any, kind: Any, where: str = "") -> None:
    """Read a value as the client does. Raises `AssertionError` where the client would raise."""
    if isinstance(kind, list):
        assert isinstance(value, list), where
        for index, item in enumerate(value):
            decode(item, kind[0], f"{where}[{index}]")
    elif isinstance(kind, dict):
        assert isinstance(value, dict), where
        for field, below in kind.items():
            name = field.removesuffix("?")
            assert name in value or field.endswith("?"), f"{where}.{name} is missing"
            if name in value:
                decode(value[name], below, f"{where}.{name}")
    elif kind is datetime:
        assert isinstance(value, str), where
        assert datetime.fromisoformat(value).tzinfo, where
    else:
        assert type(value) is kind, f"{where}: {value!r}"
    if kind is int:
        assert -(2**63) <= value < 2**63, where


def success(answer: Answer, status: int, kind: Any) -> Any:
    """What the client hands to its caller."""
    assert answer.status == status, answer
    if kind is None:
        assert answer.body == b""
        return None
    assert answer.headers["content-type"] == "application/json"
    decode(answer.json(), {"data": kind})
    return answer.json()["data"]


@pytest.fixture(scope="module")
async def client(installation: Installation) -> Client:
    return installation.client()


@pytest.fixture
async def sandbox(installation: Installation) -> AsyncIterator[SandboxClient]:
    assert installation.sandbox
    async with SandboxClient(installation.sandbox.url) as sandbox:
        yield sandbox
        await sandbox.faults()


async def call(client: Client, method: str, path: str, body: Any = None) -> Answer:
    return await client.call(method, path, body, headers=ACCEPT)


SEND: Json = {
    "send": {
        "source": {"account": {"id": "world", "ledger": "default"}},
        "destination": {"account": {"id": "users:${user}", "ledger": "default"}},
        "amount": {"amount": 1250, "asset": "EUR/2"},
    }
}


async def test_the_life_of_an_instance(client: Client) -> None:
    body = {"name": "payout", "stages": [{"wait_event": {"event": "approved"}}, SEND, {"noop": {}}]}
    workflow = success(await call(client, "POST", "/workflows", body), 201, WORKFLOW)
    assert success(await call(client, "GET", f"/workflows/{workflow['id']}"), 200, WORKFLOW) == workflow
    assert workflow in success(await call(client, "GET", "/workflows"), 200, [WORKFLOW])

    runs = f"/workflows/{workflow['id']}/instances"
    started = success(await call(client, "POST", runs, {"user": "7"}), 201, INSTANCE)
    target = f"/instances/{started['id']}"
    success(await call(client, "POST", f"{target}/events", {"name": "approved", "by": "ann"}), 204, None)

    async def shown() -> Json:
        instance: Json = success(await call(client, "GET", target), 200, INSTANCE)
        return instance

    ended = await eventually(shown, lambda instance: instance["terminated"])
    assert len(ended["statuses"]) == 3
    assert ended in success(await call(client, "GET", f"/instances?workflowID={workflow['id']}"), 200, [INSTANCE])
    stages = success(await call(client, "GET", f"{target}/history"), 200, [STAGE_HISTORY])
    assert [stage["name"] for stage in stages] == ["RunWaitEvent", "RunSend", "RunNoop"]
    (activity,) = success(await call(client, "GET", f"{target}/stages/1/history"), 200, [ACTIVITY_HISTORY])
    assert activity["output"]["CreateTransaction"]["data"][0]["postings"][0]["destination"] == "users:7"


async def test_a_run_without_a_body(client: Client) -> None:
    workflow = success(await call(client, "POST", "/workflows", {"stages": []}), 201, WORKFLOW)
    success(await call(client, "POST", f"/workflows/{workflow['id']}/instances"), 201, INSTANCE)
    success(await call(client, "GET", "/instances?running=true"), 200, [INSTANCE])


async def test_a_running_activity_and_an_abort(client: Client, sandbox: SandboxClient) -> None:
    await sandbox.faults({"endpoint": "CreateTransaction", "kind": "error"})
    workflow = success(await call(client, "POST", "/workflows", {"stages": [SEND]}), 201, WORKFLOW)
    started = success(
        await call(client, "POST", f"/workflows/{workflow['id']}/instances", {"user": "7"}), 201, INSTANCE
    )
    target = f"/instances/{started['id']}"

    async def activities() -> list[Json]:
        answer = await call(client, "GET", f"{target}/stages/0/history")
        return [] if answer.status == 404 else success(answer, 200, [ACTIVITY_HISTORY])

    (retried,) = await eventually(activities, lambda some: some and "lastFailure" in some[0])
    assert "output" not in retried
    success(await call(client, "PUT", f"{target}/abort"), 204, None)
    aborted = success(await call(client, "GET", target), 200, INSTANCE)
    assert aborted["statuses"][0]["error"] == aborted["error"]
    success(await call(client, "GET", f"{target}/history"), 200, [STAGE_HISTORY])
    (failed,) = await activities()
    assert failed["error"] == aborted["error"]


async def test_the_server_info(client: Client) -> None:
    answer = await call(client, "GET", "/_info")
    assert answer.headers["content-type"] == "application/json"
    decode(answer.json(), {"version": str})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", f"/instances/{UNKNOWN}/abort", None, 404),
        ("POST", "/workflows", None, 400),
        ("POST", "/workflows", {"stages": [{"sned": {}}]}, 400),
        ("GET", f"/instances/{UNKNOWN}", None, 404),
        ("GET", f"/instances/{UNKNOWN}/history", None, 404),
        ("GET", f"/instances/{UNKNOWN}/stages/0/history", None, 404),
        ("GET", f"/instances/{UNKNOWN}/stages/0.0/history", None, 404),
        ("GET", f"/workflows/{UNKNOWN}", None, 404),
        ("POST", f"/workflows/{UNKNOWN}/instances", {"a": "b"}, 404),
        ("POST", f"/instances/{UNKNOWN}/events", {"name": "x"}, 404),
        ("POST", f"/instances/{UNKNOWN}/events", None, 400),
        ("PATCH", "/workflows", None, 405),
    ],
)
async def test_errors_have_the_only_code_that_it_knows(
    client: Client, method: str, path: str, body: Any, status: int
) -> None:
    answer = await call(client, method, path, body)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    decode(answer.json(), ERROR)
    assert answer.json()["errorCode"] == "VALIDATION"
