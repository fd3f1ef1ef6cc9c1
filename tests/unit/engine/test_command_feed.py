"""The command feed on a cluster in memory and a virtual clock: who owns a partition, and what is fed to its owner."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from unittest import mock

from prometheus_client import CollectorRegistry

from engine.command_feed import MARKS_SECONDS, MAX_TAKEN, KafkaCommandFeed
from engine.metrics import Metrics
from engine.partition import MAX_UNPROVEN_SECONDS
from schemas.kafka import COORDINATOR_AWAY_SECONDS, KafkaFault, Membership, NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka, Network, Request
from schemas.log_integrity import LogFault
from schemas.process_name import ProcessName
from schemas.records import NewRecord, Record
from schemas.settings import EngineSettings
from schemas.topics import COMMANDS
from tests.simulation.loop import in_world

PARTITIONS = 4
NUMBERS = itertools.count(100)
GROUP = "orchestration-engine"
SESSION_SECONDS = EngineSettings().engine_session_timeout_seconds
SILENT_SECONDS = SESSION_SECONDS + COORDINATOR_AWAY_SECONDS


class Silence(Network):
    """Some requests are never answered, others are refused, or answered late."""

    def __init__(self) -> None:
        self.silent: set[Request] = set()
        self.refused: set[Request] = set()
        self.delayed: set[Request] = set()
        self.answers = asyncio.Event()

    async def request(self, kind: Request, client: str) -> None:
        if kind in self.refused:
            raise KafkaFault("refused")
        if kind in self.silent:
            await asyncio.Event().wait()
        if kind in self.delayed:
            await self.answers.wait()
        await super().request(kind, client)


class World:
    """A cluster with the topic of commands."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.create(NewTopic(COMMANDS, PARTITIONS, 1))

    def put(self, partition: int, *values: str) -> None:
        """Append commands."""
        records = [NewRecord(b"k", value.encode(), [], 0) for value in values]
        self.cluster.append(Place(COMMANDS, partition), records)

    @asynccontextmanager
    async def engine(self, engine_id: str | None = None) -> AsyncIterator["Engine"]:
        """An engine that is in the group from the start of the block to its end."""
        engine = Engine(self.cluster, engine_id)
        running = asyncio.create_task(engine.feed.run(engine.assigned, engine.received, engine.failed))
        try:
            await asyncio.sleep(0.1)
            yield engine
        finally:
            running.cancel()
            await asyncio.wait({running})


class Engine:
    """What is behind the feed."""

    def __init__(self, cluster: MemoryCluster, engine_id: str | None):
        settings = EngineSettings()
        self.name = ProcessName("engine", engine_id or f"engine-{next(NUMBERS)}", settings)
        self.network = Silence()
        self.metrics = Metrics(CollectorRegistry())
        self.feed = KafkaCommandFeed(MemoryKafka(cluster, self.network), settings, self.metrics, self.name)
        self.owned: set[int] = set()
        self.told: list[set[int]] = []
        self.fed: dict[int, list[str]] = {}
        self.offsets: dict[int, list[int]] = {}
        self.faults: dict[int, str] = {}
        self.has_enough = math.inf
        """How many commands at once make it pause their partition."""

    def assigned(self, partitions: set[int]) -> None:
        self.owned = partitions
        self.told.append(partitions)

    def received(self, partition: int, records: Sequence[Record]) -> None:
        self.fed.setdefault(partition, []).extend((record.value or b"").decode() for record in records)
        self.offsets.setdefault(partition, []).extend(record.offset for record in records)
        if len(records) >= self.has_enough:
            self.feed.pause(partition)

    def failed(self, partition: int, fault: LogFault) -> None:
        self.faults[partition] = fault.reason

    @property
    def lag(self) -> dict[str, float]:
        (metric,) = self.metrics.command_lag.collect()
        return {sample.labels["partition"]: sample.value for sample in metric.samples}


simulated = in_world(lambda: nullcontext(World()))


@simulated
async def test_a_partition_is_fed_from_where_its_owner_opens_it(world: World) -> None:
    world.put(0, "a", "b", "c")
    world.put(1, "d")
    async with world.engine() as engine:
        assert engine.feed.joined
        assert engine.owned == set(range(PARTITIONS))
        await asyncio.sleep(10)
        assert engine.fed == {}
        await engine.feed.open(0, 1)
        await asyncio.sleep(1)
        assert engine.fed == {0: ["b", "c"]}
        world.put(0, "e")
        await asyncio.sleep(1)
        assert engine.fed == {0: ["b", "c", "e"]}


@simulated
async def test_an_owner_that_has_enough_is_fed_nothing_until_it_goes_on(world: World) -> None:
    async with world.engine() as engine:
        await engine.feed.open(0, 0)
        engine.feed.pause(0)
        world.put(0, "a")
        await asyncio.sleep(10)
        assert engine.fed == {}
        engine.feed.resume(0)
        await asyncio.sleep(1)
        assert engine.fed == {0: ["a"]}
        engine.feed.close(0)
        world.put(0, "b")
        engine.feed.resume(0)
        await asyncio.sleep(10)
        assert engine.fed == {0: ["a"]}, "nobody owns it"
        await engine.feed.open(0, 1)
        await asyncio.sleep(1)
        assert engine.fed == {0: ["a", "b"]}


@simulated
async def test_what_stays_goes_on_where_it_was_after_a_rebalance(world: World) -> None:
    async with world.engine() as engine:
        for partition in range(PARTITIONS):
            world.put(partition, "a")
            await engine.feed.open(partition, 0)
        held = min(engine.owned)
        await asyncio.sleep(1)
        engine.feed.pause(held)
        async with world.engine() as other:
            await asyncio.sleep(SESSION_SECONDS)
            assert len(engine.owned) == len(other.owned) == PARTITIONS // 2
            assert engine.owned | other.owned == set(range(PARTITIONS))
            assert [engine.feed.owns(partition) for partition in sorted(engine.owned | other.owned)] == [
                partition in engine.owned for partition in range(PARTITIONS)
            ]
            for partition in range(PARTITIONS):
                world.put(partition, "b")
            await asyncio.sleep(1)
            gone = set(range(PARTITIONS)) - engine.owned
            assert engine.fed == {
                partition: ["a"] if partition in gone | {held} else ["a", "b"] for partition in range(PARTITIONS)
            }
            assert other.fed == {}
        await asyncio.sleep(SESSION_SECONDS)
        assert engine.owned == set(range(PARTITIONS))
        await asyncio.sleep(1)
        assert all(engine.fed[partition] == ["a"] for partition in gone), "its new owner has to open it"


@simulated
async def test_an_engine_that_the_group_does_not_answer_lets_go_in_time(world: World) -> None:
    async with world.engine() as engine:
        engine.network.silent = {"heartbeat", "join"}
        await asyncio.sleep(SILENT_SECONDS - 1)
        assert engine.owned == set(range(PARTITIONS)), "a coordinator may be replaced meanwhile"
        await asyncio.sleep(2)
        assert (engine.owned, engine.feed.joined, engine.feed.owns(0)) == (set(), False, False)
        assert engine.feed.silence_seconds() > SILENT_SECONDS
        engine.network.silent = set()
        await asyncio.sleep(SESSION_SECONDS)
        assert (engine.owned, engine.feed.joined) == (set(range(PARTITIONS)), True)


@simulated
async def test_an_engine_that_ends_while_its_member_fails_leaves_the_group(world: World) -> None:
    async with world.engine() as other:
        async with world.engine() as engine:
            await asyncio.sleep(1.0)
            mine = min(engine.owned)
            await engine.feed.open(mine, 0)
            engine.feed.done(mine, 1)
            engine.network.silent = {"commit"}
            engine.network.refused = {"fetch"}
            world.put(mine, "a")
            await asyncio.sleep(1.0)
        await asyncio.sleep(1.0)
        assert other.owned == set(range(PARTITIONS)), "nobody had to be waited for"


@simulated
async def test_what_was_decided_is_committed_and_shown_as_lag(world: World) -> None:
    async with world.engine() as engine:
        world.put(0, *"abc")
        await engine.feed.open(0, 0)
        await asyncio.sleep(1)
        engine.feed.done(0, 2)
        engine.feed.done(3, 7)  # not opened
        world.put(0, *"d")
        await asyncio.sleep(10)
        assert world.cluster.committed[GROUP] == {Place(COMMANDS, 0): 2}
        assert engine.lag == {"0": 2.0}
        engine.feed.done(0, 4)
    assert world.cluster.committed[GROUP] == {Place(COMMANDS, 0): 4}, "at the end too"


@simulated
async def test_an_owner_begins_without_the_coordinator_of_its_group(world: World) -> None:
    world.put(0, *"abcd")
    async with world.engine() as engine:
        engine.network.silent = {"committed"}
        await engine.feed.open(0, 2)
        await asyncio.sleep(1)
        assert engine.fed == {0: ["c", "d"]}


@simulated
async def test_an_engine_that_ends_leaves_its_partitions_to_others_at_once(world: World) -> None:
    async with world.engine("engine-1") as engine:
        async with world.engine("engine-2"):
            await asyncio.sleep(1)
            assert len(engine.owned) == PARTITIONS // 2
        await asyncio.sleep(1)
        assert len(engine.owned) == PARTITIONS


@simulated
async def test_an_engine_whose_member_fails_comes_back_to_what_it_had(world: World) -> None:
    async with world.engine("engine-1") as engine, world.engine("engine-2") as other:
        await asyncio.sleep(1)
        had, told = other.owned, len(engine.told)
        await other.feed.open(min(had), 0)
        other.network.refused = {"fetch"}
        await asyncio.sleep(0.5)
        assert other.owned == set()
        other.network.refused = set()
        await asyncio.sleep(2)
        assert (other.owned, len(engine.told)) == (had, told), "nobody else noticed"


@simulated
async def test_what_an_engine_keeps_is_not_sought(world: World) -> None:
    async with world.engine() as engine:
        for partition in range(PARTITIONS):
            await engine.feed.open(partition, 0)
        with mock.patch.object(engine.feed._member, "start_at") as start_at:
            async with world.engine():
                await asyncio.sleep(1)
                assert len(engine.owned) == PARTITIONS // 2
            await asyncio.sleep(1)
            assert len(engine.owned) == PARTITIONS
        assert start_at.mock_calls == []


@simulated
async def test_an_engine_that_the_group_had_given_up_goes_on_where_it_was(world: World) -> None:
    async with world.engine() as engine:
        world.put(0, "a")
        await engine.feed.open(0, 0)
        await asyncio.sleep(1)
        engine.network.silent = {"heartbeat"}
        await asyncio.sleep(2 * SILENT_SECONDS)
        assert engine.owned == set()
        engine.network.silent = set()
        await asyncio.sleep(SESSION_SECONDS)
        assert engine.owned == set(range(PARTITIONS))
        world.put(0, "b")
        await asyncio.sleep(1)
        assert engine.fed == {0: ["a", "b"]}


@simulated
async def test_an_engine_whose_name_another_one_took_goes_on_under_another_one(world: World) -> None:
    async with world.engine("engine-1") as engine, world.engine("engine-1") as other:
        assert other.owned == set(range(PARTITIONS))
        await asyncio.sleep(2)
        assert engine.name.current != "engine-1" == other.name.current
        assert len(engine.owned) == len(other.owned) == PARTITIONS // 2
        told = len(other.told)
        await asyncio.sleep(10 * SESSION_SECONDS)
        assert len(other.told) == told, "they don't take the name from each other"


@simulated
async def test_an_engine_that_is_cut_off_starts_no_call_when_another_one_may(world: World) -> None:
    async with world.engine("engine-1") as engine:
        await asyncio.sleep(0.42)  # it has just sent a heartbeat
        async with world.engine("engine-2") as other:
            await asyncio.sleep(0.35)
            engine.network.silent = {
                "heartbeat",
                "join",
            }  # before its next one, so the group does not wait for all of it
            cut_off_at = asyncio.get_running_loop().time()
            while not other.owned:  # noqa: ASYNC110 - time is virtual
                await asyncio.sleep(0.01)
            seconds = asyncio.get_running_loop().time() - cut_off_at
            assert seconds < Membership(group=GROUP, session_timeout_seconds=SESSION_SECONDS).rebalance_seconds
            assert seconds > MAX_UNPROVEN_SECONDS
            assert engine.owned == set(range(PARTITIONS)), "it knows nothing of this"


@simulated
async def test_commands_that_were_made_again_are_not_taken_for_those_that_come_next(world: World) -> None:
    world.put(0, "a", "b", "c")
    async with world.engine() as engine:
        await engine.feed.open(0, 3)
        await engine.feed.open(1, 0)
        world.cluster.delete(COMMANDS)
        world.cluster.create(NewTopic(COMMANDS, PARTITIONS, 1))
        world.put(0, "x")
        world.put(1, "y")
        await asyncio.sleep(5)
        assert engine.faults == {0: "commands"}
        assert engine.fed == {1: ["y"]}


@simulated
async def test_commands_that_were_deleted_before_they_were_taken_are_missed(world: World) -> None:
    world.put(0, "a", "b", "c", "d", "e")
    async with world.engine() as engine:
        await engine.feed.open(0, 1)
        engine.feed.pause(0)
        world.cluster.log(Place(COMMANDS, 0)).expire(4)
        engine.feed.close(0)
        await engine.feed.open(0, 1)
        await asyncio.sleep(5)
        assert engine.faults == {0: "gap"}
        assert engine.fed == {}


@simulated
async def test_marks_of_transactions_that_are_side_by_side_are_no_missing_commands(world: World) -> None:
    """Other services may append submissions in transactions."""
    place = Place(COMMANDS, 0)
    async with world.engine() as engine:
        await engine.feed.open(0, 0)
        for after in ("c", "d"):
            for name in ("a", "b"):
                world.cluster.append(place, [NewRecord(b"k", name.encode(), [], 0)], name)
            for name in ("a", "b"):
                world.cluster.log(place).end_transaction(name, committed=True)
            world.put(0, after)
            await asyncio.sleep(5)
        assert engine.faults == {}
        assert engine.fed == {0: ["a", "b", "c", "a", "b", "d"]}


@simulated
async def test_marks_behind_the_last_command_are_passed_over_before_they_expire(world: World) -> None:
    """Else the next owner would take them for commands that nobody has decided."""
    place = Place(COMMANDS, 0)
    async with world.engine() as engine:
        await engine.feed.open(0, 0)
        for name in ("a", "b"):
            world.cluster.append(place, [NewRecord(b"k", name.encode(), [], 0)], name)
        for name in ("a", "b"):
            world.cluster.log(place).end_transaction(name, committed=True)
        await asyncio.sleep(MARKS_SECONDS / 2)
        assert engine.offsets == {0: [0, 1]}
        await asyncio.sleep(MARKS_SECONDS)
        assert engine.offsets == {0: [0, 1, 3]}, "up to the last mark"
        await asyncio.sleep(5 * MARKS_SECONDS)
        assert engine.offsets == {0: [0, 1, 3]}
        world.put(0, "c")
        await asyncio.sleep(5)
        assert (engine.offsets, engine.faults) == ({0: [0, 1, 3, 4]}, {})


@simulated
async def test_commands_that_have_expired_unseen_are_not_taken_for_marks(world: World) -> None:
    place = Place(COMMANDS, 0)
    async with world.engine() as engine:
        await engine.feed.open(0, 0)
        world.put(0, "a")
        await asyncio.sleep(5)
        engine.network.silent.add("fetch")
        world.put(0, "b", "c", "d")
        world.cluster.log(place).expire(4)
        await asyncio.sleep(2 * MARKS_SECONDS)
        engine.network.silent.clear()
        await asyncio.sleep(2 * MARKS_SECONDS)
        assert engine.offsets == {0: [0]}


@simulated
async def test_so_many_commands_are_handed_over_at_once(world: World) -> None:
    """An owner pauses the feed once it has enough, so what comes at once has to fit into its memory too."""
    world.put(0, *map(str, range(2 * MAX_TAKEN + 1)))
    world.put(1, "a")
    async with world.engine() as engine:
        engine.has_enough = 1
        await engine.feed.open(0, 0)
        await engine.feed.open(1, 0)
        await asyncio.sleep(5)
        assert len(engine.fed[0]) == MAX_TAKEN
        assert engine.fed[1] == ["a"]
        for _ in range(2):
            engine.feed.resume(0)
            await asyncio.sleep(5)
        assert engine.fed[0] == list(map(str, range(2 * MAX_TAKEN + 1)))
        assert engine.faults == {}


@simulated
async def test_transactions_of_others_hold_up_nobody(world: World) -> None:
    """What they have written counts at once, also if it is aborted then: docs/intake.md says so."""
    place = Place(COMMANDS, 0)
    async with world.engine() as engine:
        await engine.feed.open(0, 0)
        world.cluster.append(place, [NewRecord(b"k", b"a", [], 0)], "left open")
        world.put(0, "b")
        await asyncio.sleep(5)
        assert engine.fed == {0: ["a", "b"]}
        world.cluster.log(place).end_transaction("left open", committed=False)
        world.put(0, "c")
        await asyncio.sleep(5)
        assert engine.fed == {0: ["a", "b", "c"]}


@simulated
async def test_a_consumer_that_leaves_commands_out_is_noticed(world: World) -> None:
    world.put(0, "a", "b", "c", "d")
    async with world.engine() as engine:
        await engine.feed.open(0, 0)
        member = engine.feed._member
        assert member is not None
        member.start_at(Place(COMMANDS, 0), 3)  # it has lost its place
        await asyncio.sleep(5)
        assert engine.faults == {0: "gap"}
        assert engine.fed == {}


@simulated
async def test_what_was_taken_before_a_partition_was_opened_again_is_not_missed(world: World) -> None:
    world.put(0, "a", "b")
    world.put(1, "c", "d", "e")
    world.cluster.log(Place(COMMANDS, 0)).expire(1)
    async with world.engine() as engine:
        engine.network.silent = {"fetch"}
        await engine.feed.open(0, 0)
        await engine.feed.open(1, 2)
        await asyncio.sleep(5)
        engine.network.delayed, engine.network.silent = {"offsets"}, set()
        await asyncio.sleep(5)  # both were taken, and it looks what is wrong with the first one
        engine.feed.close(1)
        await engine.feed.open(1, 0)
        engine.network.answers.set()
        await asyncio.sleep(5)
        assert engine.faults == {0: "gap"}
        assert engine.fed == {1: ["c", "d", "e"]}
