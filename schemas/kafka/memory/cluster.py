"""The state of a cluster in memory. It changes in plain calls, each at one moment."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from schemas.kafka.errors import Fenced, KafkaFault
from schemas.kafka.memory.group import Group
from schemas.kafka.memory.log import PartitionLog, StoredRecord
from schemas.kafka.ports import NewTopic, Outgoing, Place

DEFAULT_MAX_MESSAGE_BYTES: Final = 1024 * 1024 + 12
"""`max.message.bytes` of a topic that does not set it, as Kafka's default is."""
DEFAULT_PARTITIONS: Final = 1
METADATA_SECONDS: Final = 300.0
"""When the members of groups notice that topics have changed, as Kafka's clients do by default."""
RECORD_OVERHEAD_BYTES: Final = 64
"""What a record takes in a batch beside its content, at most about this."""


class Topic:
    """A topic of the cluster."""

    def __init__(self, identity: str, new: NewTopic):
        self.id, self.config = identity, new.config
        self.partitions = [PartitionLog() for _ in range(new.partitions)]

    @property
    def max_message_bytes(self) -> int:
        """Largest batch that it takes."""
        return int(self.config.get("max.message.bytes", DEFAULT_MAX_MESSAGE_BYTES))


class MemoryCluster:
    """Topics, groups and names of transactional writers."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self._groups: dict[str, Group] = {}
        self._epochs: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._numbers = itertools.count(1)
        self._news: set[asyncio.Future[None]] = set()

    def number(self) -> int:
        """A number that nothing else of this cluster has."""
        return next(self._numbers)

    # Topics

    def create(self, new: NewTopic) -> bool:
        """Make a topic; False if there is one of this name."""
        if new.name in self.topics:
            return False
        partitions = DEFAULT_PARTITIONS if new.partitions == -1 else new.partitions
        self.topics[new.name] = Topic(f"topic-{self.number()}", NewTopic(new.name, partitions, 1, new.config))
        self._topics_changed()
        return True

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions."""
        logs = self.topics[topic].partitions
        logs += [PartitionLog() for _ in range(partitions - len(logs))]
        self._topics_changed()

    def delete(self, topic: str) -> None:
        """Delete a topic."""
        del self.topics[topic]
        self._topics_changed()

    def _topics_changed(self) -> None:
        for group in self._groups.values():
            asyncio.get_running_loop().call_later(METADATA_SECONDS, group.rebalance)
        self.tell()

    def log(self, place: Place) -> PartitionLog:
        """A partition.

        Raises:
            KafkaFault: no partition has this number.
        """
        topic = self.topics.get(place.topic)
        if topic is None or not 0 <= place.partition < len(topic.partitions):
            raise KafkaFault(f"there is no partition {place.partition} of topic {place.topic}")
        return topic.partitions[place.partition]

    def places(self, topic: str) -> Iterator[Place]:
        """The partitions of a topic; none if it does not exist."""
        found = self.topics.get(topic)
        return (Place(topic, number) for number in range(len(found.partitions) if found else 0))

    def records(self, topic: str, *, committed_only: bool = False) -> dict[int, list[StoredRecord]]:
        """All records of a topic that are kept, by partition."""
        logs = enumerate(self.topics[topic].partitions)
        return {number: list(log.records(committed_only=committed_only)) for number, log in logs}

    # Records

    def append(self, place: Place, records: Sequence[Outgoing], transaction: str | None = None) -> int:
        """Append a batch and return its base offset.

        Raises:
            KafkaFault: there is no such partition, or it takes no batch of this size.
        """
        log = self.log(place)
        if batch_bytes(records) > self.topics[place.topic].max_message_bytes:
            raise KafkaFault("the batch is larger than the topic takes")
        base = log.append(records, int(asyncio.get_running_loop().time() * 1000), transaction)
        self.tell()
        return base

    async def news(self) -> None:
        """Wait until anything has changed that a reader may see."""
        told = asyncio.get_running_loop().create_future()
        self._news.add(told)
        try:
            await told
        finally:
            self._news.discard(told)

    def tell(self) -> None:
        """Wake whoever waits for news."""
        for told in self._news:
            if not told.done():
                told.set_result(None)

    # Transactions

    def open_transactional(self, name: str) -> int:
        """Shut every other writer of a name out, abort what is open, and return the epoch of the new one."""
        self._end_transaction(name, committed=False)
        self._epochs[name] = self._epochs.get(name, -1) + 1
        return self._epochs[name]

    def append_transactional(
        self, name: str, epoch: int, place: Place, records: Sequence[Outgoing], open_seconds: float
    ) -> int:
        """Append a batch to the open transaction of a name; the offset of its first record.

        Raises:
            Fenced: a newer writer of this name was opened, or the transaction was open for too long.
            KafkaFault: see `append`.
        """
        self._check_epoch(name, epoch)
        base = self.append(place, records, name)
        if name not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[name] = loop.call_later(open_seconds, self.open_transactional, name)
        return base

    def commit_transaction(self, name: str, epoch: int) -> None:
        """Commit what is open.

        Raises:
            Fenced: see `append_transactional`.
        """
        self._check_epoch(name, epoch)
        self._end_transaction(name, committed=True)

    def _check_epoch(self, name: str, epoch: int) -> None:
        if self._epochs.get(name) != epoch:
            raise Fenced(f"a newer writer of {name} was opened")

    def _end_transaction(self, name: str, *, committed: bool) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        for topic in self.topics.values():
            for log in topic.partitions:
                log.end_transaction(name, committed=committed)
        self.tell()

    # Groups

    def group(self, name: str) -> Group:
        """A group; a new one has no members."""
        return self._groups.setdefault(name, Group(self.places))

    @property
    def committed(self) -> Mapping[str, Mapping[Place, int]]:
        """What each group has committed."""
        return {name: group.offsets for name, group in self._groups.items()}


def batch_bytes(records: Sequence[Outgoing]) -> int:
    """About how large a batch of these records is."""
    return sum(
        RECORD_OVERHEAD_BYTES
        + len(record.key or b"")
        + len(record.value or b"")
        + sum(len(name) + len(value or b"") for name, value in record.headers)
        for record in records
    )
