"""Many effects at once: started in slices, called as there are slots, rung in portions, set again in portions."""

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from engine.activities import service_of
from engine.core.decisions import ActivityDone, Due
from engine.core.effects import CallActivity, Token
from engine.core.evaluation import Evaluated, Waiting
from engine.core.shard import Input, Shard
from engine.core.trigger import Trigger
from engine.pauses import MAX_SLICE_SECONDS
from engine.ports import MayStart
from engine.run_commands import RunCommands
from engine.runner import MAX_PORTION, EffectRunner
from engine.slots import CallSlots
from engine.workflow_finder import WorkflowFinder
from schemas.commands import AbortInstance, RunWorkflow
from tests.definitions import definition
from tests.ports.log import Log, MemoryEventLog
from tests.ports.workflows import MemoryWorkflows
from tests.simulation.loop import VirtualClock, simulate

LEDGER = {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}
WALLETS = {
    "send": {
        "source": {"wallet": {"id": str(UUID(int=9)), "balance": "main"}},
        "destination": {"account": {"id": "users:7", "ledger": "default"}},
        "amount": {"amount": 1, "asset": "EUR/2"},
    }
}
DELAY = {"delay": {"duration": "60s"}}
EVENT = {"wait_event": {"event": "approved"}}


def id_of(number: int) -> str:
    return str(UUID(int=number))


class Caller:
    """Calls that take until the test ends them."""

    def __init__(self) -> None:
        self.under_way: dict[str, asyncio.Future[None]] = {}
        """By instance."""
        self.started: list[str] = []

    async def call(self, activity: CallActivity, may_start: MayStart) -> ActivityDone | None:
        if not await may_start():
            return None
        instance_id = activity.idempotency_key.partition(":")[0]
        self.started.append(instance_id)
        self.under_way[instance_id] = asyncio.get_running_loop().create_future()
        try:
            await self.under_way[instance_id]
        finally:
            del self.under_way[instance_id]
        return ActivityDone(activity.token)

    async def end(self, instance_id: str) -> None:
        """Let a call end, and what it makes room for start."""
        self.under_way[instance_id].set_result(None)
        await asyncio.sleep(0.1)


class NoLinks:
    async def evaluate(self, trigger: Trigger, waiting: Waiting, may_start: MayStart) -> Evaluated | None:
        raise NotImplementedError


class WorkClock(VirtualClock):
    """A clock by which each look at it takes a fifth of a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return super().monotonic() + self.looks * MAX_SLICE_SECONDS / 5


class Side:
    """A shard and its runner, and the inputs that it has given."""

    def __init__(self, slots: CallSlots | None = None, clock: VirtualClock | None = None):
        self.shard, self.caller, self.clock = Shard(), Caller(), clock or VirtualClock()
        self.given: list[tuple[str, Input]] = []
        self.in_turn, self.offset = False, 0
        self.runner = EffectRunner(
            0,
            self.shard,
            caller=self.caller,
            slots=slots or CallSlots(2, service_of),
            evaluator=NoLinks(),
            run_commands=RunCommands(0, MemoryEventLog(Log(1)), self.clock, lambda *given: None),
            finder=WorkflowFinder(0, MemoryWorkflows(), lambda *given: None),
            clock=self.clock,
            in_turn=lambda: self.in_turn,
            claim_held=self._claim_held,
            give=lambda key, given: self.given.append((key, given)),
        )

    async def _claim_held(self) -> None:
        pass

    def run(self, numbers: Sequence[int], *stages: dict[str, Any]) -> None:
        """Have instances started, as a restore would."""
        command = RunWorkflow(workflow_id=id_of(1), stages=definition(stages), variables={})
        for number in numbers:
            self.decide(number, command)
        self.shard.settle()

    def decide(self, number: int, given: Input) -> None:
        """Have an input of an instance decided."""
        id = id_of(number)
        events = self.shard.decide(id, given, self.clock.now()).events
        self.shard.replay(id, events, self.offset)
        self.offset += len(events)

    def turn(self, number: int, given: Input) -> None:
        """Have an input decided and its effects started."""
        self.in_turn = True
        self.decide(number, given)
        self.runner.retract([id_of(number)])
        self.in_turn = False
        self.runner.start([id_of(number)])
        self.shard.settle()

    def token_of(self, number: int) -> Token:
        """Of the effect that an instance wants."""
        effect = self.shard.effect(id_of(number))
        assert effect is not None
        return effect.token

    def due(self) -> list[str]:
        """Whose timers have rung since the last time."""
        ids = [key for key, given in self.given if isinstance(given, Due)]
        self.given.clear()
        return ids


async def ring_all(side: Side) -> list[str]:
    """Whose timers ring now, in as many portions as it takes."""
    rung: list[str] = []
    while (at := side.runner.next_at()) is not None and at <= side.clock.now():
        side.runner.take_due()
        portion = side.due()
        assert len(portion) <= MAX_PORTION
        rung += portion
    return rung


# A restore


def test_others_run_while_effects_are_started() -> None:
    rounds = 0

    async def others() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            rounds += 1

    async def scenario() -> None:
        side = Side(clock=WorkClock())
        side.run(range(500), DELAY)
        other = asyncio.create_task(others())
        await side.runner.start_all()
        other.cancel()

    simulate(scenario())
    assert 500 / 8 <= rounds <= 500 / 2


def test_a_restore_starts_everything_once() -> None:
    async def scenario() -> None:
        side = Side(CallSlots(100, service_of))
        side.run(range(10, 20), LEDGER)
        side.run(range(20, 30), DELAY)
        side.run(range(30, 40), EVENT)
        await side.runner.start_all()
        await asyncio.sleep(61)
        assert side.caller.started == [id_of(number) for number in range(10, 20)]
        assert sorted(await ring_all(side)) == [id_of(number) for number in range(20, 30)]
        assert side.runner.timers == 0
        await side.runner.stop()

    simulate(scenario())


# Calls


def test_a_call_that_waits_for_a_slot_has_no_task() -> None:
    async def scenario() -> None:
        side = Side()
        side.run(range(10, 110), LEDGER)
        before = len(asyncio.all_tasks())
        await side.runner.start_all()
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == before + 2
        for number in range(10, 110):
            assert len(side.caller.under_way) <= 2
            await side.caller.end(id_of(number))
        assert side.caller.started == [id_of(number) for number in range(10, 110)]
        assert [key for key, _ in side.given] == side.caller.started

    simulate(scenario())


def test_a_service_that_hangs_does_not_hold_up_another() -> None:
    async def scenario() -> None:
        side = Side()
        side.run(range(10, 20), LEDGER)
        side.run(range(20, 22), WALLETS)
        await side.runner.start_all()
        await asyncio.sleep(1)
        assert side.caller.started == [id_of(number) for number in (10, 11, 20, 21)]
        await side.runner.stop()

    simulate(scenario())


def test_a_call_that_waits_is_not_started_when_its_instance_was_aborted() -> None:
    async def scenario() -> None:
        side = Side(slots := CallSlots(2, service_of))
        side.run(range(10, 14), LEDGER)
        await side.runner.start_all()
        await asyncio.sleep(1)
        side.turn(12, AbortInstance())
        assert slots.waiting == 1
        await side.caller.end(id_of(10))
        assert side.caller.started == [id_of(number) for number in (10, 11, 13)]
        await side.runner.stop()

    simulate(scenario())


def test_a_call_that_has_waited_does_not_start_in_a_turn() -> None:
    async def scenario() -> None:
        side = Side()
        side.run(range(10, 14), LEDGER)
        await side.runner.start_all()
        await asyncio.sleep(1)
        side.in_turn = True
        await side.caller.end(id_of(10))
        assert side.caller.started == [id_of(10), id_of(11)]
        side.in_turn = False
        side.runner.start([])
        await asyncio.sleep(1)
        assert side.caller.started == [id_of(10), id_of(11), id_of(12)]
        await side.runner.stop()

    simulate(scenario())


def test_an_owner_that_ends_leaves_its_slots_to_others() -> None:
    async def scenario() -> None:
        slots = CallSlots(2, service_of)
        one, other = Side(slots), Side(slots)
        one.run(range(10, 20), LEDGER)
        other.run(range(20, 22), LEDGER)
        await one.runner.start_all()
        await other.runner.start_all()
        await one.runner.stop()  # at once: its calls have not begun
        await asyncio.sleep(1)
        assert one.caller.started == []
        assert other.caller.started == [id_of(20), id_of(21)]
        assert slots.waiting == 0
        await other.runner.stop()

    simulate(scenario())


def test_a_call_that_waits_takes_less_than_100_bytes() -> None:
    async def scenario() -> int:
        side = Side()
        side.run(range(20_000), LEDGER)
        tracemalloc.start()
        try:
            await side.runner.start_all()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
            await side.runner.stop()

    assert simulate(scenario()) / 20_000 <= 100


# Timers


def test_what_is_due_comes_in_portions() -> None:
    async def scenario() -> None:
        side = Side()
        side.run(range(3 * MAX_PORTION), DELAY)
        await side.runner.start_all()
        await asyncio.sleep(61)
        side.runner.take_due()
        assert len(side.due()) == MAX_PORTION
        assert side.runner.next_at() <= side.clock.now()  # type: ignore[operator]
        assert len(await ring_all(side)) == 2 * MAX_PORTION

    simulate(scenario())


def test_all_timers_are_set_again_when_the_clock_was_set_back() -> None:
    numbers = range(3 * MAX_PORTION)

    async def scenario() -> None:
        side = Side()
        side.clock.ahead = timedelta(days=400)
        side.run(numbers, DELAY)
        await side.runner.start_all()
        side.clock.ahead = timedelta(0)
        assert await ring_all(side) == []
        side.runner.take_due()
        assert await ring_all(side) == []
        assert side.runner.timers == len(numbers)
        await asyncio.sleep(59)
        assert await ring_all(side) == []
        await asyncio.sleep(1)
        assert sorted(await ring_all(side)) == [id_of(number) for number in numbers]
        assert side.runner.timers == 0

    simulate(scenario())


def test_what_changes_while_timers_are_set_again_is_kept() -> None:
    numbers = range(3 * MAX_PORTION)

    async def scenario() -> None:
        side = Side()
        side.clock.ahead = timedelta(days=400)
        side.run(numbers, DELAY, DELAY)
        await side.runner.start_all()
        side.clock.ahead = timedelta(0)
        side.runner.take_due()  # the first of them
        for number in numbers[::2]:
            side.turn(number, Due(side.token_of(number)))  # their second delay begins
        for number in numbers[1::4]:
            side.turn(number, AbortInstance())
        assert await ring_all(side) == []
        await asyncio.sleep(59)
        assert await ring_all(side) == []
        await asyncio.sleep(1)
        rung = Counter(await ring_all(side))
        assert rung == Counter(id_of(number) for number in numbers if number % 4 != 1)
        assert side.runner.timers == 0

    simulate(scenario())


def test_timers_are_set_again_although_the_clock_was_set_back_while_effects_were_started() -> None:
    async def scenario() -> None:
        side = Side(clock=WorkClock())
        side.clock.ahead = timedelta(days=400)
        side.run(range(100), DELAY)
        starting = asyncio.create_task(side.runner.start_all())
        await asyncio.sleep(0)
        side.clock.ahead = timedelta(0)
        await starting
        side.runner.take_due()
        await ring_all(side)
        await asyncio.sleep(61)
        assert len(await ring_all(side)) == 100

    simulate(scenario())
