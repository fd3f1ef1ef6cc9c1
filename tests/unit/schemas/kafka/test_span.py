"""The records of a partition from an offset to another."""

import pytest

from schemas.kafka import NewTopic, Place, read_span
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.records import NewRecord
from tests.simulation.loop import simulate

PLACE = Place("t", 0)
COUNT = 10


@pytest.mark.parametrize(
    ("start", "stop", "oldest", "expected"),
    [
        (0, COUNT, 0, range(COUNT)),
        (3, 7, 0, range(3, 7)),
        (3, 7, 5, range(5, 7)),
        (0, COUNT + 1, 0, range(COUNT)),
        (3, 7, 8, range(0)),
        (3, 3, 0, range(0)),
        (7, 3, 0, range(0)),
    ],
    ids=["all", "some", "some have expired", "up to a mark", "all have expired", "none", "backwards"],
)
@pytest.mark.parametrize("max_records", [None, 1, 3])
def test_the_records_of_a_span_come_in_portions(
    start: int, stop: int, oldest: int, expected: range, max_records: int | None
) -> None:
    async def read() -> list[list[int]]:
        cluster = MemoryCluster()
        cluster.create(NewTopic("t", 1, 1))
        log = cluster.log(PLACE)
        log.append([NewRecord(b"", b"", [], 0)] * COUNT, 0, "t")
        log.end_transaction("t", committed=True)
        log.expire(oldest)
        async with MemoryKafka(cluster).reader(committed_only=True) as reader:
            return [[r.offset for r in some] async for some in read_span(reader, PLACE, start, stop, max_records)]

    portions = simulate(read())
    assert [offset for portion in portions for offset in portion] == list(expected)
    assert all(0 < len(portion) <= (max_records or COUNT) for portion in portions)
