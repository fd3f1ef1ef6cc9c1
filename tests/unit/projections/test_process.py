"""Projections with their publisher, whole, on a Kafka and a database in memory, in virtual time."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final
from uuid import UUID

import pytest
from msgspec import json
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from projections import process as process_module
from projections.memory import MemoryDatabase, MemoryStore
from projections.metrics import Metrics
from projections.process import LEAVE_SECONDS, Projections
from projections.publisher.positions import PublishedPosition, position_record
from projections.publisher.public_writer import TRANSACTIONAL_ID, PublicWriter
from projections.publisher.publisher import Publisher
from projections.rows import ReadPosition
from schemas import events
from schemas.kafka import COORDINATOR_AWAY_SECONDS, Fenced, KafkaFault, Member, NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka, Network, Request, RequestLost
from schemas.records import NewRecord, RecordCodec
from schemas.settings import ProjectionsSettings
from schemas.topics import EVENTS, EVENTS_PUBLISHED, public_topic, topic_name, topics
from tests.definitions import definition
from tests.simulation.loop import START, VirtualClock, simulate

PARTITIONS: Final = 3
LAG: Final = "orchestration_projections_lag_records"
PATIENCE_SECONDS: Final = 300.0
"""Of virtual time: everything is done long before, unless it never is."""
SETTINGS: Final = ProjectionsSettings(partitions=PARTITIONS)
TOPIC: Final = topic_name(SETTINGS, EVENTS)
PUBLISHED: Final = ["STARTED_WORKFLOW", "STARTED_WORKFLOW_STAGE", "SUCCEEDED_WORKFLOW_STAGE", "SUCCEEDED_WORKFLOW"]


class Faults:
    """What goes wrong between processes and services, until `quiet`."""

    def __init__(self, seed: int):
        self.chance = random.Random(seed)
        self.quiet = False
        self.cut_from: set[str] = set()
        """Names of processes that can't reach Kafka."""

    async def happen(self, lost: Callable[[], Exception]) -> None:
        """Be late, or get lost."""
        await asyncio.sleep(self.chance.expovariate(100.0))
        if not self.quiet and self.chance.random() < 0.1:
            raise lost()


class FaultyNetwork(Network):
    def __init__(self, faults: Faults):
        self._faults = faults

    async def request(self, kind: Request, client: str) -> None:
        await self._faults.happen(RequestLost)
        if client in self._faults.cut_from:
            raise RequestLost

    async def answer(self, kind: Request, client: str) -> None:
        await self._faults.happen(RequestLost)


class FaultyDatabase(MemoryDatabase):
    def __init__(self, clock: VirtualClock, faults: Faults):
        super().__init__(clock.now)
        self._faults = faults
        self.cut_from: set[str] = set()
        """Names of processes that can't reach it."""

    async def request(self, client: str) -> None:
        await self._faults.happen(ConnectionError)
        if client in self.cut_from:
            raise ConnectionError("cut")


class World:
    """A cluster and a database, and processes of projections on them.

    Args:
        seed: of what goes wrong; nothing does when not given.
    """

    def __init__(self, seed: int | None = None):
        clock, self.faults = VirtualClock(), Faults(seed or 0)
        self.faults.quiet = seed is None
        self.cluster = MemoryCluster()
        self.database = FaultyDatabase(clock, self.faults)
        for topic in topics(SETTINGS):
            self.cluster.create(NewTopic(topic.name, topic.partitions, 1, topic.config))
        self.codec = RecordCodec()
        self.epochs = [self._put(p, "claim", events.PartitionClaimed(at=START, owner="engine")) for p in range(3)]
        self.ids: list[str] = []

    def _put(self, partition: int, key: str, *happened: Any, **headers: int) -> int:
        records = [
            self.codec.encode(key, event, timestamp_ms=0, version=version, **headers)
            for version, event in enumerate(happened, start=1)
        ]
        return self.cluster.append(Place(TOPIC, partition), records)

    def run_instance(self) -> None:
        """One more instance runs and ends."""
        number = len(self.ids)
        self.ids.append(str(UUID(int=number)))
        of: dict[str, Any] = {"at": START, "workflow_id": str(UUID(int=1))}
        self._put(
            number % PARTITIONS,
            self.ids[-1],
            events.InstanceStarted(**of, stages=definition([{"noop": None}]), variables={}),
            events.StageStarted(**of, number=0, name="RunNoop", input={}),
            events.StageEnded(**of, number=0),
            events.InstanceEnded(**of),
            cause=number,
            epoch=self.epochs[number % PARTITIONS],
        )

    @property
    def caught_up(self) -> bool:
        """Whether the read model has all, and readers may know."""
        positions = self.database.tables.positions
        ends = [self.cluster.log(Place(TOPIC, p)).limits().end for p in range(PARTITIONS)]
        return [positions.get(p, ReadPosition()).next_offset for p in range(PARTITIONS)] == ends and len(
            self.database.caught_up
        ) == PARTITIONS

    @property
    def published(self) -> dict[str, list[str]]:
        """Types of what was published, in order, by instance."""
        found: dict[str, list[str]] = {}
        for records in self.cluster.records(public_topic(SETTINGS), committed_only=True).values():
            for record in records:
                assert record.key is not None
                found.setdefault(record.key.decode(), []).append(json.decode(record.value or b"")["type"])
        return found

    def check(self) -> None:
        """All that must hold in the end."""
        instances = self.database.tables.instances
        assert instances.keys() == set(self.ids)
        assert all(instance.terminated_at for instance in instances.values())
        assert all(stage.terminated_at for stage in self.database.tables.stages.values())
        assert self.published == dict.fromkeys(self.ids, PUBLISHED)


class Process:
    """A process that runs; ended in order at the end of the block, unless it was killed."""

    def __init__(self, world: World, name: str, projections_id: str | None = None):
        settings = replace(SETTINGS, projections_id=projections_id)
        self.kafka = MemoryKafka(world.cluster, FaultyNetwork(world.faults), name)
        self.registry = CollectorRegistry()
        self.projections = Projections(
            settings, Metrics(self.registry), kafka=self.kafka, store=MemoryStore(world.database, name)
        )
        self.stop = asyncio.Event()

    async def __aenter__(self) -> "Process":
        self.task = asyncio.create_task(self.projections.run(self.stop))
        return self

    async def __aexit__(self, *error: object) -> None:
        self.stop.set()
        await asyncio.wait({self.task}, timeout=PATIENCE_SECONDS)

    def count(self, name: str) -> float:
        return self.registry.get_sample_value(f"orchestration_projections_{name}") or 0.0

    async def kill(self) -> None:
        """End it at once. Its session in the group goes on until it times out."""
        owners = list(self.projections._publisher._owners.values())
        tasks = {self.task, self.projections._publisher._run, *owners} - {None}
        await self.kafka.kill()
        for task in tasks:
            task.cancel()  # type: ignore[union-attr]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(0.05)


async def shown(seed: int | None = None) -> None:
    world = World(seed)
    async with Process(world, "a") as process:
        for _ in range(20):
            world.run_instance()
            await asyncio.sleep(0.5)
        world.faults.quiet = True
        await until(lambda: world.caught_up and len(world.published) == len(world.ids))
        await until(lambda: process.projections.ready)
    world.check()
    assert world.database.partitions == PARTITIONS
    assert not process.projections.ready


def test_a_process_that_the_group_has_not_answered_for_long_is_not_ready() -> None:
    """As one that no broker lets in any more. It has nobody who tells it that its partitions are gone."""

    async def main() -> None:
        world = World()
        async with Process(world, "a") as process:
            await until(lambda: process.projections.ready)
            world.faults.cut_from = {"a"}
            await asyncio.sleep(COORDINATOR_AWAY_SECONDS)
            assert process.projections.ready, "a coordinator may be replaced meanwhile"
            await asyncio.sleep(SETTINGS.projections_session_timeout_seconds + 1)
            assert (process.projections.ready, process.projections.checks["group"]) == (False, False)
            world.faults.cut_from = set()
            await until(lambda: process.projections.ready)

    simulate(main())


def test_events_become_rows_and_are_published() -> None:
    simulate(shown())


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_lost_or_late_each_event_counts_once(seed: int) -> None:
    simulate(shown(seed))


@pytest.mark.parametrize("seed", range(20))
def test_processes_that_are_killed_are_succeeded(seed: int) -> None:
    async def main() -> None:
        world = World(seed)
        async with AsyncExitStack() as processes:
            first = await processes.enter_async_context(Process(world, "a"))
            for number in range(30):
                world.run_instance()
                await asyncio.sleep(0.5)
                if number == 10:
                    await processes.enter_async_context(Process(world, "b"))
                if number == 20:
                    await first.kill()
            world.faults.quiet = True
            await until(lambda: world.caught_up and len(world.published) == len(world.ids))
        world.check()

    simulate(main())


def test_a_publisher_that_stops_while_it_lets_go_after_a_fault_leaves_its_group() -> None:
    async def main() -> None:
        world = World()
        settings = replace(SETTINGS, projections_session_timeout_seconds=60.0)
        publishers = [Publisher(MemoryKafka(world.cluster), settings, CollectorRegistry()) for _ in range(2)]
        first, second = publishers
        letting_go, never = asyncio.Event(), asyncio.Event()

        async def fail(member: Member) -> None:
            raise KafkaFault("away")

        async def let_go() -> None:  # as while a transaction does not end
            letting_go.set()
            await never.wait()

        first.start()
        await until(lambda: len(first._owners) == PARTITIONS)
        first._watch, first._release = fail, let_go  # type: ignore[method-assign]
        await letting_go.wait()
        await first.stop(10.0)
        second.start()
        await asyncio.sleep(1.0)
        assert len(second._owners) == PARTITIONS
        await second.stop(10.0)
        for owner in first._owners.values():
            owner.cancel()

    simulate(main())


class Held(Network):
    """Ends no transaction, for as long as `ends` is not set."""

    def __init__(self) -> None:
        self.ends = asyncio.Event()
        self.ends.set()

    async def request(self, kind: Request, client: str) -> None:
        await asyncio.sleep(0)
        if kind == "end transaction":
            await self.ends.wait()


def test_a_partition_that_goes_and_comes_while_a_transaction_does_not_end_is_published_later() -> None:
    async def main() -> None:
        world, network, place = World(), Held(), Place(TOPIC, 0)
        publisher = Publisher(MemoryKafka(world.cluster, network), SETTINGS, CollectorRegistry())
        publisher.start()
        await until(lambda: len(publisher._owners) == PARTITIONS)
        await asyncio.sleep(1.0)
        network.ends.clear()
        world.run_instance()
        await asyncio.sleep(1.0)
        for _ in range(2):  # it may have been another's meanwhile
            publisher._revoked(frozenset([place]))
            publisher._assigned(frozenset(Place(TOPIC, number) for number in range(PARTITIONS)))
            await asyncio.sleep(0.1)
        assert len(publisher._ending) == 1
        network.ends.set()
        for _ in range(2 * PARTITIONS):
            world.run_instance()
        await until(lambda: len(world.published) == len(world.ids))
        assert publisher._ending == set()
        await publisher.stop(10.0)
        assert world.published == dict.fromkeys(world.ids, PUBLISHED)

    simulate(main())


class SilentGroup(Network):
    """Nobody is let into a group."""

    async def request(self, kind: Request, client: str) -> None:
        if kind == "join":
            await asyncio.Event().wait()


def test_an_order_to_stop_does_not_wait_for_a_group_that_lets_nobody_in() -> None:
    async def main() -> None:
        world = World()
        async with Process(world, "a") as process:
            process.kafka._process.network = SilentGroup()
            await asyncio.sleep(5.0)
            assert not process.projections.ready
            process.stop.set()
            async with asyncio.timeout(SETTINGS.shutdown_timeout_seconds):
                await process.task

    simulate(main())


class SilentCommits(Network):
    """Offsets are never committed."""

    def __init__(self) -> None:
        self.asked = 0

    async def request(self, kind: Request, client: str) -> None:
        await asyncio.sleep(0)
        if kind == "commit":
            self.asked += 1
            await asyncio.Event().wait()


def test_a_commit_that_was_given_up_is_not_waited_for_by_the_next_member(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: Member) -> None:
        raise KafkaFault("away")

    async def main() -> None:
        world, network = World(), SilentCommits()
        async with Process(world, "a") as process:
            await until(lambda: process.projections.ready)
            process.kafka._process.network = network
            await until(lambda: network.asked > 0)
            with monkeypatch.context() as patch:
                patch.setattr(process.projections, "_step", away)
                await asyncio.sleep(60.0)
            assert not process.task.done(), "it has ended by itself"
            world.run_instance()
            await until(lambda: world.caught_up)

    simulate(main())


class Silent(World):
    """Its services can stop to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.silent: set[str] = set()
        self.faults.happen = self.happen  # type: ignore[method-assign]

    async def happen(self, lost: Callable[[], Exception]) -> None:
        while ("Postgres" if lost is ConnectionError else "Kafka") in self.silent:  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(1.0)


@pytest.mark.parametrize("silent", [{"Kafka"}, {"Postgres"}, {"Kafka", "Postgres"}])
@pytest.mark.parametrize("seconds", [0.1, 4.0, 20.0])
def test_a_stop_takes_no_longer_than_it_may_also_when_nobody_answers(silent: set[str], seconds: float) -> None:
    async def main() -> None:
        world = Silent()
        async with Process(world, "a", "p-0") as process, Process(world, "b", "p-1"):
            await until(lambda: process.projections.ready)
            await asyncio.sleep(10.0)
            world.silent = silent
            for _ in range(2 * PARTITIONS):
                world.run_instance()
            await asyncio.sleep(seconds)
            process.stop.set()
            await asyncio.wait({process.task}, timeout=SETTINGS.shutdown_timeout_seconds)
            world.silent = set()
            assert process.task.done()
            process.task.result()

    simulate(main())


def test_of_two_processes_with_one_name_the_earlier_one_goes_on_under_another() -> None:
    async def main() -> None:
        world = World()
        async with Process(world, "a", "p") as first:
            await until(lambda: first.projections.ready)
            async with Process(world, "b", "p") as second:
                await until(lambda: second.projections.ready)
                for _ in range(20):
                    world.run_instance()
                    await asyncio.sleep(0.5)
                await until(lambda: world.caught_up and len(world.published) == len(world.ids))
                assert second.projections._name.current == "p" != first.projections._name.current
                await until(lambda: first.projections.ready)
        world.check()

    simulate(main())


def test_what_a_database_lost_in_a_crash_is_written_again() -> None:
    async def main() -> None:
        world = World()
        async with Process(world, "a"):
            for _ in range(5):
                world.run_instance()
            await until(lambda: world.caught_up)
            backup = world.database.backup()
            for _ in range(5):
                world.run_instance()
            await until(lambda: world.caught_up)
            world.database.restart(backup)
            assert not world.caught_up
            await until(lambda: world.caught_up and len(world.published) == len(world.ids))
        world.check()

    simulate(main())


def test_another_projectors_write_is_noticed() -> None:
    async def main() -> None:
        world = World()
        async with Process(world, "a") as process:
            await until(lambda: world.caught_up)
            for _ in range(2 * PARTITIONS):
                world.run_instance()
            # As if another projector had been first with one instance.
            position = world.database.tables.positions[0]
            world.database.tables.positions[0] = replace(position, next_offset=position.next_offset + 4)
            await until(lambda: world.caught_up)
            assert process.count("position_conflicts_total") == 1
        assert len(world.database.tables.instances) == 2 * PARTITIONS - 1

    simulate(main())


def test_who_alone_cannot_reach_the_database_gives_its_partitions_to_others() -> None:
    async def main() -> None:
        world = World()
        async with Process(world, "a") as first, Process(world, "b") as second:
            await until(lambda: first.projections.ready and second.projections.ready and world.caught_up)
            world.database.cut_from = {"a"}
            begin = asyncio.get_running_loop().time()
            for _ in range(2 * PARTITIONS):
                world.run_instance()
            await until(lambda: world.caught_up)
            assert asyncio.get_running_loop().time() - begin < LEAVE_SECONDS + 10.0
            assert not first.projections.ready
            world.database.cut_from = set()
            await until(lambda: first.projections.ready)
            await until(lambda: len(world.published) == len(world.ids))
        world.check()

    simulate(main())


def test_the_lag_that_is_shown_grows_while_the_database_is_away() -> None:
    async def main() -> None:
        world = World()
        async with Process(world, "a") as process:

            def lag() -> float | None:
                found = [process.registry.get_sample_value(LAG, {"partition": str(n)}) for n in range(PARTITIONS)]
                return None if all(lag is None for lag in found) else sum(lag or 0 for lag in found)

            await until(lambda: process.projections.ready and world.caught_up and lag() == 0)
            world.database.cut_from = {"a"}
            begin = asyncio.get_running_loop().time()
            for _ in range(2 * PARTITIONS):
                world.run_instance()
            await until(lambda: (lag() or 0) >= 2 * PARTITIONS)
            assert asyncio.get_running_loop().time() - begin < LEAVE_SECONDS
            await until(lambda: lag() is None)  # others may have the partitions
            world.database.cut_from = set()
            await until(lambda: world.caught_up and lag() == 0)

    simulate(main())


def test_all_come_back_when_the_database_does() -> None:
    async def main() -> None:
        world = World()
        async with Process(world, "a") as first, Process(world, "b") as second:
            await until(lambda: first.projections.ready and second.projections.ready)
            world.database.cut_from = {"a", "b"}
            world.run_instance()
            await asyncio.sleep(10 * LEAVE_SECONDS)
            world.database.cut_from = set()
            await until(lambda: first.projections.ready and second.projections.ready and world.caught_up)
            await until(lambda: len(world.published) == len(world.ids))
        world.check()

    simulate(main())


def test_two_owners_of_the_same_partitions_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when one of them does not learn that the group gave its partitions away. Here it is in a group of its own."""

    async def main() -> None:
        world = World()
        async with Process(world, "a") as first:
            await until(lambda: first.projections.ready)
            monkeypatch.setattr(process_module, "GROUP", "another-group")
            async with Process(world, "b") as second:
                await until(lambda: second.projections.ready)
                for _ in range(100):
                    world.run_instance()
                    await until(lambda: world.caught_up)
                await until(lambda: len(world.published) == len(world.ids))
                conflicts = first.count("position_conflicts_total") + second.count("position_conflicts_total")
        world.check()
        assert 0 < conflicts < 30

    simulate(main())


def test_a_position_that_was_not_committed_does_not_count() -> None:
    async def main() -> None:
        world = World()
        kafka, place = MemoryKafka(world.cluster), Place(topic_name(SETTINGS, EVENTS_PUBLISHED), 0)
        stale, new = PublicWriter(kafka, SETTINGS, 0), PublicWriter(kafka, SETTINGS, 0)
        assert await stale.open() == PublishedPosition()
        await stale.publish([], PublishedPosition(7, 3))
        name = f"{SETTINGS.topic_prefix}{TRANSACTIONAL_ID}0"
        ahead = position_record(0, PublishedPosition(8, 3), 0)
        world.cluster.append_transactional(name, 0, place, [ahead], open_seconds=60.0)
        assert await new.open() == PublishedPosition(7, 3)
        with pytest.raises(Fenced):
            await stale.publish([], PublishedPosition(9, 3))

    simulate(main())


def test_a_first_transaction_that_was_aborted_is_no_sign_of_lost_positions() -> None:
    """It may have come no further than to the public topic."""

    async def main() -> None:
        world = World()
        name = f"{SETTINGS.topic_prefix}{TRANSACTIONAL_ID}0"
        begun = NewRecord(b"key", b'{"idempotency_key":"orchestration-0-1"}', [], 0)
        epoch = world.cluster.open_transactional(name)
        world.cluster.append_transactional(name, epoch, Place(public_topic(SETTINGS), 0), [begun], open_seconds=60.0)
        world.run_instance()
        async with Process(world, "a"):
            await until(lambda: len(world.published) == len(world.ids))
        world.check()

    simulate(main())
