"""Processes of a simulated installation, and the network between them and Kafka."""

import asyncio
import random
from contextlib import nullcontext

import pytest

from schemas.kafka import KafkaFault, NewTopic, NotAcknowledged, Place
from schemas.kafka.memory import MemoryCluster
from schemas.records import NewRecord
from tests.simulation.loop import in_world, simulate
from tests.simulation.network import Cut, Faults, FaultyNetwork
from tests.simulation.processes import SimulatedProcess
from tests.simulation.trace import Trace

PLACE = Place("t", 0)


class Writer:
    """Appends a record each second, and notes what is acknowledged."""

    def __init__(self, process: "SimulatedProcess[Writer]"):
        self.acknowledged: list[int] = []
        self._producer = process.kafka.producer("t", max_batch_bytes=1000, max_request_bytes=1000, waits=True)
        self._name = process.name

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.sleep(1.0)
            await self.append(f"{self._name}{len(self.acknowledged)}")

    async def append(self, value: str, seconds: float = 60.0) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        offset = await self._producer.append("t", 0, NewRecord(b"k", value.encode(), [], 0), deadline)
        self.acknowledged.append(offset)


class World:
    """A cluster, and a process that writes."""

    def __init__(self) -> None:
        self.cluster, self.trace = MemoryCluster(), Trace()
        self.cluster.create(NewTopic("t", 1, 1))
        self.network = FaultyNetwork(random.Random(1), self.trace)
        self.process = SimulatedProcess("a", self.cluster, self.network, Writer, self.trace)

    @property
    def values(self) -> list[str]:
        return [(record.value or b"").decode() for record in self.cluster.records("t")[0]]


simulated = in_world(lambda: nullcontext(World()))


@simulated
async def test_a_process_that_is_killed_begins_again(world: World) -> None:
    process = world.process
    assert not process.is_alive
    process.start()
    await asyncio.sleep(3.5)
    before = process.program
    process.kill()
    assert not process.is_alive
    await asyncio.sleep(60.0)
    assert world.values == ["a0", "a1", "a2"]
    process.start()
    await asyncio.sleep(1.5)
    assert world.values == ["a0", "a1", "a2", "a0"]
    assert (before.acknowledged, process.program.acknowledged) == ([0, 1, 2], [3])
    assert [" ".join(line.split()[2:]) for line in world.trace.lines()] == ["a starts", "a is killed", "a starts"]


@simulated
async def test_what_a_killed_process_has_sent_arrives_and_is_answered_to_nobody(world: World) -> None:
    world.network.faults["append"] = Faults(slow=1.0)
    world.process.start()
    await asyncio.sleep(1.1)
    assert world.values == []
    world.process.kill()
    await asyncio.sleep(60.0)
    assert (world.values, world.process.program.acknowledged) == (["a0"], [])


@simulated
async def test_a_process_that_is_stopped_does_not_know_it(world: World) -> None:
    process = world.process
    process.start()
    await asyncio.sleep(2.5)
    process.stop()
    assert (process.is_alive, process.runs) == (True, False)
    await asyncio.sleep(60.0)
    assert world.values == ["a0", "a1"]
    process.go_on()
    await asyncio.sleep(1.5)
    assert world.values[2:] == ["a2", "a3"]


@simulated
async def test_a_process_that_is_asked_to_ends(world: World) -> None:
    process = world.process
    process.start()
    await asyncio.sleep(1.5)
    await process.end()
    assert not process.is_alive
    assert world.values == ["a0", "a1"]
    assert process.failures == []


@simulated
async def test_what_a_program_raises_is_known(world: World) -> None:
    world.network.faults["append"] = Faults(refused=1.0)
    world.process.start()
    await asyncio.sleep(5.0)
    assert [type(error) for error in world.process.failures] == [NotAcknowledged]
    assert not world.process.is_alive


@pytest.mark.parametrize("fault", ["lost", "unanswered", "twice", "slow", "slow_answer", "late"])
def test_whatever_happens_on_the_way_a_record_stands_once(fault: str) -> None:
    async def main() -> None:
        world = World()
        world.network.faults["append"] = Faults(**{fault: 0.5})
        world.process.start()
        await asyncio.sleep(120.0)
        await world.process.end()
        count = len(world.process.program.acknowledged)
        assert count > 5
        assert world.values == [f"a{n}" for n in range(count)]

    simulate(main())


@simulated
async def test_a_client_that_is_cut_off_is_told_nothing(world: World) -> None:
    world.process.start()
    await asyncio.sleep(1.5)
    world.network.cuts["a"] = Cut(requests=False)
    await asyncio.sleep(30.0)
    assert (world.values, world.process.program.acknowledged) == (["a0", "a1"], [0])
    world.network.quiet()
    await asyncio.sleep(60.0)
    count = len(world.process.program.acknowledged)
    assert count > 20
    assert world.values == [f"a{n}" for n in range(count)]


@simulated
async def test_what_only_the_leader_had_is_lost_with_it_and_sent_again(world: World) -> None:
    world.cluster.replication_seconds = lambda: 10.0
    world.process.start()
    await asyncio.sleep(2.0)
    assert world.values == [], "it can't be read before all replicas have it"
    assert world.cluster.log(PLACE).limits().end == 0
    world.cluster.fail_over(PLACE)
    assert world.cluster.append(PLACE, [NewRecord(b"k", b"other", [], 0)]) == 0
    world.cluster.replication_seconds = lambda: 0.0
    await asyncio.sleep(1.0)
    assert world.values == ["other", "a0"]
    await asyncio.sleep(30.0)
    assert world.values[:3] == ["other", "a0", "a1"], "what the former leader was about to tell is of no effect"


@simulated
async def test_a_transaction_that_is_to_be_committed_will_be(world: World) -> None:
    def committed() -> list[bytes | None]:
        return [record.value for record in world.cluster.records("t", committed_only=True)[0]]

    world.cluster.marker_seconds = lambda: 5.0
    first, second = (world.process.kafka.transactions("w", open_seconds=60.0, max_batch_bytes=1000) for _ in range(2))
    await first.open()
    await first.commit({PLACE: [NewRecord(b"k", b"a", [], 0)]})
    assert committed() == [], "it is decided, and not yet told to the partitions"
    await first.commit({PLACE: [NewRecord(b"k", b"b", [], 0)]})
    assert committed() == [b"a"], "what comes next waits for it"
    await second.open()
    assert committed() == [b"a", b"b"], "and so does who opens"
    with pytest.raises(KafkaFault):
        await first.commit({PLACE: [NewRecord(b"k", b"c", [], 0)]})


@simulated
async def test_what_comes_once_more_when_its_transaction_has_ended_is_not_in_the_next_one(world: World) -> None:
    world.network.faults["append to transaction"] = Faults(twice=1.0)
    writer = world.process.kafka.transactions("w", open_seconds=60.0, max_batch_bytes=1000)
    await writer.open()
    await writer.commit({PLACE: [NewRecord(b"k", b"a", [], 0)]})
    world.network.quiet()
    world.cluster.log(PLACE).cut(0)  # so what is there does not tell that it comes once more
    await writer.append({PLACE: [NewRecord(b"k", b"b", [], 0)]})
    await asyncio.sleep(30.0)
    await writer.commit()
    assert [record.value for record in world.cluster.records("t", committed_only=True)[0]] == [b"b"]
