"""The event log on Kafka: an idempotent producer, rebuilt after a fault, and a reader for restores and proofs."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from engine.errors import AppendFailed, ReadFailed
from schemas.commands import Command
from schemas.current import Current, encode_current
from schemas.kafka import client_options
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

logger = logging.getLogger(__name__)

READ_TIMEOUT_SECONDS = 30.0
"""A restore that gets no record for this long gives up and is tried anew; without it a broken connection would hang
it."""

MAX_READ_RECORDS = 2000
"""Records of a restore that are folded before the event loop gets to run other partitions."""


class KafkaEventLog:
    """`engine.ports.EventLog` on Kafka."""

    def __init__(self, settings: EngineSettings, codec: RecordCodec):
        self._codec = codec
        self._options = client_options(settings)
        self._events = topic_name(settings, EVENTS)
        self._commands = topic_name(settings, COMMANDS)
        self._dead = topic_name(settings, COMMANDS_DEAD)
        self._definitions = topic_name(settings, DEFINITIONS)
        self._positions = topic_name(settings, TRIGGERS_POSITIONS)
        self._timeout = settings.append_timeout_seconds
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close the connections; a producer that can't be flushed is dropped after the append deadline."""
        await self._discard(self._producer)
        if self._stopping:
            await asyncio.wait(self._stopping)

    async def append(self, partition: int, records: Sequence[NewRecord]) -> int:
        """See `EventLog.append`."""

        async def send(producer: AIOKafkaProducer) -> Any:
            return (await (await self._send_batch(producer, self._events, partition, records))).offset

        base: int = await self._with_producer(send)
        return base

    async def define(self, definitions: Sequence[Current], timestamp_ms: int) -> None:
        """See `EventLog.define`."""
        records = [encode_current(current, timestamp_ms) for current in definitions]
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
        source = f"{self._commands}/{partition}/{command.offset}"
        headers = [*command.headers, ("dead-reason", reason.encode()), ("dead-source", source.encode())]

        async def send(producer: AIOKafkaProducer) -> None:
            await producer.send_and_wait(self._dead, key=command.key, value=command.value or b"", headers=headers)

        await self._with_producer(send)

    async def read(self, partition: int, start: int, stop: int) -> AsyncIterator[Sequence[Record]]:
        """See `EventLog.read`."""
        if start >= stop:
            return
        place = TopicPartition(self._events, partition)
        consumer = AIOKafkaConsumer(**self._options, enable_auto_commit=False, auto_offset_reset="earliest")
        try:
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
        finally:
            await _stop(consumer)

    async def _fetch(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> list[Record]:
        while True:
            fetched: list[Record] = (await consumer.getmany(place, timeout_ms=1000, max_records=MAX_READ_RECORDS)).get(
                place, []
            )
            if fetched:
                return fetched

    async def _with_producer(self, send: Callable[[AIOKafkaProducer], Coroutine[Any, Any, Any]]) -> Any:
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._timeout):
                producer = await self._ready_producer()
                return await send(producer)
        except (KafkaError, OSError, TimeoutError) as error:
            # After a failed batch an idempotent producer is out of sequence, and may stay so for ever.
            if producer is not None and producer is self._producer:
                self._producer = None
                task = asyncio.create_task(self._discard(producer))
                self._stopping.add(task)
                task.add_done_callback(self._stopping.discard)
            raise AppendFailed(repr(error)) from error

    async def _ready_producer(self) -> AIOKafkaProducer:
        if self._producer is not None:
            return self._producer
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._options,
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=MAX_RECORD_BATCH_BYTES,
                    max_request_size=MAX_RECORD_BATCH_BYTES * 4,
                    request_timeout_ms=int(self._timeout * 1000),
                )
                try:
                    await producer.start()
                except BaseException:
                    await _stop(producer)
                    raise
                self._producer = producer
        return self._producer

    async def _discard(self, producer: AIOKafkaProducer | None) -> None:
        if producer is not None:
            await _stop(producer, self._timeout)


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


async def _stop(client: AIOKafkaProducer | AIOKafkaConsumer, seconds: float = 5.0) -> None:
    """Stop a client that may hang or fail while its broker is away."""
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            await client.stop()
