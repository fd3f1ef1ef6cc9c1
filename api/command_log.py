"""The command log: appends commands to Kafka and tells where they stand.

An append that fails is given up for good, with the producer that was to send it (see `schemas.kafka.producer`): a run
that was answered 503 must not start hours later. While Kafka is known to be away appends fail at once, instead of
piling up.
"""

import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from api.command_offsets import CommandOffsets, SeenCauses
from api.errors import REPEAT, CommandLogUnavailable, TooLarge
from api.metrics import Metrics
from api.ports import CommandPosition, Place
from api.sticky_partitioner import StickyPartitioner
from schemas.commands import Command
from schemas.kafka import Kafka, KafkaAway, NotAcknowledged, Refused
from schemas.records import RecordCodec
from schemas.settings import ApiSettings
from schemas.topics import (
    COMMANDS,
    MAX_COMMAND_BYTES,
    MAX_RECORD_BATCH_BYTES,
    partition_of,
    topic_name,
    used_partitions,
)

PROBE_TIMEOUT_SECONDS: Final = 1.0
"""Deadline of `reachable`; probes of orchestrators give up soon after."""
MAX_BATCH_BYTES: Final = 1024 * 1024
"""Most that is collected while a request is on its way. aiokafka's 16 KiB would hold 30 commands, and make the next
ones wait for a free batch."""
AWAY: Final = "Kafka is away, so the request is not carried out"


class KafkaCommandLog:
    """Appends commands (implements `api.ports.CommandLog`).

    Args:
        kafka: where the topic is.
        settings: the prefix of the topic.
        metrics: counts appends.
        seen: tells which commands are decided.
        clock: seconds since 1970, for the records.
        monotonic: seconds that only go forwards.
    """

    def __init__(
        self,
        kafka: Kafka,
        settings: ApiSettings,
        metrics: Metrics,
        seen: SeenCauses,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self._settings, self._topic = settings, topic_name(settings, COMMANDS)
        self._metrics = metrics
        self._codec = RecordCodec()
        self._clock = clock
        self._partitioner = StickyPartitioner(monotonic)
        self._offsets = CommandOffsets(seen, metrics.log_faults, monotonic)
        self._producer = kafka.producer(
            self._topic, max_batch_bytes=MAX_BATCH_BYTES, max_request_bytes=MAX_RECORD_BATCH_BYTES, waits=False
        )

    async def open(self) -> None:
        """Start to connect; does not wait for it."""
        self._producer.open()

    async def close(self) -> None:
        """Throw the producer away. Appends in progress run into their deadlines, later ones fail."""
        await self._producer.close()

    async def append(
        self, key: UUID, command: Command, deadline: float, partition: int | None = None
    ) -> CommandPosition:
        """Append a command; see `api.ports.CommandLog.append`."""
        record = self._codec.encode(str(key), command, timestamp_ms=int(self._clock() * 1000))
        if len(record.value or b"") > MAX_COMMAND_BYTES:
            raise TooLarge("the command is too large")
        if partition is None:
            partition = partition_of(record.key, await self._partitions(deadline))
        taken = await self._offsets.taken(partition, deadline)
        started = time.perf_counter()
        try:
            offset = await self._producer.append(self._topic, partition, record, deadline)
        except KafkaAway as error:
            raise CommandLogUnavailable(AWAY) from error
        except Refused as error:
            self._metrics.count_append_failure()
            raise CommandLogUnavailable(f"Kafka refused the request, so it is not carried out: {error}") from error
        except NotAcknowledged as error:
            self._metrics.count_append_failure()
            raise CommandLogUnavailable(
                f"Kafka did not acknowledge the request, so nobody knows whether it is carried out: {REPEAT}"
            ) from error
        self._metrics.observe_append(time.perf_counter() - started)
        if offset < 0:
            # Kafka knows the record from an earlier try, but no longer where it is.
            raise CommandLogUnavailable(f"Kafka accepted the request, but did not say where: {REPEAT}")
        self._offsets.appended(partition, offset, taken)
        return CommandPosition(partition, offset)

    async def place(self, id: UUID, deadline: float) -> Place:
        """An id for a new instance, and its partition; see `api.ports.CommandLog.place`."""
        return self._partitioner.place(id, await self._partitions(deadline))

    async def partition(self, key: UUID, deadline: float) -> int:
        """The partition of an aggregate; see `api.ports.CommandLog.partition`."""
        return partition_of(str(key).encode(), await self._partitions(deadline))

    async def reachable(self) -> bool:
        """Whether Kafka answers now."""
        return await self._producer.reachable(PROBE_TIMEOUT_SECONDS)

    async def _partitions(self, deadline: float) -> int:
        try:
            return used_partitions(self._settings, await self._producer.partitions(self._topic, deadline))
        except KafkaAway as error:
            raise CommandLogUnavailable(AWAY) from error
