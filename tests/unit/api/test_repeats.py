"""Faults that are met again and again."""

import asyncio

import pytest

from api.repeats import SILENCE_SECONDS, Repeats
from tests.simulation.loop import simulate
from tests.unit.api.streams import World


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


def test_requests_during_an_outage_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with World().serving() as world:
            world.backend.postgres_away = True
            answers = [await world.client.call("GET", f"/instances/{world.workflow}") for _ in range(50)]
            assert {answer.error for answer in answers} == {(503, "INTERNAL")}

    simulate(test())
    (line,) = [record.message for record in caplog.records if record.name == "api.routing"]
    assert "since the last line: 1" in line
