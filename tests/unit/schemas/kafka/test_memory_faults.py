"""The cluster in memory with a network that fails, on a virtual clock: what can be planted, and what follows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from schemas.kafka import Fenced, KafkaAway, KafkaFault, Membership, NameTaken, NewTopic, NotAcknowledged, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka, Network, Request, RequestLost
from schemas.records import NewRecord
from tests.simulation.loop import in_world

TOPIC, PLACE = "t", Place("t", 0)
SIZES: dict[str, Any] = {"max_batch_bytes": 1000, "max_request_bytes": 1000}
SESSION_SECONDS = 10.0


class Faulty(Network):
    """Does what it is told at the next requests of a kind, and at their answers."""

    def __init__(self) -> None:
        self.requests: dict[Request, list[Callable[[], Awaitable[None]]]] = {}
        self.answers: dict[Request, list[Callable[[], Awaitable[None]]]] = {}
        self.silent: set[Request] = set()
        self.forgetful = False

    async def request(self, kind: Request, client: str) -> None:
        if kind in self.silent:
            await asyncio.Event().wait()
        if planted := self.requests.get(kind):
            await planted.pop(0)()
        await super().request(kind, client)

    async def answer(self, kind: Request, client: str) -> None:
        if planted := self.answers.get(kind):
            await planted.pop(0)()
        await super().answer(kind, client)

    def forgets_offset(self, client: str) -> bool:
        return self.forgetful


async def lost() -> None:
    raise RequestLost


async def refused() -> None:
    raise KafkaFault("refused")


async def late() -> None:
    await asyncio.sleep(60)


class World:
    """A cluster with one topic, and a process whose network fails."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.create(NewTopic(TOPIC, 2, 1))
        self.network = Faulty()
        self.kafka = MemoryKafka(self.cluster, self.network)
        self.producer = self.kafka.producer(TOPIC, waits=True, **SIZES)

    async def append(self, value: str, seconds: float = 20.0) -> int:
        deadline = asyncio.get_running_loop().time() + seconds
        return await self.producer.append(TOPIC, 0, NewRecord(b"k", value.encode(), [], 0), deadline)

    @property
    def values(self) -> list[str]:
        return [(record.value or b"").decode() for record in self.cluster.records(TOPIC)[0]]


@asynccontextmanager
async def made() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.kafka.kill()


simulated = in_world(made)


@simulated
async def test_what_gets_lost_is_sent_again_and_stands_once(world: World) -> None:
    world.network.requests["append"] = [lost, lost]
    world.network.answers["append"] = [lost]
    assert await world.append("a") == 0
    world.network.answers["append"] = [lost]
    world.network.forgetful = True
    assert await world.append("b") == -1, "it is known, but not any more where"
    assert await world.append("c") == 2
    assert world.values == ["a", "b", "c"]


@simulated
async def test_a_batch_that_is_late_arrives_after_it_was_given_up(world: World) -> None:
    world.network.requests["append"] = [late]
    with pytest.raises(NotAcknowledged):
        await world.append("late", 5.0)
    assert await world.append("next") == 0
    await asyncio.sleep(60)
    assert world.values == ["next", "late"]


@simulated
async def test_what_was_given_up_before_it_was_sent_never_arrives(world: World) -> None:
    world.network.requests["append"] = [late]
    results = await asyncio.gather(world.append("late", 5.0), world.append("behind", 5.0), return_exceptions=True)
    assert [type(result) for result in results] == [NotAcknowledged, NotAcknowledged]
    await asyncio.sleep(600)
    assert world.values == ["late"]


@simulated
async def test_what_is_refused_fails_and_the_next_is_taken(world: World) -> None:
    world.network.requests["append"] = [refused]
    with pytest.raises(NotAcknowledged):
        await world.append("a")
    assert await world.append("b") == 0
    await world.producer.close()
    with pytest.raises(KafkaAway):
        await world.append("c")


@simulated
async def test_a_cluster_that_is_silent_ends_nobodys_patience(world: World) -> None:
    world.network.silent = {"connect", "append", "fetch", "offsets", "topics", "join", "open transaction"}
    loop = asyncio.get_running_loop()
    with pytest.raises(KafkaAway):
        await world.append("a", 5.0)
    assert loop.time() == pytest.approx(5.0, abs=0.1)
    finder, member = (
        world.kafka.topic_finder(),
        world.kafka.member(TOPIC, Membership(group="g", session_timeout_seconds=1)),
    )
    transactions = world.kafka.transactions("w", open_seconds=10.0, max_batch_bytes=1000)
    for question in (finder.find(TOPIC), member.start(), transactions.open(), member.limits([PLACE])):
        with pytest.raises(KafkaFault):
            await question
    world.network.silent = {"fetch"}
    async with world.kafka.reader() as reader:
        reader.read_from({PLACE: 0})
        assert await reader.take(1.0) == {}


@simulated
async def test_a_member_that_is_not_heard_loses_its_partitions_without_knowing_it(world: World) -> None:
    membership = Membership(group="g", session_timeout_seconds=SESSION_SECONDS)
    member = world.kafka.member(TOPIC, membership)
    other = MemoryKafka(world.cluster).member(TOPIC, membership)
    await member.start()
    had = member.assignment
    world.network.silent = {"heartbeat", "join"}
    await other.start()
    assert (len(had), other.assignment, member.assignment) == (2, had, had)
    assert member.silence_seconds >= SESSION_SECONDS / 2
    assert not await member.commit({PLACE: 5}), "the group takes nothing from it"
    assert await other.commit({PLACE: 5})
    world.network.silent = set()
    await asyncio.sleep(2 * SESSION_SECONDS)
    assert len(member.assignment) == len(other.assignment) == 1
    assert member.silence_seconds < SESSION_SECONDS
    await other.close()
    await member.close()


@simulated
async def test_a_rebalance_that_a_member_does_not_hear_the_end_of_stops_it_for_its_deadline(world: World) -> None:
    membership = Membership(group="g", session_timeout_seconds=SESSION_SECONDS)
    member = world.kafka.member(TOPIC, membership)
    await member.start()
    member.start_at(PLACE, 0)
    taking = asyncio.create_task(member.take(60.0))
    world.network.silent = {"join"}
    other = MemoryKafka(world.cluster).member(TOPIC, membership)
    joining = asyncio.create_task(other.start())
    await asyncio.sleep(SESSION_SECONDS / 4)
    await world.append("a")
    assert [record.value for record in (await taking)[PLACE]] == [b"a"]
    await world.append("b")
    await joining
    assert [record.value for record in (await member.take(1.0))[PLACE]] == [b"b"], "it does not know better"
    await asyncio.sleep(60.0 + SESSION_SECONDS)
    with pytest.raises(KafkaFault, match="does not end"):
        await member.take(1.0)
    await other.close()
    await member.close()


@simulated
async def test_what_may_have_been_another_s_meanwhile_begins_again(world: World) -> None:
    membership = Membership(group="g", session_timeout_seconds=SESSION_SECONDS)
    told: list[frozenset[Place]] = []
    member = world.kafka.member(TOPIC, membership, revoked=told.append)
    await member.start()
    had = member.assignment
    member.start_at(PLACE, 0)
    world.network.silent = {"heartbeat"}
    await asyncio.sleep(2 * SESSION_SECONDS)
    world.network.silent = set()
    await asyncio.sleep(SESSION_SECONDS)
    assert (member.assignment, told) == (had, [had])
    await world.append("a")
    assert await member.take(1.0) == {}, "it is held"
    member.start_at(PLACE, 0)
    assert [record.value for record in (await member.take(1.0))[PLACE]] == [b"a"]
    await member.close()


@simulated
async def test_a_rebalance_that_a_member_can_not_follow_is_told_at_once(world: World) -> None:
    async def refused_after_a_while() -> None:
        await asyncio.sleep(SESSION_SECONDS / 2)
        raise KafkaFault("refused")

    membership = Membership(group="g", session_timeout_seconds=SESSION_SECONDS)
    member, other = world.kafka.member(TOPIC, membership), MemoryKafka(world.cluster).member(TOPIC, membership)
    await member.start()
    world.network.requests["join"] = [refused_after_a_while]
    joining = asyncio.create_task(other.start())
    await asyncio.sleep(SESSION_SECONDS / 2)
    with pytest.raises(KafkaFault):
        await member.take(1.0)
    assert asyncio.get_running_loop().time() < SESSION_SECONDS
    await member.close()
    await joining
    await other.close()


@simulated
async def test_a_way_to_join_that_loses_everything_costs_time(world: World) -> None:
    async def loses(*_: object) -> None:
        raise RequestLost

    member = world.kafka.member(TOPIC, Membership(group="g", session_timeout_seconds=SESSION_SECONDS))
    world.network.request = loses  # type: ignore[assignment,method-assign]
    with pytest.raises(KafkaFault):
        await member.start()
    await member.close()


@simulated
async def test_a_fetch_that_gets_lost_brings_nothing(world: World) -> None:
    await world.append("a")
    async with world.kafka.reader() as reader:
        reader.read_from({PLACE: 0})
        world.network.requests["fetch"] = [lost] * 1000
        assert await reader.take(1.0) == {}
        world.network.requests["fetch"] = [lost]
        assert [record.value for record in (await reader.take(1.0))[PLACE]] == [b"a"]


@simulated
async def test_an_offset_that_is_gone_takes_nothing_from_other_partitions(world: World) -> None:
    second = Place(TOPIC, 1)
    await world.append("a")
    world.cluster.append(second, [NewRecord(b"k", b"b", [], 0)])
    async with world.kafka.reader() as reader:
        reader.read_from({PLACE: 0, second: 9})
        taken = [await reader.take(1.0) for _ in range(2)]
    assert [{place: [record.value for record in some] for place, some in each.items()} for each in taken] == [
        {PLACE: [b"a"]},
        {second: [b"b"]},
    ]


@simulated
async def test_what_a_killed_process_had_goes_to_others_after_its_session(world: World) -> None:
    membership = Membership(group="g", session_timeout_seconds=SESSION_SECONDS, member_id="one")
    another = Membership(group="g", session_timeout_seconds=SESSION_SECONDS, member_id="two")
    member, other = world.kafka.member(TOPIC, membership), MemoryKafka(world.cluster).member(TOPIC, another)
    await member.start()
    await world.kafka.kill()
    await other.start()
    assert asyncio.get_running_loop().time() == pytest.approx(SESSION_SECONDS / 2, abs=0.1)
    assert len(other.assignment) == 1
    await asyncio.sleep(SESSION_SECONDS / 2 + 1.0)
    assert len(other.assignment) == 2
    await other.close()


@simulated
async def test_what_a_killed_process_without_a_name_had_goes_to_who_joins(world: World) -> None:
    membership = Membership(group="g", session_timeout_seconds=SESSION_SECONDS)
    member, other = world.kafka.member(TOPIC, membership), MemoryKafka(world.cluster).member(TOPIC, membership)
    await member.start()
    await world.kafka.kill()
    await other.start()
    assert asyncio.get_running_loop().time() == pytest.approx(SESSION_SECONDS / 2, abs=0.1)
    assert len(other.assignment) == 2
    await other.close()


@simulated
async def test_a_member_whose_name_another_one_took_is_not_heard_any_more(world: World) -> None:
    membership = Membership(group="g", session_timeout_seconds=SESSION_SECONDS, member_id="one")
    member, other = (MemoryKafka(world.cluster).member(TOPIC, membership) for _ in range(2))
    await member.start()
    await other.start()
    assert other.assignment == member.assignment
    assert not await member.commit({PLACE: 5})
    assert await other.commit({PLACE: 6})
    with pytest.raises(NameTaken):
        await member.take(SESSION_SECONDS)
    await member.close(leave=True)
    assert await other.commit({PLACE: 7}), "the name is left alone"
    await other.close()


@simulated
async def test_a_member_that_waits_for_a_rebalance_is_told_that_its_name_was_taken(world: World) -> None:
    def membership(name: str) -> Membership:
        return Membership(group="g", session_timeout_seconds=SESSION_SECONDS, member_id=name)

    members = [MemoryKafka(world.cluster).member(TOPIC, membership(name)) for name in ("dead", "one", "one", "two")]
    dead, first, second, newcomer = members
    await dead.start()
    await dead.close()  # without leaving, so the group waits for it
    joining = asyncio.create_task(first.start())
    await asyncio.sleep(0.1)
    taking_over = asyncio.create_task(second.start())
    with pytest.raises(NameTaken):
        await joining
    await taking_over
    await newcomer.start()
    for member in members:
        await member.close()


@simulated
async def test_a_transaction_that_stays_open_is_aborted_and_its_writer_shut_out(world: World) -> None:
    transactions = world.kafka.transactions("w", open_seconds=5.0, max_batch_bytes=1000)
    await transactions.open()
    world.network.requests["end transaction"] = [late]
    with pytest.raises(KafkaFault):
        await transactions.commit({PLACE: [NewRecord(b"k", b"a", [], 0)]})
    assert world.cluster.records(TOPIC, committed_only=True)[0] == []
    with pytest.raises(Fenced):
        await transactions.commit({PLACE: [NewRecord(b"k", b"b", [], 0)]})


@simulated
async def test_a_commit_whose_answer_gets_lost_counts_once(world: World) -> None:
    transactions = world.kafka.transactions("w", open_seconds=5.0, max_batch_bytes=1000)
    await transactions.open()
    world.network.answers = {"append": [lost], "end transaction": [lost]}
    await transactions.commit({PLACE: [NewRecord(b"k", b"a", [], 0)]})
    assert [record.value for record in world.cluster.records(TOPIC, committed_only=True)[0]] == [b"a"]


@simulated
async def test_a_log_that_lost_its_end_is_read_from_its_start(world: World) -> None:
    for value in "abc":
        await world.append(value)
    async with world.kafka.reader() as reader:
        reader.read_from({PLACE: 3})
        world.cluster.log(PLACE).cut(1)
        assert [record.value for record in (await reader.take(1.0))[PLACE]] == [b"a"]
