"""Encrypted, a history comes to the same; without its key everybody stops, and forgets nothing."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from deploy.event_log.reading import EventLog, Query
from deploy.repair.definitions import missing_definitions
from deploy.repair.survey import Survey
from engine.triggers.definitions import DefinitionsReader
from projections.memory import MemoryDatabase, MemoryStore
from projections.metrics import Metrics
from projections.projector import Projector
from projections.publisher.metrics import Metrics as PublisherMetrics
from projections.publisher.partition_publisher import PartitionPublisher
from projections.verification import verify
from projections.verification.read_model import MemoryReadModel
from schemas.encryption.keys import Keys
from schemas.encryption.vault import SealedRecord, Vault
from schemas.encryption_marks import KeyMissing
from schemas.kafka import KafkaFault, NewTopic, Place
from schemas.kafka.memory import MemoryKafka
from schemas.log_integrity import LogFault
from schemas.settings import OperatorSettings, ProjectionsSettings
from schemas.topics import COMMANDS, DEFINITIONS, EVENTS, SEALED_TOPICS, SNAPSHOTS
from tests.histories import states
from tests.histories.folding import SETTINGS, World, catch_up
from tests.histories.lines import Line, RecordLine, TurnLine, generations, read
from tests.histories.stories import STORIES
from tests.simulation.loop import simulate

OLD: Final = {"old": b"1" * 32}
BOTH: Final = OLD | {"new": b"2" * 32}
NEWEST: Final = generations()[-1]
MARK: Final = b"A-1"
"""Something that orders in the stories hold."""


def vault(keys: dict[str, bytes], current: str | None = None, *, required: bool = False) -> Vault:
    return Vault(Keys(keys, current), required=required)


@pytest.mark.parametrize("story", STORIES)
async def test_an_encrypted_history_comes_to_the_same(story: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    lines = read(NEWEST, story)
    known = states.read_state(NEWEST, story)
    assert await states.state_of_world(World(lines, 0, vault(BOTH, "old"))) == known
    world = World(lines, vault=vault(BOTH, "new", required=True))
    restored = await world.restored()
    assert restored.marker is not None
    contents = restored.shard.contents()
    assert contents == (await World(lines, 0).restored()).shard.contents()


def test_nothing_of_it_can_be_read_in_kafka() -> None:
    async def contents(world: World) -> bytes:
        return b"".join(
            record.value or b"" for topic in SEALED_TOPICS for record in world.cluster.records(topic).get(0, [])
        )

    async def look() -> None:
        lines = read(NEWEST, "instances")
        assert MARK in await contents(World(lines))
        assert MARK not in await contents(World(lines, vault=vault(OLD, "old")))

    asyncio.run(look())


async def test_a_log_that_is_encrypted_from_some_point_on_and_whose_key_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    lines = read(NEWEST, "instances")
    turns = [number for number, line in enumerate(lines) if isinstance(line, TurnLine)]
    first, second = turns[len(turns) // 3], turns[2 * len(turns) // 3]
    world = World(lines[:first], 0, reads_with=vault(BOTH, "new"))
    for writer, some in ((vault(OLD, "old"), lines[first:second]), (vault(BOTH, "new"), lines[second:])):
        for line in some:
            if isinstance(line, RecordLine) and line.topic != SNAPSHOTS:
                world.cluster.append(Place(line.topic, 0), [writer.seal(line.topic, 0, line.record)])
    world.end = len(world.cluster.records(EVENTS)[0])
    assert await states.state_of_world(world) == states.read_state(NEWEST, "instances")


# Tools


async def test_the_tools_read_it() -> None:
    world = World(read(NEWEST, "sends"), vault=vault(OLD, "old"))
    database = await world.projected()
    report = await verify(ProjectionsSettings(partitions=1), kafka=world.kafka, read_model=MemoryReadModel(database))
    assert report.equal
    log = EventLog(world.kafka, OperatorSettings(partitions=1), lambda *read: None)
    shown = [entry async for entry in log.entries(Query(partition=0))]
    assert len(shown) == world.end
    assert {entry.error for entry in shown} == {None}
    assert MARK in b"".join(bytes(entry.value or b"") for entry in shown)


# Without the key


def without_key(story: str = "triggers") -> World:
    return World(read(NEWEST, story), vault=vault(BOTH, "new"), reads_with=vault(OLD, "old"))


def without_keys() -> World:
    """The same, read by a process without keys."""
    world = without_key()
    world.kafka = MemoryKafka(world.cluster)
    return world


KEYLESS: Final = [pytest.param(without_key, id="another key"), pytest.param(without_keys, id="no keys at all")]


@pytest.mark.parametrize("make", KEYLESS)
async def test_an_engine_stands_still(make: Callable[[], World]) -> None:
    world = make()
    with pytest.raises(
        LogFault, match=r"topic snapshots.*encrypted with key 'new:.*started again with the key"
    ) as caught:
        await world.restored()
    assert caught.value.reason == "key"
    world.cluster.delete(SNAPSHOTS)
    with pytest.raises(LogFault, match="topic events, partition 0: the record at offset 0 is encrypted") as caught:
        await world.restored()
    assert caught.value.reason == "key"


async def test_a_snapshot_with_an_old_entry_whose_key_is_missing_is_not_left_aside() -> None:
    """An entry is as old as the last change of what it holds."""
    lines = read(NEWEST, "triggers")
    world = World([line for line in lines if not _of_snapshots(line)], vault=vault(OLD, "old"))
    entries = [line.record for line in lines if isinstance(line, RecordLine) and _of_snapshots(line)]
    for number, record in enumerate(entries):
        writer = vault(BOTH, "new") if number == 0 else vault(OLD, "old")
        world.cluster.append(Place(SNAPSHOTS, 0), [writer.seal(SNAPSHOTS, 0, record)])
    with pytest.raises(LogFault, match="topic snapshots, partition 0: the record at offset 0 is encrypted"):
        await world.restored()


async def test_a_snapshot_with_an_entry_that_was_changed_is_left_aside(caplog: pytest.LogCaptureFixture) -> None:
    lines = read(NEWEST, "triggers")
    world = World([line for line in lines if not _of_snapshots(line)], vault=vault(OLD, "old"))
    records = [line.record for line in lines if isinstance(line, RecordLine) and _of_snapshots(line)]
    sealed = [vault(OLD, "old").seal(SNAPSHOTS, 0, record) for record in records]
    *first, entry, marker = sealed
    swapped = SealedRecord(entry.key, first[-1].value or b"", entry.headers, 0)
    world.cluster.append(Place(SNAPSHOTS, 0), [*first, swapped, marker])
    restored = await world.restored()
    assert restored.marker is None
    assert "is left aside" in caplog.text
    assert restored.shard.contents() == (await World(lines, 0).restored()).shard.contents()


def _of_snapshots(line: Line) -> bool:
    return isinstance(line, RecordLine) and line.topic == SNAPSHOTS


@pytest.mark.parametrize("make", KEYLESS)
async def test_the_projections_stand_still(make: Callable[[], World]) -> None:
    world = make()
    database, metrics = MemoryDatabase(), Metrics(CollectorRegistry())
    projector = Projector(MemoryStore(database), metrics, 10)
    await projector.load([0])
    faults = await projector.project({0: await world.events()})
    assert faults[0].reason == "key"
    assert projector.positions[0].next_offset == 1, "behind the claim, which nobody has to read here"
    assert metrics.registry.get_sample_value("orchestration_projections_undecodable_events_total") == 0
    with pytest.raises(LogFault, match="encrypted with key 'new:"):
        await verify(
            ProjectionsSettings(partitions=1), kafka=world.kafka, read_model=MemoryReadModel(await _read_model())
        )


@pytest.mark.parametrize("make", KEYLESS)
async def test_the_publisher_stands_still(make: Callable[[], World]) -> None:
    world = make()
    publisher = PartitionPublisher(
        Place(EVENTS, 0),
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        PublisherMetrics(CollectorRegistry()),
        advanced=lambda: None,
    )
    public, position, fault = publisher._read(await world.events())
    assert (public, position.next_offset) == ([], 1)
    assert fault is not None
    assert fault.reason == "key"


async def _read_model() -> MemoryDatabase:
    return await World(read(NEWEST, "triggers")).projected()


@pytest.mark.parametrize("make", KEYLESS)
def test_triggers_wait(make: Callable[[], World], caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world = make()
        reader = DefinitionsReader(world.kafka, SETTINGS)
        with pytest.raises(KafkaFault, match="could not be read in time"):
            await catch_up(reader)
        with pytest.raises(KeyMissing):
            await missing_definitions(world.kafka, SETTINGS, [])

    simulate(scenario())
    assert "encrypted with key 'new:" in caplog.text


@pytest.mark.parametrize("make", KEYLESS)
async def test_a_survey_finds_nothing_to_repair(make: Callable[[], World]) -> None:
    """What only lacks a key is not taken for something that was lost."""
    world = make()
    survey = Survey(world.kafka, OperatorSettings(partitions=1), {})
    with pytest.raises(KeyMissing):
        assert [facts async for facts in survey.facts()]
    world.cluster.delete(SNAPSHOTS)
    world.cluster.create(NewTopic(SNAPSHOTS, 1, 1))
    with pytest.raises(KeyMissing):
        assert [facts async for facts in survey.facts()]


async def test_a_survey_does_not_take_a_snapshot_without_its_key_for_an_unreadable_one() -> None:
    lines = read(NEWEST, "triggers")
    world = World([line for line in lines if not _of_snapshots(line)], vault=vault(OLD, "old"))
    for line in lines:
        if isinstance(line, RecordLine) and _of_snapshots(line):
            world.cluster.append(Place(SNAPSHOTS, 0), [vault(BOTH, "new").seal(SNAPSHOTS, 0, line.record)])
    with pytest.raises(KeyMissing):
        assert [facts async for facts in Survey(world.kafka, OperatorSettings(partitions=1), {}).facts()]


async def test_a_survey_reads_what_is_encrypted() -> None:
    world = World(read(NEWEST, "triggers"), vault=vault(OLD, "old"))
    (facts,) = [facts async for facts in Survey(world.kafka, OperatorSettings(partitions=1), {}).facts()]
    assert (facts.has_snapshot, facts.snapshot_unreadable, facts.next_command > 0) == (True, False, True)


async def test_the_log_shows_what_can_be_read() -> None:
    world = without_key()
    log = EventLog(world.kafka, OperatorSettings(partitions=1), lambda *read: None)
    first, second, *_ = [entry async for entry in log.entries(Query(partition=0))]
    assert first.type == "PartitionClaimed"
    assert (second.type, second.id, second.owner) == ("TriggerCreated", str(UUID(second.id or "")), None)
    assert "encrypted with key 'new:" in (second.error or "")


def test_the_topics_that_are_encrypted() -> None:
    assert set(SEALED_TOPICS) == {COMMANDS, EVENTS, SNAPSHOTS, DEFINITIONS, "commands.dead"}
