"""A member of a consumer group: what is handed over, and from where on. Without Kafka."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import NotLeaderForPartitionError, OffsetOutOfRangeError

from schemas.kafka import KafkaFault, Member, Membership, Place
from schemas.kafka.member import GroupMember
from schemas.settings import KafkaSettings

FIRST, SECOND = Place("ledger", 0), Place("ledger", 1)
MEMBERSHIP = Membership(group="group", session_timeout_seconds=6.0)


class FakeConsumer:
    """What a member sees of aiokafka's consumer. Like that one it hands over whatever is not paused."""

    def __init__(self) -> None:
        self.assigned: set[Place] = set()
        self.stopped: set[Place] = set()
        self.positions: dict[Place, int] = {}
        self.fault: Exception | None = None
        self.committed: dict[Place, int] = {}

    def lose_patience(self) -> None:
        """Nobody waits."""

    def assignment(self) -> set[Place]:
        return self.assigned

    def pause(self, *places: Place) -> None:
        self.stopped.update(places)

    def resume(self, *places: Place) -> None:
        self.stopped.difference_update(places)

    def seek(self, place: Place, offset: int) -> None:
        assert place in self.assigned
        self.positions[place] = offset

    async def commit(self, offsets: dict[Place, int]) -> None:
        assert offsets.keys() <= self.assigned
        self.committed |= offsets

    async def getmany(self, *places: Place, **_: Any) -> dict[Place, int]:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return {
            place: self.positions[place]
            for place in sorted(self.assigned - self.stopped)
            if place in places or not places
        }


class World:
    """A member whose partitions begin at 7, and its consumer."""

    def __init__(self, *, decides: bool = True) -> None:
        self.consumer = FakeConsumer()
        self.asked: list[set[Place]] = []
        self.meanwhile: list[Collection[Place]] = []
        self.member = GroupMember(KafkaSettings(), "ledger", MEMBERSHIP, begin=self.begin if decides else None)
        self.member._consumer._closed = True  # nothing to stop
        self.member._consumer = self.consumer  # type: ignore[assignment]

    async def begin(self, member: Member, places: Collection[Place]) -> Mapping[Place, int]:
        """A rebalance may come meanwhile."""
        self.asked.append(set(places))
        if self.meanwhile:
            await self.rebalance(self.meanwhile.pop())
        return dict.fromkeys(places, 7)

    async def rebalance(self, places: Collection[Place]) -> None:
        await self.member.on_partitions_revoked(self.consumer.assigned)
        self.consumer.assigned, self.consumer.stopped = set(places), set()
        self.member.on_partitions_assigned(places)

    async def take(self, *places: Place) -> dict[Place, Any]:
        return {**await self.member.take(1.0, 100, places or None)}


@pytest.fixture
async def world() -> World:
    return World()


async def test_nothing_is_handed_over_before_it_is_decided_where_it_begins(world: World) -> None:
    await world.rebalance([FIRST, SECOND])
    assert await world.consumer.getmany() == {}, "the client library would hand over what it has"
    assert await world.take() == {FIRST: 7, SECOND: 7}
    assert await world.take() == {FIRST: 7, SECOND: 7}
    assert world.asked == [{FIRST, SECOND}]


async def test_a_decision_that_a_rebalance_overtook_does_not_count(world: World) -> None:
    await world.rebalance([FIRST])
    world.meanwhile = [[SECOND]]
    assert await world.take() == {}
    assert await world.take() == {SECOND: 7}
    assert world.asked == [{FIRST}, {SECOND}]


async def test_a_decision_that_fails_is_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> Mapping[Place, int]:
        raise NotLeaderForPartitionError

    await world.rebalance([FIRST])
    with monkeypatch.context() as patch:
        patch.setattr(world.member, "_begin", fail)
        with pytest.raises(NotLeaderForPartitionError):
            await world.take()
    assert await world.take() == {FIRST: 7}


async def test_an_offset_that_kafka_has_not_got_is_decided_anew(world: World) -> None:
    await world.rebalance([FIRST, SECOND])
    await world.take()
    world.consumer.fault = OffsetOutOfRangeError({SECOND: 7})
    assert await world.take() == {}
    assert await world.take() == {FIRST: 7, SECOND: 7}
    assert world.asked == [{FIRST, SECOND}, {SECOND}]


async def test_nothing_is_asked_of_partitions_that_were_taken_away(world: World) -> None:
    await world.rebalance([SECOND])
    await world.take()
    world.member.seek(FIRST, 3)
    world.member.seek(SECOND, 4)
    await world.member.commit({FIRST: 5, SECOND: 6})
    assert (world.consumer.positions, world.consumer.committed) == ({SECOND: 4}, {SECOND: 6})
    await world.rebalance([SECOND])
    world.member.seek(SECOND, 5)
    assert world.consumer.positions == {SECOND: 0}, "where it begins is decided anew"


async def test_an_owner_says_where_its_partition_begins() -> None:
    world = World(decides=False)
    await world.rebalance([FIRST, SECOND])
    world.member.resume(FIRST)
    assert await world.take() == {}, "held until it is said where it begins"
    world.member.start_at(SECOND, 5)
    assert await world.take() == {SECOND: 5}
    world.member.pause(SECOND)
    assert await world.take() == {}
    world.member.resume(SECOND)
    world.member.seek(SECOND, 6)
    assert await world.take() == {SECOND: 6}
    world.member.start_at(FIRST, 1)
    assert await world.take(FIRST) == {FIRST: 1}
    assert await world.member.take(1.0, places=[]) == {}, "none, not all"
    await world.rebalance([SECOND])
    world.member.start_at(FIRST, 2)
    assert await world.take() == {}
    assert world.asked == []


async def test_nothing_that_is_held_begins_while_a_rebalance_is_under_way() -> None:
    world = World(decides=False)
    await world.rebalance([FIRST])
    await world.member.on_partitions_revoked([FIRST])
    world.member.resume(FIRST)
    assert await world.take() == {}


async def test_nothing_is_decided_while_a_rebalance_is_under_way(world: World) -> None:
    await world.rebalance([FIRST])
    await world.member.on_partitions_revoked([FIRST])
    assert await world.take() == {}
    assert world.asked == []
    await world.rebalance([FIRST])
    assert await world.take() == {FIRST: 7}


async def test_errors_of_the_client_library_stay_inside(world: World) -> None:
    await world.rebalance([FIRST])
    world.consumer.fault = NotLeaderForPartitionError()
    with pytest.raises(KafkaFault):
        await world.take()


async def test_a_rebalance_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.kafka.member.JOIN_SECONDS", 0.01 - MEMBERSHIP.session_timeout_seconds)
    member = GroupMember(KafkaSettings(), "ledger", MEMBERSHIP)
    consumer = member._consumer
    state = consumer._subscription
    state.subscribe({"ledger"})
    consumer._coordinator = NoGroup()
    consumer._fetcher = Fetcher(consumer._client, state, auto_offset_reset="none")
    state.begin_reassignment()
    await member.on_partitions_revoked(set())
    for _ in range(2):  # also to whoever asks later
        async with asyncio.timeout(5):
            with pytest.raises(KafkaFault, match="does not end"):
                await member.take(0.001)
    await member.close()


async def test_a_rebalance_that_ends_in_time_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.kafka.member.JOIN_SECONDS", -MEMBERSHIP.session_timeout_seconds)
    await world.rebalance([FIRST])
    assert world.member._patience is not None
    assert world.member._patience.cancelled()


class NoGroup:
    """What a consumer asks of its coordinator."""

    def check_errors(self) -> None:
        """None."""

    async def close(self) -> None:
        """Nothing to leave."""
