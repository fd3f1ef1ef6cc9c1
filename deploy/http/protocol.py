"""One HTTP/1.1 connection: uvicorn's protocol on httptools, with what it lacks.

- A request that asks for another protocol (`Upgrade`, RFC 9110 7.8) is answered as if it did not. The parser takes what
  follows such a head for bytes of the other protocol, so the head is parsed again without that header. uvicorn alone
  would drop the body, and read what comes in a second segment as a request.
- Nothing lasts for ever: a head, a body, an idle connection, an answer that the client does not take. A connection has
  one deadline for what it waits for, and one for its answer. `check`, called every second, enforces them: timers would
  cost each request two.
- Nothing grows without bound: heads, trailers, requests that are sent ahead, connections. When as many are open as may
  be, the one that has been idle longest makes room: else clients that do nothing would keep others out.
- An answer without a length ends with its connection for a client of HTTP/1.0, which knows no chunks (RFC 9112, 6.1).
  uvicorn would send chunks, and the client would take their heads for a part of the answer.
- Refusals are JSON and come behind the answers to earlier requests. After one, the connection is shut down for
  writing, and what still comes is thrown away until the client closes: closing at once would reset the connection,
  perhaps before the client has read the answer. So it is with any last answer that comes before the end of a body.
  uvicorn closes at once there, and a gateway that uses a connection for each request tells its client 502.
"""

import contextlib
import logging
import re
from asyncio import AbstractEventLoop, Transport
from math import inf
from typing import Any, Final, cast

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from deploy.http import refusals
from deploy.http.joined import JoinedWrites
from deploy.http.refusals import Refusal

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES: Final = 64 * 1024
"""Largest head of a request. The parser collects a header until it ends, so without this one connection could take all
memory."""
MAX_TRAILER_BYTES: Final = 64 * 1024
"""How much may come around the bytes of a body, in addition to `CHUNK_OVERHEAD` for each: trailers are collected as
headers are."""
CHUNK_OVERHEAD: Final = 6
"""Extra bytes of a chunk of one byte. With less, clients that send such chunks would be refused."""
MAX_PIPELINED: Final = 64
"""Requests of one connection that wait for the answers to earlier ones. Each costs some kilobytes, and one segment has
room for thousands."""
HEAD_SECONDS: Final = 10.0
"""How long a head may take. Without it, clients that send nothing hold connections until none is left."""
BODY_SECONDS: Final = 60.0
"""How long a body may take, for applications without a deadline of their own: without it a client that sends a byte now
and then holds its connection for ever."""
DRAIN_SECONDS: Final = 10.0
"""How long the rest of a body is read after the request was answered. Longer would let clients send for ever; not at
all would reset connections whose answer has not been read."""
LINGER_SECONDS: Final = 2.0
"""How long a refused client may take to close its end."""
WRITE_SECONDS: Final = 10.0
"""How long a client may take for `MIN_WRITE_BYTES` of an answer. Then the connection is aborted: closing it waits until
the client has read everything, with the answer in memory."""
MIN_WRITE_BYTES: Final = 64 * 1024
"""A client that takes less in `WRITE_SECONDS` counts as not reading. Any useful connection is faster than 6 KiB/s."""
MIN_IDLE_SECONDS: Final = 1.0
"""How long a connection must have been idle to make room for a new one when the cap is reached. Without it, a burst of
clients would close the connections of those that are between two requests."""
SPARE_CONNECTIONS: Final = 64
"""Connections above the cap whose requests are answered 503. One more is dropped at once, since refusals need file
descriptors too."""
OVERLOADED_SECONDS: Final = 2.0
"""How long a head may take on a connection above the cap."""
PROBES: Final = frozenset({"/livez", "/readyz", "/metrics", "/_healthcheck"})
"""Answered above the cap too: an orchestrator would restart a process that is merely busy."""

_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: |$)")
"""What a method looks like (RFC 9110, 9.1)."""


class Limits:
    """What the connections of one server share.

    Args:
        max_connections: most that are open at once.
        keep_alive_seconds: how long a connection may be idle between two requests.
    """

    def __init__(self, max_connections: int, keep_alive_seconds: float):
        self.max_connections = max_connections
        self.keep_alive_seconds = keep_alive_seconds
        self.refused_connections = 0
        """How many were above the cap so far."""
        self.idle: dict[Protocol, float] = {}
        """Connections that wait for a request, and since when. The first has waited longest."""
        self.displaced_connections = 0
        """How many of them were closed to make room so far."""

    def make_room(self, now: float) -> bool:
        """Close the connection that has been idle longest; whether there was one.

        Args:
            now: time of the event loop.
        """
        while self.idle:
            connection, since = next(iter(self.idle.items()))
            if now - since < MIN_IDLE_SECONDS:
                break
            del self.idle[connection]
            if not connection.transport.get_write_buffer_size():  # else closing would wait for its client to read
                connection.transport.close()
                self.displaced_connections += 1
                return True
        return False


class _Refused(Exception):
    """Raised into the parser, which stops then."""

    def __init__(self, refusal: Refusal):
        super().__init__()
        self.refusal = refusal


class Protocol(HttpToolsProtocol):
    """A connection. What is not described here is as in uvicorn."""

    limits = Limits(max_connections=1024, keep_alive_seconds=5.0)

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._in_head = True
        """Whether a head is being read; else a body is."""
        self._head_bytes = 0
        """Received since the head began; 1 if that was in the middle of a segment."""
        self._head_begun = False
        """Whether the parser has something of it."""
        self._held_bytes = 0
        """Most that the parser may have of a head that began in the middle of a segment."""
        self._head_seconds = HEAD_SECONDS
        self._body_bytes = 0
        self._body_wire_bytes = 0
        """Received since the head ended: the body with its chunks' heads and its trailers."""
        self._running: RequestResponseCycle | None = None
        """The request that is being answered."""
        self._writes: JoinedWrites | None = None
        """What its answer writes."""
        self._refusal: Refusal | None = None
        """To be answered once nothing runs."""
        self._deaf = False
        """Whether what comes is thrown away."""
        self._last = False
        """Whether the answer was the last one, and more of its request's body comes."""
        self._deadline = inf
        self._write_deadline = inf
        self._write_goal = 0

    # The connection

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Take the connection, as far as the cap allows."""
        super().connection_made(transport)
        now = self.loop.time()
        above = len(self.connections) - self.limits.max_connections
        if above > 0 and not self.limits.make_room(now):
            self.limits.refused_connections += 1
            self._head_seconds = OVERLOADED_SECONDS
            self.app = _Overloaded(self.app)
            if above > SPARE_CONNECTIONS:
                transport.abort()
        else:
            self.limits.idle[self] = now
        self._deadline = now + self._head_seconds

    def connection_lost(self, exc: Exception | None) -> None:
        """End all its requests."""
        self.limits.idle.pop(self, None)
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close it, or let the request under way be the last."""
        if self._deaf:
            self.transport.close()
        else:
            super().shutdown()

    def check(self, now: float) -> None:
        """Enforce the deadlines.

        Args:
            now: time of the event loop.
        """
        if self.flow.write_paused or self.transport.is_closing():
            self._check_write(now)
        elif now >= self._deadline:
            self._expire(now)

    @property
    def unread_bytes(self) -> int:
        """How much of an answer is in memory because the client does not take it."""
        return self.transport.get_write_buffer_size() if self.flow.write_paused or self.transport.is_closing() else 0

    @property
    def head_bytes(self) -> int:
        """How much of a head that is not complete is in memory."""
        return self._head_bytes + self._held_bytes if self._in_head and not self._deaf else 0

    @property
    def body_bytes(self) -> int:
        """How much of a body that is not complete is in memory."""
        is_kept = not self._in_head and not self._deaf and not self.cycle.response_complete
        return self._body_bytes if is_kept else 0

    @property
    def write_deadline(self) -> float:
        """Until when the client has to take more of its answer; the earliest has been waited for longest."""
        return self._write_deadline

    def _expire(self, now: float) -> None:
        if self._running is not None and (self._in_head or self._running is not self.cycle):
            self._deadline = now + HEAD_SECONDS  # nothing is read while earlier requests run
        elif self._deaf or (not self._in_head and self.cycle.response_complete):
            self.transport.abort()
        elif not self._in_head:
            self._refuse(refusals.BODY_TOO_SLOW)
        elif self._head_bytes:
            self._refuse(refusals.HEAD_TOO_SLOW)
        else:
            self.transport.close()

    def _check_write(self, now: float) -> None:
        left = self.transport.get_write_buffer_size()
        if now < self._write_deadline < inf:
            return
        if self._write_deadline < inf and left > self._write_goal:
            logger.info("connection aborted: the client does not read its answer, %d bytes were left", left)
            self.transport.abort()
            return
        self._write_deadline = now + WRITE_SECONDS
        self._write_goal = max(0, left - MIN_WRITE_BYTES)

    def resume_writing(self) -> None:
        """The client has taken nearly all that was written."""
        self._write_deadline = inf
        super().resume_writing()

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._deaf:
            return
        received = data
        if not self._in_head:
            self._body_wire_bytes += len(data)
        elif not self._head_bytes:
            self._head_bytes = len(data)
            self._deadline = inf
        else:
            self._head_bytes += len(data)
        try:
            while data:
                data = self._parse(data)
        except _Refused as refused:
            self._refuse(refused.refusal)
        else:
            if self._head_begun and not self._head_bytes:
                self._head_bytes = 1
                self._held_bytes = len(received) - (received.rfind(b"\r\n\r\n") + 1)
            self._check_size()

    def _parse(self, data: bytes) -> bytes:
        """Parse; returns what is to be parsed next.

        Raises:
            _Refused: with what the client is told.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._head_without_upgrade() + data[upgrade.args[0] :]
        except httptools.HttpParserInvalidMethodError:
            raise _Refused(refusals.UNKNOWN_METHOD if _METHOD.match(data) else refusals.MALFORMED) from None
        except httptools.HttpParserInvalidURLError:
            raise _Refused(refusals.MALFORMED_URL) from None
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _Refused):  # by one of the callbacks below
                raise error.__context__ from None
            raise _Refused(refusals.MALFORMED) from None
        return b""

    def _head_without_upgrade(self) -> bytes:
        """The head that was just parsed, for a new parser."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            raise _Refused(refusals.UNKNOWN_METHOD)
        lines = [b"%b %b HTTP/%b" % (method, self.url, version.encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"\r\n".join((*lines, b"", b""))

    def _check_size(self) -> None:
        """What is incomplete is bounded in bytes and time."""
        if self._in_head:
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(refusals.HEAD_TOO_LARGE)
            elif self._head_bytes and self._deadline == inf:
                self._deadline = self.loop.time() + self._head_seconds
        elif self._body_wire_bytes > MAX_TRAILER_BYTES + CHUNK_OVERHEAD * self._body_bytes:
            self._refuse(refusals.HEAD_TOO_LARGE)
        elif self._deadline == inf:
            self._deadline = self.loop.time() + BODY_SECONDS

    # What the parser calls

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self.limits.idle.pop(self, None)
        self._head_begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers are ignored, as nobody here has asked for any."""
        if self._in_head:
            # White space behind a value is no part of it (RFC 9110, 5.5). The parser only takes away what is before it.
            super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """A request begins, unless its head has to be parsed again."""
        if self.parser.should_upgrade():
            return
        if self._head_bytes > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            raise _Refused(refusals.HEAD_TOO_LARGE)
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _Refused(refusals.TOO_MANY_REQUESTS_AHEAD)
        if self.parser.get_http_version() == "1.0" and any(name == b"transfer-encoding" for name, _ in self.headers):
            # HTTP/1.0 has no chunks, so a proxy in front may see the end of the body elsewhere (RFC 9112, 6.1).
            raise _Refused(refusals.MALFORMED)
        super().on_headers_complete()
        self._in_head = self._head_begun = False
        self._held_bytes = 0
        self._body_bytes = self._body_wire_bytes = 0
        self._deadline = inf

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._body_bytes += len(body)
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """A request is complete; the next one may follow."""
        if self.parser.should_upgrade():
            return
        self._in_head = True
        self._head_bytes = 0
        if self.cycle.response_complete:
            self._rest()
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()

    # What goes out

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        self._writes = JoinedWrites(self.transport, self.loop, self._close)
        cycle.transport = cast(Transport, self._writes)  # of which it uses nothing else
        if cycle.scope["http_version"] == "1.0":
            app = _WithoutChunks(app, cycle)
            cycle.waiting_for_100_continue = False  # RFC 9110, 10.1.1: it would be taken for the answer
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """A request was answered; go on with what has come meanwhile."""
        self.server_state.total_requests += 1
        self._running = None
        self._flush()  # the answer to a HEAD has no second piece
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._deaf:
            self._hang_up()
        elif self._last:
            self._hang_up()
            self._deadline = self.loop.time() + DRAIN_SECONDS
        elif self._in_head and self._head_bytes:
            self._deadline = self.loop.time() + self._head_seconds
        elif self._in_head:
            self._rest()
        elif self.expect_100_continue and not self._body_bytes:
            self._hang_up()  # nobody knows whether the body or another request comes next
        else:
            self._deadline = self.loop.time() + DRAIN_SECONDS

    def _rest(self) -> None:
        """Wait for the next request."""
        now = self.loop.time()
        self._deadline = now + self.limits.keep_alive_seconds
        self.limits.idle[self] = now

    def _close(self) -> None:
        """Close it behind the answer, at once unless its request's body is still on its way."""
        if self._in_head or self._running is not self.cycle or not self.cycle.response_complete:
            self.transport.close()
        else:
            self._last = True

    def _flush(self) -> None:
        if self._writes is not None:
            self._writes.flush()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer the request that is being read, behind the earlier ones, and hang up."""
        self._deaf = True
        self._deadline = inf
        self._refusal = refusal
        self.limits.idle.pop(self, None)
        if not self._in_head:
            if self.pipeline:
                self.pipeline.popleft()
            elif self.cycle.response_started:
                self._refusal = None
            else:
                # Its application sees that the client has gone, and whatever it answers goes nowhere.
                self.cycle.disconnected = True
                self.cycle.message_event.set()
                self._running = None
        if self._running is None:
            self._hang_up()

    def _hang_up(self) -> None:
        """Send the refusal, if there is one, and wait for the client to close."""
        self._deaf = True
        self._flush()  # a `100 Continue` comes before the refusal of its body
        if self._refusal is not None:
            self.transport.write(self._refusal.encode())
        with contextlib.suppress(RuntimeError):  # uvloop's, when the connection has just been lost
            self.transport.write_eof()  # a half-close, so that the client sees the end of the answer
        self.flow.resume_reading()
        self._deadline = self.loop.time() + LINGER_SECONDS


class _WithoutChunks:
    """Lets an answer without a length end with its connection."""

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle):
        self._app = app
        self._cycle = cycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle, has_length = self._cycle, True

        async def send_whole(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
                cycle.chunked_encoding = None if has_length else False
            elif not has_length:
                cycle.expected_content_length = len(message.get("body", b""))  # each piece is all that is expected
            await send(message)

        await self._app(scope, receive, send_whole)


class _Overloaded:
    """Refuses all requests but those of probes."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app if scope["path"] in PROBES else refusals.OVERLOADED
        await app(scope, receive, send)
