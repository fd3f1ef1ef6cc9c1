"""A member of a consumer group: what is handed over, and from where on. Without Kafka."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, NotLeaderForPartitionError, OffsetOutOfRangeError

from schemas.kafka import KafkaFault, Member, Membership, Place
from schemas.kafka.member import GroupMember
from schemas.settings import KafkaSettings

FIRST, SECOND, THIRD = (Place("ledger", number) for number in range(3))
MEMBERSHIP = Membership(group="group", session_timeout_seconds=6.0)


class FakeReader:
    """What a member sees of its consumer. Like aiokafka's it hands over whatever is not paused."""

    def __init__(self) -> None:
        self.stopped: set[Place] = set()
        self.positions: dict[Place, int] = {}
        self.fault: Exception | None = None
        self.impatience = ""

    def lose_patience(self, text: str) -> None:
        self.impatience = text

    def change(self, *, new: Collection[Place], gone: Collection[Place]) -> None:
        assert set(gone) <= self.positions.keys()
        for place in gone:
            del self.positions[place]
        self.positions |= dict.fromkeys(new, 0)
        self.stopped = (self.stopped - set(gone)) | set(new)

    def pause(self, *places: Place) -> None:
        self.stopped.update(places)

    def resume(self, *places: Place) -> None:
        self.stopped.difference_update(places)

    def seek(self, place: Place, offset: int) -> None:
        assert place in self.positions
        self.positions[place] = offset

    async def getmany(self, *places: Place, **_: Any) -> dict[Place, int]:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return {
            place: self.positions[place]
            for place in sorted(self.positions.keys() - self.stopped)
            if place in places or not places
        }


class FakeSeat:
    """What a member sees of its seat."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.committed: dict[Place, int] = {}

    def check(self) -> None:
        if self.fault is not None:
            raise self.fault

    @contextmanager
    def in_use(self) -> Iterator[None]:
        yield

    async def commit(self, offsets: dict[Place, int]) -> None:
        self.committed |= offsets


class World:
    """A member whose partitions begin at 7, with its seat and its reader."""

    def __init__(self, *, decides: bool = True) -> None:
        self.reader, self.seat = FakeReader(), FakeSeat()
        self.asked: list[set[Place]] = []
        self.meanwhile: list[Collection[Place]] = []
        self.told: list[tuple[str, set[Place]]] = []
        self.member = GroupMember(
            KafkaSettings(),
            "ledger",
            MEMBERSHIP,
            begin=self.begin if decides else None,
            assigned=lambda places: self.told.append(("assigned", set(places))),
            revoked=lambda places: self.told.append(("revoked", set(places))),
        )
        self.member._reader._closed = True  # nothing to stop
        self.member._reader, self.member._seat = self.reader, self.seat  # type: ignore[assignment]

    async def begin(self, member: Member, places: Collection[Place]) -> Mapping[Place, int]:
        """A rebalance may come meanwhile."""
        self.asked.append(set(places))
        if self.meanwhile:
            for given in self.meanwhile:
                self.rebalance(given)
            self.meanwhile = []
        return dict.fromkeys(places, 7)

    def rebalance(self, places: Collection[Place], *, knows_all: bool = True) -> None:
        self.member._begin_patience()
        self.member._seated(frozenset(places), knows_all)

    async def take(self, *places: Place) -> dict[Place, Any]:
        return {**await self.member.take(1.0, 100, places or None)}


@pytest.fixture
async def world() -> World:
    return World()


async def test_nothing_is_handed_over_before_it_is_decided_where_it_begins(world: World) -> None:
    world.rebalance([FIRST, SECOND])
    assert await world.reader.getmany() == {}
    assert await world.take() == {FIRST: 7, SECOND: 7}
    assert await world.take() == {FIRST: 7, SECOND: 7}
    assert world.asked == [{FIRST, SECOND}]


async def test_what_is_kept_goes_on_where_it_is(world: World) -> None:
    world.rebalance([FIRST, SECOND])
    await world.take()
    world.member.seek(SECOND, 9)
    world.member._begin_patience()
    assert await world.take() == {FIRST: 7, SECOND: 9}, "a rebalance is under way"
    world.rebalance([SECOND, THIRD])
    assert await world.reader.getmany() == {SECOND: 9}, "what is gone is not handed over, what is new is held"
    assert await world.take() == {SECOND: 9, THIRD: 7}
    assert world.asked == [{FIRST, SECOND}, {THIRD}]
    assert world.told == [("assigned", {FIRST, SECOND}), ("revoked", {FIRST}), ("assigned", {SECOND, THIRD})]


async def test_what_may_have_been_another_s_meanwhile_begins_again(world: World) -> None:
    world.rebalance([FIRST, SECOND])
    await world.take()
    world.member.seek(FIRST, 9)
    world.rebalance([FIRST], knows_all=False)
    assert await world.take() == {FIRST: 7}
    assert world.told[1:] == [("revoked", {FIRST, SECOND}), ("assigned", {FIRST})]


async def test_a_decision_that_a_rebalance_overtook_does_not_count(world: World) -> None:
    world.rebalance([FIRST])
    world.meanwhile = [[SECOND]]
    assert await world.take() == {}
    assert await world.take() == {SECOND: 7}
    world.meanwhile = [[FIRST], [SECOND], [FIRST]]
    world.rebalance([FIRST])
    assert await world.take() == {}, "it is another's meanwhile, and came back"
    assert await world.take() == {FIRST: 7}
    assert world.asked == [{FIRST}, {SECOND}, {FIRST}, {FIRST}]


async def test_a_decision_counts_for_what_is_kept_meanwhile(world: World) -> None:
    world.rebalance([FIRST, SECOND])
    world.meanwhile = [[SECOND, THIRD]]
    assert await world.take() == {SECOND: 7}
    assert await world.take() == {SECOND: 7, THIRD: 7}
    assert world.asked == [{FIRST, SECOND}, {THIRD}]


async def test_a_decision_that_fails_is_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> Mapping[Place, int]:
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
    world.reader.fault = OffsetOutOfRangeError({SECOND: 7, THIRD: 7})
    assert await world.take() == {}
    assert await world.take() == {FIRST: 7, SECOND: 7}
    assert world.asked == [{FIRST, SECOND}, {SECOND}]


async def test_nothing_is_asked_of_partitions_that_were_taken_away(world: World) -> None:
    world.rebalance([SECOND])
    await world.take()
    world.member.seek(FIRST, 3)
    world.member.seek(SECOND, 4)
    await world.member.commit({FIRST: 5, SECOND: 6})
    assert (world.reader.positions, world.seat.committed) == ({SECOND: 4}, {SECOND: 6})


async def test_an_owner_says_where_its_partition_begins() -> None:
    world = World(decides=False)
    world.rebalance([FIRST, SECOND])
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
    world.rebalance([SECOND])
    world.member.start_at(FIRST, 2)
    assert await world.take() == {SECOND: 6}
    assert world.asked == []


@pytest.mark.parametrize("of", ["reader", "seat"])
async def test_errors_of_the_client_library_stay_inside(world: World, of: str) -> None:
    world.rebalance([FIRST])
    getattr(world, of).fault = GroupAuthorizationFailedError()
    with pytest.raises(KafkaFault):
        await world.take()


async def test_a_rebalance_that_does_not_end_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.kafka.member.JOIN_SECONDS", 0.01 - MEMBERSHIP.session_timeout_seconds)
    world.rebalance([FIRST])
    world.member._begin_patience()
    await asyncio.sleep(0.05)
    assert "does not end" in world.reader.impatience, "to who waits now"
    for _ in range(2):  # and to who asks later
        with pytest.raises(KafkaFault, match="does not end"):
            await world.take()
    world.rebalance([FIRST])
    assert await world.take() == {FIRST: 7}


async def test_a_rebalance_that_ends_in_time_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.kafka.member.JOIN_SECONDS", -MEMBERSHIP.session_timeout_seconds)
    world.rebalance([FIRST])
    assert world.member._patience is not None
    assert world.member._patience.cancelled()
