"""What must hold of `schemas.kafka.ports`, whoever implements them.

`tests/integration/test_kafka_room.py` runs it on a real Kafka, `tests/unit/schemas/kafka/test_memory.py` on the cluster
in memory.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from schemas.kafka import (
    BatchTooLarge,
    Fenced,
    Kafka,
    KafkaAway,
    KafkaFault,
    Limits,
    Member,
    Membership,
    NameTaken,
    NewTopic,
    NotAcknowledged,
    Place,
    Producer,
    Reader,
    TableReader,
)
from schemas.kafka.memory import Network, Request
from schemas.records import NewRecord, Record, UndecodableRecord

BATCH_BYTES = 100_000
PARTITIONS = 3


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


def soon(seconds: float = 10.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def numbers(places: Collection[Place]) -> set[int]:
    return {place.partition for place in places}


async def until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
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
    async with asyncio.timeout(20), subject.kafka.reader() as reader:
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


async def put(subject: Subject, topic: str, records: Mapping[int, Sequence[NewRecord]]) -> None:
    async with producing(subject.kafka, topic) as producer:
        await producer.append_all(topic, records, soon())


async def read(reader: Reader, place: Place, count: int) -> list[Record]:
    """So many records, from where the reader is."""
    found: list[Record] = []
    async with asyncio.timeout(10):
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
        async with asyncio.timeout(10):
            while any([await reader.position(place) < ends[place] for place in places]):
                for place, records in (await reader.take(0.1)).items():
                    found[place.partition] += values(records)
    return found


class ProducerContract:
    """`ports.Producer`."""

    async def test_an_append_tells_where_it_is(self, subject: Subject) -> None:
        topic = await make(subject)
        async with producing(subject.kafka, topic) as producer:
            assert [await producer.append(topic, 1, record("a"), soon()) for _ in range(3)] == [0, 1, 2]
            assert await producer.append(topic, 2, record("a"), soon()) == 0
            offsets = await asyncio.gather(*(producer.append(topic, 1, record(str(n)), soon()) for n in range(50)))
            assert offsets == list(range(3, 53)), "concurrent appends keep their order"
            assert await producer.partitions(topic, soon()) == PARTITIONS
            assert await producer.reachable(5.0)
        assert (await read_all(subject, topic))[1] == ["a", "a", "a", *map(str, range(50))]

    async def test_a_batch_tells_where_it_begins(self, subject: Subject) -> None:
        topic = await make(subject)
        async with producing(subject.kafka, topic) as producer:
            sizes = (1, 3, 200, 2)
            bases = [await producer.append_batch(topic, 0, some(*"x" * size), soon()) for size in sizes]
            assert bases == [0, 1, 4, 204]
            large = some("y" * (BATCH_BYTES // 2), "z" * (BATCH_BYTES // 2))
            with pytest.raises(BatchTooLarge):
                await producer.append_batch(topic, 0, large, soon())
            assert await producer.append_batch(topic, 0, some("end"), soon()) == 206, "nothing of it was sent"

    async def test_batches_of_two_producers_stay_whole(self, subject: Subject) -> None:
        topic = await make(subject)

        async def write(name: str) -> None:
            async with producing(subject.kafka, topic) as producer:
                for n in range(20):
                    await producer.append_batch(topic, 0, some(*(f"{name}{n}" for _ in range(n + 1))), soon())

        await asyncio.gather(write("a"), write("b"))
        found = (await read_all(subject, topic))[0]
        changes = sum(before != after for before, after in itertools.pairwise(found))
        assert (len(found), changes) == (2 * 210, 39)

    async def test_what_is_larger_than_a_batch_goes_in_several_in_order(self, subject: Subject) -> None:
        topic = await make(subject)
        text = "x" * (BATCH_BYTES // 4)
        records = {number: some(*(f"{n}{text}" for n in range(9 * number))) for number in range(PARTITIONS)}
        await put(subject, topic, records)
        found = await read_all(subject, topic)
        assert found == {number: [f"{n}{text}" for n in range(9 * number)] for number in range(PARTITIONS)}

    async def test_a_record_keeps_what_it_has(self, subject: Subject) -> None:
        topic = await make(subject)
        written = [
            NewRecord(b"\x00\xff", b"", [], 7),
            NewRecord(b"k", None, [("a", b""), ("a", b"2")], 8),
            NewRecord(b"", "ü".encode(), [("ü", b"\xff")], 9),
        ]
        await put(subject, topic, {0: written})
        async with subject.kafka.reader() as reader:
            place = Place(topic, 0)
            reader.read_from({place: 0})
            found = await read(reader, place, 3)
        assert [(r.key, r.value, list(r.headers)) for r in found] == [(r.key, r.value, r.headers) for r in written]
        assert [r.offset for r in found] == [0, 1, 2]

    async def test_a_kafka_that_is_away_is_told_or_waited_for(self, subject: Subject) -> None:
        away = subject.away()
        async with producing(away, "t", waits=False) as eager, producing(away, "t") as patient:
            async with asyncio.timeout(10):
                with pytest.raises(KafkaAway):
                    await eager.append("t", 0, record("a"), soon(60))
                with pytest.raises(KafkaAway):
                    await eager.partitions("t", soon(60))
                with pytest.raises(KafkaAway):
                    await patient.append_batch("t", 0, some("a"), soon(0.05))
                with pytest.raises(KafkaAway):
                    await patient.append_all("t", {0: some("a")}, soon(0.05))
            assert not await eager.reachable(0.1)
        with pytest.raises(KafkaFault):
            async with away.reader():
                pass
        with pytest.raises(KafkaFault):
            async with away.admin():
                pass

    async def test_nothing_is_appended_after_the_end(self, subject: Subject) -> None:
        topic = await make(subject)
        async with producing(subject.kafka, topic) as producer:
            await producer.append(topic, 0, record("a"), soon())
        with pytest.raises(KafkaAway):
            await producer.append(topic, 0, record("b"), soon())
        assert (await read_all(subject, topic))[0] == ["a"]

    async def test_a_record_that_the_topic_does_not_take_stops_no_other(self, subject: Subject) -> None:
        topic = await make(subject, config={"max.message.bytes": "5000"})
        async with producing(subject.kafka, topic) as producer:
            with pytest.raises(NotAcknowledged):
                await producer.append(topic, 0, record("x" * 6000), soon())
            assert await producer.append(topic, 0, record("a"), soon()) == 0


class ReaderContract:
    """`ports.Reader`, and the table on it."""

    async def test_a_read_begins_where_it_is_told(self, subject: Subject) -> None:
        topic = await make(subject)
        await put(subject, topic, {0: some("a", "b", "c"), 1: some("d")})
        first, second = Place(topic, 0), Place(topic, 1)
        async with subject.kafka.reader() as reader:
            assert await reader.limits([first, second]) == {first: Limits(0, 3), second: Limits(0, 1)}
            assert await reader.ends([first]) == {first: 3}
            reader.read_from({first: 1})
            assert await reader.position(first) == 1
            assert values(await read(reader, first, 2)) == ["b", "c"]
            assert await reader.position(first) == 3
            reader.read_from({first: 0})
            assert values(await read(reader, first, 3)) == ["a", "b", "c"]
            reader.read_from({second: 0})
            assert values(await read(reader, second, 1)) == ["d"]
            assert await reader.take(0.05) == {}

    async def test_a_read_of_what_has_expired_begins_with_the_oldest(self, subject: Subject) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        await put(subject, topic, {0: some("a", "b", "c", "d")})
        await subject.expire(place, 2)
        async with subject.kafka.reader() as reader:
            assert await reader.limits([place]) == {place: Limits(2, 4)}
            for offset in (0, 9):
                reader.read_from({place: offset})
                assert values(await read(reader, place, 2)) == ["c", "d"]

    async def test_no_more_records_than_asked_for(self, subject: Subject) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        await put(subject, topic, {0: some(*map(str, range(10)))})
        async with subject.kafka.reader() as reader:
            reader.read_from({place: 0})
            taken = [values((await reader.take(5.0, 4))[place]) for _ in range(3)]
            assert taken == [["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9"]]

    async def test_what_is_appended_meanwhile_is_read(self, subject: Subject) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        async with subject.kafka.reader() as reader:
            reader.read_from({place: 0})
            assert await reader.take(0.05) == {}
            reading = asyncio.create_task(read(reader, place, 2))
            await put(subject, topic, {0: some("a", "b")})
            assert values(await reading) == ["a", "b"]

    async def test_the_first_record_since_a_time(self, subject: Subject) -> None:
        topic = await make(subject)
        places = [Place(topic, number) for number in range(PARTITIONS)]
        timed = [record("a", 1000), record("b", 2000), record("c", 3000)]
        await put(subject, topic, {0: timed, 1: timed[:1]})
        async with subject.kafka.reader() as reader:
            found = await reader.first_since(dict.fromkeys(places, 1500))
        assert found == dict(zip(places, (1, None, None), strict=True))

    async def test_a_topic_that_does_not_exist_has_no_partitions(self, subject: Subject) -> None:
        async with subject.kafka.reader() as reader:
            assert await reader.partitions(subject.topic("missing")) == 0

    async def test_a_table_follows_its_topic(self, subject: Subject) -> None:
        topic = await make(subject, partitions=1)
        rows: list[str] = []

        def apply(record: Record) -> None:
            rows.append((record.value or b"").decode())
            if rows[-1] == "bad":
                raise UndecodableRecord("bad")

        await put(subject, topic, {0: some("a", "bad")})
        table = TableReader(subject.kafka, topic, apply)
        following = asyncio.create_task(table.run())
        try:
            await table.catch_up()
            assert rows == ["a", "bad"]
            await put(subject, topic, {0: some("c")})
            await table.catch_up()
            assert rows == ["a", "bad", "c"]
        finally:
            following.cancel()
            await asyncio.wait({following})


class TransactionsContract:
    """`ports.Transactions`, and what readers of committed records see."""

    async def test_all_of_a_transaction_is_seen(self, subject: Subject) -> None:
        one, other = await make(subject, "one"), await make(subject, "other")
        transactions = subject.kafka.transactions(subject.topic("w"), open_seconds=10.0, max_batch_bytes=BATCH_BYTES)
        try:
            await transactions.open()
            assert await transactions.partitions(one) == PARTITIONS
            text = "x" * (BATCH_BYTES // 4)
            for n in range(2):
                await transactions.commit({Place(one, 0): some(*[f"{n}{text}"] * 9), Place(other, 2): some(f"{n}")})
        finally:
            await transactions.close()
        for committed_only in (True, False):
            found = [await read_all(subject, topic, committed_only=committed_only) for topic in (one, other)]
            assert found[0][0] == [f"0{text}"] * 9 + [f"1{text}"] * 9
            assert found[1][2] == ["0", "1"]
        async with subject.kafka.reader(committed_only=True) as reader:
            place = Place(other, 2)
            assert await reader.ends([place]) == {place: 4}, "each transaction ends with a marker"

    async def test_a_transaction_is_seen_when_it_is_committed(self, subject: Subject) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        transactions = subject.kafka.transactions(subject.topic("w"), open_seconds=10.0, max_batch_bytes=BATCH_BYTES)
        try:
            await transactions.open()
            assert await transactions.append({place: some("a", "b")}) == {place: 0}
            second = {place: some("c"), Place(topic, 1): some("d")}
            assert await transactions.append(second) == {place: 2, Place(topic, 1): 0}
            async with subject.kafka.reader(committed_only=True) as reader:
                assert await reader.ends([place]) == {place: 0}
                await transactions.commit()
                await transactions.append({place: some("e")})
                await transactions.commit({place: some("f")})
        finally:
            await transactions.close()
        assert await read_all(subject, topic, committed_only=True) == {0: [*"abcef"], 1: ["d"], 2: []}

    async def test_who_opens_aborts_what_the_one_before_has_appended(self, subject: Subject) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        name = subject.topic("w")
        before, after, later = (
            subject.kafka.transactions(name, open_seconds=10.0, max_batch_bytes=BATCH_BYTES) for _ in range(3)
        )
        try:
            await before.open()
            await before.append({place: some("a")})
            await after.open()
            with pytest.raises(Fenced):
                await before.append({place: some("b")})
            await after.append({place: some("c")})
            await later.open()
            with pytest.raises(Fenced):
                await after.commit()
        finally:
            for transactions in (before, after, later):
                await transactions.close()
        assert (await read_all(subject, topic, committed_only=True))[0] == []

    async def test_who_opens_shuts_the_one_before_out(self, subject: Subject) -> None:
        topic = await make(subject)
        before, after = (
            subject.kafka.transactions(subject.topic("w"), open_seconds=10.0, max_batch_bytes=BATCH_BYTES)
            for _ in range(2)
        )
        try:
            await before.open()
            await before.commit({Place(topic, 0): some("a")})
            await after.open()
            with pytest.raises(Fenced):
                await before.commit({Place(topic, 0): some("b")})
            await after.commit({Place(topic, 0): some("c")})
        finally:
            await before.close()
            await after.close()
        assert (await read_all(subject, topic, committed_only=True))[0] == ["a", "c"]

    async def test_what_was_left_open_is_aborted_by_the_next(self, subject: Subject) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        await put(subject, topic, {0: some("a")})
        await subject.leave_open(subject.topic("w"), {place: some("b", "c")})
        await put(subject, topic, {0: some("d")})
        async with subject.kafka.reader(committed_only=True) as reader:
            assert await reader.ends([place]) == {place: 1}, "nothing behind an open transaction is decided"
            reader.read_from({place: 0})
            assert values(await read(reader, place, 1)) == ["a"]
            assert await reader.take(0.1) == {}
            transactions = subject.kafka.transactions(subject.topic("w"), open_seconds=9.0, max_batch_bytes=BATCH_BYTES)
            try:
                await transactions.open()
            finally:
                await transactions.close()
            assert values(await read(reader, place, 1)) == ["d"]
            assert await reader.ends([place]) == {place: 5}
        assert await read_all(subject, topic, committed_only=True) == {0: ["a", "d"], 1: [], 2: []}
        assert (await read_all(subject, topic))[0] == ["a", "b", "c", "d"]


class TopicsContract:
    """`ports.Admin` and `ports.TopicFinder`."""

    async def test_a_topic_is_made_once(self, subject: Subject) -> None:
        topic = await make(subject)
        async with subject.kafka.admin() as admin:
            refused = await admin.create([NewTopic(topic, 5, 1), NewTopic(subject.topic("new"), 2, -1)])
            assert {name: refusal.reason for name, refusal in refused.items()} == {topic: "exists"}
            partitions = await admin.partitions()
        assert (partitions[topic], partitions[subject.topic("new")]) == (PARTITIONS, 2)

    async def test_a_topic_that_is_made_again_is_another_one(self, subject: Subject) -> None:
        finder = subject.kafka.topic_finder()
        try:
            assert await finder.find(subject.topic("t")) is None
            assert await finder.find(subject.topic("t")) is None, "it is not made by asking"
            topic = await make(subject)
            first = await finder.find(topic)
            assert first is not None
            assert (first.partitions, await finder.find(topic)) == (PARTITIONS, first)
            await subject.grow(topic, PARTITIONS + 1)
            grown = await finder.find(topic)
            assert grown is not None
            assert (grown.id, grown.partitions) == (first.id, PARTITIONS + 1)
            await subject.delete(topic)
            assert await finder.find(topic) is None
            await make(subject)
            again = await finder.find(topic)
            assert again is not None
            assert again.id != first.id
        finally:
            finder.close()


@dataclass
class Log:
    """What a member was told and handed."""

    assigned: list[frozenset[int]] = field(default_factory=list)
    revoked: list[frozenset[int]] = field(default_factory=list)
    values: Counter[str] = field(default_factory=Counter)
    asked: list[set[int]] = field(default_factory=list)


class MemberContract:
    """`ports.Member`."""

    @asynccontextmanager
    async def member(
        self,
        subject: Subject,
        topic: str,
        log: Log | None = None,
        *,
        begin: int | None = None,
        **place: Any,
    ) -> AsyncIterator[Member]:
        """A member of the test's group, started; it begins everywhere at an offset, or where its owner says."""
        log = log or Log()

        async def decide(member: Member, places: Collection[Place]) -> Mapping[Place, int]:
            log.asked.append({place.partition for place in places})
            return {place: max(begin or 0, limits.oldest) for place, limits in (await member.limits(places)).items()}

        def assigned(places: frozenset[Place]) -> None:
            log.assigned.append(frozenset(place.partition for place in places))

        def revoked(places: frozenset[Place]) -> None:
            log.revoked.append(frozenset(place.partition for place in places))

        member = subject.kafka.member(
            topic,
            Membership(group=subject.topic("group"), session_timeout_seconds=subject.session_seconds, **place),
            begin=None if begin is None else decide,
            assigned=assigned,
            revoked=revoked,
        )
        try:
            await member.start()
            yield member
        finally:
            await member.close()

    async def test_everything_is_handed_over_from_where_it_begins(self, subject: Subject) -> None:
        topic = await make(subject)
        await put(subject, topic, {0: some("a", "b", "c"), 1: some("d"), 2: some("e", "f")})
        log = Log()
        async with self.member(subject, topic, log, begin=1) as member:
            assert member.assignment == {Place(topic, number) for number in range(PARTITIONS)}
            assert member.partitions() == PARTITIONS
            await self.take(member, log, 3)
            assert log.values == Counter("bcf")
            assert log.asked == [{0, 1, 2}]
            assert log.assigned == [frozenset({0, 1, 2})]
            assert member.highwater(Place(topic, 0)) == 3
            assert member.silence_seconds <= subject.session_seconds
            member.seek(Place(topic, 0), 0)
            await self.take(member, log, 6)
            assert log.values["a"] == 1
            assert log.values["b"] == 2

    async def take(self, member: Member, log: Log, count: int) -> None:
        """Take until so many records came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                while log.values.total() < count:
                    for records in (await member.take(0.2)).values():
                        log.values.update(values(records))
        assert log.values.total() >= count, f"not all have come: {log}, {member.silence_seconds=:.1f}"
        assert log.values.total() == count

    async def test_a_partition_is_held_until_its_owner_begins(self, subject: Subject) -> None:
        topic = await make(subject)
        await put(subject, topic, {number: some(f"a{number}", f"b{number}") for number in range(PARTITIONS)})
        first, second = Place(topic, 0), Place(topic, 1)
        async with self.member(subject, topic) as member:
            assert await member.take(0.1) == {}
            member.resume(first)
            assert await member.take(0.1) == {}
            member.start_at(first, 1)
            assert content(await member.take(5.0)) == {first: ["b0"]}
            member.pause(first)
            member.start_at(second, 0)
            await put(subject, topic, {0: some("c0"), 1: some("c1")})
            found: list[str] = []
            while len(found) < 3:
                taken = await member.take(5.0)
                assert list(taken) == [second]
                found += values(taken[second])
            assert found == ["a1", "b1", "c1"]
            member.resume(first)
            assert values((await member.take(5.0))[first]) == ["c0"]
            await put(subject, topic, {0: some("d0"), 1: some("d1")})
            assert await member.take(0.2, places=[]) == {}
            assert content(await member.take(5.0, places=[second])) == {second: ["d1"]}
            assert content(await member.take(5.0)) == {first: ["d0"]}

    async def test_nothing_is_asked_of_partitions_of_others(self, subject: Subject) -> None:
        topic = await make(subject)
        async with self.member(subject, topic) as member:
            other = Place(topic, 7)
            member.start_at(other, 0)
            member.seek(other, 0)
            member.pause(other)
            member.resume(other)
            assert member.highwater(other) is None
            assert await member.commit({other: 5})
            assert await member.commit({})

    async def test_the_group_keeps_what_its_members_commit(self, subject: Subject) -> None:
        topic = await make(subject)
        places = [Place(topic, number) for number in range(2)]
        async with self.member(subject, topic) as member:
            assert await member.committed(places[0]) == 0
            assert await member.commit({places[0]: 5, places[1]: 7, Place(topic, 9): 1})
            assert [await member.committed(place) for place in places] == [5, 7]
        async with self.member(subject, topic) as member:
            assert [await member.committed(place) for place in places] == [5, 7]

    @pytest.mark.parametrize("offset", [0, 9])
    async def test_an_offset_that_kafka_does_not_have(self, subject: Subject, offset: int) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        await put(subject, topic, {0: some("a", "b", "c")})
        await subject.expire(place, 2)
        log = Log()
        async with self.member(subject, topic, log) as member:
            member.start_at(place, offset)
            await self.take(member, log, 1)
            assert log.values == Counter("c"), "the oldest is the first"
        log = Log()
        async with self.member(subject, topic, log, begin=0) as member:
            await self.take(member, log, 1)
            member.seek(place, offset)
            await self.take(member, log, 2)
            assert (log.values, log.asked) == (Counter("cc"), [{0, 1, 2}, {0}]), "it is decided again"

    async def test_members_share_the_partitions(self, subject: Subject) -> None:
        topic = await make(subject, partitions=4)
        logs = [Log(), Log()]
        everything = {number: some(f"{number}") for number in range(4)}
        async with self.member(subject, topic, logs[0], begin=0) as first:
            await put(subject, topic, everything)
            await self.take(first, logs[0], 4)
            async with self.member(subject, topic, logs[1], begin=1) as second:
                await until(lambda: len(logs[0].assigned) == 2)
                kept, gone = numbers(first.assignment), numbers(second.assignment)
                assert (len(kept), kept | gone) == (2, {0, 1, 2, 3})
                assert logs[0].revoked == [gone]
                assert logs[1].revoked == []
                assert logs[0].assigned == [{0, 1, 2, 3}, kept]
                await put(subject, topic, everything)
                await self.take(second, logs[1], 2)
                await self.take(first, logs[0], 6)
                assert await first.take(0.2) == {}
                assert logs[0].values == Counter("0123") + Counter(map(str, kept)), "what it keeps goes on"
                assert logs[1].values == Counter(map(str, gone)), "what moves is handed over by the other one"
                assert (logs[0].asked, logs[1].asked) == ([{0, 1, 2, 3}], [gone])
            taking = asyncio.create_task(self.take(first, logs[0], 10))
            await until(lambda: len(first.assignment) == 4)
            await taking
            assert logs[0].asked == [{0, 1, 2, 3}, gone]
            assert logs[0].values == Counter("01230123") + Counter(map(str, gone)), "again from where it begins"

    async def test_limits_are_told_while_a_fetch_waits_for_records(self, subject: Subject) -> None:
        topic = await make(subject)
        async with self.member(subject, topic, begin=0, fetch_wait_seconds=2.8) as member:
            assert await member.take(0.2) == {}  # from then on a fetch is under way
            async with asyncio.timeout(2.0):
                assert await member.limits([Place(topic, 0)]) == {Place(topic, 0): Limits(0, 0)}

    async def test_records_keep_coming_while_a_group_waits_for_a_member_that_is_gone(self, subject: Subject) -> None:
        topic, log = await make(subject, partitions=2), Log()
        async with self.member(subject, topic, log) as member:
            async with self.member(subject, topic, member_id="gone"):
                await until(lambda: len(log.assigned) == 2)
                (place,) = member.assignment
                member.start_at(place, 0)
            newcomer = self.member(subject, topic)
            joining = asyncio.create_task(newcomer.__aenter__())
            found: list[str] = []
            sent: list[str] = []
            try:
                while not joining.done():
                    sent.append(f"r{len(sent)}")
                    await put(subject, topic, {place.partition: some(sent[-1])})
                    async with asyncio.timeout(subject.session_seconds / 3):
                        while len(found) < len(sent):
                            found += values((await member.take(5.0)).get(place, ()))
                    await asyncio.sleep(subject.session_seconds / 60)
                assert found == sent, "each once, in order, and soon"
                assert len(sent) > 5
                assert log.assigned[-1] == {place.partition}
                assert log.revoked[1:] == []
            finally:
                await joining
                await newcomer.__aexit__(None, None, None)

    async def test_a_member_keeps_where_it_is_through_a_rebalance(self, subject: Subject) -> None:
        topic, log = await make(subject, partitions=2), Log()
        async with self.member(subject, topic, log) as member:
            for number in range(2):
                member.start_at(Place(topic, number), 0)
            await put(subject, topic, {number: some("a", "b", "c") for number in range(2)})
            for number in range(2):
                place = Place(topic, number)
                assert values((await member.take(5.0, 1, [place]))[place]) == ["a"]
            async with self.member(subject, topic):
                await until(lambda: len(log.assigned) == 2)
                (kept,) = member.assignment
                (gone,) = log.revoked[0]
                assert values((await member.take(5.0))[kept]) == ["b", "c"]
                member.pause(kept)
                member.start_at(Place(topic, gone), 0)
                await put(subject, topic, {number: some("d") for number in range(2)})
                assert await member.take(0.2) == {}
            await until(lambda: len(log.assigned) == 3)
            assert await member.take(0.2) == {}, "one is paused still, the other one held"
            member.resume(kept)
            assert content(await member.take(5.0)) == {kept: ["d"]}
            assert member.highwater(kept) == 4

    async def test_a_member_with_a_name_comes_back_to_what_it_had(self, subject: Subject) -> None:
        topic = await make(subject, partitions=4)
        log = Log()
        async with self.member(subject, topic, log, member_id="one"):
            async with self.member(subject, topic, member_id="two") as second:
                await until(lambda: len(log.assigned) == 2)
                had = second.assignment
                assert len(had) == 2
            async with self.member(subject, topic, member_id="two") as second:
                await until(lambda: second.assignment)
                assert second.assignment == had
                assert len(log.assigned) == 2, "nobody else noticed"

    @pytest.mark.parametrize("name", [None, "two"])
    async def test_a_member_that_leaves_hands_over_at_once(self, subject: Subject, name: str | None) -> None:
        topic, log = await make(subject, partitions=2), Log()
        async with (
            self.member(subject, topic, log, member_id="one") as first,
            self.member(subject, topic, member_id=name) as second,
        ):
            await until(lambda: len(log.assigned) == 2)
            await second.close(leave=True)
            await until(lambda: len(first.assignment) == 2, subject.session_seconds / 3)

    async def test_a_member_whose_name_another_one_took_is_told(self, subject: Subject) -> None:
        topic, log = await make(subject, partitions=2), Log()
        async with (
            self.member(subject, topic, begin=0, member_id="one") as first,
            self.member(subject, topic, log, begin=0, member_id="one") as second,
        ):
            assert second.assignment == first.assignment
            with pytest.raises(NameTaken):  # noqa: PT012 - it does not know at once
                async with asyncio.timeout(20):
                    while True:
                        assert await first.take(1.0) == {}
            await first.close(leave=True)
            await put(subject, topic, {0: some("a")})
            await self.take(second, log, 1)
            assert await second.commit({Place(topic, 0): 1}), "it has the name still"
            assert log.assigned == [{0, 1}]
            assert log.revoked == []

    async def test_a_topic_of_others_is_not_made_and_found_when_it_is_there(self, subject: Subject) -> None:
        topic, finder, log = subject.topic("theirs"), subject.kafka.topic_finder(), Log()
        options: dict[str, Any] = {"own_topic": False, "member_id": "one"}
        async with self.member(subject, topic, begin=0, **options) as member:
            assert await member.take(0.3) == {}
            assert await finder.find(topic) is None
        finder.close()
        await make(subject, "theirs")
        await put(subject, topic, {0: some("a")})
        async with self.member(subject, topic, log, begin=0, **options) as member:
            await until(lambda: len(member.assignment) == PARTITIONS)
            await self.take(member, log, 1)

    async def test_only_what_was_committed_is_handed_over(self, subject: Subject) -> None:
        topic, log = await make(subject), Log()
        await subject.leave_open(subject.topic("w"), {Place(topic, 0): some("b")})
        await put(subject, topic, {0: some("c"), 1: some("d")})
        async with self.member(subject, topic, log, begin=0, committed_only=True) as member:
            assert await member.limits([Place(topic, 0)]) == {Place(topic, 0): Limits(0, 0)}
            await self.take(member, log, 1)
            transactions = subject.kafka.transactions(subject.topic("w"), open_seconds=9.0, max_batch_bytes=BATCH_BYTES)
            try:
                await transactions.open()
            finally:
                await transactions.close()
            await self.take(member, log, 2)
        assert log.values == Counter("cd")


class KafkaContract(ProducerContract, ReaderContract, TransactionsContract, TopicsContract, MemberContract):
    """All of it. A test class that runs it has a fixture `subject`."""
