"""Who has instances run once more: those that have failed or were aborted, also twice at once, also those that run."""

import asyncio
from collections.abc import Sequence

from tests.simulation.customers.acts import Acts
from tests.simulation.customers.kind import Action, Kind
from tests.simulation.customers.looks import Looks
from tests.simulation.customers.making import Making, Sent, id_of
from tests.simulation.customers.requests import TRIES, Outcome

BESIDE_SECONDS = 0.15
"""By how much a second try comes later, at most: by then the first one is mostly carried out."""
LOOK_SECONDS = 0.002
"""How often it is looked whether a retry is carried out."""
LATE_ABORTS = (1, 1, 4)
"""How many aborts come after an end, all of them with keys: also more than an instance remembers in some seeds."""
REGRETTED = 0.3
"""How many retries are aborted at once that were not answered, maybe since the read model is behind."""


class Retries(Kind):
    """Retries instances.

    Args:
        making: sends what makes something.
        looks: look at an instance after an answer.
        acts: abort what would not fail by itself.
    """

    def __init__(self, making: Making, looks: Looks, acts: Acts):
        super().__init__(making.requests, making.made)
        self._making, self._looks, self._acts = making, looks, acts

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (
            Action(10, self._retry_any, self.has_instances),
            Action(4, lambda: self.regret(self.rng.choice(self.failed())), lambda: bool(self.failed())),
            Action(8, lambda: self.abort_late(self.rng.choice(self.failed())), lambda: bool(self.failed())),
        )

    def failed(self) -> Sequence[str]:
        """Instances that have failed or were aborted."""
        known = self.answers.known.instances
        return [id for id in self.made.instances if known[id].moments[-1].error is not None]

    async def _retry_any(self) -> None:
        """Retry an instance, mostly one that can be retried: many would not fail by themselves."""
        known, running, failed = self.answers.known.instances, [], self.failed()
        if not failed:
            running = [id for id in self.made.instances if not known[id].ended]
        id = self.rng.choice(failed or running or self.made.instances)
        if running:
            await self._acts.abort(id)
        await self.retry(id)

    async def regret(self, id: str) -> None:
        """Abort an instance as soon as a retry is carried out, whatever the read model shows by then."""
        known, sent = self.answers.known, self._making.new()
        passes = len(known.instances[id].passes)
        trying = asyncio.create_task(self._try(id, sent, 0.0))
        while not trying.done() and len(known.instances[id].passes) == passes:
            await asyncio.sleep(LOOK_SECONDS)
            known.read()
        self.met["an abort came as soon as a retry was carried out"] += len(known.instances[id].passes) > passes
        await self._acts.abort(id)
        outcome = await trying
        if outcome.status not in (None, 503):
            self._check(id, sent, outcome)

    async def abort_late(self, id: str) -> None:
        """Abort an instance that has ended while it is retried, and send the aborts again: they act once at most."""
        passes = len(self.answers.known.instances[id].passes)
        aborts = [self._making.new(keyed=True) for _ in range(self.rng.choice(LATE_ABORTS))]
        await asyncio.gather(*(self._acts.abort(id, sent, passes) for sent in aborts), self.retry(id))
        for sent in aborts:
            await self._acts.abort(id, sent, passes)
        self.met["aborts came again behind a retry"] += len(self.answers.known.instances[id].passes) > passes

    async def retry(self, id: str, sent: Sent | None = None) -> None:
        """Retry an instance until it is answered, now and then twice at once."""
        sent = sent or self._making.new()
        for _ in range(TRIES):
            later = [0.0] if self.rng.random() < 0.2 else []
            outcomes = await asyncio.gather(*(self._try(id, sent, after) for after in (0.0, *later)))
            answered = [outcome for outcome in outcomes if outcome.status not in (None, 503)]
            for outcome in answered:
                self._check(id, sent, outcome)
            if answered:
                await self._looks.get(id, self.requests.any_api)
                break
            if self.rng.random() < REGRETTED:
                await self._acts.abort(id)
            await asyncio.sleep(self.rng.uniform(0.1, 4.0))
        self._making.repeatable(sent, lambda again: self.retry(id, again))

    async def retry_twice(self, id: str) -> None:
        """Send one retry twice: the second one comes while the first is carried out."""
        sent = self._making.new(keyed=True)
        later = self.rng.uniform(0.0, BESIDE_SECONDS)
        for outcome in await asyncio.gather(self._try(id, sent, 0.0), self._try(id, sent, later)):
            self._check(id, sent, outcome)

    async def _try(self, id: str, sent: Sent, after: float) -> Outcome:
        await asyncio.sleep(after)
        return await self.requests.send("POST", f"/v2/instances/{id}/retry", key=sent.key)

    def _check(self, id: str, sent: Sent, outcome: Outcome) -> None:
        if self.is_gone(id, outcome):
            return
        known = self.answers.known.instances[id]
        if outcome.status == 409:
            key = id_of("retry", id, sent.key)
            assert key is None or key not in known.retried_by, "a repeated retry was refused"
            self.met["a retry was refused"] += 1
            return
        assert outcome.status == 201, f"a retry was answered {outcome.status}: {outcome.body}"
        shown = outcome.body["data"]
        assert shown["id"] == id
        assert len(known.passes) > 1, "a retry was answered that the log does not have"
        self.answers.instance(shown, outcome.promised)
        self.met["retried by a client"] += 1

    def check(self) -> None:
        """See `Kind.check`: what has succeeded was never retried, which `KnownInstance` looks at."""
