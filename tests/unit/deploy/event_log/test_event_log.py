"""`orchestration log` on a log in memory."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import pytest

from api.ids import new_id
from deploy.errors import EventLogError
from deploy.event_log import reading
from deploy.event_log.reading import EventLog, Query, Span
from deploy.event_log.shown import as_json, as_line
from schemas import events
from schemas.epochs import EpochFilter
from schemas.fillers import filler, notice
from schemas.kafka import NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.log_entries import Entry
from schemas.records import NewRecord, RecordCodec
from schemas.settings import OperatorSettings
from schemas.topics import partition_of

AT: Final = datetime(2026, 3, 1, 10, 0, 0, 5, tzinfo=UTC)
PARTITIONS: Final = 3
ID: Final = "00000000-0000-4000-8000-000000000001"
OTHER: Final = "00000000-0000-4000-8000-000000000002"
CODEC: Final = RecordCodec()
SETTINGS: Final = OperatorSettings(topic_prefix="x.")


def claim(owner: str) -> NewRecord:
    return CODEC.encode("", events.PartitionClaimed(at=AT, owner=owner), timestamp_ms=0)


def received(
    name: str, epoch: int, *, id: str = ID, version: int = 1, cause: int | None = None, at_ms: int = 0
) -> NewRecord:
    event = events.EventReceived(at=AT, name=name)
    return CODEC.encode(id, event, timestamp_ms=at_ms, version=version, cause=cause, epoch=epoch)


class Log:
    """Topic `events` with all that is shown in partition `p`, which `ID` belongs to."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.create(NewTopic("x.events", PARTITIONS, 1))
        self.p = partition_of(ID.encode(), PARTITIONS)
        self.read: list[tuple[int, int]] = []

    def put(self, *records: NewRecord) -> int:
        return self.cluster.append(Place("x.events", self.p), records)

    def expire(self, before: int) -> None:
        self.cluster.log(Place("x.events", self.p)).expire(before)

    async def show(self, **query: Any) -> list[Entry]:
        log = EventLog(MemoryKafka(self.cluster), SETTINGS, lambda *read: self.read.append(read))
        return [entry async for entry in log.entries(Query(**query))]


@pytest.fixture
async def log() -> Log:
    return Log()


def told(entries: Sequence[Entry]) -> list[tuple[int, str | None, str | None]]:
    return [(entry.offset, entry.owner, entry.reason) for entry in entries]


async def test_an_aggregate_is_shown_with_who_wrote_it_and_what_does_not_count(log: Log) -> None:
    log.put(claim("first"))
    log.put(received("a", 0, cause=7), received("b", 0, id=OTHER, cause=8))
    log.put(claim("second"))
    log.put(received("late", 0, version=2), received("c", 3, version=2, cause=9))
    entries = await log.show(id=ID)
    assert told(entries) == [(1, "first", None), (4, "first", "superseded"), (5, "second", None)]
    assert [entry.counts for entry in entries] == [True, False, True]
    assert (entries[0].id, entries[0].version, entries[0].cause, entries[0].epoch) == (ID, 1, 7, 0)
    assert (entries[0].at, entries[0].type) == (AT, "EventReceived")
    assert json.loads(bytes(entries[2].value or b"")) == {"at": "2026-03-01T10:00:00.000005Z", "name": "c"}


async def test_a_partition_shows_everything_that_stands_in_it(log: Log) -> None:
    log.put(claim("first"), received("a", 0))
    log.put(filler(0), NewRecord(b"k", b"{", [("type", b"EventReceived"), ("epoch", b"0")], 0))
    log.put(received("lost", 3), NewRecord(b"k", None, [], 0), notice(0))
    entries = await log.show(partition=log.p)
    assert told(entries) == [
        (0, "first", None),
        (1, "first", None),
        (2, None, "filler"),
        (3, "first", None),
        (4, None, "claim missing"),
        (5, None, "unclaimed"),
        (6, None, "notice"),
    ]
    assert entries[0].type == "PartitionClaimed"
    assert (entries[3].error, entries[3].raw_value) == ("EventReceived: Input data was truncated", "ew==")
    assert entries[2].error is None
    assert [entry.offset for entry in await log.show(partition=(log.p + 1) % PARTITIONS)] == []


@pytest.mark.parametrize(
    ("query", "offsets"),
    [
        ({"start": 4}, [4, 5]),
        ({"start": -2}, [4, 5]),
        ({"start": -200}, [0, 1, 2, 3, 4, 5]),
        ({"limit": 2}, [0, 1]),
        ({"start": 2, "limit": 1}, [2]),
        ({"start": 6}, []),
    ],
)
async def test_a_part_of_a_partition(log: Log, query: dict[str, int], offsets: list[int]) -> None:
    log.put(claim("first"), *(received(str(n), 0, version=n + 1) for n in range(5)))
    assert [entry.offset for entry in await log.show(partition=log.p, **query)] == offsets


async def test_what_counts_is_known_from_what_lies_before(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.put(claim("first"), claim("second"))
    log.put(received("old", 0), received("new", 1), received("old", 0), received("new", 1))
    expected = [(4, "first", "superseded"), (5, "second", None)]
    assert told(await log.show(partition=log.p, start=4)) == expected
    # The claims lie further back than is read.
    monkeypatch.setattr(reading, "LOOK_BACK", 1)
    assert told(await log.show(partition=log.p, start=4)) == expected
    # They have expired.
    log.expire(3)
    assert told(await log.show(partition=log.p)) == [(3, None, None), (4, None, "superseded"), (5, None, None)]


async def test_verdicts_are_those_of_the_rule_that_all_readers_follow(log: Log) -> None:
    log.put(claim("a"), received("1", 0), claim("b"), received("2", 0), received("3", 2), received("4", 99))
    log.put(received("5", 2), claim("c"), received("6", 2), received("7", 7), filler(0))
    epochs = EpochFilter()
    admitted = [r.offset for r in log.cluster.records("x.events")[log.p] if epochs.admits(r)]
    entries = await log.show(partition=log.p)
    assert [entry.offset for entry in entries if entry.counts and entry.type != "PartitionClaimed"] == admitted


async def test_a_long_log_is_read_from_when_the_id_was_made(log: Log) -> None:
    while partition_of(str(id := new_id()).encode(), PARTITIONS) != log.p:
        pass
    made_ms = id.int >> 80
    log.put(claim("first"))
    for _ in range(10):
        log.put(*[received("x", 0, id=OTHER)] * 3000)
    log.put(*(received("x", 0, id=OTHER, at_ms=made_ms) for _ in range(10)))
    log.put(received("a", 0, id=str(id), at_ms=made_ms + 1))
    assert told(await log.show(id=str(id))) == [(30_011, "first", None)]
    assert log.read[-1] == (10_011, 10_011)


@pytest.mark.parametrize("late_ms", [3_600_000, -3_600_000])
async def test_an_aggregate_that_is_older_than_its_id_is_found_whole(log: Log, late_ms: int) -> None:
    while partition_of(str(id := new_id()).encode(), PARTITIONS) != log.p:
        pass
    made_ms = id.int >> 80
    log.put(claim("first"), received("a", 0, id=str(id), at_ms=made_ms + late_ms))
    log.put(received("b", 0, id=str(id), version=2, at_ms=made_ms))
    assert [entry.offset for entry in await log.show(id=str(id))] == [1, 2]


async def test_it_goes_on_with_what_is_written_later(log: Log) -> None:
    log.put(claim("first"), received("a", 0))
    shown = EventLog(MemoryKafka(log.cluster), SETTINGS).entries(Query(id=ID, follow=True))
    assert (await anext(shown)).offset == 1
    log.put(received("b", 0, id=OTHER), received("c", 0, version=2))
    assert (await anext(shown)).offset == 3
    await shown.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"partition": 3}, "topic x.events has the partitions 0 to 2, not 3"),
        ({"partition": 0, "start": 9}, "partition 0 of x.events ends at offset {end}, before 9"),
        ({"id": OTHER}, f"nothing of {OTHER} in partition {{p}} of x.events, which it would be in"),
        ({"id": ID, "start": 2}, f"nothing of {ID} in partition {{p}} of x.events from offset 2 on"),
    ],
)
async def test_what_is_not_there_is_said(log: Log, query: dict[str, Any], message: str) -> None:
    log.put(claim("first"), received("a", 0))
    where = partition_of(query.get("id", "").encode(), PARTITIONS)
    end = 2 if log.p == 0 else 0
    with pytest.raises(EventLogError) as error:
        await log.show(**query)
    assert str(error.value) == message.format(p=where, end=end)


async def test_a_log_that_does_not_exist_or_has_lost_its_beginning(log: Log) -> None:
    log.put(claim("first"), received("a", 0))
    log.expire(2)
    with pytest.raises(EventLogError, match="what was before offset 2 is deleted"):
        await log.show(id=ID)
    log.cluster.delete("x.events")
    with pytest.raises(EventLogError, match=r"topic x\.events does not exist: check ORCHESTRATION_TOPIC_PREFIX"):
        await log.show(id=ID)


async def test_what_is_read_is_told_first(log: Log) -> None:
    log.put(claim("first"), received("a", 0))
    spans: list[Span] = []
    async for _ in EventLog(MemoryKafka(log.cluster), SETTINGS).entries(Query(id=ID), spans.append):
        assert spans[0].place == Place("x.events", log.p)


async def test_lines_are_short_and_json_is_whole(log: Log) -> None:
    text = "\x1b[31m" + "x" * 100_000 + "\x9b31m\u202e"
    stages = events.StageStarted(at=AT, workflow_id="w", number=1, name="RunNoop", input={"text": text, "n": 10**40})
    log.put(claim("engine\n1"), CODEC.encode(ID, stages, timestamp_ms=0, version=3, cause=5, epoch=0), received("b", 7))
    shown, missing = await log.show(id=ID)
    line = as_line(shown, with_id=False)
    assert line == (
        "         1  2026-03-01T10:00:00.000005Z  StageStarted        v3    cause 5        epoch 0 engine\\n1  "
        'workflow_id=w number=1 name=RunNoop input={"text":"\\u001b[31mxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'
    )
    assert ID in as_line(shown, with_id=True)
    parsed = json.loads(as_json(shown))
    assert parsed["value"]["input"] == {"text": text, "n": 10**40}
    assert (parsed["partition"], parsed["offset"], parsed["owner"], parsed["counts"]) == (log.p, 1, "engine\n1", True)
    assert as_json(shown).isprintable()
    assert as_line(missing, with_id=False).startswith("✗        2  ")
    assert "[DOES NOT COUNT: it belongs to no claim before it]" in as_line(missing, with_id=False)


def test_every_line_of_the_id_stays_in_its_columns() -> None:
    entry = Entry(partition=0, offset=12, counts=False, reason="unclaimed", type="t\t" * 500, id=str(UUID(int=1)))
    assert len(as_line(entry, with_id=True)) < 250


@pytest.mark.parametrize(
    ("error", "said"),
    [(None, "epoch 5 (claim not in the log)"), ("no key", "epoch 5 (claim not in the log, or can't be read)")],
)
def test_a_claim_that_nobody_can_read_here_is_not_said_to_be_lost(error: str | None, said: str) -> None:
    entry = Entry(partition=0, offset=12, counts=True, type="StageEnded", epoch=5, error=error)
    assert said in as_line(entry, with_id=False)
