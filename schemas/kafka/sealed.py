"""Kafka with encryption at rest: the protocols on other implementations of theirs, and a vault in between.

Records are sealed on their way to our topics, and opened on their way back. What other topics hold goes by as it is.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from schemas.encryption.vault import Vault
from schemas.kafka.ports import (
    NO_RECORDS,
    Admin,
    Assigned,
    Begin,
    Kafka,
    Member,
    Membership,
    Outgoing,
    Place,
    Producer,
    Reader,
    Revoked,
    TopicFinder,
    Transactions,
)
from schemas.records import Record
from schemas.topics import SEALED_TOPICS


class Sealing:
    """A vault, and the topics that it is for.

    Args:
        vault: seals and opens.
        prefix: of the installation's topics.
    """

    def __init__(self, vault: Vault, prefix: str):
        self._vault = vault
        self._names = {prefix + topic: topic for topic in SEALED_TOPICS}

    def covers(self, topic: str) -> bool:
        """Whether a topic is one of those."""
        return topic in self._names

    def seal(self, topic: str, partition: int, records: Iterable[Outgoing]) -> Sequence[Outgoing]:
        """Records as they are to be written."""
        name, seal = self._names.get(topic), self._vault.seal
        if name is None or not self._vault.seals:
            return list(records)
        return [seal(name, partition, record) for record in records]

    def open(self, taken: dict[Place, Sequence[Record]]) -> dict[Place, Sequence[Record]]:
        """Records as they were before."""
        return {place: self._open(place, records) for place, records in taken.items()}

    def _open(self, place: Place, records: Sequence[Record]) -> Sequence[Record]:
        name, open_ = self._names.get(place.topic), self._vault.open
        if name is None:
            return records
        return [open_(name, place.partition, record) for record in records]


class SealedProducer:
    """`ports.Producer` that seals."""

    def __init__(self, producer: Producer, sealing: Sealing):
        self._producer, self._sealing = producer, sealing
        self.open, self.close = producer.open, producer.close
        self.partitions, self.reachable = producer.partitions, producer.reachable

    async def append(self, topic: str, partition: int, record: Outgoing, deadline: float) -> int:
        """See `ports.Producer.append`."""
        (sealed,) = self._sealing.seal(topic, partition, (record,))
        return await self._producer.append(topic, partition, sealed, deadline)

    async def append_batch(self, topic: str, partition: int, records: Sequence[Outgoing], deadline: float) -> int:
        """See `ports.Producer.append_batch`."""
        sealed = self._sealing.seal(topic, partition, records)
        return await self._producer.append_batch(topic, partition, sealed, deadline)

    async def append_all(self, topic: str, records: Mapping[int, Sequence[Outgoing]], deadline: float) -> None:
        """See `ports.Producer.append_all`."""
        sealed = {partition: self._sealing.seal(topic, partition, some) for partition, some in records.items()}
        await self._producer.append_all(topic, sealed, deadline)


class SealedTransactions:
    """`ports.Transactions` that seals."""

    def __init__(self, transactions: Transactions, sealing: Sealing):
        self._transactions, self._sealing = transactions, sealing
        self.open, self.close, self.partitions = transactions.open, transactions.close, transactions.partitions

    async def append(self, records: Mapping[Place, Sequence[Outgoing]]) -> dict[Place, int]:
        """See `ports.Transactions.append`."""
        return await self._transactions.append(self._sealed(records))

    async def commit(self, records: Mapping[Place, Sequence[Outgoing]] = NO_RECORDS) -> None:
        """See `ports.Transactions.commit`."""
        await self._transactions.commit(self._sealed(records))

    def _sealed(self, records: Mapping[Place, Sequence[Outgoing]]) -> dict[Place, Sequence[Outgoing]]:
        return {place: self._sealing.seal(*place, some) for place, some in records.items()}


class SealedReader:
    """`ports.Reader` that opens."""

    def __init__(self, reader: Reader, sealing: Sealing):
        self._reader, self._sealing = reader, sealing
        self.partitions, self.limits, self.ends = reader.partitions, reader.limits, reader.ends
        self.first_since, self.read_from, self.position = reader.first_since, reader.read_from, reader.position
        self.marks = reader.marks

    async def take(self, timeout_seconds: float, max_records: int | None = None) -> dict[Place, Sequence[Record]]:
        """See `ports.Reader.take`."""
        return self._sealing.open(await self._reader.take(timeout_seconds, max_records))


class SealedMember:
    """`ports.Member` that opens."""

    def __init__(self, member: Member, sealing: Sealing):
        self._member, self._sealing = member, sealing
        self.start, self.close = member.start, member.close
        self.start_at, self.seek, self.pause, self.resume = member.start_at, member.seek, member.pause, member.resume
        self.commit, self.committed, self.limits = member.commit, member.committed, member.limits
        self.partitions, self.highwater = member.partitions, member.highwater

    @property
    def assignment(self) -> frozenset[Place]:
        """See `ports.Member.assignment`."""
        return self._member.assignment

    @property
    def silence_seconds(self) -> float:
        """See `ports.Member.silence_seconds`."""
        return self._member.silence_seconds

    async def take(
        self, timeout_seconds: float, max_records: int | None = None, places: Collection[Place] | None = None
    ) -> dict[Place, Sequence[Record]]:
        """See `ports.Member.take`."""
        return self._sealing.open(await self._member.take(timeout_seconds, max_records, places))


class SealedKafka:
    """`ports.Kafka` with encryption at rest.

    Args:
        kafka: the cluster.
        vault: seals and opens.
        prefix: of the installation's topics.
    """

    def __init__(self, kafka: Kafka, vault: Vault, prefix: str = ""):
        self._kafka, self._sealing = kafka, Sealing(vault, prefix)

    def producer(self, topic: str, *, max_batch_bytes: int, max_request_bytes: int, waits: bool) -> Producer:
        """See `ports.Kafka.producer`."""
        producer = self._kafka.producer(
            topic, max_batch_bytes=max_batch_bytes, max_request_bytes=max_request_bytes, waits=waits
        )
        return SealedProducer(producer, self._sealing)

    def member(
        self,
        topic: str,
        membership: Membership,
        *,
        begin: Begin | None = None,
        assigned: Assigned | None = None,
        revoked: Revoked | None = None,
    ) -> Member:
        """See `ports.Kafka.member`."""
        member = self._kafka.member(topic, membership, begin=begin, assigned=assigned, revoked=revoked)
        return SealedMember(member, self._sealing) if self._sealing.covers(topic) else member

    @asynccontextmanager
    async def reader(self, *, committed_only: bool = False) -> AsyncIterator[Reader]:
        """See `ports.Kafka.reader`."""
        async with self._kafka.reader(committed_only=committed_only) as reader:
            yield SealedReader(reader, self._sealing)

    def transactions(self, name: str, *, open_seconds: float, max_batch_bytes: int) -> Transactions:
        """See `ports.Kafka.transactions`."""
        transactions = self._kafka.transactions(name, open_seconds=open_seconds, max_batch_bytes=max_batch_bytes)
        return SealedTransactions(transactions, self._sealing)

    def admin(self) -> AbstractAsyncContextManager[Admin]:
        """See `ports.Kafka.admin`."""
        return self._kafka.admin()

    def topic_finder(self) -> TopicFinder:
        """See `ports.Kafka.topic_finder`."""
        return self._kafka.topic_finder()
