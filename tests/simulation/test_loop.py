"""The loop of the simulations: what becomes of a process that is killed, or stopped for a while."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextvars import Context

import pytest

from tests.simulation.loop import Deadlock, Life, VirtualLoop, current_life, simulate


class Steps:
    """A process that notes each second, and its end if it gets to it."""

    def __init__(self) -> None:
        self.noted: list[object] = []

    async def run(self) -> None:
        try:
            async for number in self._numbers():
                self.noted.append(number)
        except BaseException:
            self.noted.append("failed")
            raise
        finally:
            self.noted.append("ended")

    async def _numbers(self) -> AsyncIterator[int]:
        try:
            for number in range(5):
                yield number
                await asyncio.sleep(1.0)
        finally:
            self.noted.append("closed")


def test_what_is_killed_does_nothing_any_more() -> None:
    steps = Steps()

    async def main() -> None:
        life = Life("a")
        life.spawn(steps.run())
        await asyncio.sleep(1.5)
        life.kill()
        gc.collect()
        await asyncio.sleep(60.0)
        assert steps.noted == [0, 1]

    simulate(main())
    gc.collect()
    assert 2 not in steps.noted


def test_what_waits_for_nobody_is_not_closed_when_it_is_killed() -> None:
    noted: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            noted.append("ended")

    async def main() -> None:
        life = Life("a")
        life.spawn(wait())
        await asyncio.sleep(1.0)
        life.kill()
        gc.collect()
        assert noted == []

    simulate(main())


def test_what_a_life_has_started_belongs_to_it() -> None:
    noted: list[str] = []

    async def child() -> None:
        assert current_life() is not None
        await asyncio.sleep(2.0)
        noted.append("child")

    async def parent() -> None:
        asyncio.get_running_loop().call_later(2.0, noted.append, "timer")
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    async def main() -> None:
        for seconds, expected in ((3.0, ["timer", "child"]), (1.0, [])):
            noted.clear()
            life = Life("a")
            life.spawn(parent())
            await asyncio.sleep(seconds)
            life.kill()
            await asyncio.sleep(60.0)
            assert noted == expected
        assert current_life() is None

    simulate(main())


def test_what_was_asked_of_others_goes_on_without_the_one_who_asked() -> None:
    noted: list[str] = []

    async def main() -> None:
        loop, life = asyncio.get_running_loop(), Life("a")
        outside = asyncio.Queue[str]()

        async def ask() -> None:
            outside.put_nowait("request")
            answer = loop.create_future()
            loop.call_later(2.0, answer.set_result, "late", context=Context())
            noted.append(await answer)

        async def serve() -> None:
            noted.append(await outside.get())

        serving = asyncio.create_task(serve())
        life.spawn(ask())
        await asyncio.sleep(0)
        life.kill()
        await serving
        await asyncio.sleep(60.0)
        assert noted == ["request"]

    simulate(main())


def test_who_was_stopped_goes_on_with_all_that_has_become_due_in_order() -> None:
    async def main() -> None:
        loop, life, noted = asyncio.get_running_loop(), Life("a"), list[object]()

        async def run() -> None:
            for seconds in (3.0, 1.0, 2.0):
                loop.call_later(seconds, noted.append, seconds)
            canceled = loop.call_later(2.5, noted.append, "canceled")
            loop.call_later(1.0, canceled.cancel)
            await asyncio.sleep(2.0)
            noted.append(loop.time())
            await asyncio.sleep(60.0)
            noted.append(loop.time())

        life.spawn(run())
        await asyncio.sleep(0.5)
        life.stop()
        life.stop()
        await asyncio.sleep(9.5)
        assert noted == []
        life.go_on()
        life.go_on()
        await asyncio.sleep(1.0)
        assert noted == [1.0, 2.0, 3.0, 10.0]
        await asyncio.sleep(60.0)
        assert noted[4:] == [70.0]

    simulate(main())


def test_who_is_killed_while_stopped_does_not_come_back() -> None:
    steps = Steps()

    async def main() -> None:
        life = Life("a")
        life.spawn(steps.run())
        await asyncio.sleep(0.5)
        life.stop()
        await asyncio.sleep(5.0)
        life.kill()
        life.go_on()
        await asyncio.sleep(5.0)
        assert steps.noted == [0]

    simulate(main())


def test_nothing_that_could_ever_happen_is_a_deadlock() -> None:
    async def main() -> None:
        life = Life("a")
        asyncio.get_running_loop().call_soon(life.kill)
        await life.spawn(asyncio.sleep(1.0))

    with pytest.raises(Deadlock):
        simulate(main())


def test_a_callback_that_fails_ends_the_simulation() -> None:
    def fail() -> None:
        raise AssertionError("broken")

    async def main() -> None:
        asyncio.get_running_loop().call_later(1.0, fail)
        await asyncio.sleep(60.0)

    with pytest.raises(AssertionError, match="broken"):
        simulate(main())


def test_canceled_timers_are_forgotten_and_the_others_kept() -> None:
    async def main() -> None:
        loop, noted = asyncio.get_running_loop(), list[int]()
        for number in range(2000):
            timer = loop.call_later(1.0, noted.append, number)
            if number % 10:
                timer.cancel()
        await asyncio.sleep(2.0)
        assert noted == [*range(0, 2000, 10)]
        assert isinstance(loop, VirtualLoop)
        assert loop.time() == 2.0

    simulate(main())
