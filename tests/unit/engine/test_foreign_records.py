"""Records that others have written to our topics: each is refused in order, and nothing behind it is held up."""

import asyncio
import random
from contextlib import nullcontext
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.publisher.positions import PublishedPosition, published_position
from schemas.commands import CreateTrigger, FireTrigger, RunWorkflow, SendEvent
from schemas.current import Current, CurrentTrigger, decode_current, encode_current
from schemas.dead_letters import MAX_HEADERS_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, dead_letter
from schemas.epochs import EpochFilter
from schemas.error_texts import MAX_ERROR_BYTES
from schemas.events import CommandSkipped
from schemas.records import MAX_DEPTH, MAX_NUMBER, Record, RecordCodec, UndecodableRecord
from tests.definitions import definition
from tests.fuzz.partition import decide
from tests.fuzz.records import AT, check
from tests.ports.log import StoredRecord

CODEC = RecordCodec()
ID = str(UUID(int=1))
RUN = CODEC.encode(ID, RunWorkflow(workflow_id=ID, stages=definition([]), variables={}), timestamp_ms=0)
NOT_NUMBERS = [None, b"", b"-1", b"+1", b" 1", b"1_000", "٣".encode(), b"1.0", b"9223372036854775808", b"9" * 5000]


def command(key: bytes | None = ID.encode(), value: bytes | None = RUN.value, **headers: bytes | None) -> StoredRecord:
    return StoredRecord(7, key, value, tuple({"type": b"RunWorkflow", **headers}.items()))


def event(**headers: bytes | None) -> StoredRecord:
    skipped = CODEC.encode(ID, CommandSkipped(at=AT), timestamp_ms=0)
    return StoredRecord(7, skipped.key, skipped.value, tuple({"type": b"CommandSkipped", **headers}.items()))


# Commands


def test_a_command_as_we_make_it_is_read() -> None:
    assert CODEC.decode_command(command(version=b"0", schema=b"1")) == (ID, CODEC.decode_command(command())[1])


@pytest.mark.parametrize("number", NOT_NUMBERS)
def test_a_schema_that_is_no_number_is_refused(number: bytes | None) -> None:
    with pytest.raises(UndecodableRecord, match="header `schema` is not a number"):
        CODEC.decode_command(command(schema=number))


@pytest.mark.parametrize("version", NOT_NUMBERS)
def test_what_others_mean_by_a_version_says_nothing(version: bytes | None) -> None:
    assert CODEC.decode_command(command(version=version)) == CODEC.decode_command(command())


def test_a_command_whose_type_is_null_or_not_text_is_refused() -> None:
    with pytest.raises(UndecodableRecord, match="header `type` is missing"):
        CODEC.decode_command(command(type=None))
    with pytest.raises(UndecodableRecord, match="header `type`: 'utf-8' codec"):
        CODEC.decode_command(command(type=b"\xff"))


@pytest.mark.parametrize("key", [b"", b"not-a-uuid", b"\xff\xfe", ID.upper().replace("1", "A").encode(), b"0" * 32])
def test_a_key_that_is_no_canonical_id_is_refused(key: bytes) -> None:
    with pytest.raises(UndecodableRecord, match="key"):
        CODEC.decode_command(command(key))


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (RunWorkflow(workflow_id=ID, stages=definition([]), variables={}), "workflow_id", "w"),
        (CreateTrigger(name="", event="X", workflow_id=ID), "workflow_id", f"{ID}\n"),
        (FireTrigger(occurrence_id=ID, event=msgspec.Raw(b"{}"), source="s/0", offset=0), "occurrence_id", "o"),
        (FireTrigger(occurrence_id=ID, event=msgspec.Raw(b"{}"), source="s/0", offset=0), "offset", -1),
        (
            RunWorkflow(workflow_id=ID, stages=definition([]), variables={}, source="s/0", sequence=1),
            "sequence",
            MAX_NUMBER + 1,
        ),
    ],
)
def test_ids_and_offsets_in_commands_are_checked(kind: Any, name: str, value: Any) -> None:
    state = msgspec.json.decode(msgspec.json.encode(kind))
    record = command(value=msgspec.json.encode(state), type=type(kind).__name__.encode())
    assert CODEC.decode_command(record) == (ID, kind)
    record = command(value=msgspec.json.encode({**state, name: value}), type=type(kind).__name__.encode())
    with pytest.raises(UndecodableRecord, match=name):
        CODEC.decode_command(record)


@pytest.mark.parametrize(("levels", "refused"), [(MAX_DEPTH - 2, False), (MAX_DEPTH, True), (900, True)])
def test_a_command_that_another_process_could_not_decode_is_refused(levels: int, refused: bool) -> None:
    payload: dict[str, Any] = {}
    for _ in range(levels - 1):
        payload = {"a": payload}
    record = CODEC.encode(ID, SendEvent(name="e", payload=payload), timestamp_ms=0)
    expected = pytest.raises(UndecodableRecord, match="nested more than 128 levels") if refused else nullcontext()
    with expected:
        CODEC.decode_command(command(value=record.value, type=b"SendEvent"))


def test_the_reason_is_bounded() -> None:
    with pytest.raises(UndecodableRecord) as refused:
        CODEC.decode_command(command(type=b"x" * 3_000_000))
    assert len(str(refused.value).encode()) == MAX_ERROR_BYTES


@pytest.mark.parametrize(
    "record",
    [
        command(type=None),
        command(schema=None),
        command(key=b"\xff" * 3_000_000, value=b"{"),
        command(key=None, value=None),
        command(type=b"\xff" * 3_000_000),
        command(key=b"not-a-uuid"),
    ],
    ids=["null type", "null schema", "large key", "no key", "large type", "not an id"],
)
def test_it_is_rejected_and_the_next_one_is_decided(record: StoredRecord) -> None:
    assert decide(record) == "CommandRejected"


@pytest.mark.parametrize(
    ("record", "cut"),
    [
        (command(key=b"k" * (MAX_KEY_BYTES + 1)), b"key"),
        (command(value=b"v" * 20_000_000), b"value"),
        (command(one=b"1", large=b"h" * MAX_HEADERS_BYTES), b"headers"),
        (command(key=b"k" * 5000, value=b"v" * 20_000_000, one=b"1", large=b"h" * 9_000_000), b"key,value,headers"),
        (command(key=b"k" * MAX_KEY_BYTES, value=b"v" * MAX_VALUE_BYTES, one=None), None),
    ],
)
def test_a_dead_letter_fits_into_its_topic(record: StoredRecord, cut: bytes | None) -> None:
    letter = dead_letter("p.commands", 3, record, "why")
    headers = dict(letter.headers)
    assert headers["dead-reason"] == b"why"
    assert headers["dead-source"] == b"p.commands/3/7"
    assert headers.get("dead-cut") == cut
    assert headers["type"] == b"RunWorkflow"
    assert letter.key == (record.key or b"")[:MAX_KEY_BYTES]
    assert letter.value == (record.value or b"")[:MAX_VALUE_BYTES]
    assert "large" not in headers


def test_headers_without_content_take_room_in_a_dead_letter() -> None:
    record = StoredRecord(7, ID.encode(), b"{}", (("type", b"RunWorkflow"), *(("", None) for _ in range(1_000_000))))
    letter = dead_letter("p.commands", 3, record, "why")
    assert dict(letter.headers)["dead-cut"] == b"headers"
    assert len(letter.headers) < MAX_HEADERS_BYTES


# Events


@pytest.mark.parametrize("number", NOT_NUMBERS)
def test_an_event_whose_numbers_are_none_is_no_event_of_ours(number: bytes | None) -> None:
    assert not EpochFilter(1).admits(event(epoch=number))
    for name in ("cause", "version"):
        with pytest.raises(UndecodableRecord, match=name):
            CODEC.decode_event(event(**{name: number}))


def test_the_largest_numbers_are_read() -> None:
    largest = str(MAX_NUMBER).encode()
    assert EpochFilter(MAX_NUMBER).admits(event(epoch=largest))
    recorded = CODEC.decode_event(event(cause=largest, version=b"0007"))
    assert (recorded.cause, recorded.version) == (MAX_NUMBER, 7)


# Definitions and positions


@pytest.mark.parametrize("key", [b"", b"not-a-uuid", b"\xff"])
def test_a_definition_without_an_id_is_refused(key: bytes) -> None:
    good = encode_current(Current(ID, 1, CurrentTrigger(event="X", workflow_id=ID)), 0)
    assert decode_current(StoredRecord(7, good.key, good.value, good.headers)).id == ID
    with pytest.raises(UndecodableRecord):
        decode_current(StoredRecord(7, key, good.value, good.headers))


@pytest.mark.parametrize("number", NOT_NUMBERS)
def test_a_definition_without_a_version_is_refused(number: bytes | None) -> None:
    with pytest.raises(UndecodableRecord, match="version"):
        decode_current(StoredRecord(7, ID.encode(), None, [("version", number)]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"4", b'{"next_offset": 7, "epoch": 2}'),
        (b"3", None),
        (b"3", b"{}"),
        (b"3", b'{"next_offset": 7}'),
        (b"3", b'{"next_offset": -1, "epoch": 2}'),
        (b"3", b'{"next_offset": 9223372036854775808, "epoch": 2}'),
        (b"3", b'{"next_offset": "7", "epoch": 2}'),
        (b"3", b"[" * 3000),
    ],
)
def test_a_record_that_says_no_position_is_passed_over(key: bytes, value: bytes | None) -> None:
    assert published_position(3, StoredRecord(0, b"3", b'{"next_offset": 7, "epoch": -1}', ())) == PublishedPosition(
        7, -1
    )
    assert published_position(3, StoredRecord(0, key, value, ())) is None


# Everything


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_no_record_of_any_topic_stops_who_reads_it(rng: random.Random) -> None:
    asyncio.run(check(rng))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.none() | st.binary(),
    st.none() | st.binary(),
    st.lists(st.tuples(st.sampled_from(["type", "version", "schema", "cause", "epoch"]), st.none() | st.binary())),
)
def test_noise_is_refused(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    record: Record = StoredRecord(7, key, value, headers)
    assert not EpochFilter(7).admits(record) or ("epoch", b"7") in headers
    for read in (CODEC.decode_command, CODEC.decode_event, decode_current):
        with pytest.raises(UndecodableRecord):
            read(record)
    assert published_position(7, record) is None
