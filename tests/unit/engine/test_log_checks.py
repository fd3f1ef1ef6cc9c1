"""Whether a partition is the one that its owners knew."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from engine.clock import SystemClock
from engine.log_checks import NOT_REPAIRED, ClaimTrail, Inspected, Known, inspect, last_filler
from engine.pauses import Breather
from engine.ports import LogState
from schemas.events import PartitionClaimed
from schemas.fillers import filler
from schemas.kafka import Limits
from schemas.log_integrity import LogFault
from schemas.records import NewRecord, RecordCodec
from tests.ports.log import Log, MemoryEventLog, StoredRecord

CODEC = RecordCodec()
AT = datetime(2026, 3, 1, tzinfo=UTC)
KNOWN = Known(next_offset=10, next_command=4, events_id="events-1", commands_id="commands-1")
STATE = LogState(Limits(0, 20), Limits(0, 8), "events-1", "commands-1", 1)


def a_log() -> Log:
    """20 events, 8 commands."""
    log = Log(1)
    log.append_events(0, [NewRecord(b"k", b"v", [], 0)] * 20)
    for _ in range(8):
        log.append_command(0, NewRecord(b"k", b"v", [], 0))
    return log


async def inspected(log: Log, known: Known | None = KNOWN) -> Inspected:
    event_log = MemoryEventLog(log)
    return await inspect(0, event_log, known, Breather(SystemClock()))


def cut_events(log: Log) -> None:
    del log.events[0][9:]


def cut_commands(log: Log) -> None:
    del log.commands[0][3:]


def remake_events(log: Log) -> None:
    log.events_id = "events-2"


def remake_commands(log: Log) -> None:
    log.commands_id = "commands-2"


def expire(log: Log) -> None:
    log.expire(0, 11)


def fill(log: Log, count: int = 1) -> None:
    log.append_events(0, [filler(0)] * count)


async def test_keys_stay_in_their_partitions() -> None:
    breather = Breather(SystemClock())
    for known in (KNOWN, None):
        for used_before in (0, 1):
            assert (await inspect(0, MemoryEventLog(a_log()), known, breather, used_before)).state == STATE
        with pytest.raises(LogFault, match="has used 2 partitions, and now it is 1") as raised:
            await inspect(0, MemoryEventLog(a_log()), known, breather, 2)
        assert raised.value.reason == "partitions"


async def test_a_partition_that_is_what_it_was_may_be_claimed() -> None:
    log = a_log()
    assert await inspected(log) == Inspected(STATE, KNOWN)
    assert await inspected(log, None) == Inspected(STATE, Known(), has_snapshot=False)
    assert (await inspected(log, Known(20, 8))).state == STATE
    log.expire(0, 10)
    assert (await inspected(log)).state.events == (10, 20)
    remake_events(log)
    assert (await inspected(log, KNOWN._replace(events_id=""))).repaired == NOT_REPAIRED


@pytest.mark.parametrize(
    ("change", "reason", "topic"),
    [
        (cut_events, "cut", "events"),
        (cut_commands, "commands", "commands"),
        (remake_events, "remade", "events"),
        (remake_commands, "remade", "commands"),
        (expire, "gap", "events"),
    ],
)
async def test_another_one_may_not(change: Callable[[Log], None], reason: str, topic: str) -> None:
    log = a_log()
    change(log)
    with pytest.raises(LogFault) as caught:
        await inspected(log)
    assert (caught.value.reason, caught.value.topic, caught.value.partition) == (reason, topic, 0)


@pytest.mark.parametrize("change", [remake_events, remake_commands, expire])
async def test_a_filler_says_that_it_is_known(change: Callable[[Log], None]) -> None:
    log = a_log()
    change(log)
    fill(log, 2)
    assert (await inspected(log)).repaired == 21


async def test_a_filler_right_before_what_comes_next_counts_and_an_older_one_does_not() -> None:
    log = a_log()
    remake_events(log)
    fill(log)
    assert (await inspected(log, KNOWN._replace(next_offset=21))).repaired == 20
    fill(log)
    log.append_events(0, [NewRecord(b"k", b"v", [], 0)] * 3)
    with pytest.raises(LogFault, match="deleted and created again"):
        await inspected(log, KNOWN._replace(next_offset=23))


@pytest.mark.parametrize("change", [cut_events, cut_commands])
async def test_what_is_too_short_stays_so(change: Callable[[Log], None]) -> None:
    log = a_log()
    remake_events(log)
    cut_events(log) if change is cut_events else cut_commands(log)
    if change is cut_commands:
        fill(log)
    with pytest.raises(LogFault):
        await inspected(log)
    if change is cut_events:
        fill(log)
        assert (await inspected(log)).state.events.end == 10
    else:
        log.append_command(0, filler(0))
        assert (await inspected(log)).repaired == 20


async def test_only_a_filler_behind_all_events_counts_where_older_ones_were_about_something_else() -> None:
    log = a_log()
    event_log, breather = MemoryEventLog(log), Breather(SystemClock())
    fill(log)
    assert await last_filler(0, event_log, 0, 21, breather, behind_events=True) == 20
    log.append_events(0, [NewRecord(b"k", b"v", [("epoch", b"1")], 0)])
    assert await last_filler(0, event_log, 0, 22, breather, behind_events=True) == NOT_REPAIRED
    assert await last_filler(0, event_log, 0, 22, breather) == 20


def record(new: NewRecord, offset: int = 11) -> StoredRecord:
    return StoredRecord(offset, new.key, new.value, new.headers)


def claim(**said: Any) -> StoredRecord:
    return record(CODEC.encode("", PartitionClaimed(at=AT, owner="e", **said), timestamp_ms=0))


FILLER = record(filler(0), 15)
FOREIGN = record(NewRecord(b"", b"{", [("type", b"PartitionClaimed")], 0))


def trail(*records: StoredRecord, known: Known = KNOWN) -> ClaimTrail:
    found = ClaimTrail(0, CODEC, known)
    for one in records:
        found.note(one)
    return found


@pytest.mark.parametrize(
    "records",
    [
        [],
        [FOREIGN],
        [claim()],
        [claim(events_id="events-1", commands_id="commands-1", commands_end=8)],
        [claim(events_id="old", events_end=100), FILLER],
        [claim(commands_id="old"), claim(commands_id="commands-1"), FILLER, claim(commands_id="commands-1")],
    ],
)
def test_claims_that_fit(records: list[StoredRecord]) -> None:
    assert trail(*records).check(5, STATE) == 5


@pytest.mark.parametrize(
    ("records", "reason", "topic"),
    [
        ([claim(events_id="old")], "remade", "events"),
        ([claim(commands_id="old")], "remade", "commands"),
        ([FILLER, claim(commands_id="old")], "remade", "commands"),
        ([claim(commands_end=9)], "commands", "commands"),
        ([claim(commands_end=9), claim(commands_end=3)], "commands", "commands"),
        ([claim(events_end=15)], "cut", "events"),
        ([FILLER, claim(events_end=15)], "cut", "events"),
    ],
)
def test_claims_that_do_not_fit(records: list[StoredRecord], reason: str, topic: str) -> None:
    with pytest.raises(LogFault) as caught:
        trail(*records).check(5, STATE)
    assert (caught.value.reason, caught.value.topic) == (reason, topic)


def test_a_claim_of_an_engine_that_has_found_it_out_makes_nothing_known() -> None:
    state = replace(STATE, commands_id="commands-2")
    found = trail(claim(commands_id="commands-2"), claim(commands_id="commands-2"))
    with pytest.raises(LogFault, match="deleted and created again"):
        found.check(5, state)
    found.note(FILLER)
    assert found.check(5, state) == 5


def test_the_decided_commands_are_there() -> None:
    with pytest.raises(LogFault, match="commands up to 9"):
        trail().check(9, STATE)
    assert trail().check(8, STATE) == 8


def test_commands_that_were_deleted_before_they_were_decided() -> None:
    state = replace(STATE, commands=Limits(7, 8))
    assert trail().check(6, state) == 7  # the mark of a transaction is nothing to be decided
    assert trail().check(8, state) == 8
    with pytest.raises(LogFault, match="the 2 records from offset 5 on were deleted") as caught:
        trail().check(5, state)
    assert (caught.value.reason, caught.value.topic) == ("gap", "commands")
    assert trail(FILLER).check(5, state) == 7
