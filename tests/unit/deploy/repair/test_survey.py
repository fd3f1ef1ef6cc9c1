"""What a survey finds in topics, on a cluster in memory, and that what follows from it makes them whole."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

import pytest

from deploy.errors import RepairError
from deploy.repair import survey
from deploy.repair.acts import Acts
from deploy.repair.facts import ENGINES, PUBLISHER, READ_MODEL, Known, PartitionFacts
from deploy.repair.findings import Fill, Move, repair_of
from deploy.repair.survey import Survey
from deploy.topics import create_topics
from engine.core.snapshots import Summary
from engine.snapshot_records import Marker, marker_record
from projections.publisher import lost_positions
from projections.publisher.positions import PublishedPosition, position_record
from projections.repairs import ReadModelRepairs
from projections.rows import ReadPosition
from schemas.commands import AbortInstance
from schemas.events import CommandSkipped, PartitionClaimed
from schemas.kafka import NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.records import NewRecord, RecordCodec
from schemas.settings import OperatorSettings
from schemas.topics import topics

AT = datetime(2026, 3, 1, tzinfo=UTC)
CODEC = RecordCodec()
SETTINGS = OperatorSettings(partitions=1)
SUMMARY = Summary(entries=0, last_at=None, sequences={}, ended_unkeyed=[], forgotten_before=0)


class ReadModel(ReadModelRepairs):
    """The positions of the read model, without Postgres."""

    def __init__(self) -> None:
        self.rows: dict[int, ReadPosition] = {}

    async def positions(self) -> dict[int, ReadPosition]:
        return dict(self.rows)

    async def move(self, partition: int, known: ReadPosition, to: ReadPosition) -> bool:
        row = self.rows[partition]
        self.rows[partition] = ReadPosition(to.next_offset, to.epoch, row.cause, to.topic_id)
        return (row.next_offset, row.epoch) == (known.next_offset, known.epoch)


class World:
    """An installation with one partition."""

    def __init__(self) -> None:
        self.cluster, self.read_model = MemoryCluster(), ReadModel()
        self.kafka = MemoryKafka(self.cluster)

    async def make_topics(self) -> Self:
        await create_topics(SETTINGS, self.kafka)
        return self

    # What is written

    def put(self, topic: str, *records: NewRecord) -> int:
        return self.cluster.append(Place(topic, 0), records)

    def claim(self, **claim: Any) -> int:
        return self.put("events", CODEC.encode("", PartitionClaimed(at=AT, owner="e", **claim), timestamp_ms=0))

    def events(self, count: int, epoch: int, cause: int | None = None) -> int:
        event = CODEC.encode(str(UUID(int=1)), CommandSkipped(at=AT), timestamp_ms=0, cause=cause, epoch=epoch)
        return self.put("events", *[event] * count)

    def commands(self, count: int) -> int:
        command = CODEC.encode(str(UUID(int=1)), AbortInstance(), timestamp_ms=0)
        return self.put("commands", *[command] * count)

    def snapshot(self, next_offset: int, epoch: int, next_command: int = 0) -> None:
        marker = Marker(
            next_offset=next_offset,
            epoch=epoch,
            next_command=next_command,
            events_id=self.cluster.topics["events"].id,
            commands_id=self.cluster.topics["commands"].id,
            at=AT,
            summary=SUMMARY,
        )
        self.put("snapshots", NewRecord(b"workflow/1", b"{}", [], 0), marker_record(marker))

    def read(self, next_offset: int, epoch: int, cause: int = -1) -> None:
        self.read_model.rows[0] = ReadPosition(next_offset, epoch, cause, self.cluster.topics["events"].id)

    def read_of(self, name: str) -> None:
        """Have the read model be of another installation's topic."""
        self.cluster.create(NewTopic(name, 1, 1, {}))
        self.read_model.rows[0] = ReadPosition(0, -1, -1, self.cluster.topics[name].id)

    def published(self, next_offset: int, epoch: int) -> None:
        position = PublishedPosition(next_offset, epoch, self.cluster.topics["events"].id)
        self.put("events.published", position_record(0, position, 0))

    def remake(self, name: str) -> None:
        self.cluster.delete(name)
        (topic,) = (topic for topic in topics(SETTINGS) if topic.name == name)
        self.cluster.create(NewTopic(name, topic.partitions, 1, topic.config))

    def cut(self, topic: str, end: int) -> None:
        self.cluster.log(Place(topic, 0)).cut(end)

    # What is found

    async def facts(self) -> PartitionFacts:
        (facts,) = [found async for found in Survey(self.kafka, SETTINGS, await self.read_model.positions()).facts()]
        return facts

    async def repair(self) -> list[Fill | Move]:
        """Do what is needed once, and see that nothing is needed then."""
        found = repair_of(await self.facts())
        assert bool(found.findings) >= bool(found.actions)
        async with self._acts() as acts:
            for action in found.actions:
                await (acts.fill(action) if isinstance(action, Fill) else acts.move(action))
        after = repair_of(await self.facts())
        assert (after.findings, after.actions) == ([], [])
        return found.actions

    @asynccontextmanager
    async def _acts(self) -> AsyncIterator[Acts]:
        acts = Acts(self.kafka, SETTINGS, self.read_model)
        yield acts
        await acts.close()

    def end(self, topic: str) -> int:
        return self.cluster.log(Place(topic, 0)).limits().end


@pytest.fixture
async def world() -> World:
    """Claims at 0 and 10, 30 events in all, of which all but the last are everywhere; 8 commands."""
    world = await World().make_topics()
    world.claim(commands_id=world.cluster.topics["commands"].id)
    world.events(9, 0, cause=3)
    world.claim(commands_end=6, commands_id=world.cluster.topics["commands"].id)
    world.events(19, 10, cause=5)
    world.commands(8)
    world.snapshot(20, 10, next_command=6)
    world.read(30, 10, cause=5)
    world.published(25, 10)
    return world


def known(facts: PartitionFacts, who: str) -> Known:
    return next(found for found in facts.positions if found.who == who)


async def test_what_is_well_is_left_alone(world: World) -> None:
    facts = await world.facts()
    assert [(found.who, found.next_offset, found.epoch) for found in facts.positions] == [
        (ENGINES, 20, 10),
        (READ_MODEL, 30, 10),
        (PUBLISHER, 25, 10),
    ]
    assert (facts.next_command, facts.cause, facts.scan.causes_end) == (6, 5, 6)
    assert await world.repair() == []
    world.events(1, 0)  # of the owner before
    world.put("events", NewRecord(b"k", b"v", [("type", b"X"), ("epoch", b"15"), ("cause", b"9" * 18)], 0))
    world.claim()
    world.events(3, 32)
    assert await world.repair() == []
    assert world.end("events") == 36


async def test_without_anything_there_is_nothing_to_do() -> None:
    world = await World().make_topics()
    assert await world.repair() == []
    world.commands(3)
    assert await world.repair() == []


@pytest.mark.parametrize("end", [29, 25, 24, 20, 19, 10, 9, 0])
async def test_a_cut_log_is_as_long_as_it_was_again(world: World, end: int) -> None:
    world.cut("events", 0)
    for offset in range(end):
        if offset in (0, 10):
            world.claim()
        else:
            world.events(1, 10 if offset > 10 else 0)
    assert await world.repair() == [Fill("events", 0, 30 - end)]
    assert world.end("events") == 30


async def test_a_log_that_was_made_again_is_the_known_one_then(world: World) -> None:
    world.remake("events")
    fill, *moves = await world.repair()
    assert fill == Fill("events", 0, 30)
    assert [move.known.who for move in moves if isinstance(move, Move)] == [READ_MODEL, PUBLISHER]
    assert world.read_model.rows[0] == ReadPosition(30, 10, 5, world.cluster.topics["events"].id)
    world.claim()
    world.events(3, 30)
    assert await world.repair() == []


async def test_the_read_model_of_another_installation_is_left_alone(world: World) -> None:
    world.read_of("other.events")
    with pytest.raises(RepairError, match=r"holds the read model of topic other\.events, which is another"):
        await world.facts()


async def test_positions_go_on_behind_a_gap(world: World) -> None:
    world.cluster.log(Place("events", 0)).expire(27)
    fill, move = await world.repair()
    assert fill == Fill("events", 0, 1)
    assert isinstance(move, Move)
    assert (move.known.who, move.to.next_offset, move.to.epoch) == (PUBLISHER, 27, 10)


async def test_the_newest_claim_before_a_gap_is_found_behind_it(world: World) -> None:
    world.claim()
    world.events(5, 30)
    world.read(5, 0)
    world.cluster.log(Place("events", 0)).expire(32)
    await world.repair()
    assert world.read_model.rows[0].epoch == 30


async def test_a_publisher_goes_on_behind_the_newest_public_event_when_its_positions_are_lost(world: World) -> None:
    world.remake("events.published")
    assert await world.repair() == []  # nothing was published
    foreign = NewRecord(b"k", b'{"idempotency_key": "orchestration-1-99"}', [], 0)
    world.put("orchestration", NewRecord(b"k", b'{"idempotency_key": "orchestration-0-7"}', [], 0), *[foreign] * 100)
    (move,) = await world.repair()
    assert isinstance(move, Move)
    assert (move.known.next_offset, move.to.next_offset, move.to.epoch) == (0, 8, 0)
    assert (await world.facts()).publisher == move.to


async def test_what_is_published_for_the_first_time_meanwhile_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = lost_positions.check_not_lost

    async def late(*places: Any) -> None:
        world.put("orchestration", NewRecord(b"k", b'{"idempotency_key": "orchestration-0-24"}', [], 0))
        world.published(25, 10)
        await look(*places)

    world.remake("events.published")
    monkeypatch.setattr(survey, "check_not_lost", late)
    facts = await world.facts()
    assert (known(facts, PUBLISHER).next_offset, facts.publisher_lost) == (25, False)
    assert repair_of(facts).findings == []


async def test_a_record_without_its_claim_is_known_of_after_a_filler(world: World) -> None:
    world.events(1, 24)
    assert await world.repair() == [Fill("events", 0, 1)]
    world.events(2, 10)
    assert await world.repair() == []


async def test_a_reader_goes_back_to_a_claim_that_it_has_passed_over(world: World) -> None:
    # Cut to 22, where the snapshot is whole; an engine went on, and came further than the readers were.
    world.cut("events", 0)
    world.claim()
    world.events(9, 0)
    world.claim()
    world.events(11, 10)
    world.claim()
    world.events(3, 22)
    world.claim()
    world.events(10, 26)
    first, second = await world.repair()
    assert isinstance(first, Move)
    assert isinstance(second, Move)
    assert (first.known.who, first.to.next_offset, first.to.epoch) == (READ_MODEL, 22, 10)
    assert (second.known.who, second.to.next_offset, second.to.epoch) == (PUBLISHER, 22, 10)


async def test_commands_are_as_many_as_are_known(world: World) -> None:
    world.cut("commands", 0)
    world.commands(3)
    assert await world.repair() == [Fill("commands", 0, 3)]
    assert world.end("commands") == 6


async def test_commands_that_were_made_again_are_known_of(world: World) -> None:
    world.claim(commands_end=8, commands_id=world.cluster.topics["commands"].id)
    world.remake("commands")
    assert await world.repair() == [Fill("commands", 0, 8), Fill("events", 0, 1, is_loss=False)]
    world.claim(commands_end=8, commands_id=world.cluster.topics["commands"].id)
    assert await world.repair() == []
    world.snapshot(33, 32, next_command=8)
    assert await world.repair() == []


async def test_what_a_claim_knows_of_events_that_were_lost(world: World) -> None:
    world.claim(events_end=40)
    assert await world.repair() == [Fill("events", 0, 9)]
    world.claim(events_end=20)
    assert await world.repair() == [Fill("events", 0, 1)]
    assert world.end("events") == 42


async def test_many_fillers_are_appended_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.repair.acts.BATCH_FILLERS", 7)
    world.read(50, 10)
    await world.repair()
    assert world.end("events") == 50
    monkeypatch.setattr("deploy.repair.acts.MAX_FILLERS", 9)
    world.read(60, 10)
    with pytest.raises(RepairError, match="10 fillers"):
        await world.repair()
    assert world.end("events") == 50


async def test_a_position_that_moves_meanwhile_is_not_moved(world: World) -> None:
    world.remake("events")
    _, move, published = repair_of(await world.facts()).actions
    assert isinstance(move, Move)
    assert isinstance(published, Move)
    world.read(31, 10)
    world.published(31, 10)
    async with world._acts() as acts:
        for action in (move, published):
            with pytest.raises(RepairError, match="run this again"):
                await acts.move(action)


@pytest.mark.parametrize("topic", [topic.name for topic in topics(SETTINGS)])
async def test_a_topic_that_is_missing_is_told_and_nothing_is_changed(world: World, topic: str) -> None:
    world.read(50, 10)
    world.cluster.delete(topic)
    with pytest.raises(RepairError, match=f"topic {topic} does not exist: run `orchestration topics create`"):
        await world.facts()


async def test_where_events_are_missing_with_others_behind_all_go_on(world: World) -> None:
    """A broker that has lost a file of the middle."""
    world.events(6, 10)
    world.cluster.log(Place("events", 0)).compact(lambda record: not 31 <= record.offset < 34)
    world.read(30, 10)
    world.published(31, 10)
    found = repair_of(await world.facts())
    assert [finding.text for finding in found.findings if "run this again" in finding.text] == [
        "the events from offset 31 to 33 are missing, with others behind, and the read model is at offset 30."
        " It comes to there when it runs: run this again then"
    ]
    assert not [action for action in found.actions if isinstance(action, Move) and action.known.who != PUBLISHER]
    world.read(31, 10)
    fill, *moves = await world.repair()
    assert fill == Fill("events", 0, 1)
    moved = [(move.known.next_offset, move.to.next_offset, move.to.epoch) for move in moves if isinstance(move, Move)]
    assert moved == [(31, 34, 10)] * 2


async def test_where_others_have_ended_transactions_nothing_is_missing(world: World) -> None:
    log = world.cluster.log(Place("events", 0))
    for name in "abc":
        log.append([NewRecord(b"", b"", [], 0)], 0, name)
    for name in "abc":
        log.end_transaction(name, committed=True)
    world.events(1, 10)
    assert await world.repair() == []
