"""Who acts on all instances of a workflow at once: starts bulk operations, looks how far they are, stops them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.simulation.answers import MARK
from tests.simulation.apis import SimulatedApi
from tests.simulation.customers.kind import Action, Flow, Kind
from tests.simulation.customers.making import Making, id_of
from tests.simulation.customers.requests import Outcome

RUNS: Final = 4
"""Of a workflow whose instances are then aborted all at once: mostly more than one partition has some of them."""


@dataclass
class Known:
    """An operation whose start was answered."""

    stop_asked: bool = False
    state: str = "running"


class Bulks(Kind):
    """Starts bulk operations.

    Args:
        making: sends what makes something.
    """

    def __init__(self, making: Making):
        super().__init__(making.requests, making.made)
        self._making = making
        self.operations: dict[str, Known] = {}

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (
            Action(24, self._start_some, self.has_instances),
            Action(1, self.preview, self.has_instances),
            Action(3, lambda: self.look(self._any(), self.requests.any_api), lambda: bool(self.operations)),
            Action(1, lambda: self.stop(self._any()), lambda: bool(self.operations)),
        )

    def _any(self) -> str:
        return self.rng.choice(list(self.operations))

    def _body(self) -> dict[str, Any]:
        (action,) = self.rng.choices(("abort", "resume", "retry"), (5, 1, 3))
        if action == "retry" and self.rng.random() < 0.6:
            return {"action": action, "filter": {"state": ["failed"]}}
        if self.rng.random() < 0.4:
            return {"action": action, "all": True}
        flow_id = self.answers.known.instances[self.any_instance()].start.workflow_id
        return {"action": action, "filter": {"workflowID": flow_id}}

    async def _start_some(self) -> None:
        """Start an operation, or two at once: what one of them has done to an instance, the other one can't do."""
        await asyncio.gather(*(self.start(self._body()) for _ in range(2 if self.rng.random() < 0.4 else 1)))

    async def abort_runs(self, flow: Flow) -> None:
        """Run a workflow some times, and abort all its instances as soon as that is answered."""
        marks = [self._making.new(keyed=False).mark for _ in range(RUNS)]
        path = f"/workflows/{flow.id}/instances"
        await asyncio.gather(*(self.requests.send("POST", path, {"who": "ann", MARK: mark}) for mark in marks))
        await self.start({"action": "abort", "filter": {"workflowID": flow.id}})

    async def start(self, body: dict[str, Any]) -> None:
        """Start an operation.

        Args:
            body: of the request.
        """
        sent = self._making.new()
        flow_id: str | None = body.get("filter", {}).get("workflowID")

        def check(mark: str, outcome: Outcome) -> None:
            if outcome.status == 409:
                self.met["one bulk operation too many"] += 1
                return
            assert outcome.status == 201, f"a bulk operation was answered {outcome.status}: {outcome.body}"
            shown = outcome.body["data"]
            assert id_of("bulk", "", sent.key) in (None, shown["id"]), "the key was given another operation"
            assert shown["action"] == body["action"]
            assert flow_id is None or shown["filter"]["workflowID"] == [flow_id]
            known = self.operations.setdefault(shown["id"], Known())
            self.met["a bulk operation was started"] += 1
            self._shown(known, shown)

        await self._making.make(sent, "POST", lambda: "/v2/instances/bulk", lambda mark: body, check)

    async def preview(self) -> None:
        """Look what an operation would act on."""
        outcome = await self.requests.send("POST", "/v2/instances/bulk", {**self._body(), "dryRun": True})
        assert outcome.status in (200, 503, None), f"a dry run was answered {outcome.status}"

    async def look(self, id: str, api: SimulatedApi) -> None:
        """Read an operation."""
        outcome = await self.requests.read(f"/v2/bulk/{id}", api)
        if outcome is not None:
            assert outcome.status == 200, f"bulk operation {id} was answered {outcome.status}"
            self._shown(self.operations[id], outcome.body["data"])

    async def stop(self, id: str) -> None:
        """Stop an operation."""
        known = self.operations[id]
        known.stop_asked = True  # or maybe
        outcome = await self.requests.send("POST", f"/v2/bulk/{id}/stop")
        if outcome.status == 200:
            assert outcome.body["data"]["state"] != "running", "a stop was answered, and the operation goes on"
            self.met["a bulk operation was stopped"] += outcome.body["data"]["state"] == "stopping"
            return
        assert outcome.status in (503, None), f"a stop was answered {outcome.status}"

    def _shown(self, known: Known, shown: dict[str, Any]) -> None:
        """What is shown of an operation makes sense."""
        dealt_with = shown["done"] + shown["refused"]
        assert dealt_with <= shown["sent"], f"{dealt_with} of {shown['sent']} instances are dealt with"
        assert "lost" not in shown, "nobody knows what became of a command"
        ended = shown["state"] in ("completed", "stopped")
        assert not ended or dealt_with == shown["sent"], "an operation has ended before its last command was decided"
        assert shown["state"] in ("running", "completed") or known.stop_asked, "an operation was stopped by nobody"
        known.state = shown["state"]

    async def sweep(self, api: SimulatedApi) -> None:
        """See `Kind.sweep`: every operation has ended."""
        for id, known in self.operations.items():
            await self.look(id, api)
            assert known.state in ("completed", "stopped"), f"bulk operation {id} is {known.state} for ever"
