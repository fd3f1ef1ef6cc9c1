"""The cluster in memory: the contract that it shares with a real Kafka, and the faults that can be planted."""

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from schemas.kafka import Kafka, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.records import NewRecord
from tests.kafka_contract import Away, KafkaContract, Subject
from tests.simulation.loop import in_virtual_time

SESSION_SECONDS: Final = 0.6


class Memory:
    """`kafka_contract.Subject` in memory."""

    session_seconds = SESSION_SECONDS

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.kafka: Kafka = MemoryKafka(self.cluster)

    def topic(self, name: str) -> str:
        return name

    def away(self) -> Kafka:
        return MemoryKafka(self.cluster, Away())

    async def grow(self, topic: str, partitions: int) -> None:
        self.cluster.grow(topic, partitions)

    async def delete(self, topic: str) -> None:
        self.cluster.delete(topic)

    async def expire(self, place: Place, before: int) -> None:
        self.cluster.log(place).expire(before)

    async def leave_open(self, name: str, records: Mapping[Place, Sequence[NewRecord]]) -> None:
        epoch = self.cluster.open_transactional(name)
        for place, some in records.items():
            self.cluster.append_transactional(name, epoch, place, some, 10.0)


@in_virtual_time
class TestMemory(KafkaContract):
    """See `tests.kafka_contract`."""

    @pytest.fixture
    def subject(self) -> Subject:
        return Memory()
