"""Server-sent events as a client reads them (HTML standard, 9.2.6)."""

from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import msgspec

from schemas.stack.errors import NoAnswer

EVENT_STREAM: Final = "text/event-stream"
MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""Longest message that is read; an instance with its workflow has at most a few megabytes. Without the limit, whatever
answers there could fill the memory."""


class NoStream(Exception):
    """The server has no such stream.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int):
        super().__init__(f"there is no stream: HTTP {status}")
        self.status = status


class ServerEvent(NamedTuple):
    """A message."""

    event: str
    data: str
    id: str
    """Of the last message that had one."""

    def json(self) -> object:
        """The data; None if they are not JSON."""
        try:
            return msgspec.json.decode(self.data)
        except msgspec.DecodeError:
            return None


async def read_events(pieces: AsyncIterator[bytes]) -> AsyncIterator[ServerEvent]:
    """The messages of a stream as they come. One that is cut off by the end is left out.

    Args:
        pieces: of the text, cut anywhere.

    Raises:
        NoAnswer: a message is too large.
    """
    event, id, data, size = "", "", list[str](), 0
    async for line in _lines(pieces):
        size += len(line)
        if size > MAX_EVENT_BYTES:
            raise NoAnswer("a message of the stream is too large")
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield ServerEvent(event or "message", "\n".join(data), id)
            event, data, size = "", [], 0
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            id = value


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines without their ends: LF, CR LF or CR."""
    rest, after_cr = bytearray(), False
    async for piece in pieces:
        if after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
        after_cr = piece.endswith(b"\r") if piece else after_cr
        rest += piece
        if len(rest) > MAX_EVENT_BYTES:
            raise NoAnswer("a message of the stream is too large")
        if b"\n" in piece or b"\r" in piece:
            *whole, last = bytes(rest).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            rest = bytearray(last)
            for line in whole:
                yield line
