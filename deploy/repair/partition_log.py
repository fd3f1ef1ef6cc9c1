"""A partition, read from and to offsets."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from schemas.epochs import header, is_claim
from schemas.kafka import Limits, Place, Reader, read_span
from schemas.records import Record, read_number

MAX_RECORDS: Final = 5000
"""Most records of one look, so that progress is shown."""

OnProgress = Callable[[int, int], None]
"""Takes the records read and the records to read."""


class PartitionLog:
    """A partition, as it is when it is looked at.

    Args:
        reader: reads it.
        place: which one.
        limits: what it holds.
        progress: is called after each look for records.
    """

    def __init__(self, reader: Reader, place: Place, limits: Limits, progress: OnProgress = lambda done, total: None):
        self._reader, self.place, self.limits, self._progress = reader, place, limits, progress

    async def read(self, start: int, stop: int) -> AsyncGenerator[Record, None]:
        """The records from an offset to before another.

        Raises:
            KafkaFault: Kafka is away, or sends nothing.
        """
        async with aclosing(read_span(self._reader, self.place, start, stop, MAX_RECORDS)) as portions:
            async for records in portions:
                for record in records:
                    yield record
                self._progress(records[-1].offset + 1 - start, stop - start)

    async def first(self, offset: int) -> Record | None:
        """The first record from an offset on."""
        async with aclosing(self.read(offset, self.limits.end)) as records:
            async for record in records:
                return record
        return None

    async def newest_claim(self, before: int) -> int:
        """The newest claim before an offset; -1 without one."""
        found = -1
        async for record in self.read(self.limits.oldest, before):
            found = record.offset if is_claim(record) else found
        return found

    async def epoch_at(self, offset: int) -> int:
        """The claim that an event belongs to; if it is not there, the newest one."""
        found = await self.first(offset) if self.limits.oldest <= offset < self.limits.end else None
        epoch = None if found is None or found.offset != offset else read_number(header(found.headers, "epoch"))
        return await self.newest_claim(self.limits.end) if epoch is None else epoch

    async def first_claim(self, start: int, known: int) -> int:
        """The first claim from an offset on, of which a later one is known."""
        async with aclosing(self.read(max(start, self.limits.oldest), known)) as records:
            async for record in records:
                if is_claim(record):
                    return record.offset
        return known

    async def epoch_of_oldest(self) -> int:
        """The newest claim before the oldest record, as the records behind it show; -1 without one."""
        oldest = self.limits.oldest
        if oldest == 0:
            return -1
        async with aclosing(self.read(oldest, self.limits.end)) as records:
            async for record in records:
                epoch = read_number(header(record.headers, "epoch"))
                if epoch is not None and epoch < oldest:
                    return epoch
                if is_claim(record):
                    break
        return -1
