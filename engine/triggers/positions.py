"""Where listening goes on in each topic, kept in our own log (topic `triggers.positions`).

The offsets of a consumer group would not do: Kafka forgets those of a group that had no member for a week.

A listener that has lost its partition without knowing it may write an older position over a newer one. Then messages
come again, which fire nothing twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from engine.triggers.errors import PositionsMissing
from schemas.kafka import FoundTopic, Kafka, KafkaFault, TableReader, TopicFinder
from schemas.records import NewRecord, Record
from schemas.settings import KafkaSettings
from schemas.topics import TRIGGERS_POSITIONS, topic_name
from schemas.trigger_positions import ListeningBegan, ListeningPosition, decode_listening, encode_listening

logger = logging.getLogger(__name__)

MISSING_PAUSE_SECONDS: Final = 1.0
"""Pause before it is looked again whether the topic was made."""

Append = Callable[[Sequence[NewRecord]], Awaitable[None]]
"""Appends records to topic `triggers.positions`. Raises `AppendFailed`."""


class Positions:
    """What is known of the topics that were ever listened to.

    Args:
        kafka: where the topic is.
        settings: its prefix.
        append: writes to the topic.
    """

    def __init__(self, kafka: Kafka, settings: KafkaSettings, append: Append):
        self._topic = topic_name(settings, TRIGGERS_POSITIONS)
        self._table = TableReader(kafka, self._topic, self.apply)
        self._missing = False
        self._append = append
        self._began: dict[str, ListeningBegan] = {}
        self._positions: dict[tuple[str, int], ListeningPosition] = {}

    async def run(self, finder: TopicFinder) -> None:
        """Follow the topic until cancelled.

        Args:
            finder: tells when the topic is there. Who reads a missing one may have the broker make it, with settings by
                which the positions would expire.
        """
        while not await self._is_there(finder):  # noqa: ASYNC110 - Kafka sets no event
            await asyncio.sleep(MISSING_PAUSE_SECONDS)
        await self._table.run()

    async def _is_there(self, finder: TopicFinder) -> bool:
        try:
            missing = await finder.find(self._topic) is None
        except KafkaFault as error:
            logger.warning("whether topic %s exists can't be told: %s", self._topic, error)
            return False
        if missing and not self._missing:
            logger.error("topic %s does not exist: run `orchestration topics create`", self._topic)
        self._missing = missing
        return not missing

    async def catch_up(self) -> None:
        """Wait until everything that was written before is known.

        Raises:
            PositionsMissing: the topic does not exist.
            KafkaFault: Kafka is away.
        """
        if self._missing:
            raise PositionsMissing
        await self._table.catch_up()

    def apply(self, record: Record) -> None:
        """Take over a record.

        Raises:
            UndecodableRecord: not one of ours, or of a newer build.
        """
        topic, partition, row = decode_listening(record)
        if isinstance(row, ListeningBegan):
            # Of two engines that saw the topic first at the same time, the first in the log counts.
            if topic not in self._began:
                self._began[topic] = row
        elif isinstance(row, ListeningPosition) and partition is not None:
            self._positions[topic, partition] = row
        elif partition is None:
            self._began.pop(topic, None)
        else:
            self._positions.pop((topic, partition), None)

    def knows(self, topic: str) -> bool:
        """Whether a topic of this name was ever listened to."""
        return topic in self._began

    def begin_of(self, topic: str, partition: int, topic_id: str) -> int:
        """Where listening goes on in a partition of a known topic.

        Contract: triggers-and-events, When a trigger fires.

        Args:
            topic: its name.
            partition: its number.
            topic_id: Kafka's id of the topic that has the name now.
        """
        position, began = self._positions.get((topic, partition)), self._began[topic]
        if position is not None and is_same_topic(position.topic_id, topic_id):
            return position.next_offset
        if is_same_topic(began.topic_id, topic_id) and partition < len(began.begins):
            return began.begins[partition]
        return 0  # the topic was deleted and created again, or the partition was added later: all of its messages count

    async def begin(self, topic: str, topic_id: str, begins: Sequence[int]) -> None:
        """Write down where the partitions of a topic begin that was never listened to.

        Raises:
            AppendFailed: nobody knows whether it was written.
            KafkaFault: Kafka is away.
        """
        await self._append([encode_listening(topic, None, ListeningBegan(topic_id, list(begins)))])
        await self.catch_up()

    async def move(self, topic: str, found: FoundTopic, next_offsets: dict[int, int]) -> None:
        """Write down how far the partitions of a topic are.

        Raises:
            AppendFailed: nobody knows whether it was written.
        """
        rows = {partition: ListeningPosition(found.id, offset) for partition, offset in next_offsets.items()}
        await self._append([encode_listening(topic, partition, row) for partition, row in rows.items()])


def is_same_topic(known_id: str, found_id: str) -> bool:
    """Whether a topic of one name may be the same one at both times; unknown ids (empty) don't tell them apart.

    A broker that begins to tell ids, after an upgrade for instance, has not created its topics again. Taken for others,
    they would fire by their whole history.
    """
    return known_id == found_id or not known_id or not found_id
