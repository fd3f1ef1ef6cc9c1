"""Compressed record batches, which may be a hundred thousand times as large as what was fetched.

Kafka bounds a batch as it is sent. One of 8 KB can hold a record of 256 MiB, and aiokafka unpacks a batch as a whole:
whoever can write to a topic could take all memory of everybody who reads it, again after each start.

Importing this module bounds how aiokafka unpacks:

- a batch that is larger than `MAX_UNPACKED_BYTES` is refused (`UnpackedTooLarge`), and so is one with a record of more
  than `MAX_HEADERS` headers (`TooManyHeaders`), compressed or not: in Python they take up to seventy times as much
- so is every batch once twice as much was unpacked in one iteration of the event loop (`EnoughUnpacked`). Else all that
  was fetched could be unpacked before anybody has taken a record. What is left is read in another iteration.

`foreign_records` says what becomes of the records.
"""

import asyncio
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import cramjam
from aiokafka import codec
from aiokafka.record import default_records, legacy_records
from aiokafka.record.util import decode_varint

from schemas.topics import MAX_RECORD_BATCH_BYTES

MAX_UNPACKED_BYTES: Final = 4 * MAX_RECORD_BATCH_BYTES
"""Largest batch once it is unpacked. What we write is smaller before it is compressed. Common producers fill a batch up
to some kilobytes, and a broker takes 1 MB by default, so it is also far above what other services write."""

MAX_HEADERS: Final = 1000
"""Most headers of a record. A header can have two bytes: without the limit, a batch of 3 KB took gigabytes. Nobody has
use for so many."""
MIN_HEADER_BYTES: Final = 2

USUAL_RATIO: Final = 16
"""How well records are compressed at most, mostly. One attempt at unpacking is enough for them."""
MIN_ROOM_BYTES: Final = 64 * 1024

_OUT_OF_ROOM: Final = "failed to write whole buffer"
"""What the library says when the unpacked bytes do not fit into the buffer that it was given."""
_XERIAL_HEAD_BYTES: Final = 16
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_GZIP_PIECE_BYTES: Final = 4096
"""How much of a member is given at once. What is behind a member is copied: if that were all the rest, a batch of
members of one byte each would stop everybody who reads it for minutes."""


class BatchLeftOut(Exception):
    """A batch that nobody should hold in memory. The message says what is wrong with it."""


class UnpackedTooLarge(BatchLeftOut):
    """The batch is larger than `MAX_UNPACKED_BYTES` once it is unpacked."""

    def __init__(self) -> None:
        super().__init__(f"unpacked, they have more than {MAX_UNPACKED_BYTES} bytes")


class TooManyHeaders(BatchLeftOut):
    """A record of the batch has more than `MAX_HEADERS` headers."""

    def __init__(self) -> None:
        super().__init__(f"one of them has more than {MAX_HEADERS} headers")


class EnoughUnpacked(Exception):
    """So much was unpacked just now that this batch has to wait."""


class _Room:
    """How much may still be unpacked in this iteration of the event loop."""

    def __init__(self) -> None:
        self._left = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        """Whose iteration it is; None before something is unpacked in it."""

    def check(self) -> None:
        """Raise `EnoughUnpacked` if there is none. One batch alone always has room, also if it is read three times."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None  # nobody else waits
        if loop is None or loop is not self._loop:
            self._left, self._loop = 2 * MAX_UNPACKED_BYTES, loop
            if loop is not None:
                loop.call_soon(self._end)
        if self._left < 0:
            raise EnoughUnpacked

    def take(self, size: int) -> None:
        """Count what was unpacked."""
        self._left -= size

    def _end(self) -> None:
        self._loop = None


_room = _Room()


def _bounded(unpack: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def unpack_within_room(packed: Any) -> bytes:
        _room.check()
        size = MAX_UNPACKED_BYTES + 1  # to find out that it is larger takes as long as to unpack so much
        try:
            unpacked = unpack(packed)
            size = len(unpacked)
        finally:
            _room.take(size)
        return unpacked

    return unpack_within_room


def unpack_gzip(packed: Any) -> bytes:
    """The bytes of all members of a gzip file."""
    data, position, parts, left = memoryview(packed), 0, [], MAX_UNPACKED_BYTES
    while position < len(data):
        member = zlib.decompressobj(_GZIP_WINDOW)
        while not member.eof and position < len(data):
            piece = data[position : position + _GZIP_PIECE_BYTES]
            part = member.decompress(piece, left + 1)
            left -= len(part)
            if left < 0:
                raise UnpackedTooLarge
            parts.append(part)
            position += len(piece) - len(member.unused_data)
        if not member.eof:
            raise EOFError("the compressed records end in the middle")
        while position < len(data) and not data[position]:  # members may be filled up with zeros
            position += 1
    return b"".join(parts)


def unpack_snappy(packed: Any) -> bytes:
    """The bytes of one block of snappy, or of several as Java's library frames them. Each begins with its length."""
    data = memoryview(packed)
    if not codec._detect_xerial_stream(data):  # noqa: SLF001 - as aiokafka tells them
        return _snappy_block(data, MAX_UNPACKED_BYTES)
    unpacked, position = io.BytesIO(), _XERIAL_HEAD_BYTES
    while position < len(data):
        (length,) = struct.unpack_from("!i", data, position)
        if length <= 0:
            raise ValueError(f"a block of the compressed records has a length of {length}")
        start, position = position + 4, position + 4 + length
        unpacked.write(_snappy_block(data[start:position], MAX_UNPACKED_BYTES - unpacked.tell()))
    return unpacked.getvalue()


def _snappy_block(block: memoryview, left: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(block) > left:
        raise UnpackedTooLarge
    return bytes(cramjam.snappy.decompress_raw(block))


def unpack_lz4(packed: Any) -> bytes:
    """The bytes of LZ4 frames."""
    return _into_room(cramjam.lz4.decompress_into, packed)


def unpack_zstd(packed: Any) -> bytes:
    """The bytes of zstd frames."""
    return _into_room(cramjam.zstd.decompress_into, packed)


def check_headers(data: bytes, position: int, end: int) -> None:
    """Check how many headers records have (Kafka's message format 2). The broker has checked their structure.

    Args:
        data: holds them.
        position: where they begin.
        end: where they end.

    Raises:
        TooManyHeaders: one has too many.
    """
    while position < end:
        length, begin = decode_varint(data, position)
        if length < 0:
            return  # aiokafka says what is wrong
        position = begin + length
        if length > MAX_HEADERS * MIN_HEADER_BYTES and _headers_of(data, begin) > MAX_HEADERS:
            raise TooManyHeaders


def _headers_of(data: bytes, position: int) -> int:
    """How many headers a record has that begins behind its length."""
    for _ in ("attributes", "time", "offset"):
        _, position = decode_varint(data, position)
    for _ in ("key", "value"):
        length, position = decode_varint(data, position)
        position += max(0, length)
    return int(decode_varint(data, position)[0])


def _into_room(unpack_into: Callable[[Any, bytearray], int], packed: Any) -> bytes:
    # A buffer costs time by its size, so the largest is only made for what does not fit into the usual one.
    size = min(max(USUAL_RATIO * len(packed), MIN_ROOM_BYTES), MAX_UNPACKED_BYTES)
    while True:
        room = bytearray(size)
        try:
            length = unpack_into(packed, room)
        except cramjam.DecompressionError as error:
            if str(error) != _OUT_OF_ROOM:
                raise
        else:
            return bytes(memoryview(room)[:length])
        if size == MAX_UNPACKED_BYTES:
            raise UnpackedTooLarge
        size = MAX_UNPACKED_BYTES


_UNPACK: Final = {
    "gzip_decode": _bounded(unpack_gzip),
    "snappy_decode": _bounded(unpack_snappy),
    "lz4_decode": _bounded(unpack_lz4),
    "zstd_decode": _bounded(unpack_zstd),
}


def _with_few_headers(unpack: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def unpack_with_few_headers(packed: Any) -> bytes:
        unpacked = unpack(packed)
        check_headers(unpacked, 0, len(unpacked))
        return unpacked

    return unpack_with_few_headers


def _teach() -> None:
    """Replace the functions in aiokafka's modules in Python, and in those in C, which an installation may lack."""
    in_use = (default_records.DefaultRecordBatch, legacy_records.LegacyRecordBatch)
    modules = {default_records, legacy_records, *(__import__(kind.__module__, fromlist=["_"]) for kind in in_use)}
    for module in modules:
        # Records of the older formats have no headers.
        has_headers = module.__name__.endswith(".default_records")
        for name, unpack in _UNPACK.items():
            if hasattr(module, name):
                setattr(module, name, _with_few_headers(unpack) if has_headers else unpack)


_teach()
