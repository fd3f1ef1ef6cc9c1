"""Two projectors on the same partitions: which one gives way, and for how long."""

import logging

import pytest

from projections.giving_way import (
    CALM_SECONDS,
    FIRST_PAUSE_SECONDS,
    MAX_PAUSE_SECONDS,
    SILENCE_SECONDS,
    GivingWay,
)


class World:
    """A clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.giving_way = GivingWay(lambda: self.now)


@pytest.fixture
def world() -> World:
    return World()


def test_a_single_conflict_costs_nothing(world: World) -> None:
    """As when a partition goes from one projector to another."""
    assert world.giving_way.conflict(0) == 0
    world.now += 1
    assert world.giving_way.conflict(1) == 0, "it is another partition"


def test_conflicts_that_go_on_become_rare(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Both are members, of two groups: each conflict costs a longer pause, and the log has a line now and then."""
    with caplog.at_level(logging.INFO, "projections.giving_way"):
        pauses = []
        while world.now < 1000 + 60:
            pauses.append(world.giving_way.conflict(0))
            world.now += pauses[-1] + 0.01
    assert pauses[:4] == [0, FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert max(pauses) == MAX_PAUSE_SECONDS
    assert len(pauses) < 25
    assert len(caplog.records) <= 60 / CALM_SECONDS + 1
    world.now += CALM_SECONDS
    assert world.giving_way.conflict(0) == 0


def test_who_hears_nothing_from_the_group_waits_while_another_moves_the_position(world: World) -> None:
    pause, pauses = 0.0, []
    for _ in range(8):
        pause = world.giving_way.again(pause, SILENCE_SECONDS, moved=True)
        pauses.append(pause)
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == MAX_PAUSE_SECONDS
    assert world.giving_way.again(pause, SILENCE_SECONDS, moved=False) == 0, "and takes over when nobody does"


def test_a_member_of_the_group_goes_on_after_a_pause(world: World) -> None:
    assert world.giving_way.again(1.0, SILENCE_SECONDS - 0.1, moved=True) == 0
