"""A stack in memory that fails, is slow and loses answers; each idempotency key moves money once."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.core.retries import Failure


@dataclass
class StackFaults:
    """How often what goes wrong."""

    before: float = 0.0
    """The call fails before anything is done."""
    after: float = 0.0
    """It is done, but the answer is lost."""
    final: float = 0.0
    """The stack refuses for good; decided per key, so that every attempt is told the same."""


@dataclass
class MemoryStack:
    """`engine.ports.ActivityCaller`, shared by all engines.

    Args:
        rng: decides latencies and faults.
        on_call: told of every call as it starts.
    """

    rng: random.Random
    on_call: Callable[[CallActivity], None]
    faults: StackFaults = field(default_factory=StackFaults)
    done: dict[str, bytes] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    balances: dict[str, int] = field(default_factory=dict)

    async def call(self, activity: CallActivity) -> ActivityDone:
        """See `ActivityCaller.call`."""
        self.on_call(activity)
        await asyncio.sleep(self.rng.uniform(0.0, 0.2) if self.rng.random() < 0.9 else self.rng.uniform(1.0, 30.0))
        if self.rng.random() < self.faults.before:
            return ActivityDone(activity.token, failure=Failure("HTTP 503", 503))
        if not self._commit(activity):
            return ActivityDone(activity.token, failure=Failure("refused", 400, "VALIDATION"))
        await asyncio.sleep(self.rng.uniform(0.0, 0.2))
        if self.rng.random() < self.faults.after:
            return ActivityDone(activity.token, failure=Failure("connection lost"))
        return ActivityDone(activity.token, output=self._output(activity))

    def _commit(self, activity: CallActivity) -> bool:
        key, content = activity.idempotency_key, msgspec.json.encode([activity.name, activity.input], order="sorted")
        if key in self.refused:
            return False
        if key in self.done:
            assert self.done[key] == content, f"key {key} was used for another call"
            return True
        if self.rng.random() < self.faults.final:
            self.refused.add(key)
            return False
        self.done[key] = content
        for posting in activity.input.get("data", {}).get("postings", []):
            self._move(posting)
        return True

    def _move(self, posting: dict[str, Any]) -> None:
        amount = posting["amount"]
        self.balances[posting["source"]] = self.balances.get(posting["source"], 0) - amount
        self.balances[posting["destination"]] = self.balances.get(posting["destination"], 0) + amount

    def _output(self, activity: CallActivity) -> Any:
        if activity.name != "CreateTransaction":
            return None
        data = activity.input["data"]
        return {"data": [{"id": 1, "txid": 1, "postings": data.get("postings", []), "metadata": data["metadata"]}]}
