"""Long work lets others run after some milliseconds, and not more often."""

import asyncio
from datetime import UTC, datetime

from engine.pauses import MAX_SLICE_SECONDS, Breather


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
    return ran_at


async def test_others_run_whenever_some_milliseconds_have_passed() -> None:
    assert await others_run(24, MAX_SLICE_SECONDS / 8) == [8, 16, 24]


async def test_others_run_after_each_step_that_takes_long() -> None:
    assert await others_run(3, MAX_SLICE_SECONDS * 2) == [1, 2, 3]


async def test_work_that_takes_no_time_is_not_interrupted() -> None:
    assert await others_run(10_000, 0.0) == []
