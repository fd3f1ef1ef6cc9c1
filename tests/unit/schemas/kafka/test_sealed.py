"""Encryption between a process and Kafka: the contract of Kafka holds, and no topic has what was written to it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from schemas.encryption.keys import Keys
from schemas.encryption.vault import Vault
from schemas.kafka import Kafka, Membership, NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.kafka.sealed import SealedKafka
from schemas.records import NewRecord
from schemas.topics import PUBLIC, SEALED_TOPICS
from tests.kafka_contract import Away, KafkaContract, Subject
from tests.simulation.loop import in_virtual_time
from tests.unit.schemas.kafka.test_memory import Memory

SECRET: Final = b"secret"


def vault() -> Vault:
    return Vault(Keys({"k": b"1" * 32}, "k"))


class EveryTopic(Mapping[str, str]):
    """All topics are encrypted, whatever their names."""

    def __getitem__(self, name: str) -> str:
        return name

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


def sealed(kafka: Kafka) -> Kafka:
    made = SealedKafka(kafka, vault())
    made._sealing._names = EveryTopic()  # type: ignore[assignment]
    return made


class Sealed(Memory):
    """`kafka_contract.Subject` in memory, encrypted."""

    def __init__(self) -> None:
        super().__init__()
        self.kafka = sealed(MemoryKafka(self.cluster))

    def away(self) -> Kafka:
        return sealed(MemoryKafka(self.cluster, Away()))


@in_virtual_time
class TestSealed(KafkaContract):
    """See `tests.kafka_contract`."""

    @pytest.fixture
    def subject(self) -> Subject:
        return Sealed()


async def written(kafka: Kafka, topic: str) -> None:
    """Write the secret in all ways."""
    record, sizes = NewRecord(b"k", SECRET, [("type", b"X")], 0), {"max_batch_bytes": 10**6, "max_request_bytes": 10**6}
    producer = kafka.producer(topic, waits=True, **sizes)
    deadline = 1e12
    await producer.append(topic, 0, record, deadline)
    await producer.append_batch(topic, 0, [record], deadline)
    await producer.append_all(topic, {0: [record]}, deadline)
    await producer.close()
    transactions = kafka.transactions("t", open_seconds=10.0, max_batch_bytes=10**6)
    await transactions.open()
    await transactions.append({Place(topic, 0): [record]})
    await transactions.commit({Place(topic, 0): [record]})
    await transactions.close()


async def read(kafka: Kafka, topic: str) -> list[Any]:
    """What a reader and a member read."""
    values = []
    async with kafka.reader(committed_only=True) as reader:
        reader.read_from({Place(topic, 0): 0})
        values.append([record.value for record in (await reader.take(1.0))[Place(topic, 0)]])

    async def begin(member: Any, places: Any) -> dict[Place, int]:
        return dict.fromkeys(places, 0)

    member = kafka.member(topic, Membership(group="g", session_timeout_seconds=6.0), begin=begin)
    await member.start()
    while len(values) < 2:
        if taken := await member.take(1.0):
            values.append([record.value for record in taken[Place(topic, 0)]])
    await member.close()
    return values


@pytest.mark.parametrize("prefix", ["", "x."])
@pytest.mark.parametrize("name", [*SEALED_TOPICS, PUBLIC, "ledger"])
async def test_our_topics_are_encrypted_and_no_others(name: str, prefix: str) -> None:
    cluster, topic = MemoryCluster(), prefix + name
    cluster.create(NewTopic(topic, 1, 1))
    kafka = SealedKafka(MemoryKafka(cluster), vault(), prefix)
    await written(kafka, topic)
    stored = [record.value for record in cluster.records(topic)[0]]
    assert len(stored) == 5
    assert (SECRET in stored) == (name not in SEALED_TOPICS)
    assert await read(kafka, topic) == [[SECRET] * 5] * 2
    reads_only = SealedKafka(MemoryKafka(cluster), Vault(Keys({"k": b"1" * 32}, None)), prefix)
    assert await read(reads_only, topic) == [[SECRET] * 5] * 2
    await written(reads_only, topic)
    assert cluster.records(topic)[0][-1].value == SECRET
