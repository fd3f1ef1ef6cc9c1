"""Does what repairs the topics."""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Final

from deploy.errors import RepairError
from deploy.repair.facts import READ_MODEL, Known
from deploy.repair.findings import Fill, Move
from projections.publisher.positions import PublishedPosition
from projections.publisher.public_writer import PublicWriter
from projections.repairs import ReadModelRepairs
from projections.rows import ReadPosition
from schemas.current import Current, records_of
from schemas.fillers import filler, notice
from schemas.kafka import Kafka, TransactionFailed
from schemas.settings import OperatorSettings
from schemas.topics import DEFINITIONS, EVENTS, MAX_RECORD_BATCH_BYTES, topic_name

APPEND_SECONDS: Final = 60.0
"""Deadline of one append."""

BATCH_FILLERS: Final = 200_000
"""Fillers that are appended at once, four megabytes. Kafka appends a batch whole, so nobody can write between them."""

MAX_RETRIES: Final = 10
"""A publisher that stands still looks at its partition every few seconds, and shuts out whoever writes its position."""

MAX_FILLERS: Final = 200_000_000
"""More than this is not filled: it takes hours, and most likely an offset is wrong."""


class Acts:
    """Repairs.

    Args:
        kafka: where the topics are.
        settings: which topics.
        read_model: the read model.
    """

    def __init__(self, kafka: Kafka, settings: OperatorSettings, read_model: ReadModelRepairs):
        self._kafka, self._settings, self._read_model = kafka, settings, read_model
        self._producer = kafka.producer(
            topic_name(settings, EVENTS),
            max_batch_bytes=MAX_RECORD_BATCH_BYTES,
            max_request_bytes=MAX_RECORD_BATCH_BYTES,
            waits=True,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._producer.close()

    async def fill(self, fill: Fill) -> None:
        """Append fillers.

        Raises:
            RepairError: they are too many.
            KafkaFault: Kafka is away or refuses. Run the repair again: it goes on where this one was.
        """
        if fill.count > MAX_FILLERS:
            raise RepairError(f"{fill.count} fillers are more than this fills; at most {MAX_FILLERS}")
        make, topic = filler if fill.is_loss else notice, topic_name(self._settings, fill.topic)
        record = make(time.time_ns() // 1_000_000)
        for done in range(0, fill.count, BATCH_FILLERS):
            records = [record] * min(BATCH_FILLERS, fill.count - done)
            deadline = asyncio.get_running_loop().time() + APPEND_SECONDS
            await self._producer.append_all(topic, {fill.partition: records}, deadline)

    async def move(self, move: Move) -> None:
        """Move a position of the read model or the publisher.

        Raises:
            RepairError: it was moved meanwhile.
            KafkaFault: Kafka is away or refuses.
            StoreAway: Postgres is away.
        """
        known, to = move.known, move.to
        if known.who == READ_MODEL:
            moved = await self._read_model.move(move.partition, _row(known), _row(to))
        else:
            moved = await self._publish(move.partition, known, to)
        if not moved:
            raise RepairError(f"{known.who} has moved in partition {move.partition} meanwhile: run this again")

    async def _publish(self, partition: int, known: Known, to: Known) -> bool:
        """Move the publisher's position. It is shut out for it, and comes back by itself, perhaps at once."""
        for _ in range(MAX_RETRIES):
            with contextlib.suppress(TransactionFailed):
                return await self._publish_once(partition, known, to)
        return await self._publish_once(partition, known, to)

    async def _publish_once(self, partition: int, known: Known, to: Known) -> bool:
        writer = PublicWriter(self._kafka, self._settings, partition)
        try:
            found = await writer.open()
            wanted = PublishedPosition(to.next_offset, to.epoch, to.topic_id)
            if found == wanted:  # by a try whose answer was lost
                return True
            if (found.next_offset, found.epoch) != (known.next_offset, known.epoch):
                return False
            await writer.publish([], wanted)
        finally:
            await writer.close()
        return True

    async def define(self, definitions: Iterable[Current]) -> None:
        """Append definitions that the topic lacks.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """
        now_ms = time.time_ns() // 1_000_000
        records = [record for current in definitions for record in records_of(current, now_ms)]
        deadline = asyncio.get_running_loop().time() + APPEND_SECONDS
        await self._producer.append_all(topic_name(self._settings, DEFINITIONS), {0: records}, deadline)


def _row(known: Known) -> ReadPosition:
    return ReadPosition(known.next_offset, known.epoch, topic_id=known.topic_id)
