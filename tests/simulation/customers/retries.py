"""Who has instances run once more: those that have failed or were aborted, also twice at once, also those that run."""

import asyncio
from collections.abc import Sequence

from tests.simulation.customers.acts import Acts
from tests.simulation.customers.kind import Action, Kind
from tests.simulation.customers.looks import Looks
from tests.simulation.customers.making import Making, Sent, id_of
from tests.simulation.customers.requests import TRIES, Outcome


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
        return (Action(10, self._retry_any, self.has_instances),)

    async def _retry_any(self) -> None:
        """Retry an instance, mostly one that can be retried: many would not fail by themselves."""
        known, running = self.answers.known.instances, []
        failed = [id for id in self.made.instances if known[id].moments[-1].error is not None]
        if not failed:
            running = [id for id in self.made.instances if not known[id].ended]
        id = self.rng.choice(failed or running or self.made.instances)
        if running:
            await self._acts.abort(id)
        await self.retry(id)

    async def retry(self, id: str, sent: Sent | None = None) -> None:
        """Retry an instance until it is answered, now and then twice at once."""
        sent = sent or self._making.new()
        path = f"/v2/instances/{id}/retry"
        for _ in range(TRIES):
            twice = 2 if self.rng.random() < 0.2 else 1
            outcomes = await asyncio.gather(*(self.requests.send("POST", path, key=sent.key) for _ in range(twice)))
            answered = [outcome for outcome in outcomes if outcome.status not in (None, 503)]
            for outcome in answered:
                self._check(id, sent, outcome)
            if answered:
                await self._looks.get(id, self.requests.any_api)
                break
            await asyncio.sleep(self.rng.uniform(0.1, 4.0))
        self._making.repeatable(sent, lambda again: self.retry(id, again))

    def _check(self, id: str, sent: Sent, outcome: Outcome) -> None:
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
