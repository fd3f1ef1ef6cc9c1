"""Reads that callers share."""

import asyncio
from collections.abc import Hashable

import pytest

from projections.queries.sharing import SharedReads


class Source:
    """Answers each read with its number, when told to."""

    def __init__(self) -> None:
        self.reads: list[tuple[Hashable, asyncio.Future[int]]] = []
        self.shared = SharedReads()

    async def ask(self, key: Hashable) -> int:
        async def read() -> int:
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self.reads.append((key, future))
            return await future

        return await self.shared.get(key, read)

    async def callers(self, *keys: Hashable) -> list[asyncio.Task[int]]:
        tasks = [asyncio.create_task(self.ask(key)) for key in keys]
        await settle()
        return tasks

    async def answer(self, number: int) -> None:
        self.reads[number][1].set_result(number)
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_while_a_read_is_in_flight_shares_the_next() -> None:
    source = Source()
    first, *others = await source.callers("a", "a", "a")
    assert len(source.reads) == 1
    await source.answer(0)
    assert await first == 0
    assert not any(task.done() for task in others)
    await source.answer(1)
    assert await asyncio.gather(*others) == [1, 1]
    assert len(source.reads) == 2
    (late,) = await source.callers("a")
    await source.answer(2)
    assert await late == 2


async def test_other_reads_do_not_wait() -> None:
    source = Source()
    tasks = await source.callers("a", "b")
    assert [key for key, _ in source.reads] == ["a", "b"]
    await source.answer(1)
    assert tasks[1].done()
    await source.answer(0)


async def test_a_caller_that_gives_up_disturbs_nobody() -> None:
    source = Source()
    first, second, third = await source.callers("a", "a", "a")
    second.cancel()
    await settle()
    await source.answer(0)
    assert await first == 0
    (fourth,) = await source.callers("a")
    third.cancel()
    await source.answer(1)
    await source.answer(2)
    assert await fourth == 2


async def test_a_read_that_nobody_shares_ends_with_its_caller_and_the_next_one_begins() -> None:
    source = Source()
    first, second = await source.callers("a", "a")
    first.cancel()
    await settle()
    assert source.reads[0][1].cancelled()
    await source.answer(1)
    assert await second == 1
    assert source.shared._reads == {}


async def test_a_fault_reaches_those_who_share_the_read_and_nobody_else() -> None:
    source = Source()
    first, second, third = await source.callers("a", "a", "a")
    source.reads[0][1].set_exception(ValueError("first"))
    with pytest.raises(ValueError, match="first"):
        await first
    await settle()
    source.reads[1][1].set_exception(ValueError("second"))
    for task in (second, third):
        with pytest.raises(ValueError, match="second"):
            await task


async def test_nothing_is_kept_of_reads_that_are_over() -> None:
    source = Source()
    tasks = await source.callers("a", "a", "b")
    for number in range(3):
        await source.answer(number)
    assert all(task.done() for task in tasks)
    assert source.shared._reads == {}
