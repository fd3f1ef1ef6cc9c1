"""Engines that listen to topics of other services, on a cluster in memory and a virtual clock.

They listen with their own code: the listeners, the positions, the log of events. What they fire is read from topic
`commands`.
"""

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from prometheus_client import CollectorRegistry

from deploy.topics import create_topics
from engine.core.snapshots import Summary
from engine.kafka_log import KafkaEventLog
from engine.kafka_snapshots import KafkaSnapshots
from engine.log_checks import check_number
from engine.metrics import Metrics
from engine.snapshot_records import Marker, marker_record
from engine.triggers.definitions import DefinitionsReader
from engine.triggers.failures import FilterFailures
from engine.triggers.listeners import Listeners
from engine.triggers.positions import Positions
from schemas.commands import AbortInstance, FireTrigger
from schemas.current import Current, CurrentTrigger, CurrentWorkflow
from schemas.kafka import NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka, Network, Request, RequestLost
from schemas.process_name import ProcessName
from schemas.records import NewRecord, RecordCodec
from schemas.settings import EngineSettings
from schemas.topics import COMMANDS, EVENTS, SNAPSHOTS
from tests.simulation.loop import VirtualClock, in_world

TYPE = "COMMITTED_TRANSACTIONS"
TRIGGER, WORKFLOW = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
TOPIC = "ledger"
PARTITIONS = 3
LATER_MS = 4_000_000_000_000
"""A time of messages that is later than all that the clock shows."""
NUMBERS = itertools.count(100)
LONG_SECONDS = 60.0
"""More than all pauses of a listener, and more than a session."""


class Lossy(Network):
    """Loses what is on its way, as often as it is told to."""

    def __init__(self) -> None:
        self.lost: list[Request] = []

    async def answer(self, kind: Request, client: str) -> None:
        if kind in self.lost:
            self.lost.remove(kind)
            raise RequestLost
        await super().answer(kind, client)


class World:
    """An installation with a trigger for all messages."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.settings = EngineSettings(partitions=2)
        self._codec = RecordCodec()

    async def make(self) -> None:
        kafka = MemoryKafka(self.cluster)
        await create_topics(self.settings, kafka)
        workflow = Current(WORKFLOW, 1, CurrentWorkflow(stages=msgspec.Raw(b"[]")))
        trigger = Current(TRIGGER, 1, CurrentTrigger(event=TYPE, workflow_id=WORKFLOW))
        await KafkaEventLog(kafka, self.settings, self._codec).define([workflow, trigger], 0)

    def make_topic(self) -> None:
        self.cluster.create(NewTopic(TOPIC, PARTITIONS, 1))

    def put(self, *numbers: int, partition: int = 0, transaction: str | None = None) -> None:
        """Append messages with these numbers."""
        values = [json.dumps({"type": TYPE, "version": "v2", "payload": {"n": n}}).encode() for n in numbers]
        records = [NewRecord(b"k", value, [], LATER_MS) for value in values]
        self.cluster.append(Place(TOPIC, partition), records, transaction)

    @property
    def fired(self) -> list[int]:
        """The numbers of the messages that fired the trigger, in the order of their commands."""
        commands = [self._codec.decode_command(r)[1] for some in self.cluster.records(COMMANDS).values() for r in some]
        events = [command.event for command in commands if isinstance(command, FireTrigger)]
        return [msgspec.json.decode(event)["payload"]["n"] for event in events]

    @asynccontextmanager
    async def engine(self, engine_id: str | None = None) -> AsyncIterator["Engine"]:
        """An engine that has listened for a while, until the end of the block."""
        engine = Engine(self, engine_id)
        try:
            await asyncio.sleep(LONG_SECONDS)
            assert engine.listeners.settled
            yield engine
        finally:
            await engine.stop()


class Engine:
    """An engine that does nothing but listen."""

    def __init__(self, world: World, engine_id: str | None):
        settings = EngineSettings(partitions=2, trigger_topics=TOPIC)
        self.name = ProcessName("engine", engine_id or f"engine-{next(NUMBERS)}", settings)
        self.network, metrics = Lossy(), Metrics(CollectorRegistry())
        self._kafka = MemoryKafka(world.cluster, self.network)
        log = KafkaEventLog(self._kafka, settings, RecordCodec())
        snapshots = KafkaSnapshots(self._kafka, settings)
        self._reader = DefinitionsReader(self._kafka, settings)
        self.listeners = Listeners(
            self._kafka,
            settings,
            name=self.name,
            log=log,
            reader=self._reader,
            positions=Positions(self._kafka, settings, log.note),
            failures=FilterFailures(metrics),
            check=lambda: check_number(log, snapshots),
            metrics=metrics,
            clock=VirtualClock(),
        )
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await asyncio.gather(self._reader.run(), self.listeners.run())

    async def stop(self) -> None:
        """As it is asked to."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._kafka.kill()

    async def kill(self) -> None:
        """Without a word to anybody."""
        await self._kafka.kill()
        await self.stop()


@asynccontextmanager
async def made() -> AsyncIterator[World]:
    world = World()
    await world.make()
    yield world


simulated = in_world(made)


def twice(numbers: Sequence[int]) -> list[int]:
    """Those that are there more than once."""
    return sorted({number for number in numbers if numbers.count(number) > 1})


@simulated
async def test_what_comes_after_listening_began_fires_in_order(world: World) -> None:
    world.make_topic()
    world.put(1, 2)
    async with world.engine():
        world.put(3, 4)
        world.put(5, partition=2)
        await asyncio.sleep(2)
        assert sorted(world.fired) == [3, 4, 5], "history fires nothing"
        assert world.fired.index(3) < world.fired.index(4)


@simulated
async def test_listening_goes_on_where_it_was(world: World) -> None:
    world.make_topic()
    async with world.engine():
        world.put(1)
        await asyncio.sleep(2)
    world.put(2)
    async with world.engine():
        world.put(3)
        await asyncio.sleep(2)
    assert world.fired == [1, 2, 3]


@simulated
async def test_a_topic_that_is_away_is_listened_to_from_its_start_when_it_is_made(world: World) -> None:
    async with world.engine() as engine:
        assert "does not exist" in engine.listeners.troubles[TOPIC]
        world.make_topic()
        world.put(1)
        await asyncio.sleep(LONG_SECONDS)
        assert (world.fired, engine.listeners.troubles) == ([1], {})


@simulated
async def test_all_of_a_topic_that_is_made_again_fires(world: World) -> None:
    world.make_topic()
    async with world.engine():
        world.put(1, 2, 3)
        await asyncio.sleep(2)
        world.cluster.delete(TOPIC)
        world.make_topic()
        world.put(4)
        await asyncio.sleep(LONG_SECONDS)
        assert world.fired == [1, 2, 3, 4]


@simulated
async def test_a_new_partition_is_listened_to_from_its_start(world: World) -> None:
    world.make_topic()
    async with world.engine("engine-1"):
        world.cluster.grow(TOPIC, PARTITIONS + 1)
        world.put(1, partition=PARTITIONS)
        await asyncio.sleep(LONG_SECONDS)
        assert world.fired == [1]


@simulated
async def test_what_was_not_committed_fires_nothing(world: World) -> None:
    world.make_topic()
    async with world.engine():
        epoch = world.cluster.open_transactional("w")
        world.put(1, transaction="w")
        world.put(2)
        await asyncio.sleep(2)
        assert world.fired == [], "what is behind it waits"
        world.cluster.open_transactional("w")
        await asyncio.sleep(2)
        assert (epoch, world.fired) == (0, [2])


@simulated
async def test_two_engines_share_a_topic_and_one_that_is_killed_is_replaced(world: World) -> None:
    world.make_topic()
    async with world.engine() as first, world.engine():
        for n in range(30):
            world.put(n, partition=n % PARTITIONS)
        await asyncio.sleep(2)
        assert sorted(world.fired) == list(range(30))
        await first.kill()
        for n in range(30, 60):
            world.put(n, partition=n % PARTITIONS)
        await asyncio.sleep(LONG_SECONDS)
        assert set(world.fired) == set(range(60))
        assert len(twice(world.fired)) <= 30, "what was read in the second before comes again"


@simulated
async def test_an_append_whose_acknowledgement_is_lost_fires_once(world: World) -> None:
    world.make_topic()
    async with world.engine() as engine:
        engine.network.lost = ["append", "append"]
        world.put(1, 2)
        await asyncio.sleep(LONG_SECONDS)
        assert world.fired == [1, 2]


@simulated
async def test_an_engine_whose_name_another_one_took_goes_on_under_another_one(world: World) -> None:
    world.make_topic()
    async with world.engine("engine-1") as first, world.engine("engine-1") as second:
        assert second.name.current == "engine-1" != first.name.current
        assert (first.listeners.troubles, second.listeners.troubles) == ({}, {})


def put_snapshot(world: World, partitions: int) -> None:
    """Have a snapshot say how many partitions the installation uses."""
    summary = Summary(entries=0, last_at=None, sequences={}, ended_unkeyed=[], forgotten_before=0)
    marker = Marker(
        next_offset=1,
        epoch=0,
        next_command=0,
        events_id="",
        commands_id="",
        partitions=partitions,
        at=datetime(2026, 3, 1, tzinfo=UTC),
        summary=summary,
    )
    place = Place(SNAPSHOTS, 0)
    world.cluster.append(place, [marker_record(marker)], "snapshots")
    world.cluster.log(place).end_transaction("snapshots", committed=True)


@simulated
async def test_who_is_told_another_number_of_partitions_sends_nothing(world: World) -> None:
    world.make_topic()
    async with world.engine():
        pass  # from here on nothing is history
    put_snapshot(world, 3)
    async with world.engine() as misled:
        world.put(1)
        await asyncio.sleep(LONG_SECONDS)
        assert world.fired == []
        assert "has used 3 partitions, and now it is 2" in misled.listeners.troubles[TOPIC]
        put_snapshot(world, 2)
        world.put(2)
        await asyncio.sleep(2 * LONG_SECONDS)
        assert (world.fired, misled.listeners.troubles) == ([1, 2], {})


@simulated
async def test_commands_stay_in_their_partitions_when_only_their_topic_grows(world: World) -> None:
    """Also where the settings tell more: what is looked at goes by both topics, and so must what is sent."""
    world.settings = EngineSettings(partitions=4)
    kafka = MemoryKafka(world.cluster)
    log = KafkaEventLog(kafka, world.settings, RecordCodec())
    world.cluster.grow(COMMANDS, 4)
    assert len(world.cluster.topics[EVENTS].partitions) == 2
    await log.send([(str(uuid.UUID(int=n)), AbortInstance()) for n in range(20)], 0)
    assert {partition for partition, some in world.cluster.records(COMMANDS).items() if some} == {0, 1}
    await log.close()
