"""The newest record of some kind in a partition, looked for from the end: the whole of it would take long."""

from collections.abc import Callable
from contextlib import aclosing
from typing import Final, TypeVar

from schemas.kafka.ports import Place, Reader
from schemas.kafka.span import read_span
from schemas.records import Record

FIRST_OFFSETS: Final = 16
"""How many offsets from the end are read first. A transaction of one record takes two, so what is looked for is nearly
always there. With fewer, a second look would often be needed."""
GROWTH: Final = 16
"""How many times more are read if it is not there, as after many aborted transactions."""

T = TypeVar("T")
Fold = Callable[[T | None, Record], T | None]
"""What was found so far, with one more record. None: nothing."""


async def search_tail(reader: Reader, place: Place, fold: Fold[T], *, ends_with_mark: bool = False) -> T | None:
    """What the last records come to, of as many from the end as it takes to find something; None if there is nothing.

    Args:
        reader: reads other partitions no more.
        place: the partition, as it is now.
        fold: is given the records in order, from the beginning again whenever more are read.
        ends_with_mark: whether all records are in transactions. The mark of the last one is not waited for then.

    Raises:
        KafkaFault: Kafka is away, or sends nothing.
    """
    oldest, end = (await reader.limits([place]))[place]
    offsets = FIRST_OFFSETS
    while True:
        start = max(oldest, end - offsets)
        found = await _fold(reader, place, fold, start, end, 1 if ends_with_mark else 0)
        if found is not None or start == oldest:
            return found
        offsets *= GROWTH


async def _fold(reader: Reader, place: Place, fold: Fold[T], start: int, end: int, marks: int) -> T | None:
    """What the records from `start` to `end` come to; behind the last one there are at most so many marks."""
    found: T | None = None
    async with aclosing(read_span(reader, place, start, end)) as portions:
        async for records in portions:
            for record in records:
                found = fold(found, record)
            if records[-1].offset + 1 >= end - marks:
                break
    return found
