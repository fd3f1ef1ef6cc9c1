"""Faults that are met again and again."""

import asyncio

from schemas.repeats import SILENCE_SECONDS, Repeats
from tests.simulation.loop import simulate


def test_a_fault_is_told_now_and_then_and_how_often_it_was_met() -> None:
    async def test() -> None:
        repeats = Repeats()
        assert [repeats.met("away") for _ in range(4)] == [1, None, None, None]
        assert repeats.met("another") == 1
        await asyncio.sleep(SILENCE_SECONDS)
        assert [repeats.met("away"), repeats.met("away")] == [4, None]
        await asyncio.sleep(2 * SILENCE_SECONDS)
        assert repeats.met("another") == 1

    simulate(test())
