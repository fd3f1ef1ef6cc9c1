"""A table that a compacted topic of one partition keeps: read whole at the start, then followed."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from aiokafka import TopicPartition

from schemas.kafka.closing import closing
from schemas.kafka.consumer import Consumer
from schemas.records import Record, UndecodableRecord
from schemas.settings import KafkaSettings

logger = logging.getLogger(__name__)

RECONNECT_SECONDS: Final = 1.0
"""Pause after a fault; without it a broker that is away would be asked in a tight loop."""
CATCH_UP_SECONDS: Final = 10.0
"""How long somebody waits to know the newest rows, before it gives up."""
MAX_RECORDS: Final = 2000
"""Records that are applied before others get a turn of the event loop."""


class TableReader:
    """Follows a topic for as long as it runs.

    Args:
        settings: how to reach Kafka.
        topic: its full name.
        apply: takes over a record. What it can't decode is logged and skipped.
    """

    def __init__(self, settings: KafkaSettings, topic: str, apply: Callable[[Record], None]):
        self._settings = settings
        self._place = TopicPartition(topic, 0)
        self._apply = apply
        self._asker: Consumer | None = None
        self._position = 0
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        """Follow the topic until cancelled, beginning anew after faults."""
        while True:
            consumer = Consumer(self._settings)
            # On a connection of its own: behind a fetch that waits for news, a question takes half a second.
            asker = Consumer(self._settings)
            try:
                async with closing(consumer), closing(asker):
                    await consumer.start()
                    await asker.start()
                    consumer.assign([self._place])
                    consumer.seek(self._place, self._position)
                    await self._ready(asker)
                    while True:
                        await self._follow(consumer)
            except Exception as error:
                logger.warning("following %s failed and is started anew: %r", self._place.topic, error)
            finally:
                self._asker = None
            await asyncio.sleep(RECONNECT_SECONDS)

    async def catch_up(self) -> None:
        """Wait until everything that the topic holds now is known.

        Raises:
            KafkaError, TimeoutError: Kafka is away.
        """
        async with asyncio.timeout(CATCH_UP_SECONDS):
            async with self._moved:
                asker: Any = await self._moved.wait_for(lambda: self._asker)
            end: int = (await asker.end_offsets([self._place]))[self._place]
            async with self._moved:
                await self._moved.wait_for(lambda: self._position >= end)

    async def _ready(self, asker: Consumer) -> None:
        async with self._moved:
            self._asker = asker
            self._moved.notify_all()

    async def _follow(self, consumer: Consumer) -> None:
        fetched: dict[TopicPartition, list[Record]] = await consumer.getmany(timeout_ms=1000, max_records=MAX_RECORDS)
        for record in fetched.get(self._place, []):
            try:
                self._apply(record)
            except UndecodableRecord as error:
                logger.error("record %d of %s can't be read: %s", record.offset, self._place.topic, error)
        async with self._moved:
            self._position = await consumer.position(self._place)
            self._moved.notify_all()
