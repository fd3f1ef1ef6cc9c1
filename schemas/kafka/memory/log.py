"""One partition of a topic in memory.

    oldest ───────────── high watermark ───────── end
      │  readers see this     │  only the leader has this

A batch is acknowledged, and seen by readers, when all replicas have it. What the leader alone has is lost with it.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

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


class Sent(NamedTuple):
    """By what the cluster recognises a batch that it is sent twice."""

    producer: int
    sequence: int


class Batch(Struct):
    """What was appended at once."""

    base: int
    end: int
    """The offset behind it."""
    records: Sequence[StoredRecord]
    """Those that compaction has left. Empty for the marker that ends a transaction, which takes one offset."""
    transaction: str | None = None
    """Name of the writer, if it belongs to a transaction."""
    aborted: bool = False
    sent: Sent | None = None
    lost: bool = False
    """Whether a fail-over has lost it."""
    is_mark: bool = False
    """Whether it is the marker that ends a transaction."""


class Marked(NamedTuple):
    """A transaction that has come to its end."""

    records: Sequence[StoredRecord]
    """All of it."""
    seen: Sequence[StoredRecord]
    """Those that all replicas have since then, of whomever."""


class PartitionLog:
    """The batches of a partition, in order."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._oldest = self._high = self._end = 0
        self._open: dict[str, list[Batch]] = {}
        self._sent: dict[Sent, Batch] = {}
        self._watchers: dict[Callable[[], None], None] = {}

    def limits(self, *, committed_only: bool = False) -> Limits:
        """What a reader can see."""
        undecided = [batches[0].base for batches in self._open.values()] if committed_only else []
        return Limits(self._oldest, min([self._high, *undecided]))

    def watch(self, tell: Callable[[], None]) -> None:
        """Have something called the next time that a reader may see something else than now."""
        self._watchers[tell] = None

    def unwatch(self, tell: Callable[[], None]) -> None:
        """Call it no more."""
        self._watchers.pop(tell, None)

    def _changed(self) -> None:
        watchers, self._watchers = self._watchers, {}
        for tell in watchers:
            tell()

    def append(self, records: Sequence[Outgoing], now_ms: int, transaction: str | None = None) -> int:
        """Append a batch on all replicas, and return its base offset."""
        batch = self.receive(records, now_ms, transaction)
        self.replicate(batch)
        return batch.base

    def receive(
        self, records: Sequence[Outgoing], now_ms: int, transaction: str | None = None, sent: Sent | None = None
    ) -> Batch:
        """Append a batch that the leader alone has for now."""
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
        batch = Batch(base, base + len(stored), stored, transaction, sent=sent)
        self._batches.append(batch)
        self._end = batch.end
        if transaction is not None:
            self._open.setdefault(transaction, []).append(batch)
        if sent is not None:
            self._sent[sent] = batch
        return batch

    def find(self, sent: Sent) -> Batch | None:
        """The batch that was sent as this one; None if it is new."""
        return self._sent.get(sent)

    def has_replicated(self, batch: Batch) -> bool:
        """Whether all replicas have a batch."""
        return batch.end <= self._high and not batch.lost

    def replicate(self, batch: Batch) -> Sequence[StoredRecord]:
        """Let all replicas have a batch and those before it; the records that readers see now. None if it was lost."""
        if batch.lost or batch.end <= self._high:
            return ()
        first = bisect.bisect_left(self._batches, self._high, key=lambda batch: batch.base)
        self._high = batch.end
        last = bisect.bisect_left(self._batches, self._high, key=lambda batch: batch.base)
        self._changed()
        return [record for batch in self._batches[first:last] for record in batch.records]

    def fail_over(self) -> Sequence[StoredRecord]:
        """Lose what the leader alone has; the records that were lost."""
        lost = [batch for batch in self._batches if batch.end > self._high]
        self._forget(lost)
        self._end = self._high
        return [record for batch in lost for record in batch.records]

    def _forget(self, lost: Sequence[Batch]) -> None:
        for batch in lost:
            batch.lost = True
            if batch.sent is not None:
                self._sent.pop(batch.sent, None)
        self._batches = [batch for batch in self._batches if not batch.lost]
        left = {name: [batch for batch in batches if not batch.lost] for name, batches in self._open.items()}
        self._open = {name: batches for name, batches in left.items() if batches}

    def end_transaction(self, transaction: str, *, committed: bool) -> Marked | None:
        """Decide what became of a transaction, and append the marker that says so; None if it has nothing here."""
        batches = self._open.pop(transaction, None)
        if not batches:
            return None
        for batch in batches:
            batch.aborted = not committed
        marker = Batch(self._end, self._end + 1, (), transaction, is_mark=True)
        self._batches.append(marker)
        self._end = marker.end
        seen = self.replicate(marker)
        return Marked([record for batch in batches for record in batch.records], seen)

    def batches(self, offset: int, *, committed_only: bool) -> Sequence[Batch]:
        """The batches from the one that holds an offset on, as far as a reader can see."""
        end = self.limits(committed_only=committed_only).end
        first = bisect.bisect_right(self._batches, offset, key=lambda batch: batch.end)
        last = bisect.bisect_left(self._batches, end, key=lambda batch: batch.base)
        return self._batches[first:last]

    def marks(self, start: int, stop: int) -> Iterator[int]:
        """The offsets from `start` to before `stop` at which transactions have ended."""
        for batch in self.batches(start, committed_only=False):
            if batch.is_mark and start <= batch.base < stop:
                yield batch.base

    def first_since(self, timestamp_ms: int) -> int | None:
        """The first offset whose record is of this time or later."""
        return next((record.offset for record in self.records() if record.timestamp_ms >= timestamp_ms), None)

    def records(self, *, committed_only: bool = False) -> Iterator[StoredRecord]:
        """All records that are kept and that a reader can see."""
        for batch in self.batches(self._oldest, committed_only=committed_only):
            yield from visible(batch, self._oldest, committed_only=committed_only)

    # What happens to topics

    def expire(self, before: int) -> None:
        """Keep nothing before this offset, as retention does."""
        self._oldest = min(max(self._oldest, before), self._high)
        self._changed()

    def cut(self, end: int) -> None:
        """Lose what is behind the batches that end here, as a broker that lost its disk."""
        self._forget([batch for batch in self._batches if batch.end > end])
        self._end = self._batches[-1].end if self._batches else 0
        self._high = min(self._high, self._end)
        self._oldest = min(self._oldest, self._end)
        self._changed()

    def compact(self, is_kept: Callable[[StoredRecord], bool]) -> None:
        """Remove records, as compaction does. Their offsets stay empty."""
        for batch in self._batches:
            batch.records = [record for record in batch.records if is_kept(record)]


def visible(batch: Batch, offset: int, *, committed_only: bool) -> Sequence[StoredRecord]:
    """The records of a batch that are handed to a reader that is at an offset."""
    if committed_only and batch.aborted:
        return ()
    if offset <= batch.base:
        return batch.records
    return [record for record in batch.records if record.offset >= offset]
