"""Tells readers when the read model has everything again that it ever showed.

Postgres loses its last transactions in a crash, since nobody waits until they are on disk (`synchronous_commit=off`).
A backup that is restored is older still. The projections write again what is lost. Until they have, a reader would be
told that something does not exist which was shown before. So readers wait (`queries.caught_up`).

    Postgres starts ──► ask Kafka where the partitions end ──► write up to there ──► note it in table `caught_up`

Whatever was shown before Postgres started lies below these ends. Each projector does this for its own partitions. What
one has noted holds until Postgres starts again, whoever gets the partition later.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from projections.metrics import Metrics
from projections.rows import ReadPosition
from projections.store import Store

logger = logging.getLogger(__name__)

ENDS_TIMEOUT_SECONDS: Final = 3.0
"""Deadline of asking Kafka for the ends. Without it a broker that hangs would hold up what can be written."""
RETRY_SECONDS: Final = 1.0
"""Pause after Kafka did not say; without it the projections would do nothing but ask."""


class CatchingUp:
    """The partitions of one projector that have not caught up since Postgres started.

    Args:
        store: the read model.
        topic: the log.
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
        """Look which partitions are missing. Call it whenever the connection to Postgres may be a new one.

        Raises:
            one of `projections.database.FAULTS`: Postgres is away.
        """
        # Ends from before Postgres started again say nothing about what was shown after them.
        self._ends, self._missing, self._ask_at = {}, set(), 0.0
        self._show(await self._store.not_caught_up(partitions))

    async def check(self, partitions: Collection[int]) -> None:
        """Look again, now and then: a rebuild may have put a table there that lacks what was noted a moment ago.

        Raises:
            one of `projections.database.FAULTS`: Postgres is away.
        """
        if not self._missing:
            await self.begin(partitions)

    async def go_on(self, consumer: AIOKafkaConsumer, positions: Mapping[int, ReadPosition]) -> None:
        """Note the partitions that have come far enough. Costs nothing once all have.

        Args:
            consumer: knows where the log ends.
            positions: where the partitions are in the read model.

        Raises:
            one of `projections.database.FAULTS`: Postgres is away.
        """
        if not self._missing:
            return
        if not self._ends and not await self._ask(consumer):
            return
        passed = {
            p: end for p in self._missing if p in positions and positions[p].next_offset >= (end := self._ends[p])
        }
        partitions: Collection[Any] = consumer.partitions_for_topic(self._topic) or ()
        # The client knows none for a moment when it has asked a broker that is starting. Noted so, reads would wait for
        # as long as Postgres runs.
        if passed and partitions:
            self._show(self._missing - await self._store.note_caught_up(passed, len(partitions)))

    async def _ask(self, consumer: AIOKafkaConsumer) -> bool:
        """Learn where the missing partitions end now; False when Kafka does not say."""
        if self._clock() < self._ask_at:
            return False
        wanted = [TopicPartition(self._topic, partition) for partition in self._missing]
        try:
            async with asyncio.timeout(ENDS_TIMEOUT_SECONDS):
                begins, ends = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
        except (KafkaError, OSError, TimeoutError) as fault:
            self._ask_at = self._clock() + RETRY_SECONDS
            logger.warning("Kafka does not say where the events end, so reads wait: %s", fault or type(fault).__name__)
            return False
        # A partition without a record has nothing to be read, however high its offsets are.
        self._ends = {tp.partition: end if begins[tp] < end else 0 for tp, end in ends.items()}
        shown = ", ".join(f"{partition}: {end}" for partition, end in sorted(self._ends.items()))
        logger.info("Postgres was started; reads wait until the read model has passed these offsets: %s", shown)
        return True

    def _show(self, missing: set[int]) -> None:
        if self._missing and not missing:
            logger.info("the read model has caught up")
        self._missing = missing
        self._metrics.catching_up.set(len(missing))
