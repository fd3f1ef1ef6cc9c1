"""Records as no client of ours can write them: header names are bytes, and need not be UTF-8."""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

CRC_OFFSET, ATTRIBUTES_OFFSET = 17, 21
"""Places in a batch: its checksum, and the first byte that this is about."""


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


async def put_raw(servers: str, topic: str, records: Sequence[RawRecord], partition: int = 0) -> int:
    """Append records as one batch; returns the offset of the first one."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_batch_size=8 * 1024 * 1024)
    producer._max_request_size = 32 * 1024 * 1024
    await producer.start()
    try:
        batch: BatchBuilder = producer.create_batch()
        _fill(lambda offset, timestamp, **record: batch.append(timestamp=timestamp, **record), records)
        batch._buffer = bytearray(_renamed(bytes(batch._build()), records))
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
