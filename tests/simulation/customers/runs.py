"""Who runs workflows."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tests.simulation.answers import MARK, KnownInstance
from tests.simulation.customers.kind import Action, Flow, Kind
from tests.simulation.customers.making import Making, Sent, id_of
from tests.simulation.customers.requests import Outcome
from tests.simulation.loop import VirtualClock

MAX_LOOKS: Final = 30
"""At a list, while a workflow is run."""
NOTICED_SECONDS: Final = 3.0
"""When an end is noticed at the latest, when all is quiet but that announcements are lost."""


class Runs(Kind):
    """Runs workflows.

    Args:
        making: sends what makes something.
    """

    def __init__(self, making: Making):
        super().__init__(making.requests, making.made)
        self._making = making

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (
            Action(30, lambda: self.run(self.any_flow()), self.has_flows),
            Action(5, lambda: self.run_and_watch(self.any_flow()), self.has_flows),
        )

    async def run(self, flow: Flow, sent: Sent | None = None, *, wait: bool | None = None) -> None:
        """Run a workflow.

        Args:
            flow: it.
            sent: the request; a new one if None.
            wait: whether for the end of the instance.
        """
        sent = sent or self._making.new()
        wait = self.rng.random() < 0.4 if wait is None else wait

        def check(mark: str, outcome: Outcome) -> None:
            self._check(flow, sent, mark, outcome, wait=wait)

        def target() -> str:
            path = self.rng.choice(("/workflows/{}/instances", "/v2/workflows/{}/instances", "/flows/{}/runs"))
            return path.format(flow.id) + ("?wait=true" if wait else "")

        await self._making.make(sent, "POST", target, lambda mark: {"who": "ann", MARK: mark}, check)
        self._making.repeatable(sent, lambda again: self.run(flow, again))

    def _check(self, flow: Flow, sent: Sent, mark: str, outcome: Outcome, *, wait: bool) -> None:
        known, id = self.answers.known, id_of("instance", flow.id, sent.key)
        if outcome.status == 404:
            assert flow.deleted, "a workflow that exists was not found"
            return
        if outcome.status == 400:
            assert id is not None, "a run was refused"
            is_deleted = self.answers.may_be_gone(id, outcome.promised)
            self.met["a run was refused whose instance is deleted"] += is_deleted
            assert is_deleted or known.instances[id].start.variables[MARK] != mark, "a repeated run was refused"
            return
        assert outcome.status == 201, f"a run was answered {outcome.status}"
        shown = outcome.body["data"]
        assert known.started.get(mark) == [shown["id"]], f"run {mark} has started {known.started.get(mark)}"
        assert id in (None, shown["id"]), "the key was given another instance"
        is_deleted = flow.id in outcome.promised.deleted_workflows
        assert sent.key is not None or not is_deleted, "a workflow was run after its deletion was answered"
        self.answers.instance(shown, outcome.promised, complete=wait)
        instance = known.instances[shown["id"]]
        self.answers.promise_instance(shown["id"], instance.caused.get(instance.started_by, 0))
        sent.acknowledged += 1
        self.made.instances.append(shown["id"])
        if wait:
            self._check_wait(outcome, instance, has_ended=shown["terminated"])

    def _check_wait(self, outcome: Outcome, instance: KnownInstance, *, has_ended: bool) -> None:
        """Whoever waits for an end is answered when it has come, and only then."""
        ended_at = instance.moments[-1].terminated_at
        if not has_ended:
            waited = outcome.stopping or outcome.seconds >= self.requests.settings.wait_timeout_seconds
            # Where the end can't be read just when it has come, the instance is shown as it was. Or it was retried.
            had_ended = any(moment.terminated_at is not None for moment in instance.moments)
            is_unread = had_ended and not (self.requests.quiet and ended_at is not None)
            assert waited or is_unread, "a wait ended before its time"
        if self.requests.quiet and ended_at is not None:
            late = min(outcome.seconds, (VirtualClock().now() - ended_at).total_seconds())
            assert late <= NOTICED_SECONDS, f"a wait went on for {late:.1f} s after the end"
        self.met["waited for an end"] += has_ended

    async def run_and_watch(self, flow: Flow) -> None:
        """Run a workflow, while others look at its list again and again; and look there as soon as it was run."""
        api = self.requests.any_api

        async def look() -> None:
            outcome = await self.requests.read(f"/instances?workflowID={flow.id}", api)
            if outcome is not None:
                self.answers.instances(outcome.body["data"], outcome.promised, flow.id, running=False)

        async def run_and_look() -> None:
            await self.run(flow, wait=False)
            await look()

        async def watch() -> None:
            for _ in range(MAX_LOOKS):
                await look()
                if running.done():
                    return
                await asyncio.sleep(self.rng.uniform(0.0, 0.01))

        running = asyncio.create_task(run_and_look())
        await asyncio.gather(running, watch(), watch())

    def check(self) -> None:
        """See `Kind.check`: each run was started at most once for each try."""
        for mark, ids in self.answers.known.started.items():
            assert len(ids) == 1, f"run {mark} has started {len(ids)} instances"
