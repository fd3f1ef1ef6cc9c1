"""Topic `commands` as the engines' consumer group reads it: who owns which partition, and the commands themselves."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from engine.errors import ReadFailed
from engine.metrics import Metrics
from schemas.kafka import Consumer, close, membership
from schemas.records import Record
from schemas.settings import EngineSettings
from schemas.topics import COMMANDS, topic_name

logger = logging.getLogger(__name__)

COMMIT_SECONDS = 2.0
"""How often offsets are committed. They are for lag metrics and autoscaling, and a floor when old events have
expired."""

POLL_SECONDS = 1.0
"""How long one poll waits for commands; the interval at which housekeeping runs when nothing comes."""

OPEN_TIMEOUT_SECONDS = 10.0
"""How long the group's coordinator may take to tell an offset, before the partition is claimed anew."""

FETCH_WAIT_MS = 100
"""A command waits for a fetch under way that does not ask for its partition; this bounds how long."""

WATCH_SECONDS = 0.5
"""How often it is looked whether the group still answers."""

RECONNECT_SECONDS = 1.0
"""Pause after a fault of the consumer; without it a broker that is away would be asked in a tight loop."""

OnAssigned = Callable[[set[int]], None]
OnRecords = Callable[[int, Sequence[Record]], None]


class KafkaCommandFeed(ConsumerRebalanceListener):  # type: ignore[misc]
    """`engine.ports.CommandFeed` on Kafka's consumer group.

    A rebalance stops nobody by itself: a partition goes on until the new assignment is known, and the claim in the
    event log decides between two owners, not the timing of callbacks.

    Args:
        settings: how to reach Kafka.
        metrics: gets the lag.
    """

    def __init__(self, settings: EngineSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._topic = topic_name(settings, COMMANDS)
        self._metrics = metrics
        self._on_assigned: OnAssigned = lambda partitions: None
        self._consumer: Consumer | None = None
        self._joined = False
        self._lapsed = False
        self._fed: dict[int, int] = {}
        self._held: set[int] = set()
        self._done: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    @property
    def joined(self) -> bool:
        """Whether this engine is a member of the group and knows its partitions."""
        return self._joined and not self._lapsed

    def owns(self, partition: int) -> bool:
        """See `GroupFeed.owns`."""
        return not self._lapsed and self._is_assigned(partition)

    def _is_assigned(self, partition: int) -> bool:
        return self._consumer is not None and TopicPartition(self._topic, partition) in self._consumer.assignment()

    def silence_seconds(self) -> float:
        """See `GroupFeed.silence_seconds`."""
        return math.inf if self._consumer is None else self._consumer.silence_seconds

    async def run(self, on_assigned: OnAssigned, on_records: OnRecords) -> None:
        """Be a member of the group until cancelled, joining anew after faults.

        Args:
            on_assigned: called with all partitions of this engine after every rebalance.
            on_records: called with the commands of one partition, once it has been opened.
        """
        self._on_assigned = on_assigned
        watch = asyncio.create_task(self._watch())
        try:
            await self._be_member(on_records)
        finally:
            watch.cancel()

    async def _be_member(self, on_records: OnRecords) -> None:
        while True:
            consumer = self._new_consumer()
            try:
                self._consumer = consumer
                await consumer.start()
                await self._poll(consumer, on_records)
            except (KafkaError, OSError) as error:
                logger.warning("the consumer of %s failed and is started anew: %r", self._topic, error)
            finally:
                await self._leave(consumer)
                self._consumer, self._joined = None, False
            self._on_assigned(set())
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _watch(self) -> None:
        """Let all partitions go when the group has not answered for the session timeout: it gives them to others.

        They come back when it answers again, as far as they are still assigned here.
        """
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            lapsed = self.silence_seconds() > self._settings.engine_session_timeout_seconds
            if not self._joined or lapsed == self._lapsed:
                continue
            self._lapsed = lapsed
            if lapsed:
                logger.warning("the group's coordinator has not answered for %.1f s", self.silence_seconds())
            assigned = set() if lapsed or self._consumer is None else self._consumer.assignment()
            self._on_assigned({place.partition for place in assigned})

    def _new_consumer(self) -> Consumer:
        consumer = Consumer(
            self._settings,
            group_id=f"{self._settings.topic_prefix}orchestration-engine",
            **membership(self._settings.engine_id, self._settings.engine_session_timeout_seconds),
            partition_assignment_strategy=(StickyPartitionAssignor,),
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        consumer.subscribe([self._topic], listener=self)
        return consumer

    async def _poll(self, consumer: Consumer, on_records: OnRecords) -> None:
        loop = asyncio.get_running_loop()
        commit_at = loop.time() + COMMIT_SECONDS
        while True:
            fetched: dict[Any, list[Record]] = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000))
            for place, records in fetched.items():
                if place.partition in self._fed:
                    self._fed[place.partition] = records[-1].offset + 1
                    on_records(place.partition, records)
            if loop.time() >= commit_at:
                commit_at = loop.time() + COMMIT_SECONDS
                await self._commit(consumer)

    async def _commit(self, consumer: Consumer) -> None:
        changed: dict[TopicPartition, int] = {}
        for partition, offset in self._done.items():
            place = TopicPartition(self._topic, partition)
            if place not in consumer.assignment():
                continue
            newest = consumer.highwater(place)
            self._metrics.command_lag.labels(partition).set(max((newest or 0) - offset, 0))
            if self._committed.get(partition) != offset:
                changed[place] = offset
        if not changed:
            return
        # A rebalance under way refuses commits; the next round makes up for it.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(COMMIT_SECONDS):
                await consumer.commit(changed)
            self._committed.update({place.partition: offset for place, offset in changed.items()})

    async def _leave(self, consumer: Consumer) -> None:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._commit(consumer)
        await close(consumer)

    # Listener of the group

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Nothing: owners go on until the new assignment says otherwise."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Tell the engine what it owns now, and go on where its partitions are."""
        consumer = self._consumer
        partitions = {place.partition for place in assigned}
        self._metrics.command_lag.clear()  # what it was here is not the lag at the next owner
        self._fed = {partition: offset for partition, offset in self._fed.items() if partition in partitions}
        self._done = {partition: offset for partition, offset in self._done.items() if partition in partitions}
        self._committed = {}
        if consumer is None:
            return
        for place in assigned:
            if place.partition in self._fed:
                consumer.seek(place, self._fed[place.partition])
            if place.partition not in self._fed or place.partition in self._held:
                consumer.pause(place)
        self._joined, self._lapsed = True, False
        self._on_assigned(partitions)

    # CommandFeed

    async def open(self, partition: int, next_offset: int, *, expired: bool) -> None:
        """See `CommandFeed.open`."""
        consumer, place = self._consumer, TopicPartition(self._topic, partition)
        if consumer is None:
            raise ReadFailed("the consumer is being started anew")
        if expired:
            next_offset = max(next_offset, await self._committed_offset(consumer, place))
        self._held.discard(partition)
        # First of all: a rebalance that is under way seeks to it at its end.
        self._fed[partition] = self._done[partition] = next_offset
        with contextlib.suppress(IllegalStateError):
            consumer.seek(place, self._fed[partition])
            consumer.resume(place)

    async def _committed_offset(self, consumer: Consumer, place: TopicPartition) -> int:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
                return await consumer.committed(place) or 0
        except (KafkaError, TimeoutError) as error:
            raise ReadFailed(f"committed offset of {place.topic}/{place.partition}: {error!r}") from error

    def close(self, partition: int) -> None:
        """The partition's owner is gone: feed nothing before the next `open`."""
        self._fed.pop(partition, None)
        self._done.pop(partition, None)
        self._held.discard(partition)
        if self._is_assigned(partition) and self._consumer is not None:
            self._consumer.pause(TopicPartition(self._topic, partition))

    def pause(self, partition: int) -> None:
        """See `CommandFeed.pause`."""
        self._held.add(partition)
        if self._is_assigned(partition) and self._consumer is not None:
            self._consumer.pause(TopicPartition(self._topic, partition))

    def resume(self, partition: int) -> None:
        """See `CommandFeed.resume`."""
        self._held.discard(partition)
        if self._is_assigned(partition) and self._consumer is not None:
            self._consumer.resume(TopicPartition(self._topic, partition))

    def done(self, partition: int, next_offset: int) -> None:
        """See `CommandFeed.done`."""
        if partition in self._fed:
            self._done[partition] = next_offset
