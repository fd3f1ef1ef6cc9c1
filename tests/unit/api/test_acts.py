"""Who does something, and why: each operation that changes something leaves events that say both, and acts once.

`REQUESTS` has all of them, on all surfaces. The engine decides, the projections write, as they do in production.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import pytest

from api import app
from api.answers import Answer
from api.authors import MAX_REASON, read_reason
from api.calls import Call
from api.errors import Invalid
from api.routing import Handler, Operation
from engine.core.decisions import ActivityDone
from engine.core.retries import Failure
from projections.acts import MAX_ACTS, MAX_NAME
from tests.unit.api.fakes import Answer as Answered
from tests.unit.api.whole import Whole

REASON: Final = "Zoë asked for it: 100 %"
HEADER: Final = "Zo%C3%AB asked for it: 100 %"
ONLY_READS: Final = {"v2TestTrigger", "testTrigger", "v2ValidateWorkflow", "validateWorkflow"}
"""They are not GETs, and change nothing."""
WAITS: Final = {"stages": [{"wait_event": {"event": "go"}}]}
PAUSES: Final = {
    "activityMaxAttempts": 1,
    "stages": [{"update": {"account": {"id": "users:7", "ledger": "l", "metadata": {"k": "v"}}}}],
}


class Guard:
    """Lets everybody in, as one subject."""

    def __init__(self, subject: str | None):
        self._subject = subject

    def protect(self, operations: Sequence[Operation]) -> tuple[Operation, ...]:
        return tuple(msgspec.structs.replace(one, handler=self._named(one.handler)) for one in operations)

    def _named(self, handler: Handler) -> Handler:
        async def named(call: Call) -> Answer:
            call.subject = self._subject
            return await handler(call)

        return named


@pytest.fixture(params=["anna"])
def whole(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Whole:
    monkeypatch.setattr(app, "make_guard", lambda settings: Guard(request.param))
    return Whole()


# The requests


class Request(NamedTuple):
    """One that changes something."""

    method: str
    target: str
    body: Any = b""


async def made(whole: Whole, target: str, body: Any) -> Any:
    """What a POST without an author has made."""
    answer = await whole.client.call("POST", target, body)
    assert answer.status == 201, answer.body
    return answer.data


async def workflow_of(whole: Whole, body: Any = None) -> str:
    id: str = (await made(whole, "/workflows", body or WAITS))["id"]
    return id


async def instance_of(whole: Whole, body: Any = None) -> tuple[str, str]:
    workflow_id = await workflow_of(whole, body)
    return workflow_id, (await made(whole, f"/workflows/{workflow_id}/instances", b""))["id"]


async def paused(whole: Whole) -> tuple[str, str]:
    """An instance with a paused activity, and when the pause began."""
    _, id = await instance_of(whole, PAUSES)
    await whole.input(id, ActivityDone(whole.call_of(id).token, failure=Failure("no", 503)))
    (stage,) = (await whole.client.call("GET", f"/v2/instances/{id}")).data["status"]
    return id, stage["pendingActivities"][0]["pausedAt"]


async def trigger_body(whole: Whole) -> Any:
    return {"event": "X", "workflowID": await workflow_of(whole)}


Prepare = Callable[[Whole], Awaitable[Request]]


def create_workflow(path: str) -> Prepare:
    async def prepare(whole: Whole) -> Request:
        return Request("POST", path, WAITS)

    return prepare


def delete_workflow(base: str) -> Prepare:
    async def prepare(whole: Whole) -> Request:
        return Request("DELETE", f"{base}/workflows/{await workflow_of(whole)}")

    return prepare


def run(path: str) -> Prepare:
    async def prepare(whole: Whole) -> Request:
        return Request("POST", path.format(workflow=await workflow_of(whole)), {"who": "ann"})

    return prepare


def of_instance(method: str, path: str, body: Any = b"") -> Prepare:
    async def prepare(whole: Whole) -> Request:
        workflow_id, id = await instance_of(whole)
        return Request(method, path.format(workflow=workflow_id, id=id), body)

    return prepare


async def resume(whole: Whole) -> Request:
    id, paused_at = await paused(whole)
    target = f"/v2/instances/{id}/stages/0/activities/0/resume"
    return Request("POST", target, {"temporalRunID": id, "pausedAt": paused_at})


async def retry(whole: Whole) -> Request:
    _, id = await instance_of(whole)
    await whole.client.call("PUT", f"/v2/instances/{id}/abort", b"", {})
    return Request("POST", f"/v2/instances/{id}/retry")


def create_trigger(base: str) -> Prepare:
    async def prepare(whole: Whole) -> Request:
        return Request("POST", f"{base}/triggers", await trigger_body(whole))

    return prepare


def delete_trigger(base: str) -> Prepare:
    async def prepare(whole: Whole) -> Request:
        made_trigger = await made(whole, "/triggers", await trigger_body(whole))
        return Request("DELETE", f"{base}/triggers/{made_trigger['id']}")

    return prepare


BULK: Final = {"action": "abort", "filter": {"running": True}}


async def start_bulk(whole: Whole) -> Request:
    await instance_of(whole)
    return Request("POST", "/v2/instances/bulk", BULK)


async def stop_bulk(whole: Whole) -> Request:
    started = await made(whole, "/v2/instances/bulk", BULK)
    return Request("POST", f"/v2/bulk/{started['id']}/stop")


GO: Final = {"name": "go", "n": 1}

REQUESTS: Final[dict[str, Prepare]] = {
    "createWorkflow": create_workflow("/workflows"),
    "v2CreateWorkflow": create_workflow("/v2/workflows"),
    "createFlow": create_workflow("/flows"),
    "deleteWorkflow": delete_workflow(""),
    "v2DeleteWorkflow": delete_workflow("/v2"),
    "runWorkflow": run("/workflows/{workflow}/instances"),
    "v2RunWorkflow": run("/v2/workflows/{workflow}/instances"),
    "runFlow": run("/flows/{workflow}/runs"),
    "sendEvent": of_instance("POST", "/instances/{id}/events", GO),
    "v2SendEvent": of_instance("POST", "/v2/instances/{id}/events", GO),
    "sendEventToRun": of_instance("POST", "/flows/{workflow}/runs/{id}/events", GO),
    "cancelEvent": of_instance("PUT", "/instances/{id}/abort"),
    "v2CancelEvent": of_instance("PUT", "/v2/instances/{id}/abort"),
    "abortRun": of_instance("PUT", "/flows/{workflow}/runs/{id}/abort"),
    "v2ResumeActivity": resume,
    "v2RetryInstance": retry,
    "v2StartBulk": start_bulk,
    "v2StopBulk": stop_bulk,
    "createTrigger": create_trigger(""),
    "v2CreateTrigger": create_trigger("/v2"),
    "deleteTrigger": delete_trigger(""),
    "v2DeleteTrigger": delete_trigger("/v2"),
}
"""By the operation, what prepares a request for it."""

ACTING: Final = {
    operation.id: operation
    for operation in app.OPERATIONS
    if operation.method != "GET" and not operation.reads and operation.id not in ONLY_READS
}


def test_every_operation_that_changes_something_is_here() -> None:
    assert REQUESTS.keys() == ACTING.keys(), "add a request for the new operation, so that its author is looked at"


@pytest.mark.parametrize("operation", ACTING.values(), ids=ACTING.keys())
def test_the_description_has_the_headers(operation: Operation) -> None:
    headers = {parameter.name for parameter in operation.parameters if parameter.where == "header"}
    needs_no_key = operation.method == "DELETE" or operation.id == "v2StopBulk"
    wanted = {"X-Reason"} if needs_no_key else {"X-Reason", "Idempotency-Key"}
    assert headers == wanted
    assert 400 in operation.errors


async def send(whole: Whole, request: Request, **headers: str) -> Answered:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await whole.client.call(*request, headers=named)


# Who and why


@pytest.mark.parametrize("id", REQUESTS)
async def test_what_it_does_is_an_event_with_an_author(whole: Whole, id: str) -> None:
    request = await REQUESTS[id](whole)
    before = len(whole.log)
    answer = await send(whole, request, X_Reason=HEADER)
    assert answer.status == ACTING[id].status, answer.body
    command: Any = whole.commands[-1]
    assert (command.by, command.reason) == ("anna", REASON)
    events = whole.events(before)
    assert events, "nothing has happened"
    authors = [(event.by, event.reason) for event in events if hasattr(event, "by") and event.by is not None]
    assert authors == [("anna", REASON)]


@pytest.mark.parametrize("whole", [None], indirect=True)
@pytest.mark.parametrize("id", REQUESTS)
async def test_without_authorization_and_reason_nothing_is_kept(whole: Whole, id: str) -> None:
    request = await REQUESTS[id](whole)
    before = len(whole.log)
    await send(whole, request)
    stored = b"".join(map(msgspec.json.encode, [*whole.commands, *whole.events(before)]))
    assert b'"by"' not in stored
    assert b'"reason"' not in stored
    tables = whole.database.tables
    rows: list[Any] = [*tables.instances.values(), *tables.workflows.values(), *tables.triggers.values()]
    assert [row.acts for row in rows] == [None] * len(rows)


@pytest.mark.parametrize("whole", [None], indirect=True)
@pytest.mark.parametrize("id", REQUESTS)
async def test_a_reason_that_cannot_be_used_changes_nothing(whole: Whole, id: str) -> None:
    request = await REQUESTS[id](whole)
    before = len(whole.commands)
    assert (await send(whole, request, X_Reason="x" * (MAX_REASON + 1))).error == (400, "VALIDATION")
    assert len(whole.commands) == before


# Once


@pytest.mark.parametrize("id", REQUESTS)
async def test_a_repeated_request_acts_once(whole: Whole, id: str) -> None:
    request = await REQUESTS[id](whole)
    first = await send(whole, request, Idempotency_Key="k", X_Reason=HEADER)
    known = len(whole.events())
    again = await send(whole, request, Idempotency_Key="k")
    assert len(whole.events()) == known
    if id not in ("deleteTrigger", "v2DeleteTrigger"):  # by the contract, it is unknown by then
        assert (again.status, again.body) == (first.status, first.body)


@pytest.mark.parametrize("id", REQUESTS)
async def test_of_two_at_once_one_acts(whole: Whole, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither sees in the read model what the other has done."""
    request = await REQUESTS[id](whole)
    both, command = asyncio.Barrier(2), whole.command

    async def together(key: UUID, given: Any) -> int:
        async with asyncio.timeout(60):
            await both.wait()
        return await command(key, given)

    monkeypatch.setattr(whole, "command", together)
    before = len(whole.log)
    answers = await asyncio.gather(*(send(whole, request, Idempotency_Key="k") for _ in range(2)))
    assert [answer.status for answer in answers] == [ACTING[id].status] * 2
    authors = [event for event in whole.events(before) if getattr(event, "by", None) is not None]
    assert len(authors) == 1


async def test_a_repeated_abort_leaves_an_instance_that_goes_on_again_alone(whole: Whole) -> None:
    """Its key is known while the instance runs: then somebody has retried it since."""
    request = await REQUESTS["v2CancelEvent"](whole)
    await send(whole, request, Idempotency_Key="k")
    (id,) = whole.database.tables.instances
    row = whole.database.tables.instances[id]
    whole.database.tables.instances[id] = msgspec.structs.replace(row, terminated_at=None)
    before = len(whole.commands)
    assert (await send(whole, request, Idempotency_Key="k")).status == 204
    assert len(whole.commands) == before
    assert (await send(whole, request, Idempotency_Key="another")).status == 204
    assert len(whole.commands) == before + 1


# What is shown


async def test_an_instance_shows_its_acts_in_order(whole: Whole) -> None:
    workflow_id = await workflow_of(whole)
    headers = {"X-Reason": "first"}
    ran = await whole.client.call("POST", f"/v2/workflows/{workflow_id}/instances", b"", headers)
    id = ran.data["id"]
    await whole.client.call("POST", f"/v2/instances/{id}/events", {"name": "x" * 200})
    await whole.client.call("PUT", f"/v2/instances/{id}/abort", b"", {"X-Reason": HEADER})
    shown = (await whole.client.call("GET", f"/v2/instances/{id}")).data
    assert [{name: act[name] for name in act if name != "at"} for act in shown["acts"]] == [
        {"action": "run", "by": "anna", "reason": "first"},
        {"action": "event", "name": "x" * MAX_NAME, "by": "anna"},
        {"action": "abort", "by": "anna", "reason": REASON},
    ]
    times = [act["at"] for act in shown["acts"]]
    assert times == sorted(times)
    assert times[0] == shown["createdAt"]
    assert times[2] == shown["terminatedAt"]
    listed = (await whole.client.call("GET", "/v2/instances")).json()["cursor"]["data"]
    assert [one["acts"] for one in listed] == [shown["acts"]]
    assert ran.data["acts"] == shown["acts"][:1]
    for older in (f"/instances/{id}", f"/flows/{workflow_id}/runs/{id}"):
        assert "acts" not in (await whole.client.call("GET", older)).data


async def test_workflows_and_triggers_show_who_made_them(whole: Whole) -> None:
    workflow = (await whole.client.call("POST", "/v2/workflows", WAITS, {"X-Reason": "new"})).data
    body = {"event": "X", "workflowID": workflow["id"]}
    trigger = (await whole.client.call("POST", "/v2/triggers", body, {"X-Reason": "too"})).data
    assert workflow["acts"] == [{"at": workflow["createdAt"], "action": "create", "by": "anna", "reason": "new"}]
    assert trigger["acts"] == [{"at": trigger["createdAt"], "action": "create", "by": "anna", "reason": "too"}]
    for kind, made_one in (("workflows", workflow), ("triggers", trigger)):
        assert (await whole.client.call("GET", f"/v2/{kind}/{made_one['id']}")).data == made_one
        assert (await whole.client.call("GET", f"/v2/{kind}")).json()["cursor"]["data"] == [made_one]
        assert "acts" not in (await whole.client.call("GET", f"/{kind}/{made_one['id']}")).data
    await whole.client.call("DELETE", f"/v2/workflows/{workflow['id']}", b"", {"X-Reason": "old"})
    deleted = (await whole.client.call("GET", f"/v2/workflows/{workflow['id']}")).data
    assert deleted["acts"][1] == {"at": deleted["deletedAt"], "action": "delete", "by": "anna", "reason": "old"}


async def test_of_many_acts_the_first_and_the_last_are_shown(whole: Whole) -> None:
    _, id = await instance_of(whole)
    for number in range(MAX_ACTS + 20):
        await whole.client.call("POST", f"/instances/{id}/events", {"name": f"e{number}"})
    acts = (await whole.client.call("GET", f"/v2/instances/{id}")).data["acts"]
    assert [act.get("name") for act in acts] == [None, *(f"e{number}" for number in range(21, MAX_ACTS + 20))]
    assert acts[0]["action"] == "run"


# The header


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("%20", None),
        ("because", "because"),
        ("100% sure, 5%zz", "100% sure, 5%zz"),
        ("100%25", "100%"),
        ("Zo%C3%AB", "Zoë"),
        ("Zoë".encode().decode("latin-1"), "Zoë"),
        ("%F0%9F%92%B8" * MAX_REASON, "💸" * MAX_REASON),
    ],
)
def test_reasons(header: str | None, reason: str | None) -> None:
    assert read_reason(header) == reason


@pytest.mark.parametrize(
    "header", ["Zo\xeb", "%FF", "%ED%A0%80", "a%0Ab", "a%00", "\x7f", "%C2%85", "%E2%80%AE", "%E2%80%8B", "x" * 501]
)
def test_wrong_reasons(header: str) -> None:
    with pytest.raises(Invalid, match="X-Reason"):
        read_reason(header)
