"""Bodies of every operation that takes one: what a client sends, damaged, as JSON and as YAML.

The answer is always one of the contract's, never a fault. A request that is refused leaves no command; one that is
carried out leaves one at most.
"""

import random
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import msgspec
import yaml

from api.app import OPERATIONS
from schemas.commands import CreateTrigger
from tests.fuzz.runner import Check
from tests.unit.api.fakes import Answer, Backend, Client, make_client

NAME: Final = "bodies"
WORKFLOW, INSTANCE, TRIGGER = (UUID(int=number) for number in (1, 2, 3))
IDS: Final = {
    "workflowID": WORKFLOW,
    "flowId": WORKFLOW,
    "instanceID": INSTANCE,
    "number": 0,
    "activityID": 0,
    "runId": INSTANCE,
    "triggerID": TRIGGER,
}
TAKING: Final = tuple(operation for operation in OPERATIONS if operation.body is not None)
SUCCESS: Final = frozenset({200, 201, 204})
REFUSED: Final = frozenset({400, 404, 413})

ACCOUNT: Final = {"account": {"id": "users:${who}", "ledger": "default"}}
DEFINITIONS: Final[tuple[Any, ...]] = (
    {"name": "payout", "stages": [{"noop": {}}, {"wait_event": {"event": "go"}}, {"delay": {"duration": "1s"}}]},
    {"stages": [{"send": {"source": ACCOUNT, "destination": ACCOUNT, "amount": {"amount": 10**30, "asset": "EUR/2"}}}]},
    {"stages": [{"update": {"account": {"id": "a", "ledger": "b", "metadata": {"k": "v"}}}}]},
)
TRIGGERS: Final[tuple[Any, ...]] = (
    {
        "name": "t", "event": "SAVED_PAYMENT", "version": "v1", "workflowID": str(WORKFLOW),
        "filter": "event.amount > 5", "vars": {"a": "event.id", "b": 'split(event.x, ",")[0]'},
    },
    {"event": "E", "workflowID": str(WORKFLOW)},
)  # fmt: skip
BULK: Final[tuple[Any, ...]] = (
    {"action": "abort", "filter": {"state": ["failed"], "workflowID": [str(WORKFLOW)]}, "dryRun": True},
    {"action": "resume", "filter": {}, "all": True},
)
SOUND: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
    ("/events", ({"name": "go", "by": {"id": 7}},)),
    ("/instances", ({"who": "alice", "amount": "100", "nothing": None}, None, {})),
    ("/runs", ({"who": "alice", "amount": "100", "nothing": None}, None, {})),
    ("/resume", ({"temporalRunID": str(INSTANCE), "pausedAt": "2026-01-01T00:00:00Z"},)),
    ("/test", ({"id": "VL-1", "amount": 12.5, "x": "a,b"},)),
    ("/triggers", TRIGGERS),
    ("/validate", DEFINITIONS),
    ("/workflows", DEFINITIONS),
    ("/flows", DEFINITIONS),
    ("/bulk", BULK),
)
"""By the end of an operation's path: what it takes."""
VALUES: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 2**63, 10**400, 1.5, -0.0, 1e308, "", "a", "${", "${a}", "a${b}c", "\x01", "é", "\U0001f600",
    "a" * 5000, [], {}, [[]], {"": ""}, {"a": {"b": [None]}}, str(WORKFLOW), "2026-01-01T00:00:00Z", "1s",
    "-1h", "9" * 300,
)  # fmt: skip
GARBAGE: Final = (
    b"", b"\x00", b"\\u0000", b"\\ud800", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"{", b"[", b'"', b"]" * 9, b"NaN",
    b"1e999", b"- ", b": ", b"&a ", b"*a", b"<<: ", b"!!binary ", b"---\n", b"...\n", b"\t", b"# ", b"[" * 300,
    b'{"a":' * 300,
)  # fmt: skip


@asynccontextmanager
async def target() -> AsyncIterator[Check]:
    """An API on a log and a read model in memory."""
    backend = Backend()
    client = make_client(backend)
    yield lambda rng: _check(rng, backend, client)


async def _check(rng: random.Random, backend: Backend, client: Client) -> str:
    vars(backend).update(vars(Backend()))
    backend.add_workflow(WORKFLOW)
    backend.add_instance(INSTANCE, WORKFLOW)
    event = CreateTrigger(
        name="t", event="E", version=None, workflow_id=str(WORKFLOW), filter="event.amount > 5", vars=None
    )
    backend.add_trigger(TRIGGER, event)
    operation = rng.choice(TAKING)
    path = operation.path.format(**IDS)
    is_yaml = len(operation.body_types) > 1 and rng.random() < 0.5
    body = _body(rng, next(values for end, values in SOUND if operation.path.endswith(end)), is_yaml)
    headers = {"content-type": rng.choice(operation.body_types[1:])} if is_yaml else {}
    if rng.random() < 0.2:
        headers["idempotency-key"] = rng.choice(("k", "é", "a" * 9000))
    if rng.random() < 0.3:
        cut = rng.randrange(len(body) + 1)
        answer = await client.call(operation.method, path, headers=headers, chunks=[body[:cut], body[cut:]])
    else:
        answer = await client.call(operation.method, path, body, headers)
    _check_answer(answer, {operation.status, *operation.also})
    assert len(backend.commands) <= (answer.status in SUCCESS)
    return str(answer.status)


def _check_answer(answer: Answer, successes: Set[int]) -> None:
    assert answer.complete
    if answer.status in successes:
        assert answer.status in SUCCESS
        assert (answer.body == b"") == (answer.status == 204)
        if answer.status != 204:
            assert answer.headers["content-type"] == "application/json"
            answer.json()
        return
    status, code = answer.error
    assert status in REFUSED
    assert code in ("VALIDATION", "NOT_FOUND")
    assert len(answer.body) < 10_000, "an error repeats too much of the body"


def _body(rng: random.Random, values: tuple[Any, ...], is_yaml: bool) -> bytes:
    value = rng.choice(values)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
        value = _changed(rng, value)
    body = yaml.safe_dump(value, allow_unicode=True).encode() if is_yaml else msgspec.json.encode(value)
    for _ in range(rng.choice((0, 0, 0, 1, 3))):
        place = rng.randrange(len(body) + 1)
        kept = body[place + rng.choice((0, 0, 1, 9)) :]
        body = body[:place] + rng.choice((rng.choice(GARBAGE), rng.randbytes(2), body[place : place + 9])) + kept
    return body


def _changed(rng: random.Random, value: Any) -> Any:
    """The value with something else in one place of it."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value))
        kind = rng.random()
        if kind < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if kind < 0.2:
            return {**value, rng.choice(("", "a", "stages", "name", "account", "é")): rng.choice(VALUES)}
        return {**value, key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        if rng.random() < 0.1:
            return value * rng.choice((2, 50))
        return [*value[:place], _changed(rng, value[place]), *value[place + 1 :]]
    return rng.choice(VALUES)
