"""Appends commands to the log of commands."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from projections.bulk.steps import Sent
from schemas import rejections
from schemas.commands import AdvanceBulk, EndBulk, PageCommand, PassOverInstance
from schemas.kafka import Kafka, NotAcknowledged
from schemas.records import NewRecord, RecordCodec
from schemas.settings import KafkaSettings
from schemas.topics import (
    COMMANDS,
    MAX_COMMAND_BYTES,
    MAX_RECORD_BATCH_BYTES,
    partition_of,
    topic_name,
    used_partitions,
)

APPEND_SECONDS: Final = 10.0
"""Deadline of appending a page's commands. After it the page is sent again."""
MAX_BATCH_BYTES: Final = 1024 * 1024
"""Most that is collected in a batch of one partition."""

Command = PageCommand | AdvanceBulk | EndBulk


class Sender:
    """Appends commands, and tells where they are.

    Args:
        kafka: where the topic is.
        settings: name the topic, and say how many partitions are used.
        clock: seconds since 1970, for the records.
    """

    def __init__(self, kafka: Kafka, settings: KafkaSettings, clock: Callable[[], float]):
        self._settings, self._topic = settings, topic_name(settings, COMMANDS)
        self._clock, self._codec = clock, RecordCodec()
        self._producer = kafka.producer(
            self._topic, max_batch_bytes=MAX_BATCH_BYTES, max_request_bytes=MAX_RECORD_BATCH_BYTES, waits=False
        )

    async def close(self) -> None:
        """Drop what has not been sent."""
        await self._producer.close()

    async def partitions(self) -> int:
        """How many partitions of the topic are used.

        Raises:
            KafkaFault: Kafka does not tell.
        """
        return await self._partitions(asyncio.get_running_loop().time() + APPEND_SECONDS)

    async def _partitions(self, deadline: float) -> int:
        return used_partitions(self._settings, await self._producer.partitions(self._topic, deadline))

    async def send(self, page: int, commands: Mapping[str, Command]) -> Sent:
        """Append commands by the ids of their aggregates.

        Args:
            page: they belong to.
            commands: at least one.

        Raises:
            KafkaFault: it is unknown which of them were appended.
        """
        deadline = asyncio.get_running_loop().time() + APPEND_SECONDS
        count = await self._partitions(deadline)
        appended = await asyncio.gather(
            *(self._append(key, command, count, deadline) for key, command in commands.items()), return_exceptions=True
        )
        offsets: dict[int, int] = {}
        for outcome in appended:
            if isinstance(outcome, BaseException):
                raise outcome
            partition, offset = outcome
            offsets[partition] = max(offset, offsets.get(partition, -1))
        return Sent(page, offsets)

    async def _append(self, key: str, command: Command, count: int, deadline: float) -> tuple[int, int]:
        record = self._record(key, command)
        partition = partition_of(record.key, count)
        offset = await self._producer.append(self._topic, partition, record, deadline)
        if offset < 0:
            raise NotAcknowledged("Kafka knows a command from an earlier try, but does not say where it is")
        return partition, offset

    def _record(self, key: str, command: Command) -> NewRecord:
        timestamp_ms = int(self._clock() * 1000)
        record = self._codec.encode(key, command, timestamp_ms=timestamp_ms)
        if len(record.value or b"") <= MAX_COMMAND_BYTES or isinstance(command, AdvanceBulk | EndBulk):
            return record
        return self._codec.encode(key, too_large(command), timestamp_ms=timestamp_ms)


def too_large(command: PageCommand) -> PassOverInstance:
    """What is sent instead of a command that does not fit into a record."""
    return PassOverInstance(
        bulk_id=command.bulk_id or "",
        bulk_page=command.bulk_page,
        code=rejections.TOO_LARGE,
        message="the command for this instance is too large for a record",
    )
