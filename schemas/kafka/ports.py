"""What our processes need of Kafka, as small protocols, and the values that these speak of.

`Kafka` is what a process is given. It makes the rest:

| port | is | used by |
|---|---|---|
| `Producer` | appends, acknowledged by all replicas, each record once; outlives its faults | api, engine |
| `Member` | one member of a consumer group: its partitions come and go | all who share partitions |
| `Reader` | reads partitions without a group, from any offset | restore, rebuild, tables, positions |
| `Transactions` | writes to several topics at once, and shuts other writers of its name out | publisher, snapshots |
| `Admin` | makes topics | `orchestration topics create` |
| `TopicFinder` | tells whether a topic exists, and whether it is still the same | listening for triggers |

Each has two implementations that pass one suite of tests: `schemas.kafka.KafkaClients` speaks to brokers,
`schemas.kafka.memory.MemoryKafka` is a whole cluster in memory.

All of them raise the errors of `schemas.kafka.errors`, and nothing of the client library. Every call ends, by a
deadline that it is given, or by one of its own. Then it raises `KafkaFault`.

Who has which partitions, and who reads them, are two things. A group that changes its mind (a *rebalance*) stops
nobody: a member goes on with what it has until it learns the new assignment. Then at once

- a partition that it *keeps* goes on as it was, with its position and with what was fetched of it,
- a partition that is *gone* is not handed over any more,
- a partition that is *new* is held.

So for a moment two members may both have a partition, or one may write what it took of a partition that is another's by
now. Whoever must not do that finds out by other means: claims, compared positions, transactions.

A partition of a member is *held* from when it is given until somebody says where it begins. Nothing of it is handed
over meanwhile. There are two ways to say it:

- `begin` (an argument of `Kafka.member`) is asked by `take`, for all partitions that are new; and again for one whose
  offset Kafka does not have any more.
- Without it, `Member.start_at` says so for one partition, whenever its owner is ready. An offset that Kafka does not
  have becomes the oldest one.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, NamedTuple, Protocol

from msgspec import Struct

from schemas.records import Headers, Record

HEARTBEATS_PER_SESSION: Final = 4
"""So many heartbeats may be lost before the group gives the partitions to others."""
HEARTBEAT_SECONDS: Final = 0.5
"""Longest pause between heartbeats: how late a member learns that another one left, and left its partitions behind."""
MIN_HEARTBEAT_SECONDS: Final = 0.1
"""Shortest one. With less, many members would do little else."""
REBALANCES_PER_SESSION: Final = 2
"""A rebalance waits for a member that does not answer for this part of its session. Nobody has anything to let go of
first, so only a heartbeat has to pass. With all of a session, those who wait would look silent themselves."""

COORDINATOR_AWAY_SECONDS: Final = 10.0
"""How long a group may be without a coordinator: a broker that dies or hangs is replaced after about 9 s. Meanwhile
nobody gives partitions to others. Without it, an engine would let go of all of them whenever such a broker is lost."""

PROMPT_FETCH_SECONDS: Final = 0.25
"""How long a fetch waits for records, where somebody waits for each of these. Much less, and a process that has nothing
to do would keep itself and Kafka busy."""


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Limits(NamedTuple):
    """What a partition holds. It is empty when both are the same."""

    oldest: int
    """The oldest offset that is kept."""
    end: int
    """The offset that comes next. For a reader of committed records: of the first one that is not decided yet."""

    @property
    def read_to(self) -> int:
        """How far somebody must have read to know all of it: 0 without a record, however high its offsets are."""
        return self.end if self.oldest < self.end else 0


class FoundTopic(Struct, frozen=True):
    """A topic that exists."""

    id: str
    """Kafka's own identity of it: a topic that is deleted and made again has another one. Empty where the broker does
    not tell it (before Kafka 2.8)."""
    partitions: int


class NewTopic(Struct, frozen=True):
    """A topic to be made."""

    name: str
    partitions: int
    replication_factor: int
    """-1 is the broker's default."""
    config: dict[str, str] = {}


class Refusal(Struct, frozen=True):
    """Why Kafka did not make a topic."""

    reason: Literal["exists", "configuration", "replication_factor", "other"]
    text: str
    """What Kafka says."""


class Membership(Struct, frozen=True, kw_only=True):
    """A member's place in its group, and how it fetches."""

    group: str
    member_id: str | None = None
    """Stable name of the member. One that comes back under its name gets its partitions again without a rebalance. The
    latest one of a name has it; an earlier one fails with `NameTaken`."""
    session_timeout_seconds: float
    """Without a heartbeat for this long, its partitions go to others."""
    max_idle_seconds: float = 300.0
    """How long it may go without a `take` before its partitions go to others."""
    committed_only: bool = False
    """Leave records of transactions out that were not committed."""
    own_topic: bool = True
    """Whether the topic is one of ours. One of another service may be missing: it is not made by asking for it. Its
    partitions may have changed, so a member that comes back under its name joins as a new one."""
    fetch_wait_seconds: float = 0.5
    """How long a fetch waits for records. A record waits for a fetch under way that does not ask for its partition."""
    fetch_min_bytes: int = 1
    """How much a fetch waits for."""
    fetch_max_bytes: int = 50 * 1024 * 1024
    """Most that one fetch brings."""
    fetch_max_partition_bytes: int = 1024 * 1024
    """Most of it from one partition. One that is far behind must not hide the others."""

    @property
    def heartbeat_seconds(self) -> float:
        """The pause between heartbeats."""
        by_session = self.session_timeout_seconds / HEARTBEATS_PER_SESSION
        return min(max(by_session, MIN_HEARTBEAT_SECONDS), HEARTBEAT_SECONDS)

    @property
    def rebalance_seconds(self) -> float:
        """How long a rebalance waits for this member."""
        return self.session_timeout_seconds / REBALANCES_PER_SESSION


class Outgoing(Protocol):
    """A record to be appended, such as a `NewRecord`."""

    @property
    def key(self) -> bytes | None:
        """What compaction goes by."""

    @property
    def value(self) -> bytes | None:
        """The content."""

    @property
    def headers(self) -> Headers:
        """Names and values."""

    @property
    def timestamp_ms(self) -> int | None:
        """When it was made; now when not given."""


class Producer(Protocol):
    """Appends records. What Kafka acknowledges is in the log once, and on all replicas in sync.

    Deadlines are in the event loop's time. After an append fails, nothing of it is sent later, except what is already
    on its way to a broker.
    """

    def open(self) -> None:
        """Start to connect; does not wait for it. The first append does it too."""

    async def close(self) -> None:
        """Drop what has not been sent. Appends in progress run into their deadlines, later ones fail."""

    async def append(self, topic: str, partition: int, record: Outgoing, deadline: float) -> int:
        """Append a record, in one batch with others that come meanwhile.

        Returns:
            Its offset; negative when Kafka knows the record from an earlier try, but not where it is.

        Raises:
            KafkaAway: there is no connection; nothing was sent.
            Refused: Kafka refused it; nothing was appended.
            NotAcknowledged: nobody knows whether it was or will be appended.
        """

    async def append_batch(self, topic: str, partition: int, records: Sequence[Outgoing], deadline: float) -> int:
        """Append records as one batch, whole or not at all.

        Returns:
            The offset of the first one; negative when Kafka knows the batch from an earlier try, but not where it is.

        Raises:
            BatchTooLarge: the records don't fit into one batch; nothing was sent.
            KafkaAway: there is no connection; nothing was sent.
            Refused: Kafka refused it; nothing was appended.
            NotAcknowledged: nobody knows whether it was or will be appended.
        """

    async def append_all(self, topic: str, records: Mapping[int, Sequence[Outgoing]], deadline: float) -> None:
        """Append records to several partitions of a topic, in as many batches as they need.

        A batch is only sent when those before it are acknowledged: what comes later must not count without them.

        Raises:
            KafkaAway: there is no connection; nothing was sent.
            NotAcknowledged: nobody knows which of them were or will be appended.
        """

    async def partitions(self, topic: str, deadline: float) -> int:
        """How many partitions a topic has.

        Raises:
            KafkaAway: there is no connection by the deadline.
        """

    async def reachable(self, timeout_seconds: float) -> bool:
        """Whether Kafka answers now."""


class Member(Protocol):
    """A member of a consumer group.

    Records of a partition come in order, from where it begins, and only while it is assigned. After an error the member
    is closed and a new one made: the client library may have lost records that it had fetched.
    """

    @property
    def assignment(self) -> frozenset[Place]:
        """The partitions that this member has now."""

    @property
    def silence_seconds(self) -> float:
        """How long ago this was a member for certain: since it sent what the group answered last. Infinite before."""

    async def start(self) -> None:
        """Join the group.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """

    async def close(self, timeout_seconds: float = 3.0, *, leave: bool = False) -> None:
        """End this member, as far as that is done in time.

        Args:
            timeout_seconds: the deadline.
            leave: give the partitions to others at once. Without it a member that has a stable name keeps them until
                its session ends, and so it does when nobody else is in the group: a broker has the first member of an
                empty group wait for others. A member without a name always leaves.
        """

    async def take(
        self, timeout_seconds: float, max_records: int | None = None, places: Collection[Place] | None = None
    ) -> dict[Place, Sequence[Record]]:
        """Records that have come, by partition; none when nothing comes in time. A rebalance does not hold it up.

        Args:
            timeout_seconds: how long to wait for the first ones.
            max_records: most that are handed over; whole batches when not given.
            places: only from these. With none, only what is wrong with the group is noticed.

        Raises:
            UnreadableRecords: they can't be decoded.
            NameTaken: another member has this one's name now. Go on under another name: two of a name would take it
                from each other for ever.
            KafkaFault: Kafka is away or refuses, or a rebalance does not end.
            Exception: what `begin` raises.
        """

    def start_at(self, place: Place, offset: int) -> None:
        """Say where a held partition begins, and have its records handed over; nothing if it was taken away.

        For one that is not held this is `seek` and `resume`.
        """

    def seek(self, place: Place, offset: int) -> None:
        """Hand records over again from this offset on; nothing if the partition was taken away, or is held."""

    def pause(self, place: Place) -> None:
        """Hand nothing over for now; nothing if the partition was taken away."""

    def resume(self, place: Place) -> None:
        """Go on after `pause`; nothing if the partition was taken away, or is held."""

    async def commit(self, offsets: Mapping[Place, int], timeout_seconds: float = 2.0) -> bool:
        """Tell the group how far its partitions are, for whoever watches its lag. Those taken away are left out.

        Returns:
            Whether the group took them; True when there were none. It takes offsets from none but its present members.
        """

    async def committed(self, place: Place) -> int:
        """How far the group has told that a partition is; 0 where it has not.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """What partitions hold now.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """

    def partitions(self) -> int:
        """How many partitions the topic has; 0 when that is not known at the moment."""

    def highwater(self, place: Place) -> int | None:
        """The end of a partition when it was last fetched; None before that, and when it was taken away."""


Begin = Callable[[Member, Collection[Place]], Awaitable[Mapping[Place, int]]]
"""Decides where partitions of a member begin: the offset of the first record that is handed over, for each of them."""
Assigned = Callable[[frozenset[Place]], None]
"""Is told of all partitions that a member has after a rebalance, kept ones and new ones. The new ones are held."""
Revoked = Callable[[frozenset[Place]], None]
"""Is told, before `Assigned`, of the partitions that are gone, if there are any. One that may have been another's
meanwhile (this member had been given up, or missed a rebalance) is gone, even when it is new again at once."""


class Reader(Protocol):
    """Reads partitions without a group."""

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 when there is no such topic.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """What partitions hold now.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """

    async def ends(self, places: Collection[Place]) -> dict[Place, int]:
        """The ends of partitions alone, see `Limits`.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """

    async def first_since(self, timestamps_ms: Mapping[Place, int]) -> dict[Place, int | None]:
        """The first offset of each partition whose record is of this time or later; None without one.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """

    def read_from(self, offsets: Mapping[Place, int]) -> None:
        """Read these partitions and no others, each from its offset on, or from the oldest if Kafka has not got it."""

    async def take(self, timeout_seconds: float, max_records: int | None = None) -> dict[Place, Sequence[Record]]:
        """Records that have come, by partition; none when nothing comes in time.

        Raises:
            UnreadableRecords: they can't be decoded.
            KafkaFault: Kafka is away or refuses.
        """

    async def position(self, place: Place) -> int:
        """The offset behind all that was taken, also of records that are not handed over.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """

    async def marks(self, place: Place, start: int, stop: int) -> frozenset[int]:
        """The offsets from `start` to before `stop` at which transactions have ended.

        Ask a reader that has read nothing. It reads other partitions no more.

        Raises:
            KafkaFault: Kafka is away, or sends nothing.
        """


NO_RECORDS: Final[Mapping[Place, Sequence[Outgoing]]] = {}
"""Of a commit that appends nothing more."""


class Transactions(Protocol):
    """Writes records to several topics at once. One writer of a name is open at a time.

    After an error it is closed and a new one made.
    """

    async def open(self) -> None:
        """Shut every other writer of this name out. What such a one left open is committed or aborted by then.

        Raises:
            TransactionFailed: it could not be done.
        """

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 when there is no such topic.

        Raises:
            TransactionFailed: Kafka is away or refuses.
        """

    async def append(self, records: Mapping[Place, Sequence[Outgoing]]) -> dict[Place, int]:
        """Append records to the open transaction, which begins with the first of them and ends with `commit`.

        Returns:
            The offset of the first record of each place; negative where it is unknown.

        Raises:
            Fenced: another writer of this name was opened, or the transaction was open for too long.
            TransactionFailed: nothing of the transaction counts.
        """

    async def commit(self, records: Mapping[Place, Sequence[Outgoing]] = NO_RECORDS) -> None:
        """Append the last records and commit: who reads committed records sees the whole transaction or nothing of it.

        A broker answers before each partition has its mark: until then it holds back what follows, and its end.

        Raises:
            Fenced: another writer of this name was opened, or the transaction was open for too long; nothing was
                committed.
            TransactionFailed: whether it was done is unknown until the next one is open.
        """

    async def close(self) -> None:
        """Close the connections. A transaction that is open stays so until the next one of this name is opened."""


class Admin(Protocol):
    """Makes topics."""

    async def partitions(self) -> dict[str, int]:
        """The number of partitions of each topic that exists.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """

    async def create(self, topics: Sequence[NewTopic]) -> dict[str, Refusal]:
        """Make topics, and return which were refused, by name.

        Raises:
            KafkaFault: Kafka is away or refuses all of them.
        """

    async def unready(self, topics: Sequence[str]) -> set[str]:
        """Those that not everybody can use yet: a broker that answers does not know them, or they lack a leader.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """


class TopicFinder(Protocol):
    """Tells which topics exist. It makes none by asking."""

    async def find(self, topic: str) -> FoundTopic | None:
        """The topic as it is now; None when there is no topic of this name.

        Raises:
            KafkaFault: Kafka can't be reached, or refuses to tell.
        """

    def close(self) -> None:
        """Close the connection."""


class Kafka(Protocol):
    """A Kafka cluster, as a process is given it. What its methods make is not connected yet, unless they say so."""

    def producer(self, topic: str, *, max_batch_bytes: int, max_request_bytes: int, waits: bool) -> Producer:
        """A producer.

        Args:
            topic: a topic that has to be there before anything is appended.
            max_batch_bytes: most that is collected in a batch of one partition.
            max_request_bytes: largest request.
            waits: whether appends wait while Kafka is known to be away, up to their deadlines, or fail at once.
        """

    def member(
        self,
        topic: str,
        membership: Membership,
        *,
        begin: Begin | None = None,
        assigned: Assigned | None = None,
        revoked: Revoked | None = None,
    ) -> Member:
        """A member of a group.

        Args:
            topic: read by the group.
            membership: its place in it.
            begin: decides where partitions begin, see the module.
            assigned: called after every rebalance. Like `revoked` it must return at once: heartbeats wait for it.
            revoked: called after a rebalance that took partitions away.
        """

    def reader(self, *, committed_only: bool = False) -> AbstractAsyncContextManager[Reader]:
        """A reader, connected from the start of the block to its end.

        Args:
            committed_only: leave records of transactions out that were not committed.

        Raises:
            KafkaFault: Kafka is away or refuses.
        """

    def transactions(self, name: str, *, open_seconds: float, max_batch_bytes: int) -> Transactions:
        """A writer of transactions.

        Args:
            name: of which one is open at a time: the transactional id.
            open_seconds: when Kafka aborts an open transaction by itself. Until then it holds up who reads committed
                records.
            max_batch_bytes: size of the batches in a transaction.
        """

    def admin(self) -> AbstractAsyncContextManager[Admin]:
        """An admin client, connected from the start of the block to its end.

        Raises:
            KafkaUnreachable: no broker answers.
            KafkaFault: Kafka refuses.
        """

    def topic_finder(self) -> TopicFinder:
        """What tells which topics exist."""
