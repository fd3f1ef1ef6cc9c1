"""The contract of `schemas.kafka.ports` on a real Kafka. The cluster in memory passes it too, in the unit tests."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from schemas.kafka import Kafka, Place, clients_of
from schemas.kafka.options import client_options
from schemas.kafka.producer_client import ProducerClient, end
from schemas.records import NewRecord
from schemas.settings import KafkaSettings
from tests.kafka_contract import KafkaContract, Subject
from tests.kafka_contract.subjects import DEADLINE_SECONDS

SESSION_SECONDS: Final = 6.0
"""The shortest that a broker allows."""
OPEN_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.02


class Brokers:
    """`kafka_contract.Subject` on a real Kafka."""

    session_seconds = SESSION_SECONDS

    def __init__(self, settings: KafkaSettings):
        self._settings = settings
        self.kafka: Kafka = clients_of(settings)

    def topic(self, name: str) -> str:
        return self._settings.topic_prefix + name

    def away(self) -> Kafka:
        return clients_of(KafkaSettings(kafka_bootstrap_servers="127.0.0.1:1"))

    async def grow(self, topic: str, partitions: int) -> None:
        await self._administer("create_partitions", {topic: NewPartitions(partitions)})
        await self._until_there_are(topic, partitions)

    async def delete(self, topic: str) -> None:
        await self._administer("delete_topics", [topic])
        await self._until_there_are(topic, 0)

    async def expire(self, place: Place, before: int) -> None:
        await self._administer("delete_records", {TopicPartition(*place): RecordsToDelete(before_offset=before)})

    async def leave_open(self, name: str, records: Mapping[Place, Sequence[NewRecord]]) -> None:
        producer = ProducerClient(
            self._settings, transactional_id=name, transaction_timeout_ms=int(OPEN_SECONDS * 1000)
        )
        await producer.start()
        await producer.begin_transaction()
        for place, some in records.items():
            for record in some:
                await producer.send_and_wait(place.topic, record.value, partition=place.partition)
        await end(producer)

    async def _administer(self, what: str, argument: object) -> None:
        admin = AIOKafkaAdminClient(**client_options(self._settings))
        await admin.start()
        try:
            await getattr(admin, what)(argument)
        finally:
            await admin.close()

    async def _until_there_are(self, topic: str, partitions: int) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self.kafka.reader() as reader:
            while await reader.partitions(topic) != partitions:  # noqa: ASYNC110 - Kafka sets no event
                await asyncio.sleep(POLL_SECONDS)


class TestBrokers(KafkaContract):
    """See `tests.kafka_contract`."""

    @pytest.fixture
    async def subject(self, kafka_bootstrap_servers: str, topic_prefix: str) -> Subject:
        return Brokers(KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap_servers, topic_prefix=topic_prefix))
