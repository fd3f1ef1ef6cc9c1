"""The newest record of some kind, looked for from the end."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from schemas.kafka import KafkaFault, NewTopic, Place, Reader, search_tail
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.kafka.span import SILENCE_SECONDS
from schemas.kafka.tail import FIRST_OFFSETS
from schemas.records import NewRecord, Record
from tests.simulation.loop import simulate

PLACE = Place("t", 0)


class OneByOne:
    """A reader that hands over one record at a time, as Kafka may."""

    def __init__(self, reader: Reader):
        self.limits, self.read_from, self.position = reader.limits, reader.read_from, reader.position
        self._reader = reader

    async def take(self, timeout_seconds: float, max_records: int | None) -> Any:
        return await self._reader.take(timeout_seconds, 1)


class Search:
    """Looks for the newest record with key `x`, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def __call__(self, found: int | None, record: Record) -> int | None:
        self.given.append(record.offset)
        return record.offset if record.key == b"x" else found

    def of(self, *keys: bytes, transactions: Sequence[bool] = (), ends_with_mark: bool = False) -> int | None:
        """What is found in a partition.

        Args:
            keys: of its first records.
            transactions: behind these, one record `x` each in a transaction that was committed or not.
            ends_with_mark: see `search_tail`.
        """

        async def search() -> int | None:
            cluster = MemoryCluster()
            cluster.create(NewTopic("t", 1, 1))
            log = cluster.log(PLACE)
            if keys:
                log.append([NewRecord(key, b"", [], 0) for key in keys], 0)
            for committed in transactions:
                log.append([NewRecord(b"x", b"", [], 0)], 0, "t")
                log.end_transaction("t", committed=committed)
            async with MemoryKafka(cluster).reader(committed_only=True) as reader:
                return await search_tail(OneByOne(reader), PLACE, self, ends_with_mark=ends_with_mark)  # type: ignore[arg-type]

        found: int | None = simulate(search())
        return found


@pytest.mark.parametrize("behind", [0, FIRST_OFFSETS - 1, FIRST_OFFSETS, 20 * FIRST_OFFSETS])
def test_the_newest_one_is_found_however_far_back_it_is(behind: int) -> None:
    assert Search().of(b"x", b"o", b"x", *[b"o"] * behind) == 2


def test_what_lies_near_the_end_costs_no_more() -> None:
    search = Search()
    assert search.of(*[b"o"] * 1000, b"x") == 1000
    assert len(search.given) == FIRST_OFFSETS


@pytest.mark.parametrize("count", [0, 1, 100])
def test_without_one_nothing_is_found(count: int) -> None:
    assert Search().of(*[b"o"] * count) is None


def test_what_was_not_committed_does_not_count() -> None:
    assert Search().of(b"x", transactions=[False] * FIRST_OFFSETS) == 0


@pytest.mark.parametrize("ends_with_mark", [False, True])
def test_the_last_record_before_the_mark_of_its_transaction_is_found(ends_with_mark: bool) -> None:
    assert Search().of(b"x", transactions=[True], ends_with_mark=ends_with_mark) == 1


def test_a_kafka_that_sends_nothing_is_not_waited_for_for_ever() -> None:
    class Silent:
        async def limits(self, places: object) -> object:
            return {PLACE: (0, 5)}

        def read_from(self, offsets: object) -> None:
            pass

        async def position(self, place: Place) -> int:
            return 0

        async def take(self, seconds: float, max_records: int | None) -> object:
            await asyncio.sleep(seconds)
            return {}

    with pytest.raises(KafkaFault, match=f"nothing came of t/0 for {SILENCE_SECONDS:.0f} s"):
        simulate(search_tail(Silent(), PLACE, Search()))  # type: ignore[arg-type]
