"""A member of a consumer group: what is handed over, and from where on. Without Kafka."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NotLeaderForPartitionError, OffsetOutOfRangeError

from schemas.kafka.member import GroupMember
from schemas.settings import KafkaSettings

FIRST, SECOND = TopicPartition("ledger", 0), TopicPartition("ledger", 1)


class FakeConsumer:
    """What a member sees of aiokafka's consumer. Like that one it hands over whatever is not paused."""

    def __init__(self) -> None:
        self.assigned: set[TopicPartition] = set()
        self.stopped: set[TopicPartition] = set()
        self.positions: dict[TopicPartition, int] = {}
        self.fault: Exception | None = None
        self.committed: dict[TopicPartition, int] = {}

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    def pause(self, *places: TopicPartition) -> None:
        self.stopped.update(places)

    def resume(self, *places: TopicPartition) -> None:
        self.stopped.difference_update(places)

    def seek(self, place: TopicPartition, offset: int) -> None:
        assert place in self.assigned
        self.positions[place] = offset

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        assert offsets.keys() <= self.assigned
        self.committed |= offsets

    async def getmany(self, **_: Any) -> dict[TopicPartition, int]:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return {place: self.positions[place] for place in sorted(self.assigned - self.stopped)}


class World:
    """A member whose partitions begin at 7, and its consumer."""

    def __init__(self) -> None:
        self.consumer = FakeConsumer()
        self.asked: list[set[TopicPartition]] = []
        self.meanwhile: list[Collection[TopicPartition]] = []
        self.member = GroupMember(KafkaSettings(), "ledger", self.begin)
        self.member._consumer._closed = True  # nothing to stop
        self.member._consumer = self.consumer  # type: ignore[assignment]

    async def begin(self, member: GroupMember, places: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """A rebalance may come meanwhile."""
        self.asked.append(set(places))
        if self.meanwhile:
            self.rebalance(self.meanwhile.pop())
        return dict.fromkeys(places, 7)

    def rebalance(self, places: Collection[TopicPartition]) -> None:
        self.member.on_partitions_revoked(self.consumer.assigned)
        self.consumer.assigned, self.consumer.stopped = set(places), set()
        self.member.on_partitions_assigned(places)

    async def take(self) -> dict[TopicPartition, Any]:
        taken: dict[TopicPartition, Any] = await self.member.take(1.0, 100)
        return taken


@pytest.fixture
async def world() -> World:
    return World()


async def test_nothing_is_handed_over_before_it_is_decided_where_it_begins(world: World) -> None:
    world.rebalance([FIRST, SECOND])
    assert await world.consumer.getmany() == {}, "the client library would hand over what it has"
    assert await world.take() == {FIRST: 7, SECOND: 7}
    assert await world.take() == {FIRST: 7, SECOND: 7}
    assert world.asked == [{FIRST, SECOND}]


async def test_a_decision_that_a_rebalance_overtook_does_not_count(world: World) -> None:
    world.rebalance([FIRST])
    world.meanwhile = [[SECOND]]
    assert await world.take() == {}
    assert await world.take() == {SECOND: 7}
    assert world.asked == [{FIRST}, {SECOND}]


async def test_a_decision_that_fails_is_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> Mapping[TopicPartition, int]:
        raise NotLeaderForPartitionError

    world.rebalance([FIRST])
    with monkeypatch.context() as patch:
        patch.setattr(world.member, "_begin", fail)
        with pytest.raises(NotLeaderForPartitionError):
            await world.take()
    assert await world.take() == {FIRST: 7}


async def test_an_offset_that_kafka_has_not_got_is_decided_anew(world: World) -> None:
    world.rebalance([FIRST, SECOND])
    await world.take()
    world.consumer.fault = OffsetOutOfRangeError({SECOND: 7})
    assert await world.take() == {}
    assert await world.take() == {FIRST: 7, SECOND: 7}
    assert world.asked == [{FIRST, SECOND}, {SECOND}]


async def test_nothing_is_asked_of_partitions_that_were_taken_away(world: World) -> None:
    world.rebalance([SECOND])
    await world.take()
    world.member.seek(FIRST, 3)
    world.member.seek(SECOND, 4)
    await world.member.commit({FIRST: 5, SECOND: 6})
    assert (world.consumer.positions, world.consumer.committed) == ({SECOND: 4}, {SECOND: 6})
    world.rebalance([SECOND])
    world.member.seek(SECOND, 5)
    assert world.consumer.positions == {SECOND: 0}, "where it begins is decided anew"
