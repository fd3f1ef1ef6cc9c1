"""Requests on a real connection: sound ones cut and framed in any way, and damaged ones.

Sound ones have to arrive as they were sent, all of them and no others: their bodies hold requests too. Of damaged ones
nothing is asked but that the answers are the contract's, and that the server goes on.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from deploy.http.server import ManagedServer, bind, server_config
from tests.fuzz.runner import Check
from tests.unit.deploy.http.wire import Answer, echo, read_answers

NAME: Final = "heads"
HOST: Final = "127.0.0.1"
DAMAGED: Final = 0.5
"""Share of the cases that are damaged."""
REFUSALS: Final = {400: "VALIDATION", 405: "VALIDATION", 408: "VALIDATION", 431: "VALIDATION", 503: "INTERNAL"}
INNER: Final = b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n"
"""What a body holds that must not be read as a request."""

HEADERS: Final = (
    (),
    (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
    (b"upgrade: websocket", b"connection: keep-alive, Upgrade", b"Sec-WebSocket-Version: 13"),
    (b"Upgrade: h2c", b"Upgrade: TLS/1.3, foo/2", b"Connection: upgrade"),
    (b"Upgrade: h2c",),
    (b"Expect: 100-continue",),
    (b"X-Empty:", b"X-Blank:   ", b"X-Tab:\ta\tb"),
    (b"X-Latin: \xe9\xff",),
    (b"Connection: keep-alive",),
    (b"X-Long: " + b"a" * 5000,),
)
TRAILERS: Final = (b"", b"X-Trailer: a\r\n", b"Authorization: Bearer x\r\nX-Long: " + b"a" * 500 + b"\r\n")
GARBAGE: Final = (
    b"\r\n", b"\r", b"\n", b"\x00", b" ", b":", b"\xff", b"\x16\x03\x01", b"Content-Length: 7\r\n",
    b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"HTTP/1.1", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", INNER,
    b"a" * 70_000,
)  # fmt: skip


class Sent(NamedTuple):
    """A request, and what the application has to see of it."""

    method: str
    path: str
    body: bytes
    wire: bytes


@asynccontextmanager
async def target() -> AsyncIterator[Check]:
    """A server that answers with what it was asked."""
    with bind(HOST, 0) as listener:
        server = ManagedServer(server_config(echo, max_connections=100, stop_seconds=1))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        port = int(listener.getsockname()[1])
        try:
            yield lambda rng: _check(rng, port)
        finally:
            server.should_exit = True
            await serving


async def _check(rng: random.Random, port: int) -> str:
    requests = [_request(rng) for _ in range(rng.choice((1, 1, 2, 3, 5)))]
    damaged = rng.random() < DAMAGED
    wire = b"".join(request.wire for request in requests)
    end = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    written = await _exchange(rng, port, _damage(rng, wire) if damaged else wire + end, half_close=damaged)
    answers = [answer for answer in read_answers(written) if answer.status != 100]
    if damaged:
        return _check_damaged(answers)
    seen = [answer.json() for answer in answers]
    expected = [(request.method, request.path, request.body.decode("latin-1")) for request in requests]
    assert [(one["method"], one["path"], one["body"]) for one in seen] == [*expected, ("GET", "/end", "")]
    for one in seen:
        assert {"x-trailer", "authorization"}.isdisjoint(one["headers"]), "a trailer became a header"
    return "sound"


def _check_damaged(answers: list[Answer]) -> str:
    for place, answer in enumerate(answers):
        if answer.status == 200:
            continue
        assert answer.error == (answer.status, REFUSALS[answer.status])
        assert answer.headers["connection"] == "close"
        assert place == len(answers) - 1, "something was answered behind a refusal"
        return f"refused {answer.status}"
    return "not noticed" if answers else "cut"


async def _exchange(rng: random.Random, port: int, wire: bytes, *, half_close: bool) -> bytes:
    """Send in random segments; returns all that came back until the server closed."""
    reader, writer = await asyncio.open_connection(HOST, port)
    reading = asyncio.create_task(reader.read(-1))
    try:
        for segment in _segments(rng, wire):
            writer.write(segment)
            await writer.drain()
            await asyncio.sleep(0)
        if half_close:
            for _ in range(20):  # the server gets its turns before it hears that nothing follows
                await asyncio.sleep(0)
            with contextlib.suppress(RuntimeError):  # uvloop's, when the connection is closed already
                writer.write_eof()
        return await reading
    except ConnectionError:  # it was refused while there was more to send
        return b""
    finally:
        reading.cancel()
        writer.close()


def _segments(rng: random.Random, wire: bytes) -> list[bytes]:
    cuts = sorted(rng.randrange(len(wire) + 1) for _ in range(rng.choice((0, 0, 1, 1, 2, 8))))
    return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True) if start < end]


def _request(rng: random.Random) -> Sent:
    method, path = rng.choice(("GET", "POST", "PUT", "DELETE", "OPTIONS")), f"/{rng.randrange(10**9)}"
    body = rng.choice((b"", b"{}", INNER, INNER * 3, rng.randbytes(rng.randrange(300)), b"a" * rng.randrange(100_000)))
    lines = [f"{method} {path}{rng.choice(('', '?a=b', '?' + 'q' * 2000))} HTTP/1.1".encode(), b"Host: a"]
    lines += rng.choice(HEADERS)
    if rng.random() < 0.5:
        lines.append(b"Transfer-Encoding: chunked")
        framed = _chunks(rng, body)
    else:
        lines.append(b"Content-Length: %d" % len(body))
        framed = body
    return Sent(method, path, body, b"\r\n".join((*lines, b"", framed)))


def _chunks(rng: random.Random, body: bytes) -> bytes:
    pieces = []
    longest = rng.choice((1, 7, 4000, 100_000)) if len(body) < 1000 else 100_000
    while body:
        size = rng.randint(1, longest)
        piece, body = body[:size], body[size:]
        pieces.append(b"%x%b\r\n%b\r\n" % (len(piece), rng.choice((b"", b"", b";a=b")), piece))
    return b"".join((*pieces, b"0\r\n", rng.choice(TRAILERS), b"\r\n"))


def _damage(rng: random.Random, wire: bytes) -> bytes:
    damaged = bytearray(wire)
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(min(len(damaged), 500) + 1) if rng.random() < 0.8 else rng.randrange(len(damaged) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            damaged[place : place + 1] = rng.randbytes(1)
        elif kind == 1:
            del damaged[place : place + rng.randint(1, 20)]
        elif kind == 2:
            damaged[place:place] = rng.choice(GARBAGE)
        else:
            damaged[place:place] = damaged[place : place + rng.randint(1, 60)]
    return bytes(damaged)
