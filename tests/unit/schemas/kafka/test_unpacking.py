"""How far compressed record batches may blow up (`schemas.kafka.unpacking`), as aiokafka reads them."""

import asyncio
import gzip
import logging
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition, codec
from aiokafka.consumer import fetcher
from aiokafka.record import default_records

from schemas.kafka import foreign_records, unpacking
from schemas.kafka.unpacking import EnoughUnpacked, UnpackedTooLarge
from tests.raw_records import RECORDS_OFFSET, RawRecord, packed_batch, raw_batch

assert fetcher.PartitionRecords.__module__ == foreign_records.__name__

PLACE = TopicPartition("t", 3)
MAX = 100_000
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4

Pack = Callable[[bytes], bytes]


def xerial(data: bytes) -> bytes:
    return bytes(codec.snappy_encode(data))


def members(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip.compress(data[:half], mtime=0) + gzip.compress(data[half:], mtime=0) + bytes(10)


CODECS = [
    pytest.param(GZIP, lambda data: gzip.compress(data, mtime=0), id="gzip"),
    pytest.param(GZIP, members, id="gzip of two members"),
    pytest.param(SNAPPY, lambda data: bytes(cramjam.snappy.compress_raw(data)), id="snappy"),
    pytest.param(SNAPPY, xerial, id="snappy of Java"),
    pytest.param(LZ4, codec.lz4_encode, id="lz4"),
    pytest.param(ZSTD, lambda data: bytes(cramjam.zstd.compress(data)), id="zstd"),
]


@pytest.fixture(autouse=True)
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", MAX)
    monkeypatch.setattr(unpacking, "MIN_ROOM_BYTES", 1000)
    monkeypatch.setattr(unpacking, "_room", unpacking._Room())


def batch(number: int, pack: Pack, size: int, offset: int, records: int = 1) -> bytes:
    plain = raw_batch([RawRecord(b"k", bytes(size))] * records, base_offset=offset)
    return packed_batch(plain, number, pack(plain[RECORDS_OFFSET:]))


def read(data: bytes, position: int = 0) -> Any:
    records = fetcher.MemoryRecords(data)
    assert records.has_next()
    return fetcher.PartitionRecords(PLACE, records, [], position, None, None, True, 0)


@pytest.mark.parametrize(("number", "pack"), CODECS)
def test_a_batch_that_is_too_large_is_left_out(number: int, pack: Pack, caplog: pytest.LogCaptureFixture) -> None:
    good = raw_batch([RawRecord(None, b"good")], base_offset=4)
    data = good + batch(number, pack, MAX, 5, records=3) + batch(number, pack, MAX // 2, 8)
    records = read(data + raw_batch([RawRecord(None, b"good")], base_offset=9))
    with caplog.at_level(logging.WARNING):
        found = [(record.offset, len(record.value)) for record in records]
    assert found == [(4, 4), (7, 0), (8, MAX // 2), (9, 4)], "an empty record is in the place of the last one"
    assert records.next_fetch_offset == 10
    assert [line.getMessage() for line in caplog.records] == [
        "the records of t/3 from offset 5 to 7 are left out: unpacked, they have more than 100000 bytes"
    ]


@pytest.mark.parametrize(("number", "pack"), CODECS)
@pytest.mark.parametrize("size", [1, 999, 50_000, MAX])
def test_what_is_not_too_large_is_unpacked_as_by_aiokafka(number: int, pack: Pack, size: int) -> None:
    names = {GZIP: "gzip_decode", SNAPPY: "snappy_decode", LZ4: "lz4_decode", ZSTD: "zstd_decode"}
    ours, theirs = getattr(default_records, names[number]), getattr(codec, names[number])
    assert ours is not theirs
    for data in (bytes(size), bytes(i * i % 251 for i in range(size))):
        packed = pack(data)
        assert ours(packed) == theirs(packed) == data
    with pytest.raises(UnpackedTooLarge):
        ours(pack(bytes(MAX + 1)))


def with_headers(count: int, offset: int, records: int = 1, name: bytes = b"") -> bytes:
    return raw_batch([RawRecord(b"k", b"v", [(name, None)] * count)] * records, base_offset=offset)


@pytest.mark.parametrize(
    ("number", "pack"), [pytest.param(0, None, id="plain"), *(one for one in CODECS if one.id != "gzip of two members")]
)
@pytest.mark.parametrize("name", [b"", b"\xff"])
def test_a_batch_with_too_many_headers_is_left_out(
    number: int, pack: Pack | None, name: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def packed(batch: bytes) -> bytes:
        return batch if pack is None else packed_batch(batch, number, pack(batch[RECORDS_OFFSET:]))

    fine = [packed(with_headers(unpacking.MAX_HEADERS, 3, 2)), packed(with_headers(1, 7, name=name))]
    data = fine[0] + packed(with_headers(unpacking.MAX_HEADERS + 1, 5, 2, name)) + fine[1]
    with caplog.at_level(logging.WARNING):
        found = [(record.offset, len(record.headers), record.key) for record in read(data)]
    assert found == [(3, 1000, b"k"), (4, 1000, b"k"), (6, 0, b""), (7, 1, b"k")]
    assert (
        caplog.records[0].getMessage()
        == "the records of t/3 from offset 5 to 6 are left out: one of them has more than 1000 headers"
    )


@pytest.mark.parametrize(("number", "pack"), CODECS)
def test_what_is_damaged_is_not_taken_for_too_large(number: int, pack: Pack) -> None:
    plain = raw_batch([RawRecord(None, bytes(range(256)) * 8)])
    packed = pack(plain[RECORDS_OFFSET:])
    with pytest.raises(Exception) as failed:  # noqa: PT011 - of many kinds; `consumer` makes one of them
        list(read(packed_batch(plain, number, packed[: len(packed) - 20])))
    assert not isinstance(failed.value, UnpackedTooLarge | EnoughUnpacked)


def test_members_of_one_byte_are_not_copied_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = 0

    class Member:
        def __init__(self, window: int):
            self._member = member(window)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal given
            given += len(data)
            return self._member.decompress(data, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._member, name)

    member = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Member)
    text = bytes(range(256)) * 40
    assert unpacking.unpack_gzip(b"".join(gzip.compress(text[i : i + 1], mtime=0) for i in range(len(text)))) == text
    assert given <= unpacking._GZIP_PIECE_BYTES * len(text)


@pytest.mark.parametrize("length", [-4, 0, -(2**31)])
def test_a_block_without_a_length_is_refused(length: int) -> None:
    head = xerial(b"x")[:16]
    with pytest.raises(ValueError, match="has a length of"):
        unpacking.unpack_snappy(head + struct.pack("!i", length) + bytes(8))


@pytest.mark.parametrize(("size", "found", "rounds"), [(MAX - 100, MAX - 100, 2), (MAX, 0, 3)])
async def test_so_much_is_unpacked_at_once_and_the_rest_is_read_later(size: int, found: int, rounds: int) -> None:
    batches = [batch(LZ4, codec.lz4_encode, size, offset) for offset in range(6)]
    taken, position, times = [], 0, 0
    while position < 6:
        records = read(b"".join(batches[position:]), position)
        taken += [(record.offset, len(record.value)) for record in records]
        assert not list(read(batches[0])), "other partitions wait too"
        position, times = records.next_fetch_offset, times + 1
        await asyncio.sleep(0)
    assert (taken, times) == ([(offset, found) for offset in range(6)], rounds)


async def test_a_batch_that_is_read_twice_has_room() -> None:
    plain = raw_batch([RawRecord(None, bytes(MAX - 100), [(b"\xff", b"")])])
    for _ in range(2):
        records = read(packed_batch(plain, LZ4, codec.lz4_encode(plain[RECORDS_OFFSET:])))
        assert [record.headers for record in records] == [(("\\xff", b""),)]
        await asyncio.sleep(0)
