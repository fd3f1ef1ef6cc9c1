"""How long partitions pause when projectors come and go: those that stay where they are, and those that move."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import pytest
from msgspec.structs import replace

from schemas.kafka import Place
from schemas.topics import public_topic
from tests.simulation.loop import simulate
from tests.unit.projections.test_process import PARTITIONS, SETTINGS, TOPIC, Process, World, until

EVERY_SECONDS: Final = 0.1
PAUSE_SECONDS: Final = 0.5
"""Longest pause of a partition that stays where it is."""
TAKEOVER_SECONDS: Final = SETTINGS.projections_session_timeout_seconds + 1.0
"""Longest pause of a partition whose projector was killed."""
COME_BACK_SECONDS: Final = 1.0
"""Longest pause of a partition whose projector was killed and started again at once."""
PLANNED_SECONDS: Final = 1.0
"""Longest pause of a partition whose projector was told to stop, or that goes to another one that came."""
PUBLISHED_SECONDS: Final = 0.5
"""How much longer it takes until an event is published."""


class Meter:
    """Writes events to all partitions all the time, and notes how long it takes until each is shown and published."""

    def __init__(self, world: World):
        self._world = world
        self.shown = dict.fromkeys(range(PARTITIONS), 0.0)
        self.published = dict.fromkeys(range(PARTITIONS), 0.0)
        self._waiting: list[tuple[float, int, int]] = []
        self._unpublished: dict[str, tuple[float, int]] = {}
        self._public = dict.fromkeys(range(PARTITIONS), 0)

    def reset(self) -> None:
        """Forget what took long until now."""
        self.shown = dict.fromkeys(self.shown, 0.0)
        self.published = dict.fromkeys(self.published, 0.0)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for _ in range(PARTITIONS):
                self._world.run_instance()
                partition = (len(self._world.ids) - 1) % PARTITIONS
                end = self._world.cluster.log(Place(TOPIC, partition)).limits().end
                self._waiting.append((loop.time(), partition, end))
                self._unpublished[self._world.ids[-1]] = (loop.time(), partition)
            await asyncio.sleep(EVERY_SECONDS)
            self.look(loop.time())

    def look(self, now: float) -> None:
        """Also what has not come yet counts, for as long as it is waited for."""
        positions = self._world.database.tables.positions
        for since, partition, _ in self._waiting:
            self.shown[partition] = max(self.shown[partition], now - since)
        self._waiting = [
            (since, partition, end)
            for since, partition, end in self._waiting
            if partition not in positions or positions[partition].next_offset < end
        ]
        for since, partition in self._unpublished.values():
            self.published[partition] = max(self.published[partition], now - since)
        for partition, offset in self._public.items():
            log = self._world.cluster.log(Place(public_topic(SETTINGS), partition))
            for batch in log.batches(offset, committed_only=True):
                self._public[partition] = batch.end
                for record in batch.records:
                    self._unpublished.pop((record.key or b"").decode(), None)


@contextlib.asynccontextmanager
async def measuring(world: World) -> AsyncIterator[Meter]:
    meter = Meter(world)
    task = asyncio.create_task(meter.run())
    try:
        yield meter
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def read_by(process: Process) -> set[int]:
    return set(process.projections._admission.partitions)


def published_by(process: Process) -> set[int]:
    return set(process.projections._publisher._owners)


async def shared(first: Process, second: Process) -> None:
    await until(lambda: all(map(read_by, (first, second))) and all(map(published_by, (first, second))))
    await until(lambda: first.projections.ready and second.projections.ready)
    await asyncio.sleep(3.0)


def check(meter: Meter, moved: set[int], moved_published: set[int], seconds: float) -> None:
    for partition in range(PARTITIONS):
        limit = seconds if partition in moved else PAUSE_SECONDS
        assert meter.shown[partition] <= limit, f"{partition} of {moved}"
        limit = seconds if partition in moved_published else PAUSE_SECONDS
        assert meter.published[partition] <= limit + PUBLISHED_SECONDS, f"{partition} of {moved_published}, published"


def test_a_projector_that_is_killed_stops_no_other() -> None:
    async def main() -> None:
        world = World()
        async with Process(world, "a") as first, Process(world, "b") as second:
            await shared(first, second)
            moved, moved_published = read_by(second), published_by(second)
            async with measuring(world) as meter:
                await asyncio.sleep(1.0)
                meter.reset()
                await second.kill()
                await asyncio.sleep(1.5 * TAKEOVER_SECONDS)
            assert read_by(first) == published_by(first) == set(range(PARTITIONS))
            check(meter, moved, moved_published, TAKEOVER_SECONDS)
            assert max(meter.shown.values()) > PAUSE_SECONDS, "it was measured"
            assert first.count("position_conflicts_total") == 0
            await until(lambda: world.caught_up and len(world.published) == len(world.ids))
        world.check()

    simulate(main())


def test_a_projector_that_is_killed_and_comes_back_goes_on_where_it_was() -> None:
    async def main() -> None:
        world = World()
        async with Process(world, "a", "p-0") as first, Process(world, "b", "p-1") as second:
            await shared(first, second)
            moved, moved_published = read_by(second), published_by(second)
            async with measuring(world) as meter:
                await asyncio.sleep(1.0)
                meter.reset()
                await second.kill()
                async with Process(world, "b", "p-1") as again:
                    await asyncio.sleep(2 * TAKEOVER_SECONDS)
                    assert (read_by(again), published_by(again)) == (moved, moved_published)
                    check(meter, moved, moved_published, COME_BACK_SECONDS)
            await until(lambda: world.caught_up and len(world.published) == len(world.ids))
        world.check()

    simulate(main())


def test_a_projector_that_is_told_to_stop_hands_over_at_once() -> None:
    async def main() -> None:
        world = World()
        async with Process(world, "a") as first:
            async with Process(world, "b") as second:
                await shared(first, second)
                moved, moved_published = read_by(second), published_by(second)
                async with measuring(world) as meter:
                    await asyncio.sleep(1.0)
                    meter.reset()
                    second.stop.set()
                    await asyncio.sleep(5.0)
            assert read_by(first) == published_by(first) == set(range(PARTITIONS))
            check(meter, moved, moved_published, PLANNED_SECONDS)
            await until(lambda: world.caught_up and len(world.published) == len(world.ids))
        world.check()

    simulate(main())


@pytest.mark.parametrize("seed", range(3))
def test_a_projector_that_comes_stops_no_other(seed: int) -> None:
    async def main() -> None:
        world = World(seed)
        world.faults.quiet = True
        async with Process(world, "a") as first:
            await until(lambda: first.projections.ready)
            await asyncio.sleep(10.0)
            async with measuring(world) as meter:
                await asyncio.sleep(1.0)
                meter.reset()
                async with Process(world, "b") as second:
                    await asyncio.sleep(8.0)
                    moved, moved_published = read_by(second), published_by(second)
                    assert moved
                    assert moved_published
                    check(meter, moved, moved_published, PLANNED_SECONDS)
            await until(lambda: world.caught_up and len(world.published) == len(world.ids))
        world.check()

    simulate(main())


class Contested(World):
    """Another projector is always faster with partition 0."""

    def run_instance(self) -> None:
        super().run_instance()
        if (len(self.ids) - 1) % PARTITIONS == 0:
            positions = self.database.tables.positions
            end = self.cluster.log(Place(TOPIC, 0)).limits().end
            positions[0] = replace(positions[0], next_offset=end, epoch=self.epochs[0])


def test_only_the_partition_that_another_moves_is_left_alone() -> None:
    async def main() -> None:
        world = Contested()
        async with Process(world, "a") as process:
            await until(lambda: process.projections.ready)
            async with measuring(world) as meter:
                await asyncio.sleep(1.0)
                meter.reset()
                await asyncio.sleep(20.0)
            assert 1 < process.count("position_conflicts_total") < 20
            assert meter.shown[1] <= PAUSE_SECONDS
            assert meter.shown[2] <= PAUSE_SECONDS

    simulate(main())
