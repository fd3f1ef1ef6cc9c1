"""One suite for `engine.ports.Snapshots`: it is passed on Kafka, on Kafka in memory, and by what simulations use."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

import pytest

from deploy.topics import create_topics
from engine.errors import ReadFailed, SnapshotFailed, SnapshotFenced
from engine.kafka_snapshots import KafkaSnapshots
from engine.ports import Snapshots
from schemas.kafka import clients_of
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.records import NewRecord
from schemas.settings import EngineSettings
from tests.kafka_contract import Away
from tests.ports.snapshots import MemorySnapshots, SnapshotTopic

PARTITIONS = 2


class Subject(ABC):
    """A topic under test."""

    @abstractmethod
    def snapshots(self) -> Snapshots:
        """It as one more engine sees it."""

    @abstractmethod
    def missing(self) -> Snapshots:
        """One that does not exist."""

    @abstractmethod
    def away(self) -> Snapshots:
        """One that can't be reached."""

    async def close(self) -> None:  # noqa: B027 - most have nothing to close
        """End it."""


class Brokers(Subject):
    def __init__(self, settings: EngineSettings):
        self._settings = settings
        self._made: list[KafkaSnapshots] = []

    def snapshots(self) -> Snapshots:
        return self._new(self._settings)

    def missing(self) -> Snapshots:
        servers, prefix = self._settings.kafka_bootstrap_servers, f"{self._settings.topic_prefix}missing."
        return self._new(EngineSettings(kafka_bootstrap_servers=servers, topic_prefix=prefix))

    def away(self) -> Snapshots:
        return self._new(EngineSettings(kafka_bootstrap_servers="127.0.0.1:1"))

    def _new(self, settings: EngineSettings) -> Snapshots:
        self._made.append(KafkaSnapshots(clients_of(settings), settings))
        return self._made[-1]

    async def close(self) -> None:
        for snapshots in self._made:
            await snapshots.close()


class InMemory(Subject):
    """The same code as on a real Kafka, on a cluster in memory."""

    def __init__(self, cluster: MemoryCluster):
        self._cluster = cluster

    def snapshots(self) -> Snapshots:
        return KafkaSnapshots(MemoryKafka(self._cluster), EngineSettings(partitions=PARTITIONS))

    def missing(self) -> Snapshots:
        return KafkaSnapshots(MemoryKafka(self._cluster), EngineSettings(topic_prefix="missing."))

    def away(self) -> Snapshots:
        return KafkaSnapshots(MemoryKafka(self._cluster, Away()), EngineSettings(partitions=PARTITIONS))


class Simulated(Subject):
    def __init__(self) -> None:
        self._topic = SnapshotTopic()

    def snapshots(self) -> Snapshots:
        return MemorySnapshots(self._topic)

    def missing(self) -> Snapshots:
        snapshots = MemorySnapshots()
        snapshots.refuses_writers = True
        return snapshots

    def away(self) -> Snapshots:
        snapshots = MemorySnapshots(self._topic)
        snapshots.away = True
        return snapshots


@pytest.fixture(params=["kafka", "memory", "simulation"])
async def subject(request: pytest.FixtureRequest, topic_prefix: str) -> AsyncIterator[Subject]:
    made: Subject
    if request.param == "simulation":
        made = Simulated()
    elif request.param == "memory":
        cluster = MemoryCluster()
        await create_topics(EngineSettings(partitions=PARTITIONS), MemoryKafka(cluster))
        made = InMemory(cluster)
    else:
        servers = request.getfixturevalue("kafka_bootstrap_servers")
        settings = EngineSettings(kafka_bootstrap_servers=servers, topic_prefix=topic_prefix, partitions=PARTITIONS)
        await create_topics(settings)
        made = Brokers(settings)
    yield made
    await made.close()


def some(*keys: str, value: bytes | None = b"{}") -> list[NewRecord]:
    return [NewRecord(key.encode(), value, [], 1000) for key in keys]


async def read(snapshots: Snapshots, partition: int) -> list[tuple[str, bytes | None]]:
    found = [record async for records in snapshots.read(partition) for record in records]
    return [((record.key or b"").decode(), record.value) for record in found]


async def test_a_snapshot_is_read_when_it_is_committed(subject: Subject) -> None:
    snapshots = subject.snapshots()
    assert await read(snapshots, 1) == []
    writer = await snapshots.open(1)
    many = [f"instance/{n}" for n in range(1500)]
    await writer.append(some(*many))
    await writer.append(some("instance/0", value=None))
    await writer.append(some("instance/large", value=b"x" * 700_000))
    assert await read(snapshots, 1) == []
    await writer.append(some("marker"))
    await writer.commit()
    await writer.append(some("lost"))
    await writer.close()
    # A commit counts from when it returns, but is only certain to be read once the next writer is open.
    await (await snapshots.open(1)).close()
    found = await read(subject.snapshots(), 1)
    assert found == [
        *((key, b"{}") for key in many),
        ("instance/0", None),
        ("instance/large", b"x" * 700_000),
        ("marker", b"{}"),
    ]
    assert await read(snapshots, 0) == []


async def test_the_last_record_is_the_last_one_that_is_committed(subject: Subject) -> None:
    snapshots = subject.snapshots()
    assert await snapshots.last(1) is None
    for number in range(3):
        writer = await snapshots.open(1)
        await writer.append(some(*(f"instance/{n}" for n in range(50)), f"marker-{number}"))
        await writer.commit()
        await writer.close()
    for _ in range(30):  # the marks of what is aborted hide it
        writer = await snapshots.open(1)
        await writer.append(some("lost"))
        await writer.close()
    await (await snapshots.open(1)).close()
    found = await snapshots.last(1)
    assert found is not None
    assert found.key == b"marker-2"
    assert await snapshots.last(0) is None


async def test_a_writer_shuts_out_those_that_were_opened_before(subject: Subject) -> None:
    before, other, after = [await subject.snapshots().open(partition) for partition in (0, 1, 0)]
    await other.append(some("other"))
    await other.commit()
    with pytest.raises(SnapshotFenced):
        await before.append(some("a"))
    await after.append(some("b"))
    latest = await subject.snapshots().open(0)
    with pytest.raises(SnapshotFenced):
        await after.commit()
    await latest.append(some("c"))
    await latest.commit()
    for writer in (before, other, after, latest):
        await writer.close()
    await (await subject.snapshots().open(0)).close()
    assert await read(subject.snapshots(), 0) == [("c", b"{}")]


async def test_without_the_topic_there_is_no_snapshot_and_no_writer(subject: Subject) -> None:
    """An engine that was upgraded before `topics create` goes on without."""
    snapshots = subject.missing()
    with pytest.raises(SnapshotFailed):
        await snapshots.open(0)
    assert await read(snapshots, 0) == []
    assert await snapshots.last(0) is None


async def test_a_topic_that_can_not_be_reached_is_told(subject: Subject) -> None:
    snapshots = subject.away()
    with pytest.raises(SnapshotFailed):
        await snapshots.open(0)
    with pytest.raises(ReadFailed):
        await read(snapshots, 0)
    with pytest.raises(ReadFailed):
        await snapshots.last(0)
