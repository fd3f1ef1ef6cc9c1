"""Records as no client of ours can write them: header names are bytes, and need not be UTF-8."""

import gzip
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cramjam
from aiokafka import AIOKafkaProducer, codec
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

LENGTH_OFFSET, CRC_OFFSET, ATTRIBUTES_OFFSET, RECORDS_OFFSET = 8, 17, 21, 61
"""Places in a batch: its length, its checksum, the first byte that this is about, and its records."""


class RawRecord(NamedTuple):
    """A record to write."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[bytes, bytes | None]] = ()


def raw_batch(records: Sequence[RawRecord], codec: int = 0, base_offset: int = 0, **state: Any) -> bytes:
    """A record batch in Kafka's message format 2.

    Args:
        records: what is in it.
        codec: how it is compressed; with another one than 0, names that are not UTF-8 are not possible.
        base_offset: of the first record.
        state: of the producer: `is_transactional`, `producer_id`.
    """
    built = {"is_transactional": 0, "producer_id": -1, **state}
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, producer_epoch=-1, base_sequence=-1, batch_size=64 * 1024 * 1024, **built
    )
    _fill(builder.append, records)
    return struct.pack(">q", base_offset) + _renamed(bytes(builder.build()), records)[8:]


def packed_batch(batch: bytes, codec: int, packed: bytes) -> bytes:
    """A batch whose records are compressed.

    Args:
        batch: what `raw_batch` gives, not compressed.
        codec: Kafka's number of the compression.
        packed: its records, compressed.
    """
    rest = struct.pack(">h", codec) + batch[ATTRIBUTES_OFFSET + 2 : RECORDS_OFFSET] + packed
    after = batch[LENGTH_OFFSET + 4 : CRC_OFFSET] + struct.pack(">I", calc_crc32c(rest)) + rest
    return batch[:LENGTH_OFFSET] + struct.pack(">i", len(after)) + after


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def lz4(data: bytes) -> bytes:
    return bytes(codec.lz4_encode(data, 1))


def zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data))


PACKING: dict[int, Callable[[bytes], bytes]] = {1: gzipped, 3: lz4, 4: zstd}
"""What packs many zeros into so little that a broker takes it, by Kafka's number."""


async def put_raw(
    servers: str,
    topic: str,
    records: Sequence[RawRecord],
    partition: int = 0,
    *,
    packing: int = 0,
) -> int:
    """Append records of now as one batch, which `packing` compresses; returns the offset of the first one.

    Records of long ago would be deleted half a minute after Kafka's start, where a topic has a retention.
    """
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_batch_size=128 * 1024 * 1024)
    producer._max_request_size = 32 * 1024 * 1024
    await producer.start()
    try:
        batch: BatchBuilder = producer.create_batch()
        now_ms = int(time.time() * 1000)
        _fill(lambda offset, timestamp, **record: batch.append(timestamp=now_ms, **record), records)
        data = _renamed(bytes(batch._build()), records)
        batch._buffer = bytearray(packed_batch(data, packing, PACKING.get(packing, bytes)(data[RECORDS_OFFSET:])))
        ack = await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()
    offset: int = ack.offset
    return offset


def _fill(append: Any, records: Sequence[RawRecord]) -> None:
    for offset, record in enumerate(records):
        headers = [(_stand_in(name), value) for name, value in record.headers]
        assert append(offset, 1000 + offset, key=record.key, value=record.value, headers=headers) is not None


def _stand_in(name: bytes) -> str:
    """A name of the same length that aiokafka can write; the rare letters keep it from standing anywhere else."""
    return name.decode() if _is_utf8(name) else "\x06\x15" * (len(name) // 2) + "\x06" * (len(name) % 2)


def _renamed(data: bytes, records: Sequence[RawRecord]) -> bytes:
    for name in {name for record in records for name, _ in record.headers if not _is_utf8(name)}:
        data = data.replace(_stand_in(name).encode(), name)
    crc = struct.pack(">I", calc_crc32c(data[ATTRIBUTES_OFFSET:]))
    return data[:CRC_OFFSET] + crc + data[ATTRIBUTES_OFFSET:]


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
