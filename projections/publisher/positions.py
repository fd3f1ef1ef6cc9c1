"""Topic `events.published`: how far each partition of `events` has been published.

The last committed record of a partition counts; compaction may remove the ones before it. Deleting the topic's records
makes the publisher publish the whole log again. A record without a position is skipped, whoever wrote it.
"""

import logging
from typing import Annotated, Final

import msgspec
from aiokafka import TopicPartition
from msgspec import Meta, Struct

from schemas.kafka import Consumer, closing
from schemas.records import MAX_NUMBER, Record
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS_PUBLISHED, topic_name

logger = logging.getLogger(__name__)

TAIL_OFFSETS: Final = 16
"""How many offsets from the end are read first. A transaction takes two, so the position is nearly always there. With
fewer, a start would often need a second look."""
TAIL_GROWTH: Final = 8
"""How many times more are read if it is not there, as after many aborted transactions. The whole partition would
take long, since only old segments are compacted."""
POLL_MS: Final = 200


class PublishedPosition(Struct, frozen=True):
    """Where to go on, and what is known there."""

    next_offset: int = 0
    epoch: int = -1
    """The newest claim before `next_offset` (see `schemas.epochs`)."""


Offset = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
Epoch = Annotated[int, Meta(ge=-1, le=MAX_NUMBER)]


class _Value(Struct):
    """A position as a record says it. A field that is missing is not a start of the log."""

    next_offset: Offset
    epoch: Epoch


_decoder = msgspec.json.Decoder(_Value)


def published_position(partition: int, record: Record) -> PublishedPosition | None:
    """The position that a record holds; None if it holds none, so it is not one of ours."""
    try:
        if record.key != b"%d" % partition:
            raise ValueError("the key is not the partition")
        value = _decoder.decode(record.value or b"")
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        logger.error("position record %d/%d is skipped: %s", partition, record.offset, error)
        return None
    return PublishedPosition(value.next_offset, value.epoch)


async def last_position(settings: KafkaSettings, partition: int) -> PublishedPosition:
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
            position = await _last_position(consumer, place, start, end)
            if position is not None:
                return position
            if start == begin:
                return PublishedPosition()
            tail *= TAIL_GROWTH


async def _last_position(consumer: Consumer, place: TopicPartition, start: int, end: int) -> PublishedPosition | None:
    """The position of the last committed record from `start` to before `end` that says one."""
    position: PublishedPosition | None = None
    consumer.seek(place, start)
    while await consumer.position(place) < end:
        for record in (await consumer.getmany(place, timeout_ms=POLL_MS)).get(place, ()):
            position = published_position(place.partition, record) or position
    return position
