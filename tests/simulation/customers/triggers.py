"""Who makes and deletes triggers, and reads what they have started."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.simulation.apis import SimulatedApi
from tests.simulation.customers.flows import Flows
from tests.simulation.customers.kind import Action, Flow, Kind
from tests.simulation.customers.making import Making, Sent, id_of
from tests.simulation.customers.requests import TRIES, Outcome


class Triggers(Kind):
    """Makes, deletes and reads triggers.

    Args:
        making: sends what makes something.
        flows: makes the workflows that they start.
    """

    def __init__(self, making: Making, flows: Flows):
        super().__init__(making.requests, making.made)
        self._making, self._flows = making, flows

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (Action(8, self._use, self.has_flows),)

    async def _use(self) -> None:
        chance, api = self.rng.random(), self.requests.any_api
        if not self.made.triggers or chance < 0.3:
            await self._create_some()
        elif chance < 0.5:
            await self._delete(self.rng.choice(self.made.triggers))
        elif chance < 0.7:
            await self._read_occurrences(self.rng.choice(self.made.triggers), api)
        else:
            listed = await self.requests.read_list("/triggers", "", api)
            if listed is not None:
                self.answers.triggers(*listed)

    async def _read_occurrences(self, trigger: str, api: SimulatedApi) -> None:
        listed = await self.requests.read_list(f"/triggers/{trigger}/occurrences", "", api)
        if listed is not None:
            self.answers.occurrences(trigger, *listed)
            self.met["an occurrence was shown"] += len(listed[0])

    async def _create_some(self) -> None:
        """For a workflow that moves no money: a message that comes twice has one mark, and may fire twice."""
        harmless = [flow for flow in self.made.flows if not any("send" in stage for stage in flow.stages)]
        if harmless:
            await self.create(self.rng.choice(harmless))
        else:
            await self._flows.create(stages=[{"noop": {}}])

    async def create(self, flow: Flow, sent: Sent | None = None) -> None:
        """Create a trigger.

        Args:
            flow: what it starts.
            sent: the request; a new one if None.
        """
        sent = sent or self._making.new()

        def check(mark: str, outcome: Outcome) -> None:
            known, id = self.answers.known, id_of("trigger", "", sent.key)
            if outcome.status == 404:
                assert flow.deleted, "a workflow that exists was not found"
                return
            if outcome.status == 400:
                assert id is not None, "a trigger was refused"
                assert known.triggers[id].created.name != mark, "a repeated trigger was refused"
                return
            assert outcome.status == 201, f"a trigger was answered {outcome.status}"
            shown = outcome.body["data"]
            assert id in (None, shown["id"]), "the key was given another trigger"
            assert shown["name"] == mark, "another request's trigger was answered"
            if known.triggers[shown["id"]].deleted_at is None:
                self.answers.trigger(shown, outcome.promised)
            sent.acknowledged += 1
            if shown["id"] not in self.made.triggers:
                self.made.triggers.append(shown["id"])

        def body(mark: str) -> Any:
            return {"name": mark, "event": "L", "workflowID": flow.id, "vars": {"who": '"ann"'}}

        await self._making.make(sent, "POST", lambda: self.rng.choice(("/triggers", "/v2/triggers")), body, check)
        self._making.repeatable(sent, lambda again: self.create(flow, again))

    async def _delete(self, id: str) -> None:
        for _ in range(TRIES):
            outcome = await self.requests.send("DELETE", self.rng.choice(("", "/v2")) + f"/triggers/{id}")
            if outcome.status in (204, 404):
                assert self.answers.known.triggers[id].deleted_at, "a trigger was not deleted"
                self.answers.promised.deleted_triggers.add(id)
                return
            assert outcome.status in (None, 503), f"a deletion was answered {outcome.status}"
            await asyncio.sleep(self.rng.uniform(0.1, 2.0))

    async def sweep(self, api: SimulatedApi) -> None:
        """See `Kind.sweep`: all occurrences, also of triggers of those who append commands themselves."""
        for id in self.answers.known.triggers:
            await self._read_occurrences(id, api)
