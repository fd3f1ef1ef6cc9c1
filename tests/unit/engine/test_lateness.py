"""How late the event loop is, told as the worst of the last minute."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from engine.lateness import EVERY_SECONDS, WINDOW_SECONDS, Lateness
from tests.simulation.loop import simulate


class Held:
    """A clock that goes on while something holds up the loop."""

    def __init__(self) -> None:
        self.held_seconds = 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.held_seconds

    def hold(self, seconds: float) -> None:
        """Keep the loop from running anything else for so long."""
        self.held_seconds += seconds


@contextlib.asynccontextmanager
async def measured(clock: Held) -> AsyncIterator[Lateness]:
    """A measurement under way."""
    lateness = Lateness(clock.monotonic)
    task = asyncio.create_task(lateness.run())
    await asyncio.sleep(1.01)
    yield lateness
    task.cancel()


def worst(lateness: Lateness) -> float:
    return round(lateness.worst_seconds(), 3)


def test_a_loop_that_is_in_time_is_not_late() -> None:
    async def scenario() -> None:
        async with measured(Held()) as lateness:
            assert worst(lateness) == 0.0

    simulate(scenario())


def test_the_worst_of_the_last_minute_is_told() -> None:
    async def scenario() -> None:
        clock = Held()
        async with measured(clock) as lateness:
            told = []
            for seconds in (0.3, 2.0, 0.5):
                clock.hold(seconds)
                await asyncio.sleep(20.0)
                told.append(worst(lateness))
            assert told == [0.3, 2.0, 2.0]
            await asyncio.sleep(WINDOW_SECONDS - 40.0)
            assert worst(lateness) == 0.5
            await asyncio.sleep(21.0)
            assert worst(lateness) == 0.0

    simulate(scenario())


def test_it_is_bounded() -> None:
    async def scenario() -> None:
        clock = Held()
        async with measured(clock) as lateness:
            for number in range(5000):
                clock.hold(1.0 - number / 10_000)
                await asyncio.sleep(EVERY_SECONDS)
            assert len(lateness._worst) <= WINDOW_SECONDS / EVERY_SECONDS + 2

    simulate(scenario())
