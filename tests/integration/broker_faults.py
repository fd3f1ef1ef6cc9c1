"""What only tests do to topics on a broker: delete records, add partitions, delete a topic and create it again."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.topics import create_topics
from schemas.kafka.options import client_options
from schemas.settings import KafkaSettings
from schemas.topics import public_topic, topic_name
from tests.integration.waiting import DEADLINE_SECONDS


@asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_options(settings))
    async with asyncio.timeout(DEADLINE_SECONDS):
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


async def delete_records(settings: KafkaSettings, topic: str, before: Mapping[int, int]) -> None:
    """Delete the records of partitions before an offset each."""
    name = topic_name(settings, topic)
    places = {TopicPartition(name, number): RecordsToDelete(before_offset=at) for number, at in before.items()}
    async with _admin(settings) as admin:
        await admin.delete_records(places)


async def grow(settings: KafkaSettings, partitions: int, *topics: str) -> None:
    """Give topics more partitions, and wait until they are there."""
    names = {topic_name(settings, topic) for topic in topics}
    async with _admin(settings) as admin:
        await admin.create_partitions({name: NewPartitions(partitions) for name in names})
        # Kafka tells nobody when they are there.
        while any(len(found["partitions"]) < partitions for found in await admin.describe_topics(list(names))):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def configure(settings: KafkaSettings, topic: str, config: Mapping[str, str]) -> None:
    """Give a topic this configuration, and no other.

    Args:
        settings: where Kafka is.
        topic: full name.
        config: values by name.
    """
    async with _admin(settings) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(config))])


async def make_again(settings: KafkaSettings, *topics: str) -> None:
    """Delete topics, and create them as `orchestration topics create` does."""
    names = {public_topic(settings) if topic == "orchestration" else topic_name(settings, topic) for topic in topics}
    async with _admin(settings) as admin:
        await admin.delete_topics(list(names))
        made = set[str]()
        while not names <= made:  # Kafka deletes them a moment later
            made |= set(await create_topics(settings))
            await asyncio.sleep(0.1)
