"""The table of errors, paths and limits (contract: `http-api`, Errors; Rules for every operation)."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from api.ports import Rejection
from tests.simulation.loop import simulate
from tests.unit.api.fakes import Answer, Backend, Client, make_client
from tests.unit.api.streams import World

ALLOWED = {
    "/_info": "GET, HEAD",
    "/workflows": "GET, HEAD, POST",
    "/workflows/x": "DELETE, GET, HEAD",
    "/workflows/x/instances": "POST",
    "/instances": "GET, HEAD",
    "/instances/x": "GET, HEAD",
    "/instances/x/events": "POST",
    "/instances/x/abort": "PUT",
    "/instances/x/history": "GET, HEAD",
    "/instances/x/stages/0/history": "GET, HEAD",
}


@pytest.mark.parametrize("path", ALLOWED)
@pytest.mark.parametrize("method", ["PATCH", "HEAD", "OPTIONS", "TRACE", "DELETE", "POST", "GET", "PUT", "MADEUP"])
async def test_other_methods_are_405_with_allow(path: str, method: str) -> None:
    if method in ALLOWED[path].split(", "):
        return
    answer = await make_client(Backend()).call(method, path)
    assert answer.error == (405, "VALIDATION")
    assert answer.headers["allow"] == ALLOWED[path]


@pytest.mark.parametrize(
    "path",
    [
        "/_info",
        "/workflows",
        "/workflows/ID",
        "/v2/workflows",
        "/flows/ID/runs",
        "/instances",
        "/instances/x",
        "/workflows/x",
    ],
)
async def test_head_answers_as_get_without_the_body(path: str) -> None:
    backend = Backend()
    workflow = backend.add_workflow(uuid4())
    for _ in range(5):
        backend.add_instance(uuid4(), workflow.id)
    client = make_client(backend, max_waiting_requests=1)
    target = path.replace("ID", str(workflow.id))
    got, answer = await client.call("GET", target), await client.call("HEAD", target)
    assert (answer.status, answer.headers, answer.body) == (got.status, got.headers, b"")
    assert got.body
    assert got.headers["cache-control"] == "no-store"
    assert answer.complete


@pytest.mark.parametrize(
    "path",
    ["/", "", "/nope", "/workflows/x/y", "/instances//events", "/workflows//", "/Workflows", "/instances/x/stages/0"],
)
async def test_unknown_paths_are_404(path: str) -> None:
    assert (await make_client(Backend()).call("GET", path)).error == (404, "NOT_FOUND")


async def test_paths_outside_the_base_path_are_unknown() -> None:
    assert (await make_client(Backend()).call("GET", "/workflows", base="")).error == (404, "NOT_FOUND")


@pytest.mark.parametrize("base_path", ["", "/x", "/a.b/c"])
async def test_the_base_path_is_a_setting(base_path: str) -> None:
    client = make_client(Backend(), base_path=base_path)
    assert (await client.call("GET", "/_info")).json()["version"]
    assert (await client.call("GET", "/workflows")).data == []
    assert (await client.call("GET", "/workflows", base="/axb/c")).status == 404
    assert (await client.call("GET", "/_healthcheck", base="")).json() == {"default": "OK"}


async def test_collections_and_items_take_a_trailing_slash() -> None:
    backend = Backend()
    client = make_client(backend)
    created = await client.call("POST", "/workflows/", {"stages": []})
    workflow = f"/workflows/{created.data['id']}"
    started = await client.call("POST", f"{workflow}/instances/")
    instance = f"/instances/{started.data['id']}"
    for path in ("/workflows/", f"{workflow}/", "/instances/", f"{instance}/"):
        assert (await client.call("GET", path)).status == 200
    assert (await client.call("DELETE", f"{workflow}/")).status == 204
    assert (await client.call("GET", f"{workflow}//")).status == 404


LIMIT = 2048
POSTS = ["/workflows", "/workflows/{workflow}/instances", "/instances/{instance}/events"]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_over_the_limit_is_413(path: str, chunked: bool) -> None:
    backend = Backend()
    client = make_client(backend, max_body_bytes=LIMIT)
    workflow = backend.add_workflow(uuid4())
    target = path.format(workflow=workflow.id, instance=backend.add_instance(uuid4(), workflow.id).id)
    body = b" " * (LIMIT + 1)
    answer = await client.call("POST", target, body, chunks=[body[:1000], body[1000:]] if chunked else None)
    assert answer.error == (413, "VALIDATION")
    assert not backend.commands


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_at_the_limit_is_read(chunked: bool) -> None:
    client = make_client(Backend(), max_body_bytes=LIMIT)
    body = b'{"stages": []}'.ljust(LIMIT)
    answer = await client.call("POST", "/workflows", body, chunks=[body[:9], b"", body[9:]] if chunked else None)
    assert answer.status == 201


async def test_a_body_that_is_declared_too_large_is_not_read() -> None:
    client = make_client(Backend(), max_body_bytes=LIMIT)
    headers = {"content-length": "9" * 30}
    answer = await client.call("POST", "/workflows", headers=headers, chunks=[])  # receiving would wait for ever
    assert answer.error == (413, "VALIDATION")


async def test_a_body_that_does_not_arrive_is_400(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.bodies.reading.BODY_TIMEOUT_SECONDS", 0.01)
    answer = await make_client(Backend()).call("POST", "/workflows", chunks=[])
    assert answer.error == (400, "VALIDATION")


async def test_nobody_is_answered_when_the_client_left() -> None:
    backend = Backend()
    client = make_client(backend)
    client.disconnected = True
    answer = await client.call("POST", "/workflows", {"stages": []})
    assert answer.status == 0
    assert not backend.commands


Call = tuple[str, str, object]
CALLS: list[Call] = [
    ("POST", "/workflows", {"stages": []}),
    ("GET", "/workflows", b""),
    ("GET", "/workflows/{workflow}", b""),
    ("DELETE", "/workflows/{workflow}", b""),
    ("POST", "/workflows/{workflow}/instances", b""),
    ("GET", "/instances", b""),
    ("GET", "/instances/{instance}", b""),
    ("POST", "/instances/{instance}/events", {"name": "x"}),
    ("PUT", "/instances/{instance}/abort", b""),
    ("GET", "/instances/{instance}/history", b""),
    ("GET", "/instances/{instance}/stages/0/history", b""),
]
COMMANDS = [call for call in CALLS if call[0] != "GET"]


async def call_known(client: Client, backend: Backend, call: Call) -> Answer:
    workflow = backend.add_workflow(uuid4())
    instance = backend.add_instance(uuid4(), workflow.id)
    method, path, body = call
    return await client.call(method, path.format(workflow=workflow.id, instance=instance.id), body)


class Away(list[Any]):
    """Commands, after the first of which Postgres goes away."""

    def __init__(self, backend: Backend):
        super().__init__()
        self._backend = backend

    def append(self, command: Any) -> None:
        super().append(command)
        self._backend.postgres_away = True


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/workflows", {"stages": [{"noop": {}}]}),
        ("POST", "/workflows/{workflow}/instances", {}),
        ("POST", "/instances/{instance}/events", {"name": "go"}),
        ("PUT", "/instances/{instance}/abort", b""),
        ("POST", "/triggers", {"event": "e", "workflowID": "{workflow}"}),
        ("POST", "/v2/instances/bulk", {"action": "abort", "filter": {"workflowID": "{workflow}"}}),
    ],
)
async def test_a_command_that_was_accepted_is_said_to_be(method: str, path: str, body: Any) -> None:
    """Whoever is told that the read model is away sends it again, with another effect."""
    backend = Backend()
    workflow = backend.add_workflow(uuid4()).id
    names = {"workflow": workflow, "instance": backend.add_instance(uuid4(), workflow).id}
    text = body if isinstance(body, bytes) else json.dumps(body).replace("{workflow}", str(workflow)).encode()
    backend.commands = Away(backend)
    answer = await make_client(backend).call(method, path.format(**names), text)
    assert answer.error == (503, "INTERNAL")
    assert answer.json()["errorMessage"] == (
        "the request was accepted, but its effect does not show yet: repeat it with the same Idempotency-Key; "
        "without a key, a repetition would be a second request"
    )
    assert len(backend.commands) == 1


@pytest.mark.parametrize("call", CALLS)
async def test_postgres_away_is_503(call: Call) -> None:
    backend = Backend()
    client = make_client(backend)
    backend.postgres_away = True
    answer = await call_known(client, backend, call)
    assert answer.error == (503, "INTERNAL")
    assert answer.headers["retry-after"] == "1"
    assert b"secret" not in answer.body


@pytest.mark.parametrize("call", COMMANDS)
async def test_kafka_away_is_503_for_commands(call: Call) -> None:
    backend = Backend()
    backend.kafka_away = True
    answer = await call_known(make_client(backend), backend, call)
    assert answer.error == (503, "INTERNAL")
    assert answer.headers["retry-after"] == "1"


async def test_who_is_cut_off_by_a_stop_learns_how_to_repeat_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*_: object) -> None:
        raise asyncio.CancelledError

    backend = Backend()
    monkeypatch.setattr(backend, "check", cut_off)
    monkeypatch.setattr(backend, "take", cut_off)
    client = make_client(backend)
    read, made = await client.call("GET", "/workflows"), await client.call("POST", "/workflows", {"stages": []})
    assert [read.error, made.error] == [(503, "INTERNAL")] * 2
    assert read.json()["errorMessage"] == "the server is stopping"
    assert (
        "nobody knows whether this is carried out: repeat it with the same Idempotency-Key"
        in made.json()["errorMessage"]
    )


@pytest.mark.parametrize("call", COMMANDS)
async def test_an_effect_that_does_not_show_in_time_is_503(call: Call) -> None:
    backend = Backend()
    backend.stalled = True
    answer = await call_known(make_client(backend, command_timeout_seconds=0.01), backend, call)
    assert answer.error == (503, "INTERNAL")
    assert len(backend.commands) == 1


@pytest.mark.parametrize("call", CALLS)
async def test_a_fault_is_500_and_tells_nothing(call: Call) -> None:
    backend = Backend()
    backend.broken = True
    answer = await call_known(make_client(backend), backend, call)
    assert answer.error == (500, "INTERNAL")
    assert b"secret" not in answer.body


@pytest.mark.parametrize("call", COMMANDS)
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("CONFLICT", (400, "VALIDATION")),
        ("RETRY", (503, "INTERNAL")),
        ("FAULT", (500, "INTERNAL")),
        ("UNDECODABLE", (500, "INTERNAL")),
        ("TOO_LARGE", (413, "VALIDATION")),
        ("NEW_CODE", (500, "INTERNAL")),
    ],
)
async def test_rejections_come_back_as_errors(call: Call, code: str, expected: tuple[int, str]) -> None:
    backend = Backend()
    backend.reject = Rejection(code, "because")
    answer = await call_known(make_client(backend), backend, call)
    assert answer.error == expected
    assert ("retry-after" in answer.headers) == (expected[0] == 503)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the condition is that other tasks have come to rest
            await asyncio.sleep(0)


async def test_one_more_waiting_request_is_turned_away_at_once_but_reads_go_on() -> None:
    backend = Backend()
    backend.stalled = True
    client = make_client(backend, max_waiting_requests=2)
    waiting = [asyncio.create_task(client.call("POST", "/workflows", {"stages": []})) for _ in range(2)]
    await eventually(lambda: len(backend.commands) == 2)
    refused = await client.call("POST", "/workflows", {"stages": []})
    assert refused.error == (503, "INTERNAL")
    assert refused.headers["retry-after"] == "1"
    assert len(backend.commands) == 2
    assert (await client.call("GET", "/workflows")).status == 200
    for key, command in backend.commands:
        backend.take(key, command)
    backend.wake.set()
    assert [(await task).status for task in waiting] == [201, 201]
    backend.stalled = False
    assert (await client.call("POST", "/workflows", {"stages": []})).status == 201


@pytest.mark.parametrize("path", ["/workflows/{}", "/instances/{}", "/instances/{}/history", "/flows/{}/runs"])
@pytest.mark.parametrize("id", ["a%2Fb", "%2f", "ID%2Fhistory", "a%252Fb"])
async def test_an_id_with_an_encoded_slash_is_an_unknown_id(path: str, id: str) -> None:
    """Also where the text behind the slash is a path of its own."""
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    backend.histories[instance.id] = []
    target = path.format(id.replace("ID", str(instance.id)))
    assert (await make_client(backend).call("GET", target)).error == (404, "VALIDATION")


async def test_an_encoded_slash_makes_no_other_operation() -> None:
    backend = Backend()
    instance = backend.add_instance(uuid4(), backend.add_workflow(uuid4()).id)
    answer = await make_client(backend).call("PUT", f"/instances/{instance.id}%2Fabort")
    assert answer.error == (405, "VALIDATION")
    assert not backend.commands


async def test_a_waiting_run_whose_client_has_gone_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance goes on."""
    monkeypatch.setattr("api.resources.instances.UNWATCHED_SECONDS", 0.0)
    backend = Backend()
    backend.ends_at_once, backend.waits_for_ends = False, True
    workflow = backend.add_workflow(uuid4())
    client = make_client(backend, max_waiting_requests=1)
    target = f"/workflows/{workflow.id}/instances"
    waiting = asyncio.create_task(client.call("POST", f"{target}?wait=true"))
    await eventually(lambda: "wait_ended" in backend.calls)
    assert (await client.call("POST", target)).error == (503, "INTERNAL")
    client.leave()
    async with asyncio.timeout(60):
        assert (await waiting).status == 0
    assert (await client.call("POST", target)).status == 201
    assert len(backend.instance_rows) == 2


def test_requests_during_an_outage_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with World().serving() as world:
            world.backend.postgres_away = True
            answers = [await world.client.call("GET", f"/instances/{world.workflow}") for _ in range(50)]
            assert {answer.error for answer in answers} == {(503, "INTERNAL")}

    simulate(test())
    (line,) = [record.message for record in caplog.records if record.name == "api.routing"]
    assert "since the last line: 1" in line
