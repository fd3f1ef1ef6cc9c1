"""Futures that fail when they were waited for too long."""

import asyncio

import pytest

from projections.queries.timed_futures import TimedFutures
from tests.unit.projections.timers import Clock

SECONDS = 10.0


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_each_future_has_all_of_its_time_and_one_timer_serves_all(clock: Clock) -> None:
    futures: TimedFutures[int] = TimedFutures(SECONDS)
    made: list[asyncio.Future[int]] = []
    for now in range(3):
        clock.now = now
        made.append(futures.new())
        assert len(clock.timers) == 1
    for now, expected in ((9, []), (10, [0]), (11, [0, 1]), (12, [0, 1, 2])):
        await clock.pass_to(now)
        assert [number for number, future in enumerate(made) if future.done()] == expected
    for future in made:
        with pytest.raises(TimeoutError):
            await future
    assert clock.timers == []


async def test_what_is_done_is_left_as_it_is_and_not_kept(clock: Clock) -> None:
    futures: TimedFutures[int] = TimedFutures(SECONDS)
    answered, canceled, waiting = (futures.new() for _ in range(3))
    answered.set_result(1)
    canceled.cancel()
    clock.now = 1
    late = futures.new()
    assert [one.future for one in futures._made] == [waiting, late]
    await clock.pass_to(SECONDS)
    assert answered.result() == 1
    assert isinstance(waiting.exception(), TimeoutError)
    assert not late.done()
    late.set_result(2)
    await clock.pass_to(SECONDS + 1)
    assert clock.timers == []
    assert not futures._made
