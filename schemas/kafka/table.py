"""A table that a compacted topic of one partition keeps: read whole at the start, then followed."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from schemas.kafka.errors import KafkaFault
from schemas.kafka.ports import Kafka, Place, Reader
from schemas.records import Record, UndecodableRecord, UnknownMessage

logger = logging.getLogger(__name__)

RECONNECT_SECONDS: Final = 1.0
"""Pause after a fault; without it a broker that is away would be asked in a tight loop."""
CATCH_UP_SECONDS: Final = 10.0
"""How long somebody waits to know the newest rows, before it gives up."""
TAKE_SECONDS: Final = 1.0
"""How long one look for records waits for the first."""
MAX_RECORDS: Final = 2000
"""Records that are applied before others get a turn of the event loop."""


class TableReader:
    """Follows a topic for as long as it runs.

    Args:
        kafka: where the topic is.
        topic: its full name.
        apply: takes over a record. What it can't decode is logged and skipped. What only a newer build can decode
            is not: the table stays behind until there is one here.
    """

    def __init__(self, kafka: Kafka, topic: str, apply: Callable[[Record], None]):
        self._kafka = kafka
        self._place = Place(topic, 0)
        self._apply = apply
        self._asker: Reader | None = None
        self._position = 0
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        """Follow the topic until cancelled, connecting again after faults."""
        while True:
            try:
                # Questions have a connection of their own: behind a fetch that waits for news, one takes half a second.
                async with self._kafka.reader() as reader, self._kafka.reader() as asker:
                    reader.read_from({self._place: self._position})
                    await self._ready(asker)
                    while True:
                        await self._follow(reader)
            except Exception as error:
                logger.warning("following %s failed and is started again: %r", self._place.topic, error)
            finally:
                self._asker = None
            await asyncio.sleep(RECONNECT_SECONDS)

    async def catch_up(self) -> None:
        """Wait until everything that the topic holds now is known.

        Raises:
            KafkaFault: Kafka is away.
        """
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await self._catch_up()
        except TimeoutError as error:
            raise KafkaFault(f"what topic {self._place.topic} holds could not be read in time") from error

    async def _catch_up(self) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._asker is not None)
            asker = self._asker
        if asker is None:
            raise KafkaFault("the connection was lost")
        end = (await asker.ends([self._place]))[self._place]
        async with self._moved:
            await self._moved.wait_for(lambda: self._position >= end)

    async def _ready(self, asker: Reader) -> None:
        async with self._moved:
            self._asker = asker
            self._moved.notify_all()

    async def _follow(self, reader: Reader) -> None:
        for record in (await reader.take(TAKE_SECONDS, MAX_RECORDS)).get(self._place, ()):
            try:
                self._apply(record)
            except UnknownMessage:
                raise
            except UndecodableRecord as error:
                logger.error("record %d of %s can't be read: %s", record.offset, self._place.topic, error)
        async with self._moved:
            self._position = await reader.position(self._place)
            self._moved.notify_all()
