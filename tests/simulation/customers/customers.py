"""All clients of the API."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from schemas.settings import ApiSettings
from tests.simulation.answers import Answers
from tests.simulation.apis import SimulatedApi
from tests.simulation.customers.acts import Acts
from tests.simulation.customers.bulks import Bulks
from tests.simulation.customers.flows import Flows
from tests.simulation.customers.kind import Flow, Kind, Made
from tests.simulation.customers.looks import Looks
from tests.simulation.customers.making import Making
from tests.simulation.customers.requests import Requests
from tests.simulation.customers.resumes import Resumes
from tests.simulation.customers.retries import Retries
from tests.simulation.customers.runs import Runs
from tests.simulation.customers.searches import Searches
from tests.simulation.customers.streams import Streams
from tests.simulation.customers.triggers import Triggers

NOBODY_SENDS: Final = "what nobody sends"
"""An event."""
FAILS: Final = {
    "send": {
        "source": {"wallet": {"id": str(UUID(int=0)), "balance": "main"}},
        "destination": {"account": {"id": "users:7", "ledger": "default"}},
        "amount": {"amount": 1, "asset": "EUR/2"},
        "metadata": {"mark": "what fails"},
    }
}
"""A stage that fails, after a call: its wallet does not exist."""
FAILING: Final = 3
"""Instances of it."""
RETRIED_SECONDS: Final = 5.0
"""Meanwhile an operation mostly comes to them."""


class Customers:
    """All clients of the API.

    Args:
        rng: decides what they do.
        apis: all replicas.
        answers: checks what they are answered.
        settings: of the API.
        stage: makes a stage of a workflow.
        broken: takes what is wrong.
    """

    def __init__(
        self,
        rng: random.Random,
        apis: Sequence[SimulatedApi],
        answers: Answers,
        settings: ApiSettings,
        stage: Callable[[], dict[str, Any]],
        broken: list[Exception],
    ):
        self._rng, self._answers, self._broken = rng, answers, broken
        self._requests, self._made = Requests(rng, apis, answers, settings), Made()
        self._looks = looks = Looks(self._requests, self._made)
        self._making = making = Making(self._requests, self._made, looks)
        self._flows, self._runs = Flows(making, stage), Runs(making)
        self._acts = acts = Acts(making, looks)
        self._retries, self._bulks = Retries(making, looks, acts), Bulks(making)
        self._kinds: Sequence[Kind] = (
            self._flows,
            self._runs,
            acts,
            self._retries,
            Resumes(making),
            Triggers(making, self._flows),
            self._bulks,
            making,
            looks,
            Searches(self._requests, self._made),
            Streams(self._requests, self._made),
        )
        self._actions = [action for kind in self._kinds for action in kind.actions()]

    @property
    def met(self) -> Counter[str]:
        """How often each situation was met."""
        return self._requests.met

    async def run(self, customers: int, actions: int) -> None:
        """So many clients do so many things each."""
        async with asyncio.TaskGroup() as group:
            for _ in range(customers):
                group.create_task(self._act(actions))

    async def _act(self, actions: int) -> None:
        try:
            for _ in range(actions):
                await asyncio.sleep(self._rng.expovariate(0.5))
                await self._do_something()
        except AssertionError as error:
            self._broken.append(error)

    async def _do_something(self) -> None:
        if not self._made.flows:
            await self._flows.create()
            return
        possible = [action for action in self._actions if action.possible()]
        (chosen,) = self._rng.choices(possible, [action.weight for action in possible])
        await chosen.do()

    async def watch_lists(self) -> None:
        """Somebody looks at lists again and again for a few seconds, since something has happened."""
        try:
            await self._looks.watch_lists()
        except AssertionError as error:
            self._broken.append(error)

    # The end

    async def run_and_watch(self) -> None:
        """Somebody runs a workflow, of which others watch the list.

        Raises:
            AssertionError: an answer is wrong.
        """
        await self._flows.create(stages=[{"noop": {}}])
        if self._made.flows:  # answers are slow, so it may not have been answered
            await self._runs.run_and_watch(self._made.flows[-1])

    async def let_fail(self) -> Flow | None:
        """Somebody runs a workflow that fails; which, if it was made.

        Raises:
            AssertionError: an answer is wrong.
        """
        await self._flows.create(stages=[FAILS], limits={})
        if not self._made.flows:
            return None
        flow = self._made.flows[-1]
        await asyncio.gather(*(self._runs.run(flow, wait=True) for _ in range(FAILING)))
        return flow

    async def retry_failed(self, flow: Flow) -> None:
        """An operation retries what has failed of a workflow. Others retry some of it at once, and abort that.

        Raises:
            AssertionError: an answer is wrong.
        """
        await self._bulks.start({"action": "retry", "filter": {"workflowID": flow.id, "state": ["failed"]}})
        await asyncio.sleep(RETRIED_SECONDS)

    async def abort_runs(self, stand_still: Callable[[], None]) -> None:
        """Somebody aborts all instances of a workflow that have just been started, and one that was just retried.

        Args:
            stand_still: called before they are started: lets a projector stand still, which has not written some then.

        Raises:
            AssertionError: an answer is wrong.
        """
        await self._flows.create(stages=[{"wait_event": {"event": "approved"}}])
        if self._made.flows:
            await self._runs.run(self._made.flows[-1], wait=False)
        if self._made.instances:
            await self._acts.abort(self._made.instances[-1])
        await self._flows.create(stages=[{"wait_event": {"event": "approved"}}])
        stand_still()
        if self._made.flows:
            await asyncio.gather(self._bulks.abort_runs(self._made.flows[-1]), self._regret())

    async def _regret(self) -> None:
        if failed := self._retries.failed():
            await self._retries.regret(failed[-1])

    async def meet_ends(self) -> None:
        """Somebody waits for an end that takes a while to come, others meet at one, and somebody retries it twice.

        Raises:
            AssertionError: an answer is wrong, or late.
        """
        await self._flows.create(stages=[{"delay": {"duration": "1s"}}])
        await self._runs.run(self._made.flows[-1], wait=True)
        await self._flows.create(stages=[{"wait_event": {"event": NOBODY_SENDS}}])
        await self._runs.run(self._made.flows[-1], wait=False)
        ended = self._made.instances[-1]
        await self._acts.race(ended)
        await self._retries.retry_twice(ended)
        await self._acts.abort(ended)

    async def repeat_some(self, count: int) -> None:
        """Somebody sends some requests once more that were sent with a key.

        Raises:
            AssertionError: one is done twice, or refused.
        """
        await self._making.repeat_some(count)

    def quiet(self) -> None:
        """Nothing goes wrong any more: from now on every request is answered in time."""
        self._requests.quiet = True

    async def sweep(self) -> None:
        """When all is quiet: every replica shows everything as the log has it.

        Raises:
            AssertionError: one does not.
        """
        known, promised = self._answers.known, self._answers.promised
        known.read()
        for id, instance in known.instances.items():
            if id in promised.instances:
                self._answers.promise_instance(id, len(instance.moments) - 1)
        for id, trigger in known.triggers.items():
            promised.occurrences[id] = len(trigger.occurrences)
        for api in self._requests.apis:
            for kind in self._kinds:
                await kind.sweep(api)

    def check(self) -> None:
        """What was acknowledged was done, once; and what was not, at most once for each try.

        Raises:
            AssertionError: it was not.
        """
        for kind in self._kinds:
            kind.check()
