"""Links in memory, behind the engine's port for messages that need them: slow, and failing for a while."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.core.evaluation import Evaluated, Waiting
from engine.core.trigger import Trigger
from engine.ports import MayStart
from tests.simulation.checkers import Observer
from tests.simulation.loop import VirtualClock


def link_matches(offset: int) -> bool:
    """Whether the links of a message at this offset of its source say that it fires."""
    return offset % 5 != 0


@dataclass
class LinkFaults:
    """How often what goes wrong."""

    passing: float = 0.0
    """A link can't be fetched at the moment."""


@dataclass
class MemoryLinks:
    """`engine.ports.MessageEvaluator` of one engine.

    Args:
        rng: decides latencies and faults.
        faults: shared by all engines.
        observer: told of every attempt as it starts.
        epochs: of the partitions that the engine owns, as far as it knows.
    """

    rng: random.Random
    faults: LinkFaults
    observer: Observer
    epochs: Callable[[], Mapping[int, int]]

    async def evaluate(self, trigger: Trigger, waiting: Waiting, may_start: MayStart) -> Evaluated | None:
        """See `MessageEvaluator.evaluate`."""
        if self.rng.random() < 0.1:  # all slots are taken
            await asyncio.sleep(self.rng.uniform(0.0, 20.0))
        if not await may_start():
            return None
        self.observer.evaluating(trigger.id, waiting, self.epochs(), VirtualClock().now())
        await asyncio.sleep(self.rng.uniform(0.0, 10.0))
        message, attempt = waiting.message, waiting.attempt
        if self.rng.random() < self.faults.passing:
            return Evaluated(message.occurrence_id, attempt, error="HTTP 503", may_pass=True)
        if not link_matches(message.offset):
            return Evaluated(message.occurrence_id, attempt)
        error = "HTTP 404" if message.offset % 5 == 1 else None
        return Evaluated(message.occurrence_id, attempt, matches=True, error=error)
