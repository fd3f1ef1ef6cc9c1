"""A connection of our HTTP server without a network: what the client sends goes in in the segments that a test says.

wire = connect(echo)
wire.send(b"GET / …", b"…")
assert [answer.status for answer in await wire.answers()] == [200]
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import httptools
import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from deploy.http.protocol import Protocol
from deploy.http.server import server_config


class Answer(NamedTuple):
    """One answer as a client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of an error, which is JSON and nothing else."""
        assert self.headers["content-type"] == "application/json"
        value = self.json()
        assert set(value) == {"errorCode", "errorMessage"}
        assert value["errorMessage"]
        return self.status, value["errorCode"]


class _Reader:
    """Reads answers out of what was written; the parser calls it."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.answers.append(Answer(self.parser.get_status_code(), self._headers, self._body))


def read_answers(written: bytes) -> list[Answer]:
    """All answers in what a server wrote; `100 Continue` is one of them."""
    reader = _Reader()
    reader.parser.feed_data(written)
    return reader.answers


class Wire(asyncio.Transport):
    """The transport of a connection, and its client's end."""

    def __init__(self, protocol: Protocol):
        super().__init__()
        self.protocol = protocol
        self.written = b""
        self.pieces: list[bytes] = []
        """What was written, call by call."""
        self.unread = 0
        """Bytes that were written and not taken by the client."""
        self.closing = self.aborted = self.lost = self.half_closed = self.reading_paused = False
        protocol.connection_made(self)

    # The client's end

    def send(self, *segments: bytes) -> None:
        """Send segments, one by one."""
        for segment in segments:
            self.protocol.data_received(segment)

    async def settle(self) -> None:
        """Let the application do all it can."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def answers(self) -> list[Answer]:
        """All answers so far."""
        await self.settle()
        return read_answers(self.written)

    async def answer(self) -> Answer:
        """The only answer."""
        (answer,) = await self.answers()
        return answer

    def after(self, seconds: float) -> None:
        """So much later the deadlines are looked at."""
        self.protocol.check(self.protocol.loop.time() + seconds)

    def is_open(self) -> bool:
        """Whether the server keeps the connection for more requests."""
        return not (self.closing or self.half_closed)

    def was_aborted(self) -> bool:
        """Whether the server cut it off, with whatever was not read."""
        return self.aborted

    # What the server calls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)
        self.pieces.append(bytes(data))

    def write_eof(self) -> None:
        self.half_closed = True

    def close(self) -> None:
        self.closing = True
        if not self.unread:
            self._lose()

    def abort(self) -> None:
        self.closing = self.aborted = True
        self.unread = 0
        self._lose()

    def _lose(self) -> None:
        # Once, as asyncio does: the protocol then closes its connection once more.
        if not self.lost:
            self.lost = True
            self.protocol.loop.call_soon(self.protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unread

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it got, after it has the whole body."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    names = sorted({name.decode() for name, _ in scope["headers"]})
    seen = {"method": scope["method"], "path": scope["path"], "headers": names, "body": body.decode("latin-1")}
    content = msgspec.json.encode(seen)
    length = (b"content-length", b"%d" % len(content))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": content})


def connector(
    app: ASGIApp = echo, state: ServerState | None = None, *, max_connections: int = 100
) -> Callable[[], Wire]:
    """Makes new connections to one server with this application."""
    config = server_config(app, max_connections=max_connections, stop_seconds=1)
    config.load()
    kind: Any = config.http_protocol_class
    shared = state or ServerState()
    return lambda: Wire(kind(config=config, server_state=shared, app_state={}, _loop=asyncio.get_running_loop()))


def connect(app: ASGIApp = echo, state: ServerState | None = None, *, max_connections: int = 100) -> Wire:
    """A new connection to a server with this application."""
    return connector(app, state, max_connections=max_connections)()


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """A list in pieces that the client has to take."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(4):
        await send({"type": "http.response.body", "body": b"a" * 1_000_000, "more_body": True})
    await send({"type": "http.response.body"})


def stalled(bytes_unread: int) -> Wire:
    """A connection whose client takes nothing of a large answer any more."""
    wire = connect(large)
    wire.send(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
    wire.unread = bytes_unread
    wire.protocol.pause_writing()
    return wire
