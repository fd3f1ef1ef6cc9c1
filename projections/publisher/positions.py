"""Topic `events.published`: how far each partition of `events` has been published.

The last committed record of a partition counts; compaction may remove the ones before it. Deleting the topic's records
makes the publisher publish the whole log again. A record without a position is skipped, whoever wrote it.
"""

import logging
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from schemas.kafka import Kafka, Place, search_tail
from schemas.records import MAX_NUMBER, NewRecord, Record

logger = logging.getLogger(__name__)


class PublishedPosition(Struct, frozen=True):
    """Where to go on, and what is known there."""

    next_offset: int = 0
    epoch: int = -1
    """The newest claim before `next_offset` (see `schemas.epochs`)."""
    topic_id: str = ""
    """Kafka's id of the topic that the offset is of; empty where it is not known yet."""


Offset = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
Epoch = Annotated[int, Meta(ge=-1, le=MAX_NUMBER)]


class _Value(Struct):
    """A position as a record says it. A field that is missing is not a start of the log."""

    next_offset: Offset
    epoch: Epoch
    topic_id: str = ""
    """Missing in records of earlier builds."""


_decoder = msgspec.json.Decoder(_Value)


def position_record(partition: int, position: PublishedPosition, timestamp_ms: int) -> NewRecord:
    """The record that says how far a partition is published."""
    return NewRecord(b"%d" % partition, msgspec.json.encode(position), [], timestamp_ms)


def published_position(partition: int, record: Record) -> PublishedPosition | None:
    """The position that a record holds; None if it holds none, so it is not one of ours."""
    try:
        if record.key != b"%d" % partition:
            raise ValueError("the key is not the partition")
        value = _decoder.decode(record.value or b"")
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        logger.error("position record %d/%d is skipped: %s", partition, record.offset, error)
        return None
    return PublishedPosition(value.next_offset, value.epoch, value.topic_id)


async def last_position(kafka: Kafka, place: Place) -> PublishedPosition:
    """The position of a partition; the start of the log where nothing was published yet.

    It is only certain while no other publisher can write to the partition. The caller sets a deadline.

    Args:
        kafka: where the topic is.
        place: the partition of `events.published`.

    Raises:
        KafkaFault: Kafka is away.
    """

    def of(found: PublishedPosition | None, record: Record) -> PublishedPosition | None:
        return published_position(place.partition, record) or found

    async with kafka.reader(committed_only=True) as reader:
        return await search_tail(reader, place, of) or PublishedPosition()
