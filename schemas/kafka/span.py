"""The records of a partition from an offset to another, in portions."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from schemas.kafka.errors import KafkaFault
from schemas.kafka.ports import Place, Reader
from schemas.records import Record

TAKE_SECONDS: Final = 0.2
"""How long one look for records takes. At the end there may be none, but only the marks of transactions."""
SILENCE_SECONDS: Final = 30.0
"""Without getting further for this long Kafka counts as away; without a limit a broken connection would hang."""


async def read_span(
    reader: Reader, place: Place, start: int, stop: int, max_records: int | None = None
) -> AsyncGenerator[Sequence[Record], None]:
    """The records from an offset, or the oldest that is kept, to before another, in portions that are not empty.

    Args:
        reader: reads other partitions no more.
        place: the partition.
        start: the first offset.
        stop: behind the last one. All before it are in the log, and may have expired.
        max_records: most in a portion; whole batches when not given.

    Raises:
        KafkaFault: Kafka is away, or sends nothing.
    """
    if start >= stop:
        return
    loop = asyncio.get_running_loop()
    position, moved_at = start, loop.time()
    reader.read_from({place: start})
    while position < stop:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                records = (await reader.take(TAKE_SECONDS, max_records)).get(place, ())
                # Behind marks of transactions too, which are not handed over.
                before, position = position, await reader.position(place)
        except TimeoutError as error:
            raise _silent(place) from error
        if position > before:
            moved_at = loop.time()
        elif loop.time() - moved_at > SILENCE_SECONDS:
            raise _silent(place)
        if records and records[-1].offset >= stop:
            records = [record for record in records if record.offset < stop]
        if records:
            yield records


def _silent(place: Place) -> KafkaFault:
    return KafkaFault(f"nothing came of {place.topic}/{place.partition} for {SILENCE_SECONDS:.0f} s")
