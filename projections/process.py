"""The projections' process: a consumer group on `events` that writes the read model.

One loop: load the positions of newly assigned partitions and seek there, take whatever records have arrived, write them
in one transaction. While it is under way more records arrive, so batches grow with the load.

The positions in Postgres alone say what has been read. Whenever they may differ from what this process believes (after
a rebalance, a fault of unknown outcome, or another projector's write) they are loaded again. The group's offsets in
Kafka are only for whoever watches its lag.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from projections.catching_up import CatchingUp
from projections.database import FAULTS
from projections.errors import LogBehindReadModel, PositionConflict
from projections.giving_way import GivingWay
from projections.metrics import Metrics
from projections.projector import Projector
from projections.publisher import Publisher
from projections.rows import ReadPosition
from projections.store import Store
from schemas.kafka import Consumer, close, membership
from schemas.settings import ProjectionsSettings
from schemas.topics import EVENTS, MAX_RECORD_BATCH_BYTES, topic_name

logger = logging.getLogger(__name__)

GROUP: Final = "orchestration-projections"
"""Name of the consumer group, behind the prefix of the topics."""
IDLE_SECONDS: Final = 0.25
"""How long the loop waits for records before it looks after other things, such as an order to stop."""
FIRST_PAUSE_SECONDS: Final = 0.1
"""First pause after a fault; it doubles. Without it an absent service would keep the process busy."""
MAX_PAUSE_SECONDS: Final = 2.0
"""Longest pause: how long a service may be back before we notice."""
CHORES_SECONDS: Final = 5.0
"""Between commits of the group's offsets, updates of the lag and prunings. They cost time that records wait for."""
MEMBER_TIMEOUT_SECONDS: Final = 1.0
"""How long the group may take to confirm that this process is a member, which holds up what is written."""
COMMIT_TIMEOUT_SECONDS: Final = 5.0
"""Deadline of a commit, which the next one replaces. Without it one that hangs would be the last."""
FETCH: Final = {
    # A record waits for a fetch under way that does not ask for its partition yet; this bounds how long.
    "fetch_max_wait_ms": 100,
    # One partition that is far behind must not hide the others, nor may a fetch exceed the memory at hand.
    "max_partition_fetch_bytes": 1024 * 1024,
    "fetch_max_bytes": 2 * MAX_RECORD_BATCH_BYTES,
}
MAX_POLL_INTERVAL_MS: Final = 24 * 3600 * 1000
"""While Postgres is away nothing is polled; giving the partitions to another projector would not help then."""


class Projections:
    """Keeps the read model up with the log.

    Args:
        settings: of this process.
        metrics: what is counted; by default in Prometheus' own registry, which holds it once per process.
    """

    def __init__(self, settings: ProjectionsSettings, metrics: Metrics | None = None):
        self._settings = settings
        self._metrics = metrics or Metrics()
        self._topic = topic_name(settings, EVENTS)
        self._store = Store(settings)
        self._projector = Projector(self._store, self._metrics, settings.max_batch_events)
        self._catching_up = CatchingUp(self._store, self._topic, self._metrics)
        self._publisher = Publisher(settings, self._metrics.registry)
        self._assignment = _Assignment()
        self._faults_in_a_row = 0
        self._chores_at = 0.0
        self._commit: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether partitions are assigned (maybe none, if there are more projectors), and Postgres answers."""
        return self._assignment.joined and not self._assignment.changed and self._store.connected

    @property
    def checks(self) -> dict[str, object]:
        """What is behind `ready`."""
        return {
            "group": self._assignment.joined,
            "positions": not self._assignment.changed,
            "postgres": self._store.connected,
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; an absent Kafka or Postgres is waited for.

        Raises:
            LogBehindReadModel: the log is not the one that the read model was built from.
            Exception: a defect of ours.
        """
        self._publisher.start()
        try:
            while not stop.is_set():
                try:
                    await self._consume(stop)
                except (KafkaError, OSError, TimeoutError) as fault:
                    await self._pause("Kafka", fault, stop)
        finally:
            await self._publisher.stop(self._settings.shutdown_timeout_seconds / 3)
            await self._store.close()

    async def _consume(self, stop: asyncio.Event) -> None:
        self._assignment = _Assignment()
        consumer = Consumer(
            self._settings,
            **FETCH,
            client_id="orchestration-projections",
            group_id=self._settings.topic_prefix + GROUP,
            partition_assignment_strategy=[StickyPartitionAssignor],
            **membership(self._settings.projections_id, self._settings.projections_session_timeout_seconds),
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
        )
        consumer.subscribe([self._topic], listener=self._assignment)
        try:
            await consumer.start()
            giving_way = self._giving_way(consumer, stop)
            while not stop.is_set():
                try:
                    await self._step(consumer, giving_way)
                    self._faults_in_a_row = 0
                except FAULTS as fault:
                    self._assignment.changed = True
                    await self._pause("Postgres", fault, stop)
        finally:
            await self._leave(consumer)

    async def _step(self, consumer: Consumer, giving_way: GivingWay) -> None:
        if self._assignment.changed:
            await self._load(consumer)
        await self._catching_up.go_on(consumer, self._projector.positions)
        # All that is there: Kafka hands out whole record batches, and a limit would cut decisions apart.
        fetched = await consumer.getmany(timeout_ms=int(IDLE_SECONDS * 1000))
        # What was assigned while waiting is loaded first, and then read from its position.
        if fetched and not self._assignment.changed and await self._follows(consumer, fetched):
            try:
                await self._projector.project({tp.partition: records for tp, records in fetched.items()})
            except PositionConflict:
                self._metrics.conflicts.inc()
                self._assignment.changed = True
                await giving_way.conflict()
        if time.monotonic() >= self._chores_at:
            await self._chores(consumer)

    def _giving_way(self, consumer: Consumer, stop: asyncio.Event) -> GivingWay:
        assignment = self._assignment

        async def is_member() -> bool:
            # The coordinator takes offsets only from a member of the group's present generation.
            offsets = self._offsets(consumer)
            try:
                async with asyncio.timeout(MEMBER_TIMEOUT_SECONDS):
                    if offsets:
                        await consumer.commit(offsets)
            except (KafkaError, OSError, TimeoutError):
                return False
            return True

        async def positions() -> dict[int, ReadPosition]:
            return await self._store.positions([tp.partition for tp in consumer.assignment()])

        async def wait(seconds: float) -> bool:
            assignment.rebalanced.clear()
            interrupts = [asyncio.ensure_future(event.wait()) for event in (stop, assignment.rebalanced)]
            try:
                done, _ = await asyncio.wait(interrupts, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for interrupt in interrupts:
                    interrupt.cancel()
            return bool(done)

        return GivingWay(is_member=is_member, positions=positions, wait=wait)

    async def _load(self, consumer: Consumer) -> None:
        self._assignment.changed = False
        partitions: Collection[TopicPartition] = consumer.assignment()
        await self._projector.load(tp.partition for tp in partitions)
        await self._catching_up.begin(self._projector.positions)
        with contextlib.suppress(IllegalStateError):  # revoked meanwhile, so it will be loaded again
            for tp in partitions:
                consumer.seek(tp, self._projector.positions[tp.partition].next_offset)

    async def _follows(self, consumer: Consumer, fetched: dict[TopicPartition, Sequence[ConsumerRecord]]) -> bool:
        """Whether the records lie behind the positions. They don't after Kafka found a position to be out of range."""
        for tp, records in fetched.items():
            positions = self._projector.positions.get(tp.partition)
            if positions is None:  # assigned this very moment
                self._assignment.changed = True
                return False
            expected = positions.next_offset
            if records[0].offset < expected:
                end = (await consumer.end_offsets([tp]))[tp]
                if end < expected:
                    raise LogBehindReadModel(
                        f"partition {tp.partition} of {tp.topic} ends at {end}, the read model is at {expected}:"
                        " the log was cut or created again; rebuild the read model"
                    )
                self._assignment.changed = True
                return False
        return True

    async def _chores(self, consumer: Consumer) -> None:
        self._chores_at = time.monotonic() + CHORES_SECONDS
        positions = self._projector.positions
        self._metrics.lag.clear()  # of partitions that went to another projector
        for partition, reached in positions.items():
            if end := consumer.highwater(TopicPartition(self._topic, partition)):
                self._metrics.lag.labels(partition).set(max(0, end - reached.next_offset))
        if self._commit is None or self._commit.done():
            self._commit = asyncio.create_task(self._commit_offsets(consumer))
        await self._catching_up.check(positions)
        if await self._store.prune_rejections(self._settings.rejections_retention_seconds):
            self._chores_at = 0.0

    async def _commit_offsets(self, consumer: Consumer) -> None:
        offsets = self._offsets(consumer)
        if not offsets:  # the client takes that for a mistake; a projector may have no partition
            return
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(COMMIT_TIMEOUT_SECONDS):
                await consumer.commit(offsets)

    def _offsets(self, consumer: Consumer) -> dict[TopicPartition, int]:
        reached = self._projector.positions
        return {tp: reached[tp.partition].next_offset for tp in consumer.assignment() if tp.partition in reached}

    async def _leave(self, consumer: Consumer) -> None:
        self._assignment.joined = False
        # Leaving the group hands the partitions over at once; without an answer they follow by the session timeout.
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_timeout_seconds / 2):
                if self._commit is not None:
                    await self._commit
                await self._commit_offsets(consumer)
        await close(consumer)

    async def _pause(self, service: str, fault: BaseException, stop: asyncio.Event) -> None:
        seconds = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._faults_in_a_row, 10))
        self._faults_in_a_row += 1
        self._metrics.faults.labels(service).inc()
        logger.warning("%s: %s; next try in %.1f s", service, fault or type(fault).__name__, seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes that partitions were given or taken; the loop does the rest, since Postgres may be away now."""

    def __init__(self) -> None:
        self.joined = False
        self.changed = True
        self.rebalanced = asyncio.Event()

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        self.changed = True

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        self.joined = self.changed = True
        self.rebalanced.set()
