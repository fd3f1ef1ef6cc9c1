"""Tells readers when the read model has everything again that it ever showed.

Postgres loses its last transactions in a crash, since nobody waits until they are on disk (`synchronous_commit=off`).
A backup that is restored is older still. The projections write again what is lost. Until they have, a reader would be
told that something does not exist which was shown before. So readers wait (`queries.caught_up`).

    Postgres starts ──► ask Kafka where the partitions end ──► write up to there ──► note it in table `caught_up`

Whatever was shown before Postgres started lies below these ends. Each projector does this for its own partitions. What
one has noted holds until Postgres starts again, also for a projector that gets the partition later.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from projections.metrics import Metrics
from projections.ports import Store
from projections.rows import ReadPosition
from schemas.kafka import KafkaFault, Limits, Place

logger = logging.getLogger(__name__)

ENDS_TIMEOUT_SECONDS: Final = 3.0
"""Deadline of asking Kafka for the ends. Without it a broker that hangs would hold up what is written."""
RETRY_SECONDS: Final = 1.0
"""Pause before Kafka is asked again. Without it the projections would do nothing else while Kafka does not answer."""


class Log(Protocol):
    """What is asked of a member of the group (see `schemas.kafka.Member`)."""

    def partitions(self) -> int:
        """How many partitions the log has; 0 when that is not known at the moment."""

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """What partitions hold now."""


class CatchingUp:
    """The partitions of one projector that have not caught up since Postgres started.

    Args:
        store: the read model.
        topic: name of the log.
        metrics: shows how many partitions are missing.
        clock: seconds, monotonic.
    """

    def __init__(self, store: Store, topic: str, metrics: Metrics, clock: Callable[[], float] = time.monotonic):
        self._store = store
        self._topic = topic
        self._metrics = metrics
        self._clock = clock
        self._missing: set[int] = set()
        self._ends: dict[int, int] = {}
        self._ask_at = 0.0

    async def begin(self, partitions: Collection[int]) -> None:
        """Find out which partitions are missing. Call it whenever the connection to Postgres may be a new one.

        Raises:
            StoreAway: Postgres is away.
        """
        # Ends from before Postgres started again say nothing about what was shown after them.
        self._ends, self._missing, self._ask_at = {}, set(), 0.0
        self._show(await self._store.not_caught_up(partitions))

    async def check(self, partitions: Collection[int]) -> None:
        """Look again. Call it now and then: a rebuild may have swapped in a table without what was noted a moment ago.

        Raises:
            StoreAway: Postgres is away.
        """
        if not self._missing:
            await self.begin(partitions)

    async def go_on(self, log: Log, positions: Mapping[int, ReadPosition]) -> None:
        """Note the partitions that have come far enough. Costs nothing once all have.

        Args:
            log: knows where the partitions end.
            positions: where the partitions are in the read model.

        Raises:
            StoreAway: Postgres is away.
        """
        if not self._missing:
            return
        if not self._ends and not await self._ask(log):
            return
        passed = {
            p: end for p in self._missing if p in positions and positions[p].next_offset >= (end := self._ends[p])
        }
        # A broker that is starting does not know the number for a moment. With a wrong one, reads would wait for as
        # long as Postgres runs.
        if passed and (partitions := log.partitions()):
            self._show(self._missing - await self._store.note_caught_up(passed, partitions))

    async def _ask(self, log: Log) -> bool:
        """Learn where the missing partitions end now; False if Kafka does not answer."""
        if self._clock() < self._ask_at:
            return False
        try:
            async with asyncio.timeout(ENDS_TIMEOUT_SECONDS):
                found = await log.limits([Place(self._topic, partition) for partition in self._missing])
        except (KafkaFault, TimeoutError) as fault:
            self._ask_at = self._clock() + RETRY_SECONDS
            logger.warning("Kafka does not tell where the events end, so reads wait: %s", fault or type(fault).__name__)
            return False
        self._ends = {place.partition: limits.read_to for place, limits in found.items()}
        shown = ", ".join(f"{partition}: {end}" for partition, end in sorted(self._ends.items()))
        logger.info("Postgres was started; reads wait until the read model has passed these offsets: %s", shown)
        return True

    def _show(self, missing: set[int]) -> None:
        if self._missing and not missing:
            logger.info("the read model has caught up")
        self._missing = missing
        self._metrics.catching_up.set(len(missing))
