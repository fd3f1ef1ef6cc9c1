"""Who creates and deletes workflows."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tests.simulation.answers import MARK
from tests.simulation.apis import SimulatedApi
from tests.simulation.customers.kind import Action, Flow, Kind
from tests.simulation.customers.making import Making, Sent, id_of
from tests.simulation.customers.requests import TRIES, Outcome

LIMITED: Final = 0.5
"""How many workflows have a limit of attempts."""
MAX_RUNS: Final = 4
"""On each replica, of a workflow that is being deleted."""


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

    async def create(
        self, sent: Sent | None = None, stages: Sequence[Any] | None = None, limits: Mapping[str, int] | None = None
    ) -> None:
        """Create a workflow.

        Args:
            sent: the request; a new one if None.
            stages: some if None.
            limits: how often activities are tried; mostly for ever if None.
        """
        sent = sent or self._making.new()
        stages = stages or [self._stage() for _ in range(self.rng.randint(1, 3))]
        if limits is None:
            limits = {"activityMaxAttempts": self.rng.choice((1, 1, 2))} if self.rng.random() < LIMITED else {}

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
            return {"name": mark, "stages": stages, **limits}

        def target() -> str:
            return self.rng.choice(("/workflows", "/v2/workflows", "/flows"))

        await self._making.make(sent, "POST", target, body, check)
        self._making.repeatable(sent, lambda again: self.create(again, stages, limits))

    async def delete(self, flow: Flow) -> None:
        """Delete a workflow, which may be run until that is answered, but not any more."""
        is_run = self.rng.random() < 0.6
        for _ in range(TRIES):
            flow.deleted = True  # or maybe
            deleting = asyncio.create_task(
                self.requests.send("DELETE", self.rng.choice(("", "/v2")) + f"/workflows/{flow.id}")
            )
            runs = [asyncio.create_task(self._run_until(flow, api, deleting)) for api in self.requests.apis if is_run]
            outcome = await deleting
            if outcome.status == 204:
                assert self.answers.known.workflows[flow.id].deleted_at, "a workflow was not deleted"
                self.answers.promised.deleted_workflows.add(flow.id)
                for late in await asyncio.gather(*(self._run(flow, api) for api in self.requests.apis if is_run)):
                    assert late.status in (404, 503, None), "a workflow was run after its deletion was answered"
                    self.met["a workflow was not run after its deletion"] += late.status == 404
            await asyncio.gather(*runs)
            if outcome.status == 204:
                return
            assert outcome.status in (None, 503), f"a deletion was answered {outcome.status}"

    async def _run_until(self, flow: Flow, api: SimulatedApi, deleting: asyncio.Task[Outcome]) -> None:
        """Run a workflow some times on a replica, while it is deleted: then the replica knows it from a moment ago."""
        for _ in range(MAX_RUNS):
            if not deleting.done():
                await self._run(flow, api)

    async def _run(self, flow: Flow, api: SimulatedApi) -> Outcome:
        variables = {"who": "ann", MARK: self._making.new(keyed=False).mark}
        return await self.requests.send("POST", f"/workflows/{flow.id}/instances", variables, api=api)
