"""When readers are told that the read model has everything again."""

from collections.abc import Collection, Mapping
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from projections.catching_up import RETRY_SECONDS, CatchingUp
from projections.metrics import Metrics
from projections.ports import Store
from projections.rows import ReadPosition
from schemas.kafka import KafkaFault, Limits, Place


class Database:
    """The read model: which partitions have caught up, as `Store` tells and notes it."""

    def __init__(self) -> None:
        self.caught_up: set[int] = set()
        self.partitions = 0

    async def not_caught_up(self, partitions: Collection[int]) -> set[int]:
        return set(partitions) - self.caught_up

    async def note_caught_up(self, ends: Mapping[int, int], partitions: int) -> set[int]:
        self.partitions = partitions
        self.caught_up |= set(ends)
        return set(ends)


class Log:
    """A log by the limits of its partitions; counts how often it is asked."""

    def __init__(self, ends: dict[int, int]):
        self.oldest = dict.fromkeys(ends, 0)
        self.ends = ends
        self.away = False
        self.knows_topic = True
        self.asked = 0

    def partitions(self) -> int:
        return len(self.ends) if self.knows_topic else 0

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        self.asked += 1
        if self.away:
            raise KafkaFault
        return {place: Limits(self.oldest[place.partition], self.ends[place.partition]) for place in places}


class World:
    """Two partitions of this projector and one of another."""

    def __init__(self) -> None:
        self.database, self.log, self.now = Database(), Log({0: 10, 1: 20, 2: 30}), 0.0
        self.registry = CollectorRegistry()
        self.positions = {0: 10, 1: 19}
        self.catching_up = CatchingUp(
            cast(Store, self.database), "events", Metrics(self.registry), clock=lambda: self.now
        )

    async def begin(self) -> None:
        await self.catching_up.begin(list(self.positions))

    async def go_on(self) -> None:
        positions = {partition: ReadPosition(next_offset) for partition, next_offset in self.positions.items()}
        await self.catching_up.go_on(self.log, positions)

    @property
    def missing(self) -> float | None:
        return self.registry.get_sample_value("orchestration_projections_catching_up_partitions")


@pytest.fixture
def world() -> World:
    return World()


async def test_a_partition_has_caught_up_once_it_has_passed_the_end(world: World) -> None:
    await world.begin()
    assert world.missing == 2
    await world.go_on()
    assert (world.database.caught_up, world.database.partitions, world.missing) == ({0}, 3, 1)
    # What comes meanwhile was not shown before: it is not waited for.
    world.log.ends[1] = 1000
    await world.go_on()
    assert world.database.caught_up == {0}
    world.positions[1] = 20
    await world.go_on()
    assert (world.database.caught_up, world.missing) == ({0, 1}, 0)
    await world.go_on()
    assert world.log.asked == 1


async def test_the_ends_are_asked_for_again_after_postgres_started_again(world: World) -> None:
    await world.begin()
    await world.go_on()
    world.database.caught_up.clear()
    world.log.ends[0] = 50  # these were shown before Postgres was lost a second time
    await world.begin()
    await world.go_on()
    assert world.database.caught_up == set()
    world.positions[0] = 50
    await world.go_on()
    assert world.database.caught_up == {0}


async def test_a_partition_without_records_has_nothing_to_wait_for(world: World) -> None:
    world.log.oldest[1] = world.log.ends[1] = 5000
    await world.begin()
    await world.go_on()
    assert world.database.caught_up == {0, 1}


async def test_kafka_is_asked_again_after_a_pause(world: World) -> None:
    world.log.away = True
    await world.begin()
    for _ in range(3):
        await world.go_on()
    assert (world.log.asked, world.missing) == (1, 2)
    world.log.away = False
    world.now += RETRY_SECONDS
    await world.go_on()
    assert world.database.caught_up == {0}


async def test_what_was_noted_and_is_gone_is_noticed(world: World) -> None:
    world.positions[1] = 20
    await world.begin()
    await world.go_on()
    world.database.caught_up.clear()  # another table is in its place
    await world.catching_up.check(list(world.positions))
    assert world.missing == 2
    await world.go_on()
    assert world.database.caught_up == {0, 1}


async def test_nothing_is_noted_while_the_number_of_partitions_is_unknown(world: World) -> None:
    """Readers wait for all partitions: by a wrong number for ever."""
    await world.begin()
    world.log.knows_topic = False
    await world.go_on()
    assert (world.database.caught_up, world.missing) == (set(), 2)
    world.log.knows_topic = True
    await world.go_on()
    assert (world.database.caught_up, world.database.partitions) == ({0}, 3)
