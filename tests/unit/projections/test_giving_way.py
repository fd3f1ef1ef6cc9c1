"""Two projectors on the same partitions: which one gives way, and for how long."""

import logging

import pytest

from projections.giving_way import CALM_SECONDS, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, GivingWay
from projections.rows import ReadPosition

FIRST, LONGEST = FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS


class World:
    """A group, the positions that another projector moves for some time, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.member = True
        self.moves_until = 0.0
        self.member_again_at: float | None = None
        self.interrupted = False
        self.pauses: list[float] = []
        self.giving_way = GivingWay(
            is_member=self.is_member, positions=self.positions, wait=self.wait, clock=lambda: self.now
        )

    async def is_member(self) -> bool:
        return self.member or (self.member_again_at is not None and self.now >= self.member_again_at)

    async def positions(self) -> dict[int, ReadPosition]:
        return {0: ReadPosition(int(10 * min(self.now, self.moves_until)))}

    async def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        return self.interrupted


@pytest.fixture
def world() -> World:
    return World()


async def test_a_member_of_the_group_goes_on_at_once(world: World) -> None:
    await world.giving_way.conflict()
    assert world.pauses == []


async def test_who_is_no_member_waits_while_another_moves_the_positions(world: World) -> None:
    world.member, world.moves_until = False, world.now + 35
    await world.giving_way.conflict()
    assert world.now >= world.moves_until
    assert world.now - world.moves_until <= 2 * LONGEST, "and takes over soon after nobody does"
    assert world.pauses[0] == FIRST
    assert max(world.pauses) == LONGEST


async def test_who_is_a_member_again_goes_on(world: World) -> None:
    world.member, world.moves_until, world.member_again_at = False, world.now + 3600, world.now + 10
    await world.giving_way.conflict()
    assert 10 <= world.now - 1000 <= 10 + LONGEST


async def test_a_rebalance_or_an_order_to_stop_ends_the_wait(world: World) -> None:
    world.member, world.moves_until, world.interrupted = False, world.now + 3600, True
    await world.giving_way.conflict()
    assert world.pauses == [FIRST]


async def test_conflicts_that_go_on_become_rare(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Both are members, of two groups: each conflict costs a longer pause, and the log has a line now and then."""
    with caplog.at_level(logging.INFO, "projections.giving_way"):
        conflicts = 0
        while world.now < 1000 + 60:
            await world.giving_way.conflict()
            world.now += 0.01
            conflicts += 1
    assert conflicts < 25
    assert len(caplog.records) <= 60 / CALM_SECONDS + 1
    world.now += CALM_SECONDS
    world.pauses.clear()
    await world.giving_way.conflict()
    assert world.pauses == []
