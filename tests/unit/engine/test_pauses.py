"""Long work lets others run after some milliseconds, and not more often; of several, one goes on in each round."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import uvloop

from engine.pauses import MAX_SLICE_SECONDS, Breather

SLICE_SECONDS = 1.01 * MAX_SLICE_SECONDS


class Stopwatch:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.seconds = 7.0

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds


async def others_run(steps: int, step_seconds: float) -> list[int]:
    """After which steps others could run."""
    stopwatch, breather_steps, ran_at = Stopwatch(), 0, []
    breather = Breather(stopwatch)

    async def another() -> None:
        while True:
            await asyncio.sleep(0)
            ran_at.append(breather_steps)

    other = asyncio.create_task(another())
    await asyncio.sleep(0)
    for _ in range(steps):
        stopwatch.seconds += step_seconds
        breather_steps += 1
        await breather.step()
    other.cancel()
    return sorted(set(ran_at))


async def test_others_run_whenever_some_milliseconds_have_passed() -> None:
    assert await others_run(24, MAX_SLICE_SECONDS / 8) == [8, 16, 24]


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_many_at_work_hold_up_the_loop_no_longer_than_one(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    stopwatch = Stopwatch()
    done: list[int] = []

    async def work(number: int) -> None:
        breather = Breather(stopwatch)
        for _ in range(10):
            stopwatch.seconds += SLICE_SECONDS
            await breather.step()
            done.append(number)

    async def measured() -> float:
        workers = [asyncio.create_task(work(number)) for number in range(16)]
        await asyncio.sleep(0)  # each begins with a slice, as its turn did not have to come
        held = 0.0
        while not all(worker.done() for worker in workers):
            before = stopwatch.seconds
            await asyncio.sleep(0)
            held = max(held, stopwatch.seconds - before)
        return held

    with asyncio.Runner(loop_factory=make_loop) as runner:
        # Two, as who measures may be before the one and behind the other in its round.
        assert runner.run(measured()) <= 2.01 * SLICE_SECONDS
    assert done == [*range(16)] * 10, "in turn"


async def test_one_that_is_canceled_while_it_waits_holds_up_no_other() -> None:
    stopwatch, done = Stopwatch(), list[int]()

    async def work(number: int) -> None:
        breather = Breather(stopwatch)
        stopwatch.seconds += SLICE_SECONDS
        await breather.step()
        done.append(number)

    workers = [asyncio.create_task(work(number)) for number in range(3)]
    await asyncio.sleep(0)
    workers[0].cancel()
    await asyncio.wait(workers)
    await work(3)
    assert done == [1, 2, 3]


async def test_others_run_after_each_step_that_takes_long() -> None:
    assert await others_run(3, MAX_SLICE_SECONDS * 2) == [1, 2, 3]


async def test_work_that_takes_no_time_is_not_interrupted() -> None:
    assert await others_run(10_000, 0.0) == []
