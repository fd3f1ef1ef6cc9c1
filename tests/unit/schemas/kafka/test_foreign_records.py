"""What aiokafka hands out of records that others have written (`schemas.kafka.foreign_records`)."""

import gzip
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.util import calc_crc32c

from schemas.kafka import foreign_records
from tests.raw_records import ATTRIBUTES_OFFSET, CRC_OFFSET, RawRecord, raw_batch

assert fetcher.MemoryRecords.__module__ == foreign_records.__name__

PLACE = TopicPartition("t", 3)
GOOD = RawRecord(b"k", b"good", [(b"type", b"X"), ("ü".encode(), None)])
BAD = RawRecord(None, b"bad", [(b"type", b"Y"), (b"\xff\xfe", b"1"), (b"none", None)])
READ_UNCOMMITTED, READ_COMMITTED = 0, 1
FIRST_RECORD = 61
GZIP = 1


def read(data: bytes, position: int = 0, *, aborted: Sequence[Any] = (), isolation: int = READ_UNCOMMITTED) -> Any:
    """What a consumer takes from fetched bytes."""
    records = fetcher.MemoryRecords(data)
    assert records.has_next()
    return fetcher.PartitionRecords(PLACE, records, aborted, position, None, None, True, isolation)


def gzipped(batch: bytes) -> bytes:
    packed = bytearray(batch[:FIRST_RECORD] + gzip.compress(batch[FIRST_RECORD:], mtime=0))
    packed[8:12] = struct.pack(">i", len(packed) - 12)
    packed[ATTRIBUTES_OFFSET : ATTRIBUTES_OFFSET + 2] = struct.pack(">h", GZIP)
    packed[CRC_OFFSET:ATTRIBUTES_OFFSET] = struct.pack(">I", calc_crc32c(bytes(packed[ATTRIBUTES_OFFSET:])))
    return bytes(packed)


def test_it_is_read_like_its_neighbours_with_what_can_be_told_of_the_name() -> None:
    data = raw_batch([GOOD, GOOD], base_offset=5) + raw_batch([GOOD, BAD, GOOD], base_offset=7)
    data += raw_batch([BAD], base_offset=10) + raw_batch([GOOD], base_offset=12)
    records = read(data, position=6)
    found = list(records)
    assert [(record.offset, record.value) for record in found] == [
        (6, b"good"),
        (7, b"good"),
        (8, b"bad"),
        (9, b"good"),
        (10, b"bad"),
        (12, b"good"),
    ]
    assert found[0].headers == found[1].headers == found[3].headers == (("type", b"X"), ("ü", None))
    assert found[2].headers == found[4].headers == (("type", b"Y"), ("\\xff\\xfe", b"1"), ("none", None))
    assert (found[2].key, found[2].timestamp, found[2].topic, found[2].partition) == (None, 1001, "t", 3)
    assert records.next_fetch_offset == 13


@pytest.mark.parametrize("position", [7, 8, 9])
def test_reading_begins_where_the_consumer_is(position: int) -> None:
    found = list(read(raw_batch([GOOD, BAD, GOOD], base_offset=7), position))
    assert [record.offset for record in found] == list(range(position, 10))


def test_a_compressed_batch_is_unpacked() -> None:
    found = list(read(gzipped(raw_batch([GOOD, BAD]))))
    assert [(record.value, record.headers) for record in found] == [
        (b"good", (("type", b"X"), ("ü", None))),
        (b"bad", (("type", b"Y"), ("\\xff\\xfe", b"1"), ("none", None))),
    ]


def test_records_of_aborted_transactions_stay_left_out() -> None:
    data = raw_batch([GOOD], base_offset=0, is_transactional=1, producer_id=4)
    data += raw_batch([BAD], base_offset=1)
    data += raw_batch([BAD], base_offset=2, is_transactional=1, producer_id=4)
    found = list(read(data, aborted=[(4, 0)], isolation=READ_COMMITTED))
    assert [(record.offset, record.value) for record in found] == [(1, b"bad")]
