"""One partition of a topic in memory."""

import bisect
from collections.abc import Iterator, Sequence

from msgspec import Struct

from schemas.kafka.ports import Limits, Outgoing
from schemas.records import Headers


class StoredRecord(Struct, frozen=True):
    """A record with its place in a partition."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class Batch(Struct):
    """What was appended at once."""

    base: int
    records: Sequence[StoredRecord]
    """Empty for the marker that ends a transaction, which takes one offset."""
    transaction: str | None
    """Name of the writer, if it belongs to a transaction."""
    aborted: bool = False

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.base + (len(self.records) or 1)


class PartitionLog:
    """The batches of a partition, in order."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._oldest = self._end = 0
        self._open: dict[str, list[Batch]] = {}

    def limits(self, *, committed_only: bool = False) -> Limits:
        """What a reader can see."""
        undecided = [batches[0].base for batches in self._open.values()] if committed_only else []
        return Limits(self._oldest, min([self._end, *undecided]))

    def append(self, records: Sequence[Outgoing], now_ms: int, transaction: str | None = None) -> int:
        """Append a batch and return its base offset."""
        base = self._end
        stored = [
            StoredRecord(
                base + n,
                record.key,
                record.value,
                tuple(record.headers),
                now_ms if record.timestamp_ms is None else record.timestamp_ms,
            )
            for n, record in enumerate(records)
        ]
        batch = Batch(base, stored, transaction)
        self._add(batch)
        if transaction is not None:
            self._open.setdefault(transaction, []).append(batch)
        return base

    def end_transaction(self, transaction: str, *, committed: bool) -> None:
        """Decide what became of a transaction's batches, if there are any, and append the marker that says so."""
        batches = self._open.pop(transaction, ())
        for batch in batches:
            batch.aborted = not committed
        if batches:
            self._add(Batch(self._end, (), transaction))

    def _add(self, batch: Batch) -> None:
        self._batches.append(batch)
        self._end = batch.end

    def batches(self, offset: int, *, committed_only: bool) -> Sequence[Batch]:
        """The batches from the one that holds an offset on, as far as a reader can see."""
        end = self.limits(committed_only=committed_only).end
        first = bisect.bisect_right(self._batches, offset, key=lambda batch: batch.end)
        last = bisect.bisect_left(self._batches, end, key=lambda batch: batch.base)
        return self._batches[first:last]

    def first_since(self, timestamp_ms: int) -> int | None:
        """The first offset whose record is of this time or later."""
        return next((record.offset for record in self.records() if record.timestamp_ms >= timestamp_ms), None)

    def records(self, *, committed_only: bool = False) -> Iterator[StoredRecord]:
        """All records that are kept and that a reader can see."""
        for batch in self.batches(self._oldest, committed_only=committed_only):
            yield from visible(batch, self._oldest, committed_only=committed_only)

    def expire(self, before: int) -> None:
        """Keep nothing before this offset, as retention does."""
        self._oldest = min(max(self._oldest, before), self._end)

    def cut(self, end: int) -> None:
        """Lose what is behind the batches that end here, as a broker that lost its disk."""
        self._batches = [batch for batch in self._batches if batch.end <= end]
        self._end = self._batches[-1].end if self._batches else 0
        self._oldest = min(self._oldest, self._end)


def visible(batch: Batch, offset: int, *, committed_only: bool) -> Sequence[StoredRecord]:
    """The records of a batch that are handed to a reader that is at an offset."""
    if committed_only and batch.aborted:
        return ()
    return batch.records[max(offset - batch.base, 0) :]
