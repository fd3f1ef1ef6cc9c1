"""A loop in a thread: results, errors and cancellation cross over, and nothing is left behind."""

import asyncio
import threading

import pytest

from engine.activities.loop_thread import LoopThread


async def test_results_and_errors_come_back_from_the_thread() -> None:
    async def where() -> str:
        return threading.current_thread().name

    async def fail() -> None:
        raise ValueError("over there")

    there = LoopThread("there")
    there.start()
    assert await there.run(where()) == "there"
    with pytest.raises(ValueError, match="over there"):
        await there.run(fail())
    await there.stop()
    assert not there.running
    assert "there" not in [thread.name for thread in threading.enumerate()]


async def test_a_cancelled_wait_cancels_what_it_waits_for() -> None:
    begun, ended = threading.Event(), threading.Event()

    async def forever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    there = LoopThread("there")
    there.start()
    waiting = asyncio.create_task(there.run(forever()))
    assert await asyncio.to_thread(begun.wait, 60)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(ended.wait, 60)
    await there.stop()


async def test_what_still_runs_ends_with_the_thread() -> None:
    begun = threading.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    there = LoopThread("there")
    there.start()
    waiting = asyncio.create_task(there.run(forever()))
    assert await asyncio.to_thread(begun.wait, 60)
    await there.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await there.stop()
