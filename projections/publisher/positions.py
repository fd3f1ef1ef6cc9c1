"""Topic `events.published`: how far each partition of `events` has been published.

The last committed record of a partition counts; compaction may remove the ones before it. Deleting the topic's records
makes the publisher publish the whole log again.
"""

from typing import Final

import msgspec
from aiokafka import TopicPartition
from msgspec import Struct

from schemas.kafka import Consumer, closing
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS_PUBLISHED, topic_name

TAIL_OFFSETS: Final = 16
"""How many offsets from the end are read first. A transaction takes two, so the position is nearly always there."""
TAIL_GROWTH: Final = 8
"""How many times more are read if it is not, as after many aborted transactions; reading the whole partition at once
would take long, since only old segments are compacted."""
POLL_MS: Final = 200


class Position(Struct, frozen=True):
    """Where to go on, and what is known there."""

    next_offset: int = 0
    epoch: int = -1
    """The newest claim before `next_offset` (see `schemas.epochs`)."""


_decoder = msgspec.json.Decoder(Position)


async def last_position(settings: KafkaSettings, partition: int) -> Position:
    """The position of a partition; the start of the log where nothing was published yet.

    It is only certain while no other producer can write to the partition. The caller sets a deadline.

    Raises:
        KafkaError, OSError: Kafka is away.
    """
    place = TopicPartition(topic_name(settings, EVENTS_PUBLISHED), partition)
    async with closing(Consumer(settings, isolation_level="read_committed")) as consumer:
        await consumer.start()
        consumer.assign([place])
        begin = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        tail = TAIL_OFFSETS
        while True:
            start = max(begin, end - tail)
            value = await _last_value(consumer, place, start, end)
            if value is not None:
                return _decoder.decode(value)
            if start == begin:
                return Position()
            tail *= TAIL_GROWTH


async def _last_value(consumer: Consumer, place: TopicPartition, start: int, end: int) -> bytes | None:
    """The value of the last committed record from `start` to before `end`, or None if there is none."""
    value: bytes | None = None
    consumer.seek(place, start)
    while await consumer.position(place) < end:
        for record in (await consumer.getmany(place, timeout_ms=POLL_MS)).get(place, ()):
            value = record.value
    return value
