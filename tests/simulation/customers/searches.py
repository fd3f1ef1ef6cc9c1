"""Who searches: for what a run was started with, for a state."""

from collections.abc import Sequence
from typing import Any

from tests.simulation.answers import MARK, Promised
from tests.simulation.apis import SimulatedApi
from tests.simulation.customers.kind import Action, Kind

STATES = ("running", "waiting", "delayed", "retrying", "paused", "succeeded", "failed", "aborted")


class Searches(Kind):
    """Searches. What is found fits, and what was shown before is found."""

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (
            Action(3, lambda: self._find(self.any_instance(), self.requests.any_api), self.has_instances),
            Action(2, lambda: self._by_state(self.requests.any_api), self.has_flows),
        )

    async def _find(self, id: str, api: SimulatedApi) -> None:
        """Find an instance by its id, or by what it was started with."""
        mark = self.answers.known.instances[id].start.variables.get(MARK)
        key = id if mark is None or self.rng.random() < 0.3 else mark
        listed = await self.requests.read_pages("/instances", f"key={key.upper()}", api)
        if listed is None:
            return
        found, promised = listed
        known = self.answers.known.instances
        same = {other for other in known if other == key or key in known[other].start.variables.values()}
        self._check(found, promised, same)
        for one in found:
            assert one["id"] in same, f"{one['id']} was found by {key}"
        self.met["searched by key"] += bool(found)

    async def _by_state(self, api: SimulatedApi) -> None:
        """All instances of a workflow in some states, or in all. None is missing that has ended, or of all of them."""
        flow, states = self.any_flow(), [state for state in STATES if self.rng.random() < 0.5]
        if self.rng.random() < 0.3:
            states = list(STATES)
        query = f"workflowID={flow.id}&" + "&".join(f"state={state}" for state in states)
        listed = await self.requests.read_pages("/instances", query, api)
        if listed is None:
            return
        found, promised = listed
        known = self.answers.known.instances
        of_flow = {id for id in known if known[id].start.workflow_id == flow.id}
        ended = {id for id in of_flow if known[id].end_since(promised.instances.get(id, 0)) in states}
        self._check(found, promised, of_flow if states in ([], list(STATES)) else ended)
        for one in found:
            assert one["id"] in of_flow, "an instance of another workflow is listed"
            assert not states or one["state"] in states, f"an instance that is {one['state']} is listed as {states}"
        self.met["searched by state"] += bool(found and states)

    def _check(self, found: Sequence[Any], promised: Promised, wanted: set[str]) -> None:
        for one in found:
            self.answers.instance(one, promised)
        missing = (wanted & promised.instances.keys()) - {one["id"] for one in found}
        missing = {id for id in missing if not self.answers.may_be_gone(id, promised)}
        assert not missing, f"{sorted(missing)} are missing in a search"

    async def sweep(self, api: SimulatedApi) -> None:
        """See `Kind.sweep`: some instances, and their states."""
        for id in self.rng.sample(self.made.instances, min(3, len(self.made.instances))):
            await self._find(id, api)
        if self.made.flows:
            await self._by_state(api)
