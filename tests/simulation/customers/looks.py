"""Who reads: instances, histories, lists; and who asks for what there is not."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from uuid import UUID

from tests.simulation.apis import SimulatedApi
from tests.simulation.customers.kind import Action, Kind

AT_ONCE: Final = 3
"""How many requests of the sweep at the end are under way at once."""
PAGE_ROWS: Final = 2
"""Of the list that is read by pages then: the last row of a page is not its first."""
LOOKS: Final = 4
LOOK_SECONDS: Final = (0.05, 0.6)
"""Between them: the read model is behind for no longer than about a second after most crashes."""


class Looks(Kind):
    """Reads."""

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (
            Action(12, lambda: self.get(self.any_instance(), self.requests.any_api), self.has_instances),
            Action(5, self._look_around, self.has_flows),
        )

    async def _look_around(self) -> None:
        """Read a list, and what there is not."""
        api = self.requests.any_api
        await self.read_lists(api)
        await self._send_nonsense(api)

    async def get(self, id: str, api: SimulatedApi) -> None:
        """Read an instance, and maybe its history."""
        outcome = await self.requests.read(self.instance_target(id)(), api)
        if outcome is not None and not self.is_gone(id, outcome):
            assert outcome.status == 200, f"instance {id} was answered {outcome.status}"
            self.answers.instance(outcome.body["data"], outcome.promised)
        if self.rng.random() < 0.3:
            outcome = await self.requests.read(self.rng.choice(("", "/v2")) + f"/instances/{id}/history", api)
            if outcome is not None and not self.is_gone(id, outcome):
                assert outcome.status == 200, f"the history of {id} was answered {outcome.status}"
                self.answers.history(id, outcome.body["data"], outcome.promised)

    async def read_lists(self, api: SimulatedApi) -> None:
        """Read one of the lists."""
        if self.made.flows and self.rng.random() < 0.6:
            flow, running = self.any_flow(), self.rng.random() < 0.4
            query = f"workflowID={flow.id}" + ("&running=true" if running else "")
            listed = await self.requests.read_list("/instances", query, api)
            if listed is not None:
                self.answers.instances(*listed, flow.id, running=running)
        else:
            listed = await self.requests.read_list("/workflows", "", api)
            if listed is not None:
                self.answers.workflows(*listed)

    async def _send_nonsense(self, api: SimulatedApi) -> None:
        """What is refused, whatever there is."""
        unknown = UUID(int=self.rng.getrandbits(128), version=4)
        outcome = await self.requests.send("GET", f"/instances/{unknown}", api=api)
        assert outcome.status in (404, 503, None), "an unknown instance was found"
        if self.made.instances:
            large = {"name": "x" * self.requests.settings.max_body_bytes}
            outcome = await self.requests.send("POST", f"/instances/{self.made.instances[-1]}/events", large, api=api)
            assert outcome.status in (413, 503, None), "a body that is too large was taken"

    async def sweep(self, api: SimulatedApi) -> None:
        """See `Kind.sweep`: all instances, a list, and the longest list of instances by pages."""
        instances = dict.fromkeys(self.made.instances)
        for ids in batched(instances, AT_ONCE):
            await asyncio.gather(*(self.get(id, api) for id in ids))
        await self.read_lists(api)
        await self._send_nonsense(api)
        if instances:
            flows = Counter(self.answers.known.instances[id].start.workflow_id for id in instances)
            ((flow_id, _),) = flows.most_common(1)
            listed = await self.requests.read_pages("/instances", f"workflowID={flow_id}", api, PAGE_ROWS)
            assert listed is not None, "a list was not answered"
            self.answers.instances(*listed, flow_id, running=False)

    async def watch_lists(self) -> None:
        """Read lists again and again, as one does when something has happened."""
        for _ in range(LOOKS):
            await asyncio.sleep(self.rng.uniform(*LOOK_SECONDS))
            if self.made.flows:
                await self.read_lists(self.requests.any_api)


def batched(ids: Iterable[str], size: int) -> Iterator[list[str]]:
    """Ids, some at a time."""
    every = list(ids)
    return (every[start : start + size] for start in range(0, len(every), size))
