"""A member of a consumer group, and the one owner of its consumer.

aiokafka hands records over before the callback that it calls after a rebalance has come to its end. So where a
partition begins is not decided in that callback. There it is stopped, at once; `take` decides where it begins, seeks,
and only then lets its records come.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from schemas.kafka.closing import close
from schemas.kafka.consumer import Consumer
from schemas.records import Record
from schemas.settings import KafkaSettings

logger = logging.getLogger(__name__)

COMMIT_SECONDS: Final = 2.0
"""Deadline of a commit. Offsets in the group are for whoever watches the lag; nobody waits for them."""
REBALANCE_SECONDS: Final = 60.0
"""How long a rebalance may hold up `take`; without it nobody would be told of a group that can't be joined again."""

Begin = Callable[["GroupMember", Collection[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]
"""Decides where partitions of a member begin: the offset of the first record that is handed over, for each of them."""


class GroupMember(ConsumerRebalanceListener):  # type: ignore[misc]
    """Joins a group, decides where its partitions begin, and hands their records over.

    Records of a partition come in order, from where it begins, and only while it is assigned. After an error the member
    is closed and a new one made: the client library may have lost records that it had fetched.

    Args:
        settings: how to reach Kafka.
        topic: read by the group. One that is missing is no error, and is not made.
        begin: called with partitions that were assigned, and again with one whose offset Kafka does not have.
        options: of the consumer: the group, the place in it.
    """

    def __init__(self, settings: KafkaSettings, topic: str, begin: Begin, **options: Any):
        self._topic, self._begin = topic, begin
        self._undecided: set[TopicPartition] = set()
        self._rebalances = 0
        self._consumer = Consumer(
            settings,
            **{"partition_assignment_strategy": (StickyPartitionAssignor,), "auto_offset_reset": "none", **options},
        )

    async def start(self) -> None:
        """Join the group.

        Raises:
            KafkaError, OSError: Kafka is away, or refuses.
        """
        # By a pattern: a consumer that names a topic has the broker make it when it is missing.
        pattern = re.escape(self._topic) + r"\Z"
        self._consumer.subscribe(pattern=pattern, listener=self)
        await self._consumer.start()

    async def close(self) -> None:
        """Leave the group, as far as that is done by a deadline. A static member keeps its place."""
        await close(self._consumer)

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions that this member has now."""
        return frozenset(self._consumer.assignment())

    async def take(self, timeout_seconds: float, max_records: int) -> dict[TopicPartition, list[Record]]:
        """Records that have come, by partition; none when nothing comes in time.

        Raises:
            KafkaError, OSError, TimeoutError: Kafka is away or refuses, or the records can't be read.
            Exception: what `begin` raises.
        """
        if self._undecided:
            await self._decide()
        try:
            async with asyncio.timeout(timeout_seconds + REBALANCE_SECONDS):
                fetched: dict[TopicPartition, list[Record]] = await self._consumer.getmany(
                    timeout_ms=int(timeout_seconds * 1000), max_records=max_records
                )
        except OffsetOutOfRangeError as error:
            self._stop(self.assignment & set(error.args[0]))
            return {}
        return fetched

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Hand records of a partition over again from this offset on, unless it was taken away meanwhile."""
        if place in self.assignment and place not in self._undecided:
            self._consumer.seek(place, offset)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell the group how far its partitions are, for whoever watches its lag. What fails is left out."""
        mine = {place: offset for place, offset in offsets.items() if place in self._consumer.assignment()}
        if not mine:
            return
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._consumer.commit(mine)
        except (KafkaError, OSError, TimeoutError) as error:
            logger.debug("offsets of %s are not committed: %r", self._topic, error)

    async def limits(self, places: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The oldest offset that each partition has, and the next one that it will have.

        Raises:
            KafkaError: Kafka is away, or refuses.
        """
        oldest = await self._consumer.beginning_offsets(list(places))
        ends = await self._consumer.end_offsets(list(places))
        return {place: (oldest[place], ends[place]) for place in places}

    async def _decide(self) -> None:
        rebalances, places = self._rebalances, frozenset(self._undecided)
        begins = await self._begin(self, places)
        if rebalances != self._rebalances or not places <= self.assignment:
            return  # partitions were taken away or given meanwhile, which is decided at the next call
        for place in places:
            self._consumer.seek(place, begins[place])
            self._consumer.resume(place)
        self._undecided -= places

    def _stop(self, places: Collection[TopicPartition]) -> None:
        for place in places:
            # At an offset, so that the client does not look for one by itself.
            self._consumer.pause(place)
            self._consumer.seek(place, 0)
        self._undecided |= set(places)

    # Listener of the group

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Nothing is handed over from them any more."""
        self._rebalances += 1
        self._undecided = set()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Hand nothing over before it is decided where they begin."""
        self._rebalances += 1
        self._undecided = set()
        self._stop(assigned)
