"""What must hold of `ports.Producer`."""

import asyncio
import itertools

import pytest

from schemas.kafka import (
    BatchTooLarge,
    KafkaAway,
    KafkaFault,
    NotAcknowledged,
    Place,
    Refused,
)
from schemas.records import NewRecord
from tests.kafka_contract.subjects import (
    BATCH_BYTES,
    DEADLINE_SECONDS,
    PARTITIONS,
    Subject,
    make,
    producing,
    put,
    read,
    read_all,
    record,
    some,
    soon,
)


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
            assert await producer.reachable(DEADLINE_SECONDS)
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
            async with asyncio.timeout(DEADLINE_SECONDS):
                with pytest.raises(KafkaAway):
                    await eager.append("t", 0, record("a"), soon(10 * DEADLINE_SECONDS))
                with pytest.raises(KafkaAway):
                    await eager.partitions("t", soon(10 * DEADLINE_SECONDS))
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
            with pytest.raises(Refused):
                await producer.append(topic, 0, record("x" * 6000), soon())
            assert await producer.append(topic, 0, record("a"), soon()) == 0
            with pytest.raises(Refused):
                await producer.append_batch(topic, 0, some("x" * 6000), soon())
            with pytest.raises(NotAcknowledged) as some_of_several:
                await producer.append_all(topic, {0: some("x" * 6000), 1: some("b")}, soon())
            assert some_of_several.type is NotAcknowledged, "the others may have been appended"
            assert await producer.append(topic, 0, record("c"), soon()) == 1
