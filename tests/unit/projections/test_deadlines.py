"""Deadlines for one block of code after the other."""

import asyncio

import pytest

from projections.deadlines import Deadline
from tests.unit.projections.timers import Clock

SECONDS = 10.0


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def hold(deadline: Deadline, until: asyncio.Event) -> str:
    with deadline:
        await until.wait()
    return "done"


async def begun(deadline: Deadline) -> tuple[asyncio.Task[str], asyncio.Event]:
    ends = asyncio.Event()
    task = asyncio.create_task(hold(deadline, ends))
    await asyncio.sleep(0)
    return task, ends


async def test_what_takes_too_long_ends_with_a_timeout_and_the_next_block_is_as_the_first(clock: Clock) -> None:
    deadline = Deadline(SECONDS)
    for start in (0.0, 100.0):
        clock.now = start
        task, _ = await begun(deadline)
        await clock.pass_to(start + SECONDS - 1)
        assert not task.done()
        await clock.pass_to(start + SECONDS)
        with pytest.raises(TimeoutError):
            await task
        assert task.cancelling() == 0


async def test_many_blocks_share_a_timer_and_each_has_all_of_its_time(clock: Clock) -> None:
    deadline = Deadline(SECONDS)
    for now in range(9):
        clock.now = now
        task, ends = await begun(deadline)
        ends.set()
        assert await task == "done"
        assert len(clock.timers) == 1
    task, ends = await begun(deadline)
    await clock.pass_to(8 + SECONDS - 1)
    assert not task.done()
    assert [at for at, _ in clock.timers] == [8 + SECONDS]
    await clock.pass_to(8 + SECONDS)
    with pytest.raises(TimeoutError):
        await task


async def test_a_deadline_that_nobody_uses_has_no_timer(clock: Clock) -> None:
    deadline = Deadline(SECONDS)
    task, ends = await begun(deadline)
    ends.set()
    await task
    await clock.pass_to(SECONDS)
    assert clock.timers == []
    task, ends = await begun(deadline)
    deadline.close()
    assert [timer.cancelled() for _, timer in clock.timers] == [False]
    ends.set()
    await task
    deadline.close()
    assert [timer.cancelled() for _, timer in clock.timers] == [True]


async def test_whoever_is_canceled_is_not_told_of_a_timeout(clock: Clock) -> None:
    deadline = Deadline(SECONDS)
    task, _ = await begun(deadline)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    task, _ = await begun(deadline)
    task.cancel()
    clock.now = SECONDS
    for _, timer in clock.timers:
        timer._run()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_that_comes_with_the_timeout_is_told(clock: Clock) -> None:
    deadline = Deadline(SECONDS)

    async def fail() -> None:
        with deadline:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError("it failed") from None

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await clock.pass_to(SECONDS)
    with pytest.raises(ValueError, match="it failed"):
        await task


async def test_a_deadline_is_for_one_task_at_a_time(clock: Clock) -> None:
    deadline = Deadline(SECONDS)
    task, ends = await begun(deadline)
    second, _ = await begun(deadline)
    with pytest.raises(RuntimeError):
        await second
    ends.set()
    assert await task == "done"
