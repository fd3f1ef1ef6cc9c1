r"""Records that aiokafka can't hand out: with one, whoever can write to a topic could stop everybody who reads it.

- **A header whose name is not UTF-8.** Kafka takes such a record, since to a broker a name is bytes, and Java's clients
  read it with a replacement character. In aiokafka a `UnicodeDecodeError` comes out of `getmany` instead, again and
  again, and what it had taken from other partitions by then is lost.
- **A batch that is too large once it is unpacked, or has a record of far too many headers** (see `unpacking`).

Importing this module teaches aiokafka to read such a name with `\xff` for what it can't decode, and to hand out one
empty record for such a batch, at its last offset. Nobody takes an empty record for a good one, and whoever counts
offsets learns at once that there was something. All else is read by aiokafka as before, at the same speed: only what is
left of a fetch that failed is read again. The records of the batch that were handed out already are left out, as
aiokafka leaves out all before its position.
"""

import logging
from collections.abc import Iterator
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecord, _DefaultRecordBatchPy
from aiokafka.record.util import decode_varint

from schemas.kafka.marks import are_sought, note_marks
from schemas.kafka.unpacking import (
    MAX_HEADERS,
    MIN_HEADER_BYTES,
    BatchLeftOut,
    EnoughUnpacked,
    check_headers,
)

logger = logging.getLogger(__name__)

LENGTH_OFFSET: Final = 8
"""Where a batch has the length of what follows the length."""
LOG_OVERHEAD: Final = 12
"""Bytes of a batch up to and with its length."""
RECORDS_OFFSET: Final = 61
"""Where a batch of message format 2 has its records."""
FORMAT_OFFSET: Final = 16
FORMAT_WITH_HEADERS: Final = 2


class _Fetched(fetcher.MemoryRecords):  # type: ignore[misc]
    """Record batches as they came, which also keeps their bytes, and the batch that was asked for last."""

    def __init__(self, data: bytes):
        super().__init__(data)
        self.data = data
        self.last: Any = None
        self.start = self._end = 0
        """Where the last batch begins."""

    def next_batch(self) -> Any:
        batch = super().next_batch()
        self.start = self._end
        length = int.from_bytes(self.data[self.start + LENGTH_OFFSET : self.start + LOG_OVERHEAD])
        self._end = self.start + LOG_OVERHEAD + length
        first = self.start + RECORDS_OFFSET
        if self._end - first > MAX_HEADERS * MIN_HEADER_BYTES and self._has_headers:
            batch = _LargeBatch(batch, self.data, first, self._end)
        self.last = batch
        return batch

    @property
    def _has_headers(self) -> bool:
        return self.data[self.start + FORMAT_OFFSET] == FORMAT_WITH_HEADERS

    @property
    def last_data(self) -> bytes:
        """The bytes of the last batch."""
        return self.data[self.start : self._end]


class _LargeBatch:
    """A batch of aiokafka's that is large enough to have a record of too many headers; iterating checks that.

    Of one that is compressed, `unpacking` checks it.
    """

    def __init__(self, batch: Any, data: bytes, first: int, end: int):
        self._batch, self._data, self._first, self._end = batch, data, first, end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        if not self._batch.compression_type:
            check_headers(self._data, self._first, self._end)
        return iter(self._batch)


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Reads what was fetched of one partition."""

    next_fetch_offset: int

    def __init__(self, place: Any, records: _Fetched, *arguments: Any):
        super().__init__(place, records, *arguments)
        self._place, self._data = place, records.data
        if are_sought(place):
            note_marks(place, _Fetched(records.data))

    def _unpack_records(self) -> Iterator[Any]:
        while True:
            try:
                yield from super()._unpack_records()
            except UnicodeDecodeError:
                self._tell("a record of %s/%d at or behind offset %d has a header whose name is not UTF-8")
                self._records = _LenientRecords(self._data, self.next_fetch_offset)
            except BatchLeftOut as error:
                batch = self._records.last
                last = batch.next_offset - 1
                self._tell("the records of %s/%d from offset %d to %d are left out: %s", last, error)
                self.next_fetch_offset = batch.next_offset
                empty = DefaultRecord(last, batch.max_timestamp, batch.timestamp_type, b"", b"", [])
                yield self._consumer_record(self._place, empty)
            except EnoughUnpacked:
                return  # the rest is fetched again
            else:
                return

    def _tell(self, text: str, *more: object) -> None:
        logger.warning(text, self._place.topic, self._place.partition, self.next_fetch_offset, *more)


class _LenientRecords:
    """The batches that follow on a position, each of which can be read."""

    def __init__(self, data: bytes, position: int):
        self._batches = _batches(data, position)
        self._next = next(self._batches, None)
        self.last: Any = None

    def has_next(self) -> bool:
        return self._next is not None

    def next_batch(self) -> Any:
        self.last, self._next = self._next, next(self._batches, None)
        return self.last


def _batches(data: bytes, position: int) -> Iterator["_LenientBatch"]:
    records = _Fetched(data)
    while records.has_next():
        batch = records.next_batch()
        if batch.next_offset > position:
            yield _LenientBatch(batch, records.last_data)


class _LenientBatch:
    """A batch of aiokafka's; iterating reads it again, leniently, where that fails.

    The records before the failure come twice. aiokafka leaves out what lies before its position.
    """

    def __init__(self, batch: Any, data: bytes):
        self._batch, self._data = batch, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._batch
        except UnicodeDecodeError:
            yield from read_leniently(self._data)


def read_leniently(data: bytes) -> Iterator[DefaultRecord]:
    """The records of one batch (Kafka's message format 2), whatever bytes its header names are.

    Args:
        data: the batch as Kafka sends it. The broker has checked its structure.
    """
    batch = _DefaultRecordBatchPy(data)
    batch._maybe_uncompress()  # noqa: SLF001
    body = _Body(batch._buffer, batch._pos)  # noqa: SLF001
    for _ in range(batch._num_records):  # noqa: SLF001
        body.number()  # length
        body.number()  # attributes, of which there are none yet
        later_ms, offset = body.number(), batch.base_offset + body.number()
        timestamp_ms = batch.max_timestamp if batch.timestamp_type else batch.first_timestamp + later_ms
        key, value = body.blob(), body.blob()
        headers = [
            ((body.blob() or b"").decode("utf-8", "backslashreplace"), body.blob()) for _ in range(body.number())
        ]
        yield DefaultRecord(offset, timestamp_ms, batch.timestamp_type, key, value, headers)


class _Body:
    """The records' bytes and how far they have been read."""

    def __init__(self, data: bytearray, position: int):
        self._data, self._position = data, position

    def number(self) -> int:
        number: int
        number, self._position = decode_varint(self._data, self._position)
        return number

    def blob(self) -> bytes | None:
        length = self.number()
        if length < 0:
            return None
        start, self._position = self._position, self._position + length
        return bytes(self._data[start : self._position])


fetcher.MemoryRecords = _Fetched
fetcher.PartitionRecords = _PartitionRecords
