"""The newest record of some kind in a partition, looked for from the end: the whole of it would take long."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from schemas.kafka.errors import KafkaFault
from schemas.kafka.ports import Place, Reader
from schemas.records import Record

FIRST_OFFSETS: Final = 16
"""How many offsets from the end are read first. A transaction of one record takes two, so what is looked for is nearly
always there. With fewer, a second look would often be needed."""
GROWTH: Final = 16
"""How many times more are read if it is not there, as after many aborted transactions."""
TAKE_SECONDS: Final = 0.2
"""How long one look for records takes. At the end there may be none, but only the marks of transactions."""
SILENCE_SECONDS: Final = 30.0
"""Without getting further for this long Kafka counts as away; without a limit a broken connection would hang."""

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
    loop = asyncio.get_running_loop()
    position, moved_at = start, loop.time()
    reader.read_from({place: start})
    while position < end:
        records = (await reader.take(TAKE_SECONDS)).get(place, ())
        for record in records:
            found = fold(found, record)
        if records and records[-1].offset + 1 >= end - marks:
            break
        # Behind marks of transactions too, which are not handed over.
        before, position = position, await reader.position(place)
        if position > before:
            moved_at = loop.time()
        elif loop.time() - moved_at > SILENCE_SECONDS:
            raise KafkaFault(f"nothing came of {place.topic}/{place.partition} for {SILENCE_SECONDS:.0f} s")
    return found
