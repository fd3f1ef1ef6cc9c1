"""One case from start to end: the instance is started, what comes from outside comes at its time."""

import asyncio
import heapq
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from deploy.sandbox.errors import SandboxError
from deploy.scenarios.books import Books
from deploy.scenarios.files import Case
from deploy.scenarios.model import Amounts, Arrival, Event, Stack
from deploy.scenarios.owner import Owner
from deploy.scenarios.stack import ScenarioStack
from deploy.scenarios.story import Story
from deploy.scenarios.times import read_duration, read_moment
from deploy.scenarios.virtual_time import VirtualClock, VirtualLoop, in_virtual_time
from schemas.commands import AbortInstance, RunWorkflow, SendEvent

INSTANCE: Final = "00000000-0000-4000-8000-000000000001"
WORKFLOW: Final = "00000000-0000-4000-8000-000000000002"
"""The same in every scenario: idempotency keys and references of transfers are made of the first."""

MAX_ATTEMPTS: Final = 100
"""From how many attempts of an activity on an instance is not looked at any more, if nothing comes from outside since
and the scenario has no `until`. Retries go on for ever."""

LONGER_THAN_ANY_CALL: Final = timedelta(hours=1)
"""How long slow calls are waited for at a time, if nothing else is waited for. The end of a call ends the wait."""

MAX_STEPS: Final = 100_000
"""Most steps of one scenario: a month of retries has 80,000 and takes some seconds. Without the limit, one with a far
`until` would take hours."""


class Played(NamedTuple):
    """What came of a case.

    Attributes:
        story: what happened.
        books: what is in the stack in the end.
        problems: what could not be done as the scenario says, in words.
    """

    story: Story
    books: Books
    problems: list[str]


class _Happening(NamedTuple):
    """Something that comes from outside."""

    at: datetime
    order: int
    happen: Callable[[], None]


def play(case: Case) -> Played:
    """Run a case."""
    loop = VirtualLoop()
    return in_virtual_time(loop, _Play(case, VirtualClock(case.start, loop)).run())


class _Play:
    def __init__(self, case: Case, clock: VirtualClock):
        self._case, self._clock = case, clock
        self._stack = ScenarioStack(clock)
        self._story = Story(case.start)
        self._wakeup = asyncio.Event()
        self._owner = Owner(self._stack, clock, self._story.take, self._wakeup.set)
        self._happenings: list[_Happening] = []
        self._order = 0
        self._awaited_events: list[Event] = []
        """Those that are sent once the instance waits for them, and were not."""
        self._answered_stage = -1
        self._tried_before = (0, 0)
        """What `_tried` said when something came from outside the last time."""
        self._until = None if case.setup.until is None else read_moment(case.setup.until, case.start)
        self._problems: list[str] = []

    async def run(self) -> Played:
        """From start to end."""
        self._prepare()
        command = RunWorkflow(
            workflow_id=WORKFLOW,
            stages=Raw(msgspec.json.encode(self._case.workflow.stages)),
            max_attempts=self._case.workflow.activity_max_attempts,
            variables=self._case.setup.variables,
        )
        self._owner.send(INSTANCE, command)
        for _ in range(MAX_STEPS):
            if not await self._go_on():
                break
        else:
            self._problems.append(f"it did not come to an end within {MAX_STEPS} steps: give it a shorter `until`")
        for event in self._awaited_events:
            self._problems.append(f"the event {event.event} was not sent, since the instance never waited for it")
        for fault in self._case.setup.faults or ():
            if self._stack.calls(fault.activity) < fault.call:
                self._problems.append(f"call {fault.call} of {fault.activity} did not go wrong: there was no such call")
        return Played(self._story, self._stack.books, self._problems)

    def _prepare(self) -> None:
        setup = self._case.setup
        self._put_in(setup.given)
        self._stack.set_faults(setup.faults or ())
        for arrival in setup.arrivals or ():
            self._at(arrival.at, lambda arrival=arrival: self._arrive(arrival))  # type: ignore[misc]
        for event in setup.events or ():
            if isinstance(event, str):
                event = Event(event=event)
            if event.at is None:
                self._awaited_events.append(event)
            else:
                self._at(event.at, lambda name=event.event: self._send_event(name))  # type: ignore[misc]
        if setup.abort is not None:
            self._at(setup.abort, self._abort)

    async def _go_on(self) -> bool:
        """The next step; whether there was any."""
        if self._owner.turn():
            self._look_for_event()
            return True
        await asyncio.sleep(0)  # calls that were started begin
        if self._owner.has_work() or self._stack.is_busy:
            return True
        now = self._clock.now()
        if self._happenings and self._happenings[0].at <= now:
            heapq.heappop(self._happenings).happen()
            self._tried_before = self._tried()
            return True
        times = [at for at in (self._owner.next_at(), self._next_happening()) if at is not None]
        if not times and not self._stack.is_slow:
            return False
        if self._until is not None:
            if now >= self._until:
                return False
            times.append(self._until)
        elif self._is_retrying_in_vain():
            return False
        await self._wait(min(times) - now if times else None)
        return True

    async def _wait(self, duration: timedelta | None) -> None:
        """Until something comes in, at most so long."""
        if not self._stack.is_slow:
            self._clock.jump(duration or timedelta(0))
            return
        self._wakeup.clear()
        seconds = (duration or LONGER_THAN_ANY_CALL).total_seconds()
        handle = asyncio.get_running_loop().call_later(seconds, self._wakeup.set)
        await self._wakeup.wait()
        handle.cancel()

    def _is_retrying_in_vain(self) -> bool:
        """Whether the same call has failed again and again, and nothing has come or will come from outside."""
        number, attempts = self._tried()
        before = self._tried_before[1] if self._tried_before[0] == number else 0
        return attempts - before >= MAX_ATTEMPTS and not self._happenings

    def _tried(self) -> tuple[int, int]:
        """How many activities there were, and how often the last one was tried if it has not ended."""
        activity = self._story.current
        return len(self._story.activities), 0 if activity is None else activity.attempts

    def _next_happening(self) -> datetime | None:
        return self._happenings[0].at if self._happenings else None

    # What comes from outside

    def _at(self, moment: str, happen: Callable[[], Any]) -> None:
        self._at_time(read_moment(moment, self._case.start), happen)

    def _at_time(self, at: datetime, happen: Callable[[], Any]) -> None:
        self._order += 1
        heapq.heappush(self._happenings, _Happening(at, self._order, happen))

    def _look_for_event(self) -> None:
        """If the instance has begun to wait for an event that the scenario has, send it at its time."""
        name = self._story.waits_for
        if name is None or self._story.stages[-1].number == self._answered_stage:
            return
        found = next((event for event in self._awaited_events if event.event == name), None)
        if found is None:
            return
        self._answered_stage = self._story.stages[-1].number
        self._awaited_events.remove(found)
        after = read_duration(found.after or "0s")
        self._at_time(self._clock.now() + after, lambda: self._send_event(name))

    def _send_event(self, name: str) -> None:
        self._story.tell(self._clock.now(), "event", name)
        self._owner.send(INSTANCE, SendEvent(name=name))

    def _abort(self) -> None:
        self._story.tell(self._clock.now(), "abort")
        self._owner.send(INSTANCE, AbortInstance())

    def _arrive(self, arrival: Arrival) -> None:
        for what in _parts(arrival):
            self._story.tell(self._clock.now(), "arrival", what)
        self._put_in(arrival)

    def _put_in(self, stack: Stack) -> None:
        try:
            self._stack.put_in(stack)
        except SandboxError as error:
            self._problems.append(f"what is given could not be put in: {error}")


def _parts(stack: Stack) -> Iterator[str]:
    """What is put in, in words."""
    for ledger, accounts in stack.ledgers.items():
        for address, account in accounts.items():
            yield f"{_money(account.balances)} for {address} of ledger {ledger}"
    for id, wallet in stack.wallets.items():
        for balance, amounts in wallet.balances.items():
            yield f"{_money(amounts)} for balance {balance} of wallet {id}"
        if not wallet.balances:
            yield f"wallet {id}"
    for id, payment in stack.payments.items():
        yield f"payment {id} of {payment.amount} {payment.asset}"


def _money(amounts: Amounts) -> str:
    return " and ".join(f"{amount} {asset}" for asset, amount in amounts.items()) or "metadata"
