"""The state of a cluster in memory. It changes in plain calls, each at one moment."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import Context
from functools import partial
from typing import Final, NamedTuple

from schemas.kafka.errors import Fenced, KafkaFault, Refused
from schemas.kafka.memory.group import Group
from schemas.kafka.memory.log import Batch, PartitionLog, Sent, StoredRecord
from schemas.kafka.memory.network import RequestLost
from schemas.kafka.ports import NewTopic, Outgoing, Place

DEFAULT_MAX_MESSAGE_BYTES: Final = 1024 * 1024 + 12
"""`max.message.bytes` of a topic that does not set it, as Kafka's default is."""
DEFAULT_PARTITIONS: Final = 1
METADATA_SECONDS: Final = 300.0
"""When the members of groups notice that topics have changed, as Kafka's clients do by default."""
RECORD_OVERHEAD_BYTES: Final = 64
"""What a record takes in a batch beside its content, at most about this."""


class Received(NamedTuple):
    """A batch that is acknowledged."""

    base: int
    is_repeated: bool
    """Whether the cluster had it already."""


class Witness:
    """Sees what happens in a cluster. This one takes no notice."""

    def appended(self, place: Place, records: Sequence[StoredRecord]) -> None:
        """Records can be read now, by whoever does not wait for the end of transactions."""

    def opened(self, transaction: str) -> None:
        """A writer of transactions was opened, which has shut out those before."""

    def ended(self, transaction: str, committed: bool, records: Mapping[Place, Sequence[StoredRecord]]) -> None:
        """A transaction has come to its end; with what was appended in it."""

    def told(self, group: str, offsets: Mapping[Place, int]) -> None:
        """A group has taken the offsets that a member has told."""

    def lost(self, place: Place, records: Sequence[StoredRecord]) -> None:
        """A fail-over has lost records that nobody had seen."""


class _Acknowledgement(NamedTuple):
    """What a producer waits for."""

    batch: Batch
    received: Received
    future: "asyncio.Future[Received]"


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
    """Topics, groups and names of transactional writers.

    Args:
        witness: is told what happens.
    """

    def __init__(self, witness: Witness | None = None) -> None:
        self.topics: dict[str, Topic] = {}
        self.witness = witness or Witness()
        self.replication_seconds: Callable[[], float] = lambda: 0.0
        """How long the next batch takes to be on all replicas."""
        self.marker_seconds: Callable[[], float] = lambda: 0.0
        """How long the next transaction that is to be committed takes until its records count."""
        self._context = Context()
        """In which timers run: they belong to no process."""
        self._groups: dict[str, Group] = {}
        self._epochs: dict[str, int] = {}
        self._committed: Counter[str] = Counter()
        """How many transactions of a name were committed in its present epoch."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ending: dict[str, asyncio.TimerHandle] = {}
        """Transactions that will be committed, whatever comes."""
        self._unacknowledged: dict[PartitionLog, list[_Acknowledgement]] = {}
        self._numbers = itertools.count(1)
        self._watchers: dict[Callable[[], None], None] = {}

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
            asyncio.get_running_loop().call_later(METADATA_SECONDS, group.rebalance, context=self._context)
        watchers, self._watchers = self._watchers, {}
        for tell in watchers:
            tell()

    def watch(self, places: Sequence[Place], tell: Callable[[], None]) -> None:
        """Have something called the next time that a reader may find something else there, or topics change."""
        self._watchers[tell] = None
        for place in places:
            self.log(place).watch(tell)

    def unwatch(self, places: Sequence[Place], tell: Callable[[], None]) -> None:
        """Call it no more."""
        self._watchers.pop(tell, None)
        for place in places:
            topic = self.topics.get(place.topic)
            if topic is not None and place.partition < len(topic.partitions):
                topic.partitions[place.partition].unwatch(tell)

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
        """Append a batch on all replicas, and return its base offset.

        Raises:
            KafkaFault: there is no such partition, or it takes no batch of this size.
        """
        log = self._taking(place, records)
        batch = log.receive(records, _now_ms(), transaction)
        self._replicate(place, log, batch)
        return batch.base

    def receive(
        self, place: Place, records: Sequence[Outgoing], sent: Sent, transaction: str | None = None
    ) -> "Received | asyncio.Future[Received]":
        """Take a batch from a producer, unless it is there already; acknowledge it when all replicas have it.

        Raises:
            KafkaFault: see `append`.
        """
        log = self._taking(place, records)
        batch = log.find(sent)
        is_repeated = batch is not None
        if batch is None:
            batch = log.receive(records, _now_ms(), transaction, sent)
            seconds = self.replication_seconds()
            if not seconds:
                self._replicate(place, log, batch)
            else:
                loop = asyncio.get_running_loop()
                loop.call_later(seconds, self._replicate, place, log, batch, context=self._context)
        received = Received(batch.base, is_repeated)
        if log.has_replicated(batch):
            return received
        waits: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        self._unacknowledged.setdefault(log, []).append(_Acknowledgement(batch, received, waits))
        return waits

    def _taking(self, place: Place, records: Sequence[Outgoing]) -> PartitionLog:
        log = self.log(place)
        if batch_bytes(records) > self.topics[place.topic].max_message_bytes:
            raise Refused("the batch is larger than the topic takes")
        return log

    def _replicate(self, place: Place, log: PartitionLog, batch: Batch) -> None:
        if records := log.replicate(batch):
            self.witness.appended(place, records)
            self._acknowledge(log)

    def _acknowledge(self, log: PartitionLog) -> None:
        waiting = self._unacknowledged.pop(log, [])
        left = [waits for waits in waiting if not log.has_replicated(waits.batch)]
        if left:
            self._unacknowledged[log] = left
        for waits in waiting:
            if not waits.future.done() and log.has_replicated(waits.batch):
                waits.future.set_result(waits.received)

    def fail_over(self, place: Place) -> None:
        """Another broker leads a partition, which has what was acknowledged, and nothing else.

        Who waits for an acknowledgement sends again.
        """
        log = self.log(place)
        if lost := log.fail_over():
            self.witness.lost(place, lost)
        for waits in self._unacknowledged.pop(log, []):
            if not waits.future.done():
                waits.future.set_exception(RequestLost("the leader is gone"))

    # Transactions

    def open_transactional(self, name: str) -> int:
        """Shut every other writer of a name out, end what is open, and return the epoch of the new one."""
        self._end_transaction(name, committed=name in self._ending)
        self._epochs[name], self._committed[name] = self._epochs.get(name, -1) + 1, 0
        self.witness.opened(name)
        return self._epochs[name]

    def append_transactional(
        self, name: str, epoch: int, place: Place, records: Sequence[Outgoing], open_seconds: float
    ) -> int:
        """Append a batch to the open transaction of a name; the offset of its first record.

        Raises:
            Fenced: a newer writer of this name was opened, or the transaction was open for too long.
            KafkaFault: see `append`.
        """
        self._begin(name, epoch, open_seconds)
        return self.append(place, records, name)

    def receive_transactional(
        self,
        name: str,
        epoch: int,
        place: Place,
        records: Sequence[Outgoing],
        open_seconds: float,
        sent: Sent,
        number: int,
    ) -> "Received | asyncio.Future[Received]":
        """The same for a batch that may come twice, see `receive`.

        Args:
            name: of the writer, see `append_transactional`, as all that follows.
            epoch: of the writer.
            place: where to.
            records: of the batch.
            open_seconds: when the transaction is aborted.
            sent: by what the batch is known.
            number: of the transaction, see `commit_transaction`.

        Raises:
            RequestLost: the transaction before has not come to its end; to be sent again.
            Fenced: see `append_transactional`.
            KafkaFault: likewise, or it comes once more when its transaction has ended.
        """
        self._check_epoch(name, epoch)
        if number < self._committed[name]:
            raise KafkaFault("its transaction has ended")
        self._begin(name, epoch, open_seconds)
        return self.receive(place, records, sent, name)

    def _begin(self, name: str, epoch: int, open_seconds: float) -> None:
        self._check_epoch(name, epoch)
        if name in self._ending:
            raise RequestLost("the transaction before has not come to its end")
        if name not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[name] = loop.call_later(open_seconds, self.open_transactional, name, context=self._context)

    def commit_transaction(self, name: str, epoch: int, number: int = 0) -> None:
        """Commit what is open. From here on it will count, if not at once.

        Args:
            name: of the writer.
            epoch: that it was opened with.
            number: of the transaction, from 0 in each epoch. A request that comes once more when the transaction has
                ended does nothing. (Brokers know no such number, but take the requests of one client in order: one
                that is repeated does not come behind those of the next transaction.)

        Raises:
            Fenced: see `append_transactional`.
        """
        self._check_epoch(name, epoch)
        if number < self._committed[name]:
            return
        seconds = self.marker_seconds() if name in self._timers else 0.0
        if seconds and name not in self._ending:
            loop = asyncio.get_running_loop()
            commit = partial(self._end_transaction, name, committed=True)
            self._ending[name] = loop.call_later(seconds, commit, context=self._context)
        elif name not in self._ending:
            self._end_transaction(name, committed=True)

    def _check_epoch(self, name: str, epoch: int) -> None:
        if self._epochs.get(name) != epoch:
            raise Fenced(f"a newer writer of {name} was opened")

    def _end_transaction(self, name: str, *, committed: bool) -> None:
        for timers in (self._timers, self._ending):
            timer = timers.pop(name, None)
            if timer is not None:
                timer.cancel()
        self._committed[name] += committed
        ended: dict[Place, Sequence[StoredRecord]] = {}
        for topic_name, topic in self.topics.items():
            for number, log in enumerate(topic.partitions):
                if (marked := log.end_transaction(name, committed=committed)) is not None:
                    place = Place(topic_name, number)
                    ended[place] = marked.records
                    if marked.seen:
                        self.witness.appended(place, marked.seen)
                    self._acknowledge(log)
        if ended:
            self.witness.ended(name, committed, ended)

    # Groups

    def group(self, name: str) -> Group:
        """A group; a new one has no members."""
        return self._groups.setdefault(name, Group(self.places, self._context))

    def commit_offsets(
        self, group: str, member: str, incarnation: int, generation: int, offsets: Mapping[Place, int]
    ) -> bool:
        """Take offsets from a member of the present generation; False for any other."""
        taken = self.group(group).commit(member, incarnation, generation, offsets)
        if taken:
            self.witness.told(group, offsets)
        return taken

    @property
    def committed(self) -> Mapping[str, Mapping[Place, int]]:
        """What each group has committed."""
        return {name: group.offsets for name, group in self._groups.items()}


def _now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


def batch_bytes(records: Sequence[Outgoing]) -> int:
    """About how large a batch of these records is."""
    return sum(
        RECORD_OVERHEAD_BYTES
        + len(record.key or b"")
        + len(record.value or b"")
        + sum(len(name) + len(value or b"") for name, value in record.headers)
        for record in records
    )
