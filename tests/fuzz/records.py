"""Damaged records of every topic that we read, thrown at the code that reads them.

A record begins as one of ours, as another service's message, or as noise; then bytes of its key, value and headers are
changed, dropped, doubled or replaced by values that have broken such code before.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Raw
from prometheus_client import CollectorRegistry

from engine.metrics import Metrics
from engine.triggers.definitions import Definitions, compile_trigger
from engine.triggers.failures import FilterFailures
from engine.triggers.matching import NoEnvelope, fire, read_message
from projections.publisher.positions import PublishedPosition, published_position
from schemas.commands import (
    AbortInstance,
    CreateTrigger,
    CreateWorkflow,
    DeleteWorkflow,
    EvaluateTrigger,
    FireTrigger,
    RunWorkflow,
    SendEvent,
    SubmitAbort,
    SubmitEvent,
    SubmitRun,
)
from schemas.current import Current, CurrentTrigger, CurrentWorkflow, decode_current, encode_current
from schemas.epochs import EpochFilter
from schemas.events import CommandRejected, InstanceStarted, PartitionClaimed
from schemas.records import NewRecord, RecordCodec, UndecodableRecord
from tests.definitions import definition
from tests.fuzz.partition import FIRST, WORKFLOW, decide
from tests.fuzz.runner import Check
from tests.ports.log import StoredRecord

NAME: Final = "records"
CODEC: Final = RecordCodec()
ID: Final = "7d0f8e5c-2f3a-4c60-9b1e-0c5a4f1f6f11"
MADE: Final = "019ca8d7-2d00-7000-8000-000000000000"
"""An id of version 7."""
AT: Final = datetime(2026, 3, 1, tzinfo=UTC)
SEND: Final = {
    "source": {"wallet": {"id": ID}},
    "destination": {"account": {"id": "users:${who}", "ledger": "main"}},
    "amount": {"amount": 100, "asset": "EUR/2"},
}
STAGES: Final[list[dict[str, Any]]] = [
    {"noop": {}},
    {"send": SEND},
    {"update": {"account": {"id": "users:7", "ledger": "main", "metadata": {"k": "v"}}}},
    {"delay": {"duration": "1s"}},
    {"wait_event": {"event": "approved"}},
]

NASTY: Final = (
    b"",
    b"\0",
    b"-1",
    b"1_000",
    b" 7 ",
    b"+7",
    "٣".encode(),
    b"9" * 5000,
    b"9223372036854775808",
    b"null",
    b"NaN",
    b"1e999",
    b'"\\ud800"',
    b"\xff\xfe",
    b"[" * 3000,
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b"not-a-uuid",
    b"7D0F8E5C-2F3A-4C60-9B1E-0C5A4F1F6F11",
    b"PartitionClaimed",
)
HEADERS: Final = ("type", "schema", "version", "cause", "epoch", "ce_id", "_watermill_message_uuid", "\ufffd", "")


def raw(value: Any) -> Raw:
    """As JSON."""
    return Raw(msgspec.json.encode(value))


def _seeds() -> dict[str, list[NewRecord]]:
    """Good records, by topic."""
    message = {"type": "SAVED_PAYMENT", "version": "v2", "payload": {"id": "p", "amount": 7}}
    fire = FireTrigger(occurrence_id=ID, event=raw(message), source="ledger/0", offset=7, stages=raw(STAGES))
    return {
        "commands": [
            *(
                CODEC.encode(
                    ID,
                    RunWorkflow(
                        workflow_id=ID, stages=definition([stage]), variables={"who": "ann"}, request_digest="r"
                    ),
                    timestamp_ms=0,
                )
                for stage in STAGES
            ),
            CODEC.encode(ID, CreateWorkflow(name="w", stages=STAGES), timestamp_ms=0),
            CODEC.encode(ID, DeleteWorkflow(), timestamp_ms=0),
            CODEC.encode(FIRST, AbortInstance(), timestamp_ms=0),
            CODEC.encode(ID, SendEvent(name="approved", payload={"a": [1, 2.5, None]}), timestamp_ms=0),
            CODEC.encode(
                MADE, SubmitRun(workflow_id=WORKFLOW, variables={"who": "ann"}, by="shop", reason="r"), timestamp_ms=0
            ),
            CODEC.encode(
                FIRST, SubmitEvent(name="approved", payload={"a": [1, 2.5, None]}, idempotency_key="k"), timestamp_ms=0
            ),
            CODEC.encode(FIRST, SubmitAbort(idempotency_key="k"), timestamp_ms=0),
            CODEC.encode(ID, CreateTrigger(name="t", event="X", workflow_id=ID, vars={"a": "event.b"}), timestamp_ms=0),
            CODEC.encode(ID, fire, timestamp_ms=0),
            CODEC.encode(
                ID, EvaluateTrigger(occurrence_id=ID, event=raw(message), source="x/0", offset=7), timestamp_ms=0
            ),
        ],
        "events": [
            CODEC.encode("", PartitionClaimed(at=AT, owner="e"), timestamp_ms=0),
            CODEC.encode(ID, CommandRejected(at=AT, code="c", message="m"), timestamp_ms=0, cause=3, epoch=7),
            CODEC.encode(
                ID,
                InstanceStarted(at=AT, workflow_id=ID, stages=definition(STAGES), variables={}),
                timestamp_ms=0,
                version=1,
                cause=3,
                epoch=7,
            ),
        ],
        "definitions": [
            encode_current(Current(ID, 1, CurrentWorkflow(stages=raw(STAGES))), 0),
            encode_current(Current(ID, 2, CurrentTrigger(event="X", workflow_id=ID, filter="event.a == 1")), 0),
            encode_current(Current(ID, 3, None), 0),
        ],
        "positions": [NewRecord(b"3", msgspec.json.encode(PublishedPosition(7, 2)), [], 0)],
        "messages": [NewRecord(b"k", msgspec.json.encode(message), [("ce_id", b"1")], 0)],
    }


SEEDS: Final = _seeds()
MESSAGE: Final = msgspec.json.encode({"type": "X", "payload": {"a": 1, "links": []}})
TRIGGER: Final = compile_trigger(
    ID,
    CurrentTrigger(
        event="SAVED_PAYMENT",
        workflow_id=ID,
        filter="event.id != nil",
        vars={"id": "event.id", "n": "event.amount + 1"},
    ),
)


FAILURES: Final = FilterFailures(Metrics(CollectorRegistry()))


def stored(record: NewRecord, offset: int = 7) -> StoredRecord:
    """A record as it came."""
    return StoredRecord(offset, record.key, record.value, tuple(record.headers))


def damaged(rng: random.Random, record: NewRecord, offset: int = 7) -> StoredRecord:
    """A record as Kafka might hand it out after somebody, or something, has been at it."""
    key, value, headers = record.key or None, record.value, list(record.headers)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        part = rng.randrange(3)
        if part == 0:
            key = _mutated(rng, key)
        elif part == 1:
            value = _mutated(rng, value)
        else:
            headers = _other_headers(rng, headers)
    return StoredRecord(offset, key, value, tuple(headers))


def _mutated(rng: random.Random, data: bytes | None) -> bytes | None:
    data = data or b""
    at = rng.randrange(len(data) + 1)
    match rng.randrange(7):
        case 0:
            return None
        case 1:
            return rng.choice(NASTY)
        case 2:
            return data[:at]
        case 3:
            return data[:at] + rng.choice(NASTY) + data[at:]
        case 4:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        case 5:
            end = rng.randint(at, len(data))
            return data[:at] + data[end:]
        case _:
            return _other_member(rng, data)


def _other_member(rng: random.Random, data: bytes) -> bytes:
    """JSON with a member of another type, or another name."""
    try:
        state = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return data
    places = [place for place in _places(state) if place]
    if not places:
        return data
    place = rng.choice(places)
    values: tuple[Any, ...] = (
        None,
        True,
        -1,
        2**63,
        10**400,
        1.5,
        "",
        "x" * 5000,
        [],
        {},
        [[[]]],
        {"": {"": {}}},
        "\ud7ff\0",
    )
    if isinstance(place, list):
        place[rng.randrange(len(place))] = rng.choice(values)
    else:
        name = rng.choice(sorted(place))
        if rng.random() < 0.2:
            place[rng.choice(("", "type", "event", "at", "x"))] = place.pop(name)
        else:
            place[name] = rng.choice(values)
    return msgspec.json.encode(state)


def _places(value: Any) -> Iterator[dict[str, Any] | list[Any]]:
    """All objects and lists in a value."""
    if isinstance(value, dict | list):
        yield value
        for below in value.values() if isinstance(value, dict) else value:
            yield from _places(below)


def _other_headers(rng: random.Random, headers: list[tuple[str, bytes]]) -> list[tuple[str, Any]]:
    changed: list[tuple[str, Any]] = list(headers)
    at = rng.randrange(len(changed) + 1)
    match rng.randrange(4):
        case 0 if changed:
            del changed[at % len(changed)]
        case 1 if changed:
            name, value = changed[at % len(changed)]
            changed[at % len(changed)] = (name, _mutated(rng, value))
        case 2 if changed:
            changed.append(changed[at % len(changed)])
        case _:
            changed.insert(at, (rng.choice(HEADERS), rng.choice((None, *NASTY))))
    return changed


async def _command(record: StoredRecord) -> str:
    # In a loop of its own, whose time is not ours.
    return await asyncio.to_thread(decide, record)


async def _event(record: StoredRecord) -> str:
    EpochFilter(7).admits(record)
    return type(CODEC.decode_event(record).event).__name__


async def _definition(record: StoredRecord) -> str:
    definitions = Definitions()
    definitions.apply(decode_current(record))
    for event in ("X", ""):
        for trigger in definitions.triggers(event):
            await fire(trigger, read_message("ledger/0", 7, MESSAGE), definitions, FAILURES)
    return "read"


async def _position(record: StoredRecord) -> str:
    position = published_position(3, record)
    return "passed over" if position is None else "read"


async def _message(record: StoredRecord) -> str:
    message = read_message("ledger/0", record.offset, record.value)
    command = await fire(TRIGGER, message, Definitions(), FAILURES)
    if command is None:
        return "fires nothing"
    CODEC.decode_command(stored(CODEC.encode(TRIGGER.id, command, timestamp_ms=0)))
    if isinstance(command, EvaluateTrigger):
        return "waits"
    return "fires" if command.error is None else "fires in vain"


READERS: Final[dict[str, Callable[[StoredRecord], Awaitable[str]]]] = {
    "commands": _command,
    "events": _event,
    "definitions": _definition,
    "positions": _position,
    "messages": _message,
}


async def check(rng: random.Random) -> str:
    """One damaged record of one topic."""
    topic = rng.choice(sorted(READERS))
    record = damaged(rng, rng.choice(SEEDS[topic]))
    try:
        return f"{topic}: {await READERS[topic](record)}"
    except (UndecodableRecord, NoEnvelope):
        return f"{topic}: can't be read"


@asynccontextmanager
async def target() -> AsyncIterator[Check]:
    """See `tests.fuzz`."""
    yield check
