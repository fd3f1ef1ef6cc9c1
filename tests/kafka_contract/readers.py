"""What must hold of `ports.Reader` and of the table on it."""

import asyncio

from schemas.kafka import (
    Limits,
    Place,
    TableReader,
)
from schemas.records import Record, UndecodableRecord
from tests.kafka_contract.subjects import (
    DEADLINE_SECONDS,
    PARTITIONS,
    Subject,
    make,
    put,
    read,
    record,
    some,
    values,
)


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
            taken = [values((await reader.take(DEADLINE_SECONDS, 4))[place]) for _ in range(3)]
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
