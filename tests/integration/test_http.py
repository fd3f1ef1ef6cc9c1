"""Surface v1 over HTTP against real processes, Kafka and Postgres (contract: `http-api`, Surface v1; `workflows`)."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.event_log_reader import admitted_events
from tests.integration.http_client import Answer, Client, Json
from tests.integration.installation import Installation
from tests.integration.sandbox_client import SandboxClient
from tests.integration.waiting import eventually

WAITS: Json = {"wait_event": {"event": "go"}}
HOUR: Json = {"delay": {"duration": "1h"}}
UNKNOWN = "6e0cfb6e-3c8f-4d4b-9a53-000000000000"


def send(amount: int = 1250, source: str = "world") -> Json:
    account = {"account": {"id": source, "ledger": "default"}}
    return {
        "send": {
            "source": account,
            "destination": {"account": {"id": "users:7"}},
            "amount": {"amount": amount, "asset": "EUR/2"},
        }
    }


@pytest.fixture(scope="module")
async def client(installation: Installation) -> Client:
    return installation.client()


@pytest.fixture(scope="module")
async def other(installation: Installation) -> AsyncIterator[Client]:
    """A client of a second API process."""
    api = installation.add_api()
    await api.start()
    yield installation.client(api)
    assert await api.terminate() == 0


@pytest.fixture
async def sandbox(installation: Installation) -> AsyncIterator[SandboxClient]:
    """The stack, without faults at the start and at the end."""
    assert installation.sandbox
    async with SandboxClient(installation.sandbox.url) as sandbox:
        yield sandbox
        await sandbox.faults()


async def history(client: Client, instance_id: str, stage: int | None = None) -> list[Any]:
    path = "history" if stage is None else f"stages/{stage}/history"
    shown: list[Any] = (await client.get(f"/instances/{instance_id}/{path}")).data
    return shown


async def until_stages(client: Client, instance_id: str, count: int) -> Json:
    """The instance once that many stages have started."""
    return await eventually(lambda: client.instance(instance_id), lambda shown: len(shown["status"]) >= count)


async def until_ended(client: Client, instance_id: str) -> Json:
    return await eventually(lambda: client.instance(instance_id), lambda shown: shown["terminated"])


# Bodies


YAML = b"name: payout\nstages:\n- wait_event:\n    event: '${e}'\n- noop: {}\n"
JSON = b'{"name": "payout", "stages": [{"wait_event": {"event": "${e}"}}, {"noop": {}}]}'


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("application/json", JSON),
        ("text/plain; charset=utf-8", JSON),
        ("text/vnd.yaml", YAML),
        ("application/yaml; charset=utf-8", YAML),
        ("application/x-yaml", YAML),
        ("text/yaml", YAML),
    ],
)
async def test_a_workflow_is_json_or_yaml(client: Client, content_type: str, content: bytes) -> None:
    created = await client.call("POST", "/workflows", content=content, headers={"content-type": content_type})
    assert created.status == 201
    assert created.data["config"] == {
        "name": "payout",
        "stages": [{"wait_event": {"event": "${e}"}}, {"noop": {}}],
    }
    assert (await client.get(f"/workflows/{created.data['id']}")).data == created.data


@pytest.mark.parametrize(
    ("content", "event"), [(None, ""), (b"null", ""), (b"{}", ""), (b'{"e": null}', ""), (b'{"e": "go"}', "go")]
)
async def test_variables(client: Client, content: bytes | None, event: str) -> None:
    workflow = await client.workflow({"wait_event": {"event": "${e}"}})
    started = (await client.call("POST", f"/workflows/{workflow}/instances", content=content)).data
    instance = await until_stages(client, started["id"], 1)
    if event:
        assert not instance["terminated"]
        assert [stage["input"] for stage in await history(client, started["id"])] == [{"event": "go"}]
    else:
        assert "event" in (await until_ended(client, started["id"]))["error"]


# Waiting


async def test_wait_answers_after_the_end_as_get_does(client: Client) -> None:
    workflow = await client.workflow({"noop": None}, {"delay": {"duration": "200ms"}}, {"noop": {}})
    for flag in ("true", "1", "TRUE"):
        ended = (await client.post(f"/workflows/{workflow}/instances?wait={flag}")).data
        assert ended["terminated"] is True
        assert len(ended["status"]) == 3
        assert ended == await client.instance(ended["id"])
        assert [stage["name"] for stage in await history(client, ended["id"])] == ["RunNoop", "RunDelay", "RunNoop"]


async def test_without_wait_the_answer_comes_at_once(client: Client) -> None:
    workflow = await client.workflow(HOUR)
    for query in ("", "?wait=false", "?wait=yes"):
        started = (await client.post(f"/workflows/{workflow}/instances{query}")).data
        assert started["terminated"] is False
        assert started["status"] == started["statuses"] == []
        assert "workflow" not in started


async def test_an_instance_without_stages_ends_at_once(client: Client) -> None:
    ended = await client.run(await client.workflow(), wait=True)
    assert ended["terminated"] is True
    assert ended["status"] == []
    assert await history(client, ended["id"]) == []


# Events


async def test_events_are_taken_before_their_stage_runs(client: Client) -> None:
    first, second = {"wait_event": {"event": "a"}}, {"wait_event": {"event": "b"}}
    instance = await client.run(await client.workflow(first, {"delay": {"duration": "50ms"}}, second))
    for name in (*(f"noise-{n}" for n in range(20)), "b", "noise"):
        assert (await client.send(instance["id"], name, amount=10**30)).status == 204
    assert len((await until_stages(client, instance["id"], 1))["status"]) == 1
    assert (await client.send(instance["id"], "a")).status == 204
    ended = await until_ended(client, instance["id"])
    assert "error" not in ended
    assert len(ended["status"]) == 3


async def test_one_event_ends_one_stage(client: Client) -> None:
    instance = await client.run(await client.workflow(WAITS, WAITS))
    await client.send(instance["id"], "go")
    shown = await until_stages(client, instance["id"], 2)
    assert ["terminatedAt" in status for status in shown["status"]] == [True, False]
    await client.send(instance["id"], "go")
    assert (await until_ended(client, instance["id"]))["terminated"]


# Abort


async def check_canceled(client: Client, instance_id: str) -> None:
    assert (await client.abort(instance_id)).status == 204
    aborted = await client.instance(instance_id)
    assert aborted["terminated"] is True
    assert aborted["error"] == "canceled"
    assert aborted["status"][-1]["error"] == "canceled"
    assert (await history(client, instance_id))[-1]["error"] == "canceled"
    assert (await client.abort(instance_id)).status == 204
    assert (await client.send(instance_id, "go")).error == (400, "VALIDATION")
    assert await client.instance(instance_id) == aborted


@pytest.mark.parametrize("stage", [WAITS, HOUR], ids=["event", "delay"])
async def test_abort_while_waiting(client: Client, stage: Json) -> None:
    instance = await client.run(await client.workflow(stage, {"noop": {}}))
    await until_stages(client, instance["id"], 1)
    await check_canceled(client, instance["id"])
    assert len((await client.instance(instance["id"]))["status"]) == 1


async def test_abort_while_a_retry_waits(client: Client, sandbox: SandboxClient) -> None:
    await sandbox.faults({"endpoint": "CreateTransaction", "kind": "error", "status": 502})
    instance = await client.run(await client.workflow(send()))
    await until_stages(client, instance["id"], 1)
    (retried,) = await eventually(
        lambda: history(client, instance["id"], 0), lambda shown: shown and "lastFailure" in shown[0]
    )
    assert retried["terminated"] is False
    assert retried["attempt"] >= 2
    assert retried["nextExecution"] > retried["startedAt"]
    await check_canceled(client, instance["id"])
    (activity,) = await history(client, instance["id"], 0)
    assert (activity["terminated"], activity["error"]) == (True, "canceled")


async def test_abort_during_a_call_whose_late_result_changes_nothing(
    installation: Installation, client: Client, sandbox: SandboxClient
) -> None:
    assert installation.sandbox
    with installation.sandbox.paused():  # so the call takes as long as the rest
        instance = await client.run(await client.workflow(send()))
        await until_stages(client, instance["id"], 1)
        await eventually(lambda: history(client, instance["id"], 0))
        await check_canceled(client, instance["id"])
        before = await client.instance(instance["id"])
    await eventually(lambda: kinds(installation, instance["id"]), lambda seen: "LateResultRecorded" in seen)
    assert await client.instance(instance["id"]) == before


async def kinds(installation: Installation, instance_id: str) -> list[str]:
    """Names of the events of an instance in the log."""
    logs = await admitted_events(installation.settings)
    return [type(r.event).__name__ for log in logs.values() for r in log if r.aggregate_id == instance_id]


# Delete


async def test_a_deleted_workflow_runs_no_more_but_its_instances_go_on(client: Client) -> None:
    workflow = await client.workflow(WAITS)
    instance = await client.run(workflow)
    for _ in range(2):
        deleted = await client.delete(f"/workflows/{workflow}")
        assert (deleted.status, deleted.body) == (204, b"")
        assert "content-type" not in deleted.headers
    shown = (await client.get(f"/workflows/{workflow}")).data
    assert shown["updatedAt"] == shown["deletedAt"] > shown["createdAt"]
    assert workflow not in [listed["id"] for listed in (await client.get("/workflows")).data]
    assert (await client.post(f"/workflows/{workflow}/instances")).error == (404, "VALIDATION")
    assert [i["id"] for i in (await client.get(f"/instances?workflowID={workflow}")).data] == [instance["id"]]
    assert (await client.send(instance["id"], "go")).status == 204
    ended = await until_ended(client, instance["id"])
    assert "error" not in ended
    assert ended["workflow"]["deletedAt"] == shown["deletedAt"]


# Errors


@pytest.fixture(scope="module")
async def ids(client: Client) -> dict[str, str]:
    """A workflow, a deleted one, and instances that wait and that have ended."""
    workflow, deleted = await client.workflow(WAITS), await client.workflow()
    ended = await client.run(deleted, wait=True)
    await client.delete(f"/workflows/{deleted}")
    waiting = await client.run(workflow)
    await until_stages(client, waiting["id"], 1)
    return {"workflow": workflow, "deleted": deleted, "ended": ended["id"], "waiting": waiting["id"], "none": UNKNOWN}


ERRORS: list[tuple[str, str, bytes | None, int, str]] = [
    ("POST", "/workflows", None, 400, "VALIDATION"),
    ("POST", "/workflows", b"{", 400, "VALIDATION"),
    ("POST", "/workflows", b'{"stages": []} x', 400, "VALIDATION"),
    ("POST", "/workflows", b"[]", 400, "VALIDATION"),
    ("POST", "/workflows", b'{"name": 1, "stages": []}', 400, "VALIDATION"),
    ("POST", "/workflows", b'{"stages": null}', 400, "VALIDATION"),
    ("POST", "/workflows", b'{"Stages": []}', 400, "VALIDATION"),
    ("POST", "/workflows", b'{"stages": [{"sned": {}}]}', 400, "VALIDATION"),
    ("POST", "/workflows", b'{"stages": [{"noop": {}, "delay": {}}]}', 400, "VALIDATION"),
    ("POST", "/workflows", b'{"stages": [{"delay": {"duration": "soon"}}]}', 400, "VALIDATION"),
    ("POST", "/workflows", b" " * (600 * 1024), 413, "VALIDATION"),
    ("GET", "/workflows/{none}", None, 404, "VALIDATION"),
    ("GET", "/workflows/abc", None, 404, "VALIDATION"),
    ("DELETE", "/workflows/{none}", None, 404, "NOT_FOUND"),
    ("DELETE", "/workflows/abc", None, 400, "VALIDATION"),
    ("POST", "/workflows/{none}/instances", None, 404, "VALIDATION"),
    ("POST", "/workflows/abc/instances", None, 404, "VALIDATION"),
    ("POST", "/workflows/{deleted}/instances", None, 404, "VALIDATION"),
    ("POST", "/workflows/{workflow}/instances", b"[]", 400, "VALIDATION"),
    ("POST", "/workflows/{workflow}/instances", b'{"a": 1}', 400, "VALIDATION"),
    ("POST", "/workflows/{workflow}/instances", b'{"a": "b"', 400, "VALIDATION"),
    ("GET", "/instances/{none}", None, 404, "VALIDATION"),
    ("GET", "/instances/abc", None, 404, "VALIDATION"),
    ("POST", "/instances/{none}/events", b'{"name": "go"}', 404, "VALIDATION"),
    ("POST", "/instances/{waiting}/events", None, 400, "VALIDATION"),
    ("POST", "/instances/{waiting}/events", b"null", 400, "VALIDATION"),
    ("POST", "/instances/{waiting}/events", b'["go"]', 400, "VALIDATION"),
    ("POST", "/instances/{waiting}/events", b"{}", 400, "VALIDATION"),
    ("POST", "/instances/{waiting}/events", b'{"name": ""}', 400, "VALIDATION"),
    ("POST", "/instances/{waiting}/events", b'{"name": 1}', 400, "VALIDATION"),
    ("POST", "/instances/{ended}/events", b'{"name": "go"}', 400, "VALIDATION"),
    ("PUT", "/instances/{none}/abort", None, 404, "VALIDATION"),
    ("GET", "/instances/{none}/history", None, 404, "VALIDATION"),
    ("GET", "/instances/{none}/stages/0/history", None, 404, "VALIDATION"),
    ("GET", "/instances/{waiting}/stages/1/history", None, 404, "VALIDATION"),
    ("GET", "/instances/{waiting}/stages/abc/history", None, 404, "VALIDATION"),
    ("GET", "/instances/{waiting}/stages/+0/history", None, 404, "VALIDATION"),
    ("GET", "/instances/{waiting}/stages/99999999999999999999/history", None, 404, "VALIDATION"),
    ("PATCH", "/workflows", None, 405, "VALIDATION"),
    ("PUT", "/instances/{waiting}/events", None, 405, "VALIDATION"),
]


@pytest.mark.parametrize(("method", "path", "content", "status", "code"), ERRORS)
async def test_errors(
    client: Client, ids: dict[str, str], method: str, path: str, content: bytes | None, status: int, code: str
) -> None:
    answer = await client.call(method, path.format(**ids), content=content)
    assert answer.error == (status, code)
    if status == 405:
        assert answer.headers["allow"]


async def test_an_unknown_path_is_404(client: Client) -> None:
    assert (await client.get("/nope")).error[0] == 404


async def test_an_abort_of_an_ended_instance_changes_nothing(client: Client, ids: dict[str, str]) -> None:
    before = await client.instance(ids["ended"])
    assert (await client.abort(ids["ended"])).status == 204
    assert await client.instance(ids["ended"]) == before


async def test_commands_that_cross_each_other(client: Client, other: Client) -> None:
    """All of them see the instance running; those that come behind its end are told so, or have nothing to do."""
    workflow = await client.workflow(WAITS)
    aborted, sent = await client.run(workflow), await client.run(workflow)
    aborts = await asyncio.gather(*(c.abort(aborted["id"]) for c in (client, other) * 8))
    assert {answer.status for answer in aborts} == {204}
    assert (await client.instance(aborted["id"]))["error"] == "canceled"
    events = await asyncio.gather(*(c.send(sent["id"], "go") for c in (client, other) * 8))
    assert {answer.status for answer in events} <= {204, 400}
    assert 204 in {answer.status for answer in events}
    assert "error" not in await until_ended(client, sent["id"])


# Reads


async def test_every_replica_shows_a_write_as_soon_as_it_is_answered(client: Client, other: Client) -> None:
    for _ in range(10):
        workflow = await client.workflow(WAITS, WAITS)
        assert (await other.get(f"/workflows/{workflow}")).status == 200
        assert (await other.get("/workflows")).data[0]["id"] == workflow
        first = await client.run(workflow)
        second = await other.run(workflow)
        assert (await other.instance(first["id"]))["createdAt"] == first["createdAt"]
        assert (await client.get(f"/instances?workflowID={workflow}")).data[0]["id"] == second["id"]
        assert (await client.send(first["id"], "go")).status == 204
        assert "terminatedAt" in (await other.instance(first["id"]))["status"][0]
        assert (await client.abort(first["id"])).status == 204
        assert (await other.instance(first["id"]))["error"] == "canceled"
        assert [i["id"] for i in (await other.get(f"/instances?workflowID={workflow}&running=true")).data] == [
            second["id"]
        ]
        assert (await other.delete(f"/workflows/{workflow}")).status == 204
        assert "deletedAt" in (await client.get(f"/workflows/{workflow}")).data
        assert (await client.post(f"/workflows/{workflow}/instances")).status == 404


async def test_a_replica_that_has_just_started_a_workflow_knows_of_its_deletion(client: Client, other: Client) -> None:
    workflow = await client.workflow({"noop": {}})
    for replica in (client, other):
        await replica.run(workflow)  # it may use what it has read for a moment
    assert (await other.delete(f"/workflows/{workflow}")).status == 204
    for replica in (client, other):
        assert (await replica.post(f"/workflows/{workflow}/instances")).status == 404


async def test_wait_hears_of_an_end_that_another_replica_caused(client: Client, other: Client) -> None:
    workflow = await client.workflow(WAITS)
    waiting = asyncio.create_task(client.run(workflow, wait=True))
    (running,) = await eventually(lambda: ids_of(other, f"?workflowID={workflow}"))
    assert not waiting.done()
    assert (await other.send(running, "go")).status == 204
    assert await waiting == await other.instance(running)


async def test_lists_are_newest_first_and_complete(client: Client) -> None:
    workflows = [await client.workflow(WAITS, name=f"w{n}") for n in range(3)]
    listed = (await client.get("/workflows/")).data
    assert [workflow["id"] for workflow in listed][:3] == workflows[::-1]
    assert [(w["createdAt"], w["id"]) for w in listed] == sorted((w["createdAt"], w["id"]) for w in listed)[::-1]
    instances = [await client.run(workflows[n % 2]) for n in range(6)]
    of_first = [instance["id"] for instance in instances[::2]]
    assert await ids_of(client, f"?workflowID={workflows[0]}") == of_first[::-1]
    assert await ids_of(client, f"?workflowID={UNKNOWN}") == []
    assert await ids_of(client, "?workflowID=abc") == []
    await client.abort(of_first[1])
    assert await ids_of(client, f"?workflowID={workflows[0]}&running=TRUE") == [of_first[2], of_first[0]]
    assert await ids_of(client, f"?workflowID={workflows[0]}&running=no") == of_first[::-1]
    everything = await ids_of(client, f"?workflowId={workflows[0]}&cursor=x&pageSize=1")
    assert everything[:6] == [instance["id"] for instance in instances[::-1]]
    shown = (await client.get("/instances/")).data[0]
    assert shown == await client.instance(shown["id"])


async def ids_of(client: Client, query: str) -> list[str]:
    return [instance["id"] for instance in (await client.get(f"/instances{query}")).data]


async def test_histories(client: Client, sandbox: SandboxClient) -> None:
    amount = 2**70 + 1
    ended = await client.run(await client.workflow({"noop": {}}, send(amount)), wait=True)
    assert "error" not in ended, ended
    noop, sent = await history(client, ended["id"])
    assert (noop["name"], noop["input"], noop["terminated"]) == ("RunNoop", {}, True)
    assert sent["input"]["amount"] == {"amount": amount, "asset": "EUR/2"}
    assert sent["input"]["source"]["account"]["throughAccount"] == "world"
    assert await history(client, ended["id"], 0) == []
    (activity,) = await history(client, ended["id"], 1)
    posting = {"source": "world", "destination": "users:7", "amount": amount, "asset": "EUR/2"}
    assert activity["input"]["CreateTransaction"]["data"]["postings"] == [posting]
    assert activity["output"]["CreateTransaction"]["data"][0]["postings"] == [posting]
    assert (activity["terminated"], activity["attempt"]) == (True, 1)
    assert (await sandbox.transactions("default"))[-1]["postings"] == [posting]


async def test_a_stage_that_fails_ends_the_instance(client: Client) -> None:
    ended = await client.run(await client.workflow({"delay": {"duration": "${d}"}}, {"noop": {}}), wait=True)
    assert ended["error"]
    (stage,) = await history(client, ended["id"])
    assert stage["error"] == ended["error"] == ended["status"][0]["error"]
    assert stage["input"] == {"duration": "${d}"}


async def test_info_and_health(installation: Installation, client: Client) -> None:
    assert set((await client.get("/_info")).json()) == {"version"}
    health = await Client(client._session, client.url, "").get("/_healthcheck")
    assert (health.status, health.json()) == (200, {"default": "OK"})


# Idempotency-Key


async def keyed(client: Client, path: str, key: str, body: Any = None) -> Answer:
    return await client.post(path, body, idempotency_key=key)


async def test_a_repeated_request_has_no_second_effect(client: Client, other: Client) -> None:
    key, body = uuid.uuid4().hex, {"name": "once", "stages": [WAITS]}
    created = await asyncio.gather(*(keyed(c, "/workflows", key, body) for c in (client, other) * 4))
    assert {answer.status for answer in created} == {201}
    assert len({answer.body for answer in created}) == 1
    workflow = created[0].data["id"]
    runs = f"/workflows/{workflow}/instances"
    started = await asyncio.gather(*(keyed(c, runs, key, {"a": "b"}) for c in (client, other) * 4))
    assert {answer.status for answer in started} == {201}
    assert len({answer.data["id"] for answer in started}) == 1
    assert len(await ids_of(client, f"?workflowID={workflow}")) == 1
    assert (await keyed(client, "/workflows", key, {"stages": []})).error == (400, "VALIDATION")
    assert (await keyed(other, runs, key, {"a": "c"})).error == (400, "VALIDATION")
    assert (await keyed(other, runs, uuid.uuid4().hex, {"a": "b"})).data["id"] != started[0].data["id"]
    await client.abort(started[0].data["id"])
    again = await keyed(other, runs, key, {"a": "b"})
    assert again.data["id"] == started[0].data["id"]
    assert again.data["terminated"] is True
