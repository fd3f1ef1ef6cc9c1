"""The consumer group of the publishers: a task for each partition that it gives to this process."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError
from prometheus_client import REGISTRY, CollectorRegistry

from projections.publisher.cancellation import to_its_end
from projections.publisher.errors import Fenced, LogBehindPosition, PublisherError, TransactionFailed
from projections.publisher.metrics import Metrics
from projections.publisher.partition_publisher import PartitionPublisher
from projections.publisher.transactions import TIMEOUT_SECONDS, Transactions
from schemas.kafka import Consumer, close, membership
from schemas.kafka.client import retrieve
from schemas.settings import ProjectionsSettings
from schemas.topics import EVENTS, MAX_RECORD_BATCH_BYTES, topic_name

logger = logging.getLogger(__name__)

GROUP: Final = "orchestration-publisher"
"""Name of the consumer group, behind the prefix of the topics."""
WATCH_SECONDS: Final = 1.0
"""Pause between looks at the group and at the partitions' tasks: how late a fault of the consumer may be noticed."""
RECONNECT_SECONDS: Final = 1.0
"""Pause before the group is joined again. Without it a broker that is away would be asked in a tight loop."""
FIRST_PAUSE_SECONDS: Final = 0.1
"""First pause before a partition is opened again; it doubles. Without it a lasting fault would be a busy loop."""
MAX_PAUSE_SECONDS: Final = 10.0
"""Longest of these pauses: how long a partition may wait after its fault is gone."""
MAX_AWAY_SECONDS: Final = 2.0
"""The same while transactions fail: how long Kafka may be back before we notice. Each try takes its time, so
this is not a busy loop."""
FENCED_PAUSE_SECONDS: Final = 3.0
"""More than a heartbeat: who was fenced is most likely about to learn that the partition went to another publisher, and
would take it back for a moment."""
REBALANCE_TIMEOUT_MS: Final = 10_000
"""How long others wait for a publisher that still ends its transactions."""
LEAVE_TIMEOUT_SECONDS: Final = 2.0
"""Leaving the group hands the partitions over at once; without an answer they follow by the session timeout."""
FETCH: Final = {
    # The broker gathers records for a while: a fetch for each one would take the processor from what answers requests.
    "fetch_min_bytes": 64 * 1024,
    "fetch_max_wait_ms": 200,
    # One partition that is far behind must not hide the others, nor may a fetch exceed the memory at hand.
    "max_partition_fetch_bytes": 1024 * 1024,
    "fetch_max_bytes": 2 * MAX_RECORD_BATCH_BYTES,
}
MAX_POLL_INTERVAL_MS: Final = 24 * 3600 * 1000
"""While transactions fail nothing is polled; giving the partitions to another publisher would not help then."""


class Publisher(ConsumerRebalanceListener):  # type: ignore[misc]
    """Publishes its share of the partitions until stopped. Whatever fails is logged, counted and tried again.

    Args:
        settings: how to reach Kafka.
        registry: where its metrics are registered.
    """

    def __init__(self, settings: ProjectionsSettings, registry: CollectorRegistry = REGISTRY):
        self._settings = settings
        self._metrics = Metrics(registry)
        self._topic = topic_name(settings, EVENTS)
        self._nowhere = TopicPartition(self._topic, -1)
        self._consumer: Consumer | None = None
        self._owners: dict[int, asyncio.Task[None]] = {}
        self._run: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; an absent Kafka is waited for."""
        self._run = asyncio.create_task(self._join_again())

    async def stop(self, timeout_seconds: float) -> None:
        """End the transactions under way and leave the group, as far as that is done in time."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.wait({self._run}, timeout=timeout_seconds)

    async def _join_again(self) -> None:
        """Be a member of the group until cancelled, joining again after faults."""
        while True:
            try:
                await self._join()
            except (KafkaError, OSError) as fault:
                self._failed("consumer", f"the log of events can't be read: {fault!r}", RECONNECT_SECONDS)
            except Exception:
                logger.exception("the publisher failed")
                self._failed("defect", "the group is joined again", RECONNECT_SECONDS)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _join(self) -> None:
        consumer = Consumer(
            self._settings,
            **FETCH,
            client_id="orchestration-publisher",
            group_id=self._settings.topic_prefix + GROUP,
            partition_assignment_strategy=[StickyPartitionAssignor],
            **membership(self._settings.projections_id, self._settings.projections_session_timeout_seconds),
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
        )
        consumer.subscribe([self._topic], listener=self)
        self._consumer = consumer
        try:
            await to_its_end(_start(consumer))
            while True:
                await self._watch(consumer)
        finally:
            self._consumer = None
            await self._release()
            await close(consumer, LEAVE_TIMEOUT_SECONDS)

    async def _watch(self, consumer: Consumer) -> None:
        """Notice what is wrong with the consumer."""
        if not self._owners:
            # This tells if the group can't be joined. It must not take any records: a partition that is assigned
            # meanwhile would miss them.
            await consumer.getmany(self._nowhere, timeout_ms=int(WATCH_SECONDS * 1000))
            return
        ended, _ = await asyncio.wait(self._owners.values(), timeout=WATCH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for owner in ended:
            if not owner.cancelled():  # by a rebalance
                owner.result()

    async def _own(self, consumer: Consumer, partition: int) -> None:
        """Publish a partition until cancelled, opening it again after failures.

        Raises:
            aiokafka.errors.KafkaError, OSError: the consumer can't go on.
        """
        place, pause = TopicPartition(self._topic, partition), FIRST_PAUSE_SECONDS
        while True:
            owned = PartitionPublisher(place, consumer, Transactions(self._settings, partition), self._metrics)
            try:
                await owned.run()
            except (KafkaError, OSError):
                raise
            except Exception as failure:
                if owned.advanced:
                    pause = FIRST_PAUSE_SECONDS
                if isinstance(failure, Fenced):
                    pause = max(pause, FENCED_PAUSE_SECONDS)
                if not isinstance(failure, PublisherError):
                    logger.exception("publishing partition %d failed", partition)
                self._failed(_reason(failure), f"partition {partition}: {failure}", pause)
                longest = MAX_AWAY_SECONDS if isinstance(failure, TransactionFailed) else MAX_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    def _failed(self, reason: str, message: str, pause: float) -> None:
        self._metrics.failures.labels(reason).inc()
        logger.warning("%s; next try in %.1f s", message, pause)

    async def _release(self) -> None:
        """Let go of all partitions, once their transactions under way have ended."""
        owners, self._owners = self._owners, {}
        for owner in owners.values():
            owner.cancel()
        if owners:
            await asyncio.wait(owners.values(), timeout=TIMEOUT_SECONDS)
        for owner in owners.values():
            owner.add_done_callback(retrieve)  # what the first one failed with has been told
        self._metrics.lag.clear()

    # Listener of the group

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Let go of all partitions. Those that come back are opened again, which is quicker than to tell them apart."""
        await self._release()

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Own what is given."""
        consumer = self._consumer
        if consumer is None:  # it is leaving the group
            return
        self._owners = {
            place.partition: asyncio.create_task(
                self._own(consumer, place.partition), name=f"publish-{place.partition}"
            )
            for place in assigned
        }


async def _start(consumer: Consumer) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await consumer.start()


def _reason(failure: Exception) -> str:
    """As the metric has it."""
    for kind, reason in ((Fenced, "fenced"), (TransactionFailed, "transaction"), (LogBehindPosition, "log")):
        if isinstance(failure, kind):
            return reason
    return "defect"
