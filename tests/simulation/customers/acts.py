"""Who acts on instances: sends them events, aborts them, or both at once."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from tests.simulation.answers import MARK
from tests.simulation.customers.kind import Action, Kind
from tests.simulation.customers.looks import Looks
from tests.simulation.customers.making import Making, Sent, id_of
from tests.simulation.customers.requests import TRIES, Outcome

NAMES = ("approved", "paid", "ann", "else")
"""Of events; nobody waits for the last one."""


class Acts(Kind):
    """Acts on instances.

    Args:
        making: sends what makes something.
        looks: look at an instance after an answer.
    """

    def __init__(self, making: Making, looks: Looks):
        super().__init__(making.requests, making.made)
        self._making, self._looks = making, looks

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (
            Action(15, lambda: self.send_event(self.any_instance()), self.has_instances),
            Action(5, lambda: self.abort(self.any_instance()), self.has_instances),
            Action(4, lambda: self.race(self.rng.choice(self._running())), self._can_race),
        )

    async def send_event(self, id: str, sent: Sent | None = None, name: str = "") -> None:
        """Send an event to an instance.

        Args:
            id: of the instance.
            sent: the request; a new one if None.
            name: of the event; any if empty.
        """
        sent, name = sent or self._making.new(), name or self.rng.choice(NAMES)

        def check(mark: str, outcome: Outcome) -> None:
            if self.is_gone(id, outcome):
                return
            known, key = self.answers.known.instances[id], id_of("event", id, sent.key)
            if outcome.status == 400:
                used = known.keys.get(key) if key is not None else None
                assert used != mark, "a repeated event was refused"
                refused = known.ended or len(known.passes) > 1 or used is not None
                assert refused, "an event was refused"
                return
            assert outcome.status == 204, f"an event was answered {outcome.status}"
            assert known.marks[mark] == 1, f"event {mark} was received {known.marks[mark]} times"
            sent.acknowledged += 1
            self.answers.promise_instance(id, known.caused[known.received_by[mark]])

        target = self.instance_target(id, "events")
        await self._making.make(sent, "POST", target, lambda mark: {"name": name, MARK: mark}, check)
        if sent.acknowledged and self.rng.random() < 0.5:
            await self._looks.get(id, self.requests.any_api)
        self._making.repeatable(sent, lambda again: self.send_event(id, again, name))

    async def abort(self, id: str, sent: Sent | None = None, passes: int | None = None) -> None:
        """Abort an instance, again and again until it is answered.

        Args:
            id: of the instance.
            sent: the request; a new one if None.
            passes: how many there were when it was sent for the first time. It ends none that a retry has begun since.
        """
        target, sent = self.instance_target(id, "abort"), sent or self._making.new()
        self.answers.known.read()  # what was retried by now is ended, whatever the read model shows
        passes = len(self.answers.known.instances[id].passes) if passes is None else passes
        self._making.repeatable(sent, lambda again: self.abort(id, again, passes))
        for _ in range(TRIES):
            outcome = await self.requests.send("PUT", target(), key=sent.key)
            if outcome.status == 204:
                known = self.answers.known.instances[id]
                was_retried = len(known.passes) > passes
                assert known.ended or was_retried, "an abort was answered, and the instance goes on"
                if known.ended:
                    # If there was a retry meanwhile, perhaps another abort has ended it: then this answer tells of the
                    # end before it alone.
                    seen = [n for n, moment in enumerate(known.moments) if moment.retries < passes]
                    self.answers.promise_instance(id, seen[-1])
                    self.answers.aborted[id] = known.moments[-1].retries
                self.met["aborted by a client"] += 1
                await self._looks.get(id, self.requests.any_api)
                return
            if self.is_gone(id, outcome):
                return
            assert outcome.status in (None, 503), f"an abort was answered {outcome.status}"
            await asyncio.sleep(self.rng.uniform(0.1, 2.0))

    def _running(self) -> Sequence[str]:
        known = self.answers.known.instances
        return [id for id in dict.fromkeys(self.made.instances) if not known[id].ended]

    def _can_race(self) -> bool:
        return not self.requests.quiet and bool(self._running())

    async def race(self, id: str) -> None:
        """Send events to an instance that runs, and abort it, all at once: some of them find it aborted."""
        await asyncio.gather(*(self.send_event(id) for _ in range(2)), self.abort(id), self.send_event(id))

    def check(self) -> None:
        """See `Kind.check`: each event was received at most once for each try, and no request has done two things."""
        received: Counter[str] = Counter()
        for instance in self.answers.known.instances.values():
            received.update(instance.marks)
        for mark, count in received.items():
            assert count == 1, f"event {mark} was received {count} times"
        reasons = self.answers.known.reasons
        for reason, count in reasons.items():
            assert count == 1, f"what was done for {reason!r} was done {count} times"
        self.met["was done for a reason"] += len(reasons)
