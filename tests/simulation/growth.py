"""What operators do to the number of partitions: topics get some more, and engines are told another number."""

import asyncio
import random
from collections import Counter
from typing import Final

from schemas.topics import COMMANDS
from tests.simulation.engines import EngineProcess, Engines
from tests.simulation.topics import Topics

SHARE: Final = 0.25
"""In how many seeds topics grow."""
ADDED: Final = (1, 2)
ADDED_AFTER_SECONDS: Final = (1.0, 40.0)
MISLED_SECONDS: Final = (1.0, 15.0)
"""How long one engine has another number in its settings."""
MISLED: Final = 4
"""How many engines have it at most, one after the other: it harms most where one has it that listens for triggers."""


class Growth:
    """Does it, in some seeds.

    Args:
        rng: decides what and when.
        topics: of the installation.
        engines: of which one at a time may be misled.
    """

    def __init__(self, rng: random.Random, topics: Topics, engines: Engines):
        self._rng, self._topics, self._engines = rng, topics, engines
        self._happens = rng.random() < SHARE
        self.met: Counter[str] = Counter()
        """How often what was done."""

    async def run(self, *, is_snapshot_safe: bool) -> None:
        """Add partitions to topics; then mislead engines, if they can know by a snapshot that they are wrong.

        Args:
            is_snapshot_safe: whether nobody harms snapshots.
        """
        if not self._happens:
            return
        await asyncio.sleep(self._rng.uniform(*ADDED_AFTER_SECONDS))
        names = [name for name in self._topics.ours if self._rng.random() < 0.7] or [COMMANDS]
        for name in names:
            present = len(self._topics.cluster.topics[name].partitions)
            self._topics.cluster.grow(name, present + self._rng.randint(*ADDED))
        self._topics.trace.add("", f"{', '.join(names)} have more partitions")
        self.met["topics of ours got more partitions"] += 1
        if is_snapshot_safe and self._topics.snapshot(0):
            for _ in range(self._rng.randint(1, MISLED)):
                await self._mislead(self._rng.choice(self._engines.processes))

    async def _mislead(self, process: EngineProcess) -> None:
        """Start an engine that takes partitions for used that are not, or the other way round."""
        number = self._topics.partitions + self._rng.choice((-1, *ADDED))
        self._topics.trace.add(process.name, f"believes in {number} partitions")
        self._engines.misled[process.name] = number
        process.restart()
        await asyncio.sleep(self._rng.uniform(*MISLED_SECONDS))
        del self._engines.misled[process.name]
        process.restart()
        self.met["an engine believed in another number of partitions"] += 1
