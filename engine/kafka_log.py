"""The event log on Kafka: an idempotent producer, and a reader for restores and proofs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar, cast

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from engine.errors import AppendFailed, ReadFailed
from schemas.commands import Command
from schemas.current import Current, records_of
from schemas.dead_letters import dead_letter
from schemas.kafka import Consumer, IdempotentProducer, NotAcknowledged, closing
from schemas.records import NewRecord, Record, RecordCodec
from schemas.settings import EngineSettings
from schemas.topics import (
    COMMANDS,
    COMMANDS_DEAD,
    DEFINITIONS,
    EVENTS,
    MAX_RECORD_BATCH_BYTES,
    TRIGGERS_POSITIONS,
    partition_of,
    topic_name,
)

READ_TIMEOUT_SECONDS = 30.0
"""A restore that gets no record for this long gives up and is tried anew; without it a broken connection would hang
it."""

MAX_READ_RECORDS = 2000
"""Records of a restore that are folded before the event loop gets to run other partitions."""

MAX_REQUEST_BYTES = 4 * MAX_RECORD_BATCH_BYTES
"""Largest record that the client lets through, so that it is the topic's limit that refuses one."""

R = TypeVar("R")


class KafkaEventLog:
    """`engine.ports.EventLog` on Kafka."""

    def __init__(self, settings: EngineSettings, codec: RecordCodec):
        self._codec = codec
        self._settings = settings
        self._events = topic_name(settings, EVENTS)
        self._commands = topic_name(settings, COMMANDS)
        self._dead = topic_name(settings, COMMANDS_DEAD)
        self._definitions = topic_name(settings, DEFINITIONS)
        self._positions = topic_name(settings, TRIGGERS_POSITIONS)
        self._timeout = settings.append_timeout_seconds
        self._producer = IdempotentProducer(
            settings,
            self._events,
            max_batch_bytes=MAX_RECORD_BATCH_BYTES,
            max_request_bytes=MAX_REQUEST_BYTES,
            waits=True,
        )

    async def close(self) -> None:
        """Close the connections, and drop what has not been sent."""
        await self._producer.close()

    async def append(self, partition: int, records: Sequence[NewRecord]) -> int:
        """See `EventLog.append`."""

        async def send(producer: AIOKafkaProducer) -> int:
            acknowledged = await self._send_batch(producer, self._events, partition, records)
            return cast(int, (await acknowledged).offset)

        return await self._with_producer(send)

    async def define(self, definitions: Sequence[Current], timestamp_ms: int) -> None:
        """See `EventLog.define`."""
        records = [record for current in definitions for record in records_of(current, timestamp_ms)]
        await self._with_producer(lambda producer: self._send_all(producer, self._definitions, {0: records}))

    async def note(self, records: Sequence[NewRecord]) -> None:
        """Append records to topic `triggers.positions`.

        Raises:
            AppendFailed: nobody knows which of them were or will be appended.
        """
        await self._with_producer(lambda producer: self._send_all(producer, self._positions, {0: records}))

    async def send(self, commands: Sequence[tuple[str, Command]], timestamp_ms: int) -> None:
        """See `EventLog.send`."""
        records = [self._codec.encode(key, command, timestamp_ms=timestamp_ms) for key, command in commands]

        async def send(producer: AIOKafkaProducer) -> None:
            partitions = len(await producer.partitions_for(self._commands))
            by_partition: dict[int, list[NewRecord]] = {}
            for record in records:
                by_partition.setdefault(partition_of(record.key, partitions), []).append(record)
            await self._send_all(producer, self._commands, by_partition)

        await self._with_producer(send)

    async def _send_all(
        self, producer: AIOKafkaProducer, topic: str, batches: Mapping[int, Sequence[NewRecord]]
    ) -> None:
        """Send the records of each partition, in as many batches as they need.

        A batch is only sent when those before it are acknowledged: what comes later must not count without them.
        """
        while batches:
            left: dict[int, Sequence[NewRecord]] = {}
            acks = []
            for partition, records in batches.items():
                batch, count = _new_batch(producer, records)
                acks.append(await producer.send_batch(batch, topic, partition=partition))
                if records[count:]:
                    left[partition] = records[count:]
            await asyncio.gather(*acks)
            batches = left

    async def _send_batch(
        self, producer: AIOKafkaProducer, topic: str, partition: int, records: Sequence[NewRecord]
    ) -> asyncio.Future[RecordMetadata]:
        batch, count = _new_batch(producer, records)
        if count < len(records):
            raise AppendFailed("the batch is larger than the topic takes")
        return cast("asyncio.Future[RecordMetadata]", await producer.send_batch(batch, topic, partition=partition))

    async def bury(self, partition: int, command: Record, reason: str) -> None:
        """See `EventLog.bury`."""
        letter = dead_letter(self._commands, partition, command, reason)

        async def send(producer: AIOKafkaProducer) -> None:
            await producer.send_and_wait(self._dead, key=letter.key, value=letter.value, headers=letter.headers)

        await self._with_producer(send)

    async def read(self, partition: int, start: int, stop: int) -> AsyncIterator[Sequence[Record]]:
        """See `EventLog.read`."""
        if start >= stop:
            return
        place = TopicPartition(self._events, partition)
        try:
            async with closing(Consumer(self._settings)) as consumer:
                async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                    await consumer.start()
                    consumer.assign([place])
                    consumer.seek(place, start)
                position = start
                while position < stop:
                    async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                        records = await self._fetch(consumer, place)
                    position = records[-1].offset + 1
                    yield records if position <= stop else [record for record in records if record.offset < stop]
        except (KafkaError, OSError, TimeoutError) as error:
            raise ReadFailed(f"partition {partition} of {self._events}: {error!r}") from error

    async def _fetch(self, consumer: Consumer, place: TopicPartition) -> list[Record]:
        while True:
            fetched: list[Record] = (await consumer.getmany(place, timeout_ms=1000, max_records=MAX_READ_RECORDS)).get(
                place, []
            )
            if fetched:
                return fetched

    async def _with_producer(self, send: Callable[[AIOKafkaProducer], Awaitable[R]]) -> R:
        try:
            return await self._producer.append(asyncio.get_running_loop().time() + self._timeout, send)
        except NotAcknowledged as error:
            raise AppendFailed(str(error)) from error


def _new_batch(producer: AIOKafkaProducer, records: Sequence[NewRecord]) -> tuple[BatchBuilder, int]:
    """A batch with as many of the records as the topic takes at once, at least one, and how many these are."""
    batch = producer.create_batch()
    for count, record in enumerate(records):
        appended = batch.append(
            timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=record.headers
        )
        if appended is None:
            return batch, count
    batch.close()
    return batch, len(records)
