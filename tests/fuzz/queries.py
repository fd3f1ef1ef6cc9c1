"""Queries, ids and headers of every operation that reads: parameters that nobody would give on purpose.

The answer is always one of the contract's, never a fault; an error says little of what was sent. A stream begins with
one of its messages, and refuses the filters that the list refuses.
"""

import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote, quote_from_bytes
from uuid import UUID

from api.app import OPERATIONS
from api.routing import Operation
from api.v2.instances import FILTERS
from tests.fuzz.bodies import IDS, INSTANCE, WORKFLOW
from tests.fuzz.runner import Check
from tests.unit.api.fakes import Answer
from tests.unit.api.streams import World

NAME: Final = "queries"
_NAMES: Final = {name for operation in OPERATIONS for name in re.findall(r"{(\w+)}", operation.path)}
READING: Final = tuple(operation for operation in OPERATIONS if operation.method == "GET")
LIST, LIST_STREAM = "/v2/instances", "/v2/instances/stream"
BEGINNINGS: Final = ("open", "instance")

SOUND: Final[dict[str, Sequence[str]]] = {
    "workflowID": (str(WORKFLOW), str(UUID(int=0))),
    "running": ("true", "1", "false"),
    "state": ("running", "failed", "paused", "succeeded"),
    "key": ("order-1", "PAY_8f3a", str(INSTANCE), "Straße"),
    "error": ("no funds", "canceled"),
    "createdAfter": ("2026-03-01", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00+02:00"),
    "terminatedBefore": ("2026-03-01", "2026-03-01T10:00:00.123456Z"),
    "pageSize": ("1", "15", "1000", "100000"),
    "from": ("2026-03-01T10:00:00Z",),
    "step": ("hour", "day"),
    "name": ("payout",),
    "Last-Event-ID": ("0", "1.2.3", "4-0AvqhUyXw5wbBV.end"),
}
VALUES: Final = (
    *("", " ", "0", "-1", "1e9", "9" * 40, "nan", "true", "a", "é", "\0", "\x7f", "\U0001f600", "İ", "a" * 129),
    *("a" * 5000, "%", "%zz", "a,b", "a&b=c", "${x}", "[]", "{}", "../..", "0001-01-01", "9999-12-31T23:59:59Z"),
    *("2026-02-30", "2026-03-01T10:00:00 02:00", "-001-01-01", "'; --", str(WORKFLOW).upper(), "1." * 9000, "\n"),
)
BYTES: Final = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00")
"""Of which none is UTF-8."""


@asynccontextmanager
async def target() -> AsyncIterator[Check]:
    """An API on a log and a read model in memory."""
    async with World().serving() as world:
        world.add(INSTANCE.int)
        yield lambda rng: _check(rng, world)


async def _check(rng: random.Random, world: World) -> str:
    operation = rng.choice(READING)
    ids = dict.fromkeys(_NAMES, INSTANCE) | IDS
    if rng.random() < 0.2:
        ids = {name: quote(rng.choice(VALUES), safe="") or "x" for name in ids}
    path, query = operation.path.format(**ids), _query(rng, operation)
    headers = {"last-event-id": _value(rng, "Last-Event-ID").replace("\n", "")} if rng.random() < 0.5 else {}
    if operation.streams:
        return await _check_stream(world, operation, path, query, headers)
    answer = await world.client.call("GET", f"{path}?{query}", headers=headers)
    _check_answer(answer, operation)
    return str(answer.status)


async def _check_stream(world: World, operation: Operation, path: str, query: str, headers: dict[str, str]) -> str:
    reading = world.read(path.removeprefix("/v2") + "?" + query, **headers)
    try:
        status = await reading.begin()
        if status == 200:
            assert reading.headers["content-type"].startswith("text/event-stream")
            if not headers:  # who has everything is told nothing
                (first, *_) = await reading.until(1)
                assert first.event in BEGINNINGS
        elif status != 204:
            await reading.task
            _check_answer(Answer(status, reading.headers, reading.body, complete=reading.complete), operation)
    finally:
        await reading.leave()
    if operation.path == LIST_STREAM:
        names = {parameter.name for parameter in FILTERS}
        filters = "&".join(part for part in query.split("&") if part.partition("=")[0] in names)
        listed = await world.client.call("GET", f"{LIST}?{filters}")
        assert (listed.status == 400) == (status == 400), "the list and its stream take other filters"
    return f"stream {status}"


def _check_answer(answer: Answer, operation: Operation) -> None:
    assert answer.complete
    if answer.status in {operation.status, *operation.also}:
        return
    status, code = answer.error
    assert status in (400, 404, 409, 503), answer.body
    assert status != 503 or operation.path in ("/_healthcheck", "/_health"), answer.body
    assert code in ("VALIDATION", "NOT_FOUND", "CONFLICT", "INTERNAL")
    assert len(answer.body) < 10_000, "an error repeats too much of the query"


def _query(rng: random.Random, operation: Operation) -> str:
    names = [parameter.name for parameter in operation.parameters if parameter.where == "query"]
    parts = []
    for _ in range(rng.choice((0, 1, 1, 2, 3, 25))):
        name = rng.choice(names) if names and rng.random() < 0.9 else rng.choice(("", "a", "cursor", "é", "key[]"))
        kind = rng.random()
        if kind < 0.1:
            value = quote_from_bytes(rng.choice(BYTES))
        elif kind < 0.2:
            value = rng.choice(VALUES).replace("&", "").replace("\n", "").replace("\0", "")  # as it is
        else:
            value = quote(_value(rng, name), safe="")
        parts.append(f"{quote(name)}={value}" if rng.random() < 0.95 else quote(name))
    return "&".join(parts)


def _value(rng: random.Random, name: str) -> str:
    return rng.choice(SOUND[name]) if name in SOUND and rng.random() < 0.5 else rng.choice(VALUES)
