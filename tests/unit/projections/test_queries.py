"""Coalescing and waiting, without Postgres: `projections.queries.loader` and the waiters of `positions`."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from projections.announcements import Announcement, Passed, Start
from projections.queries.errors import ReadModelUnavailable
from projections.queries.leases import LEASE_SECONDS, Leases
from projections.queries.loader import MAX_KEYS, Loader
from projections.queries.positions import ReadPositions, _PartitionState
from schemas.settings import ProjectionsSettings

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Source:
    """Answers queries when told to, with the key doubled; odd keys have no value."""

    def __init__(self) -> None:
        self.queries: list[list[int]] = []
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()
        self.errors: list[Exception] = []

    async def __call__(self, keys: list[int]) -> dict[int, int]:
        self.queries.append(keys)
        self.asked.set()
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return {key: 2 * key for key in keys if key % 2 == 0}


async def gathered(loader: Loader[int, int], source: Source, *keys: int) -> list[asyncio.Task[int | None]]:
    """One query in flight for key 0, and these keys behind it."""
    tasks = [asyncio.create_task(loader.load(0))]
    await source.asked.wait()
    tasks += [asyncio.create_task(loader.load(key)) for key in keys]
    await asyncio.sleep(0)
    return tasks


async def test_keys_gather_behind_the_query_in_flight() -> None:
    source = Source()
    tasks = await gathered(Loader(source), source, 1, 2, 2, 0)
    source.gate.set()
    assert await asyncio.gather(*tasks) == [0, None, 4, 4, 0]
    # The second 0 did not join the first, whose answer may be older than what it was promised.
    assert source.queries == [[0], [1, 2, 0]]


async def test_one_query_holds_a_bounded_number_of_keys() -> None:
    source = Source()
    tasks = await gathered(Loader(source), source, *range(1, 2 * MAX_KEYS + 2))
    source.gate.set()
    await asyncio.gather(*tasks)
    assert [len(keys) for keys in source.queries] == [1, MAX_KEYS, MAX_KEYS, 1]


async def test_a_caller_that_gives_up_disturbs_nobody() -> None:
    source = Source()
    tasks = await gathered(Loader(source), source, 2, 2, 4)
    tasks[0].cancel()
    tasks[1].cancel()
    tasks[3].cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert await tasks[2] == 4
    assert source.queries == [[0], [2]]


async def test_one_fault_is_tried_again_and_two_are_told() -> None:
    source = Source()
    source.gate.set()
    loader = Loader(source)
    source.errors = [psycopg.OperationalError("away")]
    assert await loader.load(2) == 4
    source.errors = [psycopg.OperationalError("away"), psycopg.OperationalError("away")]
    with pytest.raises(ReadModelUnavailable, match="away"):
        await loader.load(2)
    assert await loader.load(2) == 4


async def test_a_defect_reaches_the_caller_as_it_is() -> None:
    source = Source()
    source.gate.set()
    source.errors = [psycopg.ProgrammingError("no such column")]
    with pytest.raises(psycopg.ProgrammingError):
        await Loader(source).load(2)


async def test_a_value_that_cannot_be_read_is_told_to_its_callers_alone() -> None:
    async def fetch(keys: list[int]) -> dict[int, int | Exception]:
        return {key: ValueError("unreadable") if key == 3 else key for key in keys}

    loader = Loader(fetch)
    found = await asyncio.gather(*(loader.load(key) for key in (1, 2, 3, 4, 3)), return_exceptions=True)
    assert [found[0], found[1], found[3]] == [1, 2, 4]
    assert all(isinstance(found[place], ValueError) for place in (2, 4))


async def test_callers_wait_no_longer_than_the_deadline() -> None:
    source = Source()
    loader = Loader(source, deadline_seconds=0.01)
    tasks = await gathered(loader, source, 2)
    for task in tasks:
        with pytest.raises(ReadModelUnavailable):
            await task
    source.gate.set()
    assert await loader.load(4) == 8
    assert source.queries == [[0], [4]]  # nobody waits for 2 any more


async def test_closing_tells_the_callers() -> None:
    source = Source()
    loader = Loader(source)
    tasks = await gathered(loader, source, 2)
    await loader.close()
    for task in tasks:
        with pytest.raises(ReadModelUnavailable):
            await task


class Shelf:
    """Values that are counted when they are read."""

    def __init__(self, **values: int) -> None:
        self.values = values
        self.reads = 0

    async def read(self, key: str) -> int | None:
        self.reads += 1
        return self.values.get(key)


class Clock:
    """A time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_lease_ends() -> None:
    shelf, clock = Shelf(a=1), Clock()
    leases = Leases(shelf.read, clock)
    assert await leases.get("a") == 1
    shelf.values["a"] = 2
    clock.now += LEASE_SECONDS * 0.99
    assert await leases.get("a") == 1
    clock.now += LEASE_SECONDS * 0.01
    assert await leases.get("a") == 2
    assert shelf.reads == 2


async def test_a_lease_begins_before_its_read() -> None:
    clock = Clock()

    async def read(key: str) -> int:
        clock.now += LEASE_SECONDS  # a slow one
        return int(clock.now * 10)

    leases = Leases(read, clock)
    assert await leases.get("a") != await leases.get("a")


async def test_nothing_is_kept_of_what_is_missing_and_nothing_longer_than_its_lease() -> None:
    shelf, clock = Shelf(a=1), Clock()
    leases = Leases(shelf.read, clock)
    assert await leases.get("b") is None
    shelf.values["b"] = 2
    assert await leases.get("b") == 2
    for n in range(1000):
        shelf.values[f"k{n}"] = n
        await leases.get(f"k{n}")
        clock.now += LEASE_SECONDS / 10
        assert len(leases._held) <= 12


async def test_what_is_announced_of_a_start_reaches_who_waits_for_it() -> None:
    positions = ReadPositions(ProjectionsSettings())
    wanted, other = UUID(int=1), UUID(int=2)
    starts = [Start(id, AT, AT, None, None, []) for id in (other, wanted)]
    with positions.starting(wanted) as starting:
        positions._announced(Announcement(starts=starts, positions={0: Passed(5, 9)}))
        await positions.wait_cause(0, 5, 0.0)
        assert starting.start == starts[1]
    positions._announced(Announcement(starts=starts))
    assert positions._starting == {}


async def test_waiters_wake_in_the_order_of_their_causes() -> None:
    partition = _PartitionState()
    futures = {cause: partition.wait(cause) for cause in (7, 3, 5, 5)}
    partition.advance(Passed(4, 40))
    assert [cause for cause, future in futures.items() if future.done()] == [3]
    partition.advance(Passed(2, 20))  # older news
    assert (partition.cause, partition.next_offset) == (4, 40)
    partition.advance(Passed(7, 70))
    assert all(future.done() for future in futures.values())


async def test_waiters_that_gave_up_are_cleared_away() -> None:
    partition = _PartitionState()
    patient = partition.wait(10)
    for cause in range(100, 1100):
        partition.wait(cause).cancel()
        partition.abandon()
        assert len(partition._heap) <= 3
    partition.advance(Passed(10, 0))
    assert patient.done()
    partition.advance(Passed(10_000, 0))
    assert (partition._heap, partition._abandoned) == ([], 0)
