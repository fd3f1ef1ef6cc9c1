"""The end of a seed, when nothing goes wrong any more: what is still to come, and what helps it to come."""

import asyncio
from collections.abc import Iterator
from typing import Final

from schemas import rejections
from schemas.commands import RunWorkflow, SendEvent
from schemas.definition import WaitEvent
from tests.definitions import definition
from tests.simulation.customers.customers import NOBODY_SENDS
from tests.simulation.installation import PARTITIONS, Installation

LOOK_SECONDS: Final = 20.0
"""How often is looked whether everything has ended, and helped if not."""
HELP_SECONDS: Final = (*[0.0] * 11, 300.0)
"""After how long what waits for money is helped. Mostly at once, for hours of nothing else would show nothing new."""
SETTLE_SECONDS: Final = 20.0
"""Time for the turns that take in the last results."""


class Settling:
    """Waits until everything has ended.

    Args:
        installation: of the seed.
    """

    def __init__(self, installation: Installation):
        self._rng, self._memories, self._bad = installation.rng, installation.memories, installation.bad
        self._topics, self._observer, self._stack = installation.topics, installation.observer, installation.stack
        self._clients, self._producing, self._front = installation.clients, installation.producing, installation.front
        self._listening = installation.listening
        self._helped: set[str] = set()

    async def converge(self) -> None:
        """Nothing goes wrong any more: what does not wait for an event must end, and what does ends when it comes."""
        begin = asyncio.get_running_loop().time()
        deadline, help_at = begin + 1800, begin + self._rng.choice(HELP_SECONDS)
        while not self._settled():
            self._observer.check()
            assert asyncio.get_running_loop().time() < deadline, f"not settled: {list(self.unsettled())}"
            await asyncio.sleep(LOOK_SECONDS)
            self._memories.check()
            self._clients.start_refused()
            for instance_id in self.waiting():
                if self._waits_for_event(instance_id):  # an event would let a delay end that was forgotten
                    for name in ("approved", "paid", "ann"):
                        self._clients.send(instance_id, SendEvent(name=name))
                    if self._observer.histories[instance_id].stages[-1].input["event"] == NOBODY_SENDS:
                        # It was aborted, and an operation on all has retried it.
                        self._clients.send(instance_id, SendEvent(name=NOBODY_SENDS))
                if asyncio.get_running_loop().time() >= help_at:
                    self._help(instance_id)
                if self._observer.instances[instance_id].paused:
                    self._clients.resume(instance_id)
        moved = self._observer.moved
        await asyncio.sleep(SETTLE_SECONDS)
        self._observer.check()
        self._memories.check()
        self._memories.check_whole()
        # An owner may claim again what is its own: it has met a late record of an older claim.
        assert self._observer.moved == moved, "engines take partitions from each other"

    def _waits_for_event(self, instance_id: str) -> bool:
        stages = self._observer.histories[instance_id].stages
        return bool(stages) and not stages[-1].ended and stages[-1].name == WaitEvent.name

    def _help(self, instance_id: str) -> None:
        """Let another instance bring the money that this one may be short of, once per stage."""
        stages = self._observer.histories[instance_id].stages
        if not stages or stages[-1].ended or stages[-1].name != "RunSend" or not stages[-1].activities:
            return
        mark = f"for {stages[-1].input['metadata']['mark']}"
        if stages[-1].activities[-1].failures and mark not in self._helped:
            self._helped.add(mark)
            deposits = self._clients.sends.deposits(stages[-1].input, mark)
            run = RunWorkflow(workflow_id=self._clients.new_id(), stages=definition(deposits), variables={})
            self._clients.send(self._clients.new_id(), run)

    def waiting(self) -> list[str]:
        """Instances that are known and have not ended."""
        aside = self._observer.aside
        return [id for id, instance in self._observer.instances.items() if not instance.ended and id not in aside]

    def _settled(self) -> bool:
        is_bad_known = self._bad is None or self._bad.is_known()  # first: its instance waits until it is set aside
        return is_bad_known and next(self.unsettled(), None) is None

    def _was_answered(self, instance_id: str) -> bool:
        """Whether a submitted run of a workflow that exists has started, or is too old to tell whether it had."""
        refused = self._observer.refused.get(instance_id, ())
        return instance_id in self._observer.instances or rejections.TOO_OLD in refused

    def unsettled(self) -> Iterator[str]:
        """What is still to come, in words. What takes long to find out comes last."""
        for partition in range(PARTITIONS):
            commands, decided = len(self._topics.commands[partition]), len(self._observer.causes[partition])
            if commands != decided:
                yield f"partition {partition}: {commands - decided} commands"
        yield from self.waiting()
        if self._stack.under_way:
            yield f"{self._stack.under_way} calls"
        if self._producing.program.under_way:
            yield f"{self._producing.program.under_way} appends"
        for occurrence, instance_id in self._observer.to_start.items():
            yield f"{instance_id} has to be started for {occurrence}"
        for trigger in self._observer.triggers.values():
            for occurrence in trigger.waiting:
                yield f"{trigger.id} waits for links of {occurrence}"
        yield from (instance_id for instance_id in self._clients.runs if instance_id not in self._observer.instances)
        for outcomes in self._observer.outcomes:
            yield from (f"submissions to {instance_id}" for instance_id, held in outcomes.held.items() if held)
        for instance_id in self._clients.intake.sure:
            if not self._was_answered(instance_id):
                yield f"the submitted run {instance_id}"
        yield from self._listening.lost(self._observer.admitted)
        yield from self._front.unsettled()
