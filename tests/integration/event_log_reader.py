"""Reads topics whole, as a test needs them: what stands in them now."""

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas.epochs import EpochFilter
from schemas.kafka.options import client_options
from schemas.records import RecordCodec, Recorded
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS, topic_name, topics
from tests.integration.waiting import DEADLINE_SECONDS


async def records(
    settings: KafkaSettings, topic: str, *, committed_only: bool = False
) -> dict[int, list[ConsumerRecord]]:
    """All records of a topic by partition, up to the end that it has now."""
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed" if committed_only else "read_uncommitted",
    )
    name = topic_name(settings, topic)
    (partitions,) = (made.partitions for made in topics(settings) if made.name == name)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await consumer.start()
        try:
            places = [TopicPartition(name, partition) for partition in range(partitions)]
            consumer.assign(places)
            found: dict[int, list[ConsumerRecord]] = {place.partition: [] for place in places}
            ends: Mapping[TopicPartition, int] = await consumer.end_offsets(places)
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for place, fetched in (await consumer.getmany(timeout_ms=200)).items():
                    found[place.partition] += fetched
        finally:
            await consumer.stop()
    return {partition: sorted(some, key=lambda record: record.offset) for partition, some in found.items()}


def admitted(some: Sequence[ConsumerRecord]) -> list[Recorded]:
    """The events of one partition that count."""
    epochs, codec = EpochFilter(), RecordCodec()
    return [codec.decode_event(record) for record in some if epochs.admits(record)]


async def admitted_events(settings: KafkaSettings) -> dict[int, list[Recorded]]:
    """The events that count, by partition."""
    return {partition: admitted(some) for partition, some in (await records(settings, EVENTS)).items()}
