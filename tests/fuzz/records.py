"""Damaged records of every topic that we read, thrown at the code that reads them.

A record begins as one of ours, as another service's message, or as noise; then bytes of its key, value and headers are
changed, dropped, doubled or replaced by values that have broken such code before.
"""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Raw

from engine.triggers.matching import NoEnvelope, read_message
from schemas.commands import CreateTrigger, FireTrigger, RunWorkflow, SendEvent
from schemas.current import Current, CurrentTrigger, CurrentWorkflow, decode_current, encode_current
from schemas.epochs import EpochFilter
from schemas.events import CommandRejected, InstanceStarted, PartitionClaimed
from schemas.records import NewRecord, RecordCodec, UndecodableRecord
from tests.fuzz.runner import Check
from tests.simulation.memory import StoredRecord

NAME: Final = "records"
CODEC: Final = RecordCodec()
ID: Final = "7d0f8e5c-2f3a-4c60-9b1e-0c5a4f1f6f11"
AT: Final = datetime(2026, 3, 1, tzinfo=UTC)
STAGES: Final[list[dict[str, Any]]] = [{"noop": {}}]

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
            CODEC.encode(ID, RunWorkflow(workflow_id=ID, stages=STAGES, variables={}), timestamp_ms=0),
            CODEC.encode(ID, SendEvent(name="approved", payload={"a": [1, 2.5, None]}), timestamp_ms=0),
            CODEC.encode(ID, CreateTrigger(name="t", event="X", workflow_id=ID, vars={"a": "event.b"}), timestamp_ms=0),
            CODEC.encode(ID, fire, timestamp_ms=0),
        ],
        "events": [
            CODEC.encode("", PartitionClaimed(at=AT, owner="e"), timestamp_ms=0),
            CODEC.encode(ID, CommandRejected(at=AT, code="c", message="m"), timestamp_ms=0, cause=3, epoch=7),
            CODEC.encode(
                ID,
                InstanceStarted(at=AT, workflow_id=ID, stages=STAGES, variables={}),
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
        "messages": [NewRecord(b"k", msgspec.json.encode(message), [("ce_id", b"1")], 0)],
    }


SEEDS: Final = _seeds()


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
    if not isinstance(state, dict) or not state:
        return data
    name = rng.choice(sorted(state))
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
    if rng.random() < 0.2:
        state[rng.choice(("", "type", "event", "at", "x"))] = state.pop(name)
    else:
        state[name] = rng.choice(values)
    return msgspec.json.encode(state)


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


def _command(record: StoredRecord) -> None:
    CODEC.decode_command(record)


def _event(record: StoredRecord) -> None:
    EpochFilter(7).admits(record)
    CODEC.decode_event(record)


def _definition(record: StoredRecord) -> None:
    decode_current(record)


def _message(record: StoredRecord) -> None:
    read_message("ledger/0", record.offset, record.value)


READERS: Final[dict[str, Callable[[StoredRecord], None]]] = {
    "commands": _command,
    "events": _event,
    "definitions": _definition,
    "messages": _message,
}


async def check(rng: random.Random) -> str:
    """One damaged record of one topic."""
    topic = rng.choice(sorted(READERS))
    record = damaged(rng, rng.choice(SEEDS[topic]))
    try:
        READERS[topic](record)
    except (UndecodableRecord, NoEnvelope):
        return f"{topic}: can't be read"
    return f"{topic}: read"


@asynccontextmanager
async def target() -> AsyncIterator[Check]:
    """See `tests.fuzz`."""
    yield check
