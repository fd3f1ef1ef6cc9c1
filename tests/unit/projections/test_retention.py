"""Sweeps: what is deleted when, how fast, and what happens when Postgres is away; in memory, in virtual time."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from projections import retention
from projections.errors import StoreAway
from projections.memory import MemoryDatabase, MemoryStore
from projections.metrics import Metrics
from projections.ports import Deletion
from projections.retention import (
    FIRST_LIMIT,
    LOOK_SECONDS,
    LOOKS,
    MAX_BATCH_SECONDS,
    MAX_LIMIT,
    PAUSES,
    SWEEP_SECONDS,
    WAIT_SECONDS,
    Retention,
    log_ends,
    next_limit,
    retention_days,
)
from projections.rows import Advance
from schemas import events
from schemas.kafka import KafkaFault, NewTopic
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.resources import InstanceState
from schemas.settings import ProjectionsSettings
from tests.simulation.loop import in_world
from tests.store_contract import START, batch_of, id, started

NOW: Final = START + timedelta(days=31)
DELETED: Final = "orchestration_projections_deleted_instances_total"


class World(MemoryStore):
    """A store whose statements take time, and what a retention makes of it."""

    def __init__(self) -> None:
        self.database = MemoryDatabase(lambda: self.now - self.ahead)
        super().__init__(self.database)
        self.database.caught_up, self.database.partitions = {0}, 1
        self.now = NOW
        self.ahead = timedelta()
        """How far the clock of the process is ahead of that of the database."""
        self.takes = 0.01
        self.limits: list[int] = []
        self.faults: list[Exception | None] = []
        self.ends: dict[int, int] = {}
        """Where the log ends."""
        self.others = False
        """Whether another process deletes."""
        self.slept: list[float] = []
        self.registry = CollectorRegistry()
        self.told: list[str] = []
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self.told.append(record.getMessage())  # type: ignore[method-assign]

    async def __aenter__(self) -> "World":
        retention.logger.addHandler(self._handler)
        retention.logger.setLevel(logging.INFO)
        return self

    async def __aexit__(self, *error: object) -> None:
        retention.logger.removeHandler(self._handler)
        retention.logger.setLevel(logging.NOTSET)
        await self.close()

    async def write_instances(self, count: int, at: datetime = START, error: str | None = None) -> None:
        """Instances that have ended at this time."""
        (position,) = (await self.positions([0])).values()
        first = 10 + position.next_offset * 10_000
        happened: list[tuple[str, Any]] = []
        for n in range(first, first + count):
            happened += [(id(n), started(at)), (id(n), events.InstanceEnded(at=at, workflow_id=id(1), error=error))]
        offset = position.next_offset
        await self.write(batch_of(*happened, advance=Advance(0, offset, offset + 1, 1, 1)))

    async def delete_ended(
        self, outcome: InstanceState, before: datetime, age: timedelta, behind: Any, limit: int
    ) -> Deletion | None:
        await asyncio.sleep(self.takes)
        if self.faults and (fault := self.faults.pop(0)) is not None:
            raise fault
        if self.others:
            return None
        self.limits.append(limit)
        return await super().delete_ended(outcome, before, age, behind, limit)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(seconds)

    def retention(self, days: dict[InstanceState, int] | None = None) -> Retention:
        days = {"succeeded": 30} if days is None else days
        return Retention(self, days, Metrics(self.registry), self.log_ends, lambda: self.now.timestamp(), self.sleep)

    async def log_ends(self) -> dict[int, int]:
        if self.faults and isinstance(self.faults[0], KafkaFault):
            raise self.faults.pop(0) or KafkaFault
        return self.ends

    def deleted(self, outcome: InstanceState) -> float:
        return self.registry.get_sample_value(DELETED, {"outcome": outcome}) or 0

    @property
    def left(self) -> int:
        return len(self.database.tables.instances)


def test_outcomes_with_a_setting() -> None:
    settings = ProjectionsSettings()
    assert retention_days(settings) == {}
    assert retention_days(replace(settings, retention_failed_days=90)) == {"failed": 90}
    settings = replace(settings, retention_succeeded_days=1, retention_failed_days=2, retention_aborted_days=3)
    assert retention_days(settings) == {"succeeded": 1, "failed": 2, "aborted": 3}


@pytest.mark.parametrize(
    ("limit", "took", "wanted"),
    [
        (100, 0.001, 200),
        (800, 0.001, MAX_LIMIT),
        (100, MAX_BATCH_SECONDS / 2, 100),
        (100, MAX_BATCH_SECONDS * 1.01, 50),
        (1, 10.0, 1),
    ],
)
def test_batches_take_about_as_long_as_they_may(limit: int, took: float, wanted: int) -> None:
    assert next_limit(limit, took) == wanted


@in_world(World)
async def test_a_sweep_deletes_by_outcome_in_batches_with_pauses(world: World) -> None:
    await world.write_instances(200)
    await world.write_instances(3, error="no")
    await world.write_instances(4, error=events.CANCELED)
    await world.write_instances(5, at=START + timedelta(days=2))
    assert await world.retention({"succeeded": 30, "aborted": 40}).sweep()
    assert (world.deleted("succeeded"), world.deleted("failed"), world.deleted("aborted")) == (200, 0, 0)
    assert world.left == 3 + 4 + 5
    assert world.limits == [50, 100, 200, 200], "the third has found the end; the fourth is of another outcome"
    assert world.slept == [pytest.approx(PAUSES * 0.01)] * 2
    assert world.told == ["200 instances that had succeeded before 2026-03-02 10:00 UTC are deleted"]


@in_world(World)
async def test_a_slow_batch_is_followed_by_a_smaller_one(world: World) -> None:
    await world.write_instances(200)
    world.takes = 2 * MAX_BATCH_SECONDS
    assert await world.retention().sweep()
    assert world.limits[:4] == [50, 25, 12, 6]
    assert world.left == 0


@in_world(World)
async def test_while_another_process_deletes_this_one_does_not(world: World) -> None:
    await world.write_instances(1)
    world.others = True
    assert await world.retention().sweep()
    assert world.left == 1


@in_world(World)
async def test_nothing_is_deleted_before_all_partitions_have_caught_up(world: World) -> None:
    await world.write_instances(1)
    world.database.partitions = 2
    assert not await world.retention().sweep()
    assert world.left == 1


@in_world(World)
async def test_nothing_is_deleted_while_a_partition_is_behind_the_log(world: World) -> None:
    """It may be behind for days. By then somebody may have retried what is deleted."""
    await world.write_instances(1)
    position = (await world.positions([0]))[0].next_offset
    world.ends = {0: position + 1, 1: 0}
    retention = world.retention()
    assert not await retention.sweep()
    assert world.slept == [LOOK_SECONDS] * LOOKS
    sweep = asyncio.create_task(retention.sweep())
    await asyncio.sleep(LOOK_SECONDS * 1.5)
    assert world.left == 1
    await world.write(batch_of(advance=Advance(0, position, position + 1, 1, 1)))
    assert await sweep
    assert world.left == 0


async def run_until(world: World, holds: Callable[[], bool]) -> None:
    """Run until something holds."""
    task = asyncio.create_task(world.retention().run())
    async with asyncio.timeout(100 * SWEEP_SECONDS):
        while not holds():  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(1)
    task.cancel()


@in_world(World)
async def test_it_goes_on_after_faults(world: World) -> None:
    await world.write_instances(FIRST_LIMIT + 1)
    world.faults = [KafkaFault("gone"), StoreAway("away"), ValueError("defect"), None, StoreAway("in the middle")]
    await run_until(world, lambda: world.left == 0)
    assert [pause for pause in world.slept if pause >= 1] == [WAIT_SECONDS] * 4 + [SWEEP_SECONDS]
    assert world.told == [
        "what ended long ago can't be deleted now, Kafka: gone",
        "what ended long ago can't be deleted now, Postgres: away",
        "what ended long ago can't be deleted",
        "50 instances that had succeeded before 2026-03-02 10:00 UTC are deleted",
        "what ended long ago can't be deleted now, Postgres: in the middle",
        "1 instances that had succeeded before 2026-03-02 10:00 UTC are deleted",
    ]
    assert world.limits == [FIRST_LIMIT, FIRST_LIMIT], "what was deleted stays deleted; the size is tried again"


@in_world(World)
async def test_it_comes_again_for_what_has_grown_old(world: World) -> None:
    await world.write_instances(1, at=NOW - timedelta(days=30) + timedelta(seconds=1))
    task = asyncio.create_task(world.retention().run())
    await asyncio.sleep(SWEEP_SECONDS / 2)
    assert world.left == 1
    world.now = NOW + timedelta(seconds=SWEEP_SECONDS)
    await asyncio.sleep(SWEEP_SECONDS)
    assert world.left == 0
    task.cancel()


async def test_nobody_has_read_all_of_a_log_that_is_not_there() -> None:
    """A topic that was deleted has no end that the read model could be behind, and all would be deleted at once."""
    cluster = MemoryCluster()
    cluster.create(NewTopic("events", 2, 1))
    kafka = MemoryKafka(cluster)
    assert await log_ends(kafka, "events") == {0: 0, 1: 0}
    with pytest.raises(KafkaFault, match="there is no topic others"):
        await log_ends(kafka, "others")


def test_constants_leave_readers_alone() -> None:
    assert retention.MAX_LIMIT <= 1000
    assert retention.MAX_BATCH_SECONDS <= 0.05


@in_world(World)
async def test_a_process_whose_clock_is_ahead_deletes_nothing_early(world: World) -> None:
    await world.write_instances(1)
    await world.write_instances(1, NOW - timedelta(days=29))
    world.now, world.ahead = NOW + timedelta(days=1000), timedelta(days=1000)
    assert await world.retention().sweep()
    assert (world.left, world.deleted("succeeded")) == (1, 1)
