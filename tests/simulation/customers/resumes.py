"""Who resumes what is paused, also the same pause twice, on different replicas, and after somebody else has."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from schemas.definition.instants import format_instant
from tests.simulation.answers import Pause
from tests.simulation.customers.kind import Action, Kind
from tests.simulation.customers.making import Making, Sent, id_of
from tests.simulation.customers.requests import TRIES, Outcome

LATE: Final = 0.3
"""How many pauses somebody else resumes who was too late."""
SECOND: Final = timedelta(seconds=1)


class Resumes(Kind):
    """Resumes activities.

    Args:
        making: makes requests.
    """

    def __init__(self, making: Making):
        super().__init__(making.requests, making.made)
        self._making = making

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (Action(100, self._resume_any, lambda: bool(self._paused())),)

    def _paused(self) -> list[str]:
        """Instances that are paused as far as the log was read, and shown: their workflow was made over HTTP."""
        known = self.answers.known
        return [
            id
            for id, one in known.instances.items()
            if one.paused and one.start.workflow_id in known.workflows and id not in known.aside
        ]

    async def _resume_any(self) -> None:
        id = self.rng.choice(self._paused())
        outcome = await self.requests.read(f"/v2/instances/{id}", self.requests.any_api)
        if outcome is None or (outcome.status == 404 and id not in outcome.promised.instances):
            return
        if self.is_gone(id, outcome):
            return
        assert outcome.status == 200, f"instance {id} was answered {outcome.status}"
        self.answers.instance(outcome.body["data"], outcome.promised)
        for status in outcome.body["data"].get("status", ()):
            for shown in status.get("pendingActivities", ()):
                await self.resume(id, Pause.shown(status["stage"], shown), shown["pausedAt"])

    async def resume(self, id: str, pause: Pause, paused_at: str, sent: Sent | None = None) -> None:
        """Resume an activity until it is answered, now and then twice at once.

        Args:
            id: of the instance.
            pause: which.
            paused_at: its beginning, as it was shown.
            sent: the request; a new one if None.
        """
        sent = sent or self._making.new()
        target = f"/v2/instances/{id}/stages/{pause.stage}/activities/{pause.index}/resume"
        body = {"temporalRunID": id, "pausedAt": paused_at}
        for _ in range(TRIES):
            twice = 2 if self.rng.random() < 0.2 else 1
            outcomes = await asyncio.gather(
                *(self.requests.send("POST", target, body, key=sent.key) for _ in range(twice))
            )
            answered = [outcome for outcome in outcomes if outcome.status not in (None, 503)]
            for outcome in answered:
                self._check(id, pause, sent, outcome)
            if answered:
                await self._look(id)
                if self.rng.random() < LATE:
                    await self.resume(id, pause, paused_at)
                break
            await asyncio.sleep(self.rng.uniform(0.1, 2.0))
        self._making.repeatable(sent, lambda again: self._resume_again(id, pause, paused_at, sent, again))

    async def _resume_again(self, id: str, pause: Pause, paused_at: str, sent: Sent, again: Sent) -> None:
        """The same once more; or, with the same key, another pause of the activity, which may be there or not."""
        if again.mark != sent.mark:
            known = self.answers.known.instances[id]
            others = [one for one in known.paused if (one.stage, one.index) == (pause.stage, pause.index)]
            other = next((one for one in others if one != pause), replace(pause, since=pause.since + SECOND))
            pause, paused_at = other, format_instant(other.since)
        await self.resume(id, pause, paused_at, again)

    def _check(self, id: str, pause: Pause, sent: Sent, outcome: Outcome) -> None:
        known = self.answers.known.instances[id]
        key = id_of("resume", f"{id}/{pause.stage}/{pause.index}", sent.key)
        of_key = None if key is None else known.resumed_by.get(key)
        if outcome.status == 204:
            assert pause in known.resumed, f"{id}: a resume was answered, and {pause} goes on"
            self.answers.promise_instance(id, known.over[pause])
            self.met["resumed by a client"] += 1
            return
        if self.is_gone(id, outcome):
            return
        assert of_key != pause, f"{id}: a repeated resume was answered {outcome.status}: {outcome.body}"
        if outcome.status == 400:
            assert of_key is not None, f"{id}: a resume was refused: {outcome.body}"
            return
        assert outcome.status in (404, 409), f"{id}: a resume was answered {outcome.status}: {outcome.body}"
        # Somebody else was quicker, it was aborted, or it was retried since.
        assert pause not in known.paused, f"{id}: {pause} was not resumed: {outcome.body}"
        assert outcome.status == 409 or len(known.passes) > 1, f"{id}: {pause} was not found"
        self.met["a resume was refused"] += 1

    async def _look(self, id: str) -> None:
        """What was answered is shown."""
        outcome = await self.requests.read(f"/v2/instances/{id}", self.requests.any_api)
        if outcome is not None and not self.is_gone(id, outcome):
            self.answers.instance(outcome.body["data"], outcome.promised)
