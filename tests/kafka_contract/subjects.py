"""A Kafka under test, and what the contract's tests do with it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from schemas.kafka import (
    Kafka,
    KafkaFault,
    Limits,
    NewTopic,
    Place,
    Producer,
    Reader,
    Transactions,
)
from schemas.kafka.memory import Network, Request
from schemas.records import NewRecord, Record

BATCH_BYTES = 100_000
PARTITIONS = 3
DEADLINE_SECONDS = 60.0
"""Of what takes milliseconds. A busy machine may take long for it, or stand still meanwhile."""


class Away(Network):
    """Of a cluster in memory that can't be reached."""

    async def request(self, kind: Request, client: str) -> None:
        raise KafkaFault("away")


class Subject(Protocol):
    """A Kafka under test, and what only tests do to it."""

    kafka: Kafka
    """As one process sees it."""
    session_seconds: float
    """The shortest session of a group's member."""

    def topic(self, name: str) -> str:
        """The full name of a topic of this test."""

    def away(self) -> Kafka:
        """A Kafka that can't be reached."""

    async def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions."""

    async def delete(self, topic: str) -> None:
        """Delete a topic."""

    async def expire(self, place: Place, before: int) -> None:
        """Make records before this offset go away, as retention does."""

    async def leave_open(self, name: str, records: Mapping[Place, Sequence[NewRecord]]) -> None:
        """Append records to a transaction of a name, and be gone."""


def record(value: str, timestamp_ms: int = 1000) -> NewRecord:
    return NewRecord(b"key", value.encode(), [("name", b"x")], timestamp_ms)


def some(*values: str) -> list[NewRecord]:
    return [record(value) for value in values]


def values(records: Sequence[Record]) -> list[str]:
    return [(record.value or b"").decode() for record in records]


def content(taken: Mapping[Place, Sequence[Record]]) -> dict[Place, list[str]]:
    return {place: values(records) for place, records in taken.items()}


def soon(seconds: float = DEADLINE_SECONDS) -> float:
    return asyncio.get_running_loop().time() + seconds


def numbers(places: Collection[Place]) -> set[int]:
    return {place.partition for place in places}


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not holds():  # noqa: ASYNC110 - a member tells nobody
            await asyncio.sleep(0.005)


async def make(
    subject: Subject, name: str = "t", partitions: int = PARTITIONS, config: dict[str, str] | None = None
) -> str:
    """Make a topic, and wait until its partitions can be read."""
    topic = subject.topic(name)
    # Our records are of 1970, and a broker looks now and then for those that are older than a week.
    kept = {"retention.ms": "-1", **(config or {})}
    async with subject.kafka.admin() as admin:
        assert await admin.create([NewTopic(topic, partitions, 1, kept)]) == {}
    places = [Place(topic, number) for number in range(partitions)]
    async with asyncio.timeout(DEADLINE_SECONDS), subject.kafka.reader() as reader:
        while True:
            try:
                assert await reader.limits(places) == dict.fromkeys(places, Limits(0, 0))
            except KafkaFault:
                await asyncio.sleep(0.01)
            else:
                return topic


@asynccontextmanager
async def producing(kafka: Kafka, topic: str, *, waits: bool = True) -> AsyncIterator[Producer]:
    producer = kafka.producer(topic, max_batch_bytes=BATCH_BYTES, max_request_bytes=10 * BATCH_BYTES, waits=waits)
    try:
        yield producer
    finally:
        await producer.close()


def transacting(subject: Subject, name: str) -> Transactions:
    """The transactions of a name of the test's own. They stay open for as long as the test may take."""
    return subject.kafka.transactions(
        subject.topic(name), open_seconds=10 * DEADLINE_SECONDS, max_batch_bytes=BATCH_BYTES
    )


async def put(subject: Subject, topic: str, records: Mapping[int, Sequence[NewRecord]]) -> None:
    async with producing(subject.kafka, topic) as producer:
        await producer.append_all(topic, records, soon())


async def decided(subject: Subject, topic: str) -> None:
    """Wait until no transaction of a topic is open: a broker answers a commit before each partition has its mark."""
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        subject.kafka.reader() as reader,
        subject.kafka.reader(committed_only=True) as waiting,
    ):
        places = [Place(topic, number) for number in range(await reader.partitions(topic))]
        while await waiting.ends(places) != await reader.ends(places):  # noqa: ASYNC110 - a broker tells nobody
            await asyncio.sleep(0.005)


async def read(reader: Reader, place: Place, count: int) -> list[Record]:
    """So many records, from where the reader is."""
    found: list[Record] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(found) < count:
            found += (await reader.take(1.0)).get(place, [])
    assert len(found) == count
    return found


async def read_all(subject: Subject, topic: str, *, committed_only: bool = False) -> dict[int, list[str]]:
    """All values of a topic, by partition."""
    async with subject.kafka.reader(committed_only=committed_only) as reader:
        places = [Place(topic, number) for number in range(await reader.partitions(topic))]
        ends = await reader.ends(places)
        found: dict[int, list[str]] = {place.partition: [] for place in places}
        reader.read_from(dict.fromkeys(places, 0))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while any([await reader.position(place) < ends[place] for place in places]):
                for place, records in (await reader.take(0.1)).items():
                    found[place.partition] += values(records)
    return found
