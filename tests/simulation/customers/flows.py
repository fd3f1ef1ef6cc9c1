"""Who creates and deletes workflows."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tests.simulation.answers import MARK
from tests.simulation.apis import SimulatedApi
from tests.simulation.customers.kind import Action, Flow, Kind
from tests.simulation.customers.making import Making, Sent, id_of
from tests.simulation.customers.requests import TRIES, Outcome


class Flows(Kind):
    """Creates and deletes workflows.

    Args:
        making: sends what makes something.
        stage: makes a stage of a workflow.
    """

    def __init__(self, making: Making, stage: Callable[[], dict[str, Any]]):
        super().__init__(making.requests, making.made)
        self._making, self._stage = making, stage

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (
            Action(10, self.create),
            Action(3, lambda: self.delete(self.any_flow()), lambda: len(self.made.flows) > 1),
        )

    async def create(self, sent: Sent | None = None, stages: Sequence[Any] | None = None) -> None:
        """Create a workflow.

        Args:
            sent: the request; a new one if None.
            stages: some if None.
        """
        sent = sent or self._making.new()
        stages = stages or [self._stage() for _ in range(self.rng.randint(1, 3))]

        def check(mark: str, outcome: Outcome) -> None:
            known, id = self.answers.known, id_of("workflow", "", sent.key)
            if outcome.status == 400:
                assert id is not None, "a new workflow was refused"
                assert known.workflows[id].created.name != mark, "a repeated request was refused"
                return
            assert outcome.status == 201, f"a workflow was not created, but {outcome.status}"
            shown = outcome.body["data"]
            assert id in (None, shown["id"]), "the key was given another workflow"
            assert shown["config"]["name"] == mark, "another request's workflow was answered"
            self.answers.workflow(shown, outcome.promised)
            sent.acknowledged += 1
            if not any(flow.id == shown["id"] for flow in self.made.flows):
                self.made.flows.append(Flow(shown["id"], stages))

        def body(mark: str) -> Any:
            return {"name": mark, "stages": stages}

        def target() -> str:
            return self.rng.choice(("/workflows", "/v2/workflows", "/flows"))

        await self._making.make(sent, "POST", target, body, check)
        self._making.repeatable(sent, lambda again: self.create(again, stages))

    async def delete(self, flow: Flow) -> None:
        """Delete a workflow that may have been run a moment ago. Nobody runs it after that."""
        was_run = self.rng.random() < 0.6
        if was_run:
            await asyncio.gather(*(self._run(flow, api) for api in self.requests.apis))
        for _ in range(TRIES):
            flow.deleted = True  # or maybe
            outcome = await self.requests.send("DELETE", self.rng.choice(("", "/v2")) + f"/workflows/{flow.id}")
            if outcome.status == 204:
                assert self.answers.known.workflows[flow.id].deleted_at, "a workflow was not deleted"
                self.answers.promised.deleted_workflows.add(flow.id)
                for api in self.requests.apis if was_run else ():
                    outcome = await self._run(flow, api)
                    assert outcome.status in (404, 503, None), "a workflow was run after its deletion was answered"
                return
            assert outcome.status in (None, 503), f"a deletion was answered {outcome.status}"

    async def _run(self, flow: Flow, api: SimulatedApi) -> Outcome:
        variables = {"who": "ann", MARK: self._making.new(keyed=False).mark}
        return await self.requests.send("POST", f"/workflows/{flow.id}/instances", variables, api=api)
