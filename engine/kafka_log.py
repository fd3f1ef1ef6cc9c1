"""The event log on Kafka: an idempotent producer, and a reader for restores and proofs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Final, TypeVar

from engine.errors import AppendFailed, ReadFailed
from engine.ports import LogState
from schemas.commands import Command
from schemas.current import Current, records_of
from schemas.dead_letters import dead_letter
from schemas.kafka import (
    BatchTooLarge,
    FoundTopic,
    Kafka,
    KafkaFault,
    KeptReader,
    NotAcknowledged,
    Place,
    Reader,
    read_span,
)
from schemas.log_integrity import LogFault
from schemas.records import NewRecord, Record, RecordCodec
from schemas.settings import EngineSettings, variable
from schemas.topics import (
    COMMANDS,
    COMMANDS_DEAD,
    DEFINITIONS,
    EVENTS,
    MAX_RECORD_BATCH_BYTES,
    TRIGGERS_POSITIONS,
    partition_of,
    topic_name,
    used_partitions,
)

LOOK_SECONDS: Final = 30.0
"""Deadline of a question what topics hold; without it a broken connection would hang a takeover."""

MAX_READ_RECORDS: Final = 500
"""Records that are decoded in one go, a few milliseconds. Several partitions may be restored side by side."""

MAX_REQUEST_BYTES: Final = 4 * MAX_RECORD_BATCH_BYTES
"""Largest record that the client lets through, so that it is the topic's limit that refuses one."""

T = TypeVar("T")


class KafkaEventLog:
    """`engine.ports.EventLog` on Kafka.

    Args:
        kafka: where the topics are.
        settings: their prefix, and how long an append may take.
        codec: encodes commands.
    """

    def __init__(self, kafka: Kafka, settings: EngineSettings, codec: RecordCodec):
        self._kafka, self._settings = kafka, settings
        self._codec = codec
        self._events = topic_name(settings, EVENTS)
        self._commands = topic_name(settings, COMMANDS)
        self._dead = topic_name(settings, COMMANDS_DEAD)
        self._definitions = topic_name(settings, DEFINITIONS)
        self._positions = topic_name(settings, TRIGGERS_POSITIONS)
        self._timeout = settings.append_timeout_seconds
        self._finder, self._asker = kafka.topic_finder(), KeptReader(kafka)
        self._producer = kafka.producer(
            self._events, max_batch_bytes=MAX_RECORD_BATCH_BYTES, max_request_bytes=MAX_REQUEST_BYTES, waits=True
        )

    async def close(self) -> None:
        """Close the connections, and drop what has not been sent."""
        self._finder.close()
        await self._asker.close()
        await self._producer.close()

    async def append(self, partition: int, records: Sequence[NewRecord]) -> int:
        """See `EventLog.append`."""
        return await _acknowledged(self._producer.append_batch(self._events, partition, records, self._deadline()))

    async def define(self, definitions: Sequence[Current], timestamp_ms: int) -> None:
        """See `EventLog.define`."""
        records = [record for current in definitions for record in records_of(current, timestamp_ms)]
        await _acknowledged(self._producer.append_all(self._definitions, {0: records}, self._deadline()))

    async def note(self, records: Sequence[NewRecord]) -> None:
        """Append records to topic `triggers.positions`.

        Raises:
            AppendFailed: nobody knows which of them were or will be appended.
        """
        await _acknowledged(self._producer.append_all(self._positions, {0: records}, self._deadline()))

    async def send(self, commands: Sequence[tuple[str, Command]], timestamp_ms: int) -> None:
        """See `EventLog.send`."""
        deadline = self._deadline()
        # By both topics, as `look` does, which has checked the number: only one of them may have grown.
        found = [
            await _acknowledged(self._producer.partitions(topic, deadline)) for topic in (self._commands, self._events)
        ]
        partitions = used_partitions(self._settings, min(found))
        by_partition: dict[int, list[NewRecord]] = {}
        for key, command in commands:
            record = self._codec.encode(key, command, timestamp_ms=timestamp_ms)
            by_partition.setdefault(partition_of(key.encode(), partitions), []).append(record)
        await _acknowledged(self._producer.append_all(self._commands, by_partition, deadline))

    async def bury(self, partition: int, commands: Sequence[tuple[Record, str]]) -> None:
        """See `EventLog.bury`."""
        letters = [dead_letter(self._commands, partition, command, reason) for command, reason in commands]
        await _acknowledged(self._producer.append_all(self._dead, {0: letters}, self._deadline()))

    async def read(self, partition: int, start: int, stop: int) -> AsyncIterator[Sequence[Record]]:
        """See `EventLog.read`."""
        if start >= stop:
            return
        place = Place(self._events, partition)
        try:
            async with self._kafka.reader() as reader:
                async for records in read_span(reader, place, start, stop, MAX_READ_RECORDS):
                    yield records
        except (KafkaFault, TimeoutError) as error:
            raise ReadFailed(f"partition {partition} of {self._events}: {error!r}") from error

    async def marks(self, partition: int, start: int, stop: int) -> frozenset[int]:
        """See `EventLog.marks`."""
        try:
            async with self._kafka.reader() as reader:
                return await reader.marks(Place(self._events, partition), start, stop)
        except (KafkaFault, TimeoutError) as error:
            raise ReadFailed(f"partition {partition} of {self._events}: {error!r}") from error

    async def look(self, partition: int) -> LogState:
        """See `EventLog.look`."""
        events, commands = Place(self._events, partition), Place(self._commands, partition)
        try:
            found = {place: await self._find(place.topic) for place in (events, commands)}
            async with asyncio.timeout(LOOK_SECONDS), self._asker.use() as reader:
                partitions = await self._used(reader, partition, found[commands].partitions, found[events].partitions)
                # One after the other: commands are in their topic before events follow from them.
                limits = await reader.limits([events]) | await reader.limits([commands])
        except (KafkaFault, TimeoutError) as error:
            raise ReadFailed(f"what partition {partition} of {self._events} holds: {error!r}") from error
        return LogState(
            limits[events],
            limits[commands],
            events_id=found[events].id,
            commands_id=found[commands].id,
            partitions=partitions,
        )

    async def _used(self, reader: Reader, partition: int, commands: int, events: int) -> int:
        """How many partitions are used, of which this must be one.

        Args:
            reader: asks what they hold.
            partition: which one.
            commands: how many partitions topic `commands` has.
            events: likewise.

        Raises:
            LogFault: `partitions`.
        """
        used = used_partitions(self._settings, min(commands, events))
        if events > used:
            await self._check_unused(reader, partition, range(used, events))
        if partition >= used:
            text = f"it was added later, or {variable('partitions')} is wrong: the first {used} partitions are used"
            raise LogFault("partitions", COMMANDS, partition, text)
        return used

    async def _check_unused(self, reader: Reader, partition: int, unused: range) -> None:
        """Check that nobody has used partitions of `events` that are not used: else keys would move from there.

        Snapshots know the number, but not those of older builds.

        Raises:
            LogFault: `partitions`.
        """
        ends = await reader.ends([Place(self._events, number) for number in unused])
        if written := sorted(place.partition for place, end in ends.items() if end):
            says = (
                f"topic {self._commands} has only {unused.start} partitions: it was made again with too few"
                if unused.start < self._settings.partitions
                else f"{variable('partitions')} says that only the first {unused.start} are used"
            )
            text = f"partition {written[-1]} has events, and {says}"
            raise LogFault("partitions", EVENTS, partition, text)

    async def _find(self, topic: str) -> FoundTopic:
        found = await self._finder.find(topic)
        if found is None:
            raise KafkaFault(f"topic {topic} does not exist: create it by `orchestration topics create`")
        return found

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout


async def _acknowledged(appending: Awaitable[T]) -> T:
    try:
        return await appending
    except (NotAcknowledged, BatchTooLarge) as error:
        raise AppendFailed(str(error)) from error
