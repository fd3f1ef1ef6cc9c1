"""Connections: heads and bodies in any segments, headers that ask for another protocol, limits, refusals."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from deploy.http import protocol as limits
from deploy.http.server import KEEP_ALIVE_SECONDS
from tests.unit.deploy.http.wire import Wire, connect, connector, echo, read_answers, stalled

GET = b"GET /%d HTTP/1.1\r\nHost: api\r\n\r\n"
BODY = b'{"who":"alice"}'


def post(*headers: bytes, body: bytes = BODY, path: bytes = b"/") -> bytes:
    """A request with a body whose length is declared."""
    lines = [b"POST %b HTTP/1.1" % path, b"Host: api", *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join((*lines, b"", body))


def chunked(*headers: bytes) -> bytes:
    lines = [b"POST / HTTP/1.1", b"Host: api", *headers, b"Transfer-Encoding: chunked"]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (BODY[:4], BODY[4:]))
    return b"\r\n".join((*lines, b"", chunks + b"0\r\n\r\n"))


def splits(request: bytes) -> Iterator[tuple[bytes, ...]]:
    """The request whole, in two segments cut at every place, and byte by byte."""
    yield (request,)
    for place in range(1, len(request)):
        yield request[:place], request[place:]
    yield tuple(request[i : i + 1] for i in range(len(request)))


UPGRADES = [
    (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
    (b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Upgrade: h2c, websocket", b"Connection: keep-alive, Upgrade"),
    (b"Upgrade: TLS/1.3", b"Upgrade: h2c", b"Connection: Upgrade", b"Connection: keep-alive"),
    (b"upgrade: h2c", b"connection: UPGRADE"),
    (b"Upgrade: h2c",),  # without Connection it means nothing
]


@pytest.mark.parametrize("make", [post, chunked])
@pytest.mark.parametrize("headers", UPGRADES)
async def test_a_request_that_asks_for_another_protocol_keeps_its_body(
    make: object, headers: tuple[bytes, ...]
) -> None:
    request = (post if make is post else chunked)(*headers)
    for segments in splits(request):
        wire = connect()
        wire.send(*segments, GET % 2)
        first, second = await wire.answers()
        assert first.json()["method"] == "POST"
        assert first.json()["body"] == BODY.decode(), segments
        assert second.json()["path"] == "/2"
        assert wire.is_open()


async def test_a_body_is_never_read_as_a_request() -> None:
    wire = connect()
    inner = b"GET /metrics HTTP/1.1\r\nHost: api\r\n\r\n"
    request = post(*UPGRADES[0], body=inner)
    wire.send(request[: -len(inner)], inner)
    assert (await wire.answer()).json()["body"] == inner.decode()


async def test_many_requests_that_ask_for_another_protocol_in_one_segment() -> None:
    wire = connect()
    wire.send(b"".join(post(*UPGRADES[0], path=b"/%d" % n) for n in range(40)))
    answers = [answer.json() for answer in await wire.answers()]
    assert [answer["path"] for answer in answers] == [f"/{n}" for n in range(40)]
    assert {answer["body"] for answer in answers} == {BODY.decode()}
    assert "upgrade" not in answers[0]["headers"]


@pytest.mark.parametrize("headers", [(), UPGRADES[0]])
async def test_a_client_that_waits_for_100_continue_gets_it(headers: tuple[bytes, ...]) -> None:
    wire = connect()
    request = post(*headers, b"Expect: 100-continue")
    wire.send(request[: -len(BODY)])
    await wire.settle()
    assert wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(BODY)
    await wire.settle()
    assert read_answers(wire.written.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))[0].json()["body"] == BODY.decode()
    assert wire.is_open()


async def test_white_space_around_a_value_is_no_part_of_it() -> None:
    request = post(b"Idempotency-Key:\t k 1 \t ", b"Empty: \t", *UPGRADES[0])
    for segments in ((request,), tuple(b"%c" % byte for byte in request)):
        seen: list[tuple[bytes, bytes]] = []

        async def look(scope: Scope, receive: Receive, send: Send, seen: list[tuple[bytes, bytes]] = seen) -> None:
            seen += scope["headers"]
            await echo(scope, receive, send)

        wire = connect(look)
        wire.send(*segments)
        assert (await wire.answer()).status == 200
        assert {(b"idempotency-key", b"k 1"), (b"empty", b"")} <= {*seen}


@pytest.mark.parametrize("headers", [(), UPGRADES[0]])
async def test_http_1_0_has_no_chunks(headers: tuple[bytes, ...]) -> None:
    for version, status in ((b"HTTP/1.1", 200), (b"HTTP/1.0", 400)):
        wire = connect()
        wire.send(chunked(*headers).replace(b"HTTP/1.1", version, 1))
        assert (await wire.answer()).status == status


async def test_100_continue_with_white_space_behind_it() -> None:
    wire = connect()
    wire.send(post(b"Expect: 100-continue ")[: -len(BODY)])
    await wire.settle()
    assert wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(BODY)
    await wire.settle()


async def test_an_answer_goes_out_in_one_piece() -> None:
    wire = connect()
    wire.send(GET % 1, GET % 2, post())
    await wire.settle()
    assert [len(read_answers(piece)) for piece in wire.pieces] == [1, 1, 1]
    assert wire.is_open()


async def test_a_head_without_a_body_goes_out_before_the_next_answer_and_before_the_end() -> None:
    wire = connect()
    wire.send(b"HEAD / HTTP/1.1\r\nHost: api\r\n\r\n", b"GET /2 HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n")
    await wire.settle()
    head, answer = wire.pieces
    assert head.endswith(b"\r\n\r\n")
    assert read_answers(answer)[0].json()["path"] == "/2"
    wire = connect()
    wire.send(b"HEAD / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n")
    await wire.settle()
    (head,) = wire.pieces
    assert head.endswith(b"connection: close\r\n\r\n")
    assert not wire.is_open()


async def test_what_an_answer_began_with_comes_before_a_refusal() -> None:
    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        body = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        wire.after(limits.BODY_SECONDS + 1)
        await body

    wire = connect(reading)
    wire.send(post(b"Expect: 100-continue")[: -len(BODY)])
    assert [answer.status for answer in await wire.answers()] == [100, 408]


async def test_a_head_does_not_wait_for_a_body_that_takes_long() -> None:
    goes_on = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await goes_on.wait()
        for body in (b"a", b"b"):
            await send({"type": "http.response.body", "body": body, "more_body": body == b"a"})

    wire = connect(slow)
    wire.send(GET % 1)
    await wire.settle()
    assert len(wire.pieces) == 1
    assert wire.pieces[0].endswith(b"\r\n\r\n")
    goes_on.set()
    assert (await wire.answer()).body == b"ab"


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def test_a_body_that_was_not_asked_for_is_not_waited_for() -> None:
    wire = connect(refusing)
    wire.send(post(b"Expect: 100-continue")[: -len(BODY)])
    assert (await wire.answer()).status == 413
    assert not wire.is_open(), "what comes next may be the body or another request"
    wire.send(GET % 1)
    assert len(await wire.answers()) == 1


# Malformed requests


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (b"BREW /workflows HTTP/1.1\r\nHost: api\r\n\r\n", 405),
        (b"get / HTTP/1.1\r\nHost: api\r\n\r\n", 405),
        (b"CONNECT api:80 HTTP/1.1\r\nHost: api\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"GET http:// HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n : a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ],
)
async def test_malformed_requests_are_refused_in_json(request_: bytes, error: int) -> None:
    wire = connect()
    wire.send(request_)
    answer = await wire.answer()
    assert answer.error == (error, "VALIDATION")
    assert answer.headers["connection"] == "close"
    assert ("allow" in answer.headers) == (error == 405)
    assert wire.half_closed
    wire.send(GET % 1)
    assert len(await wire.answers()) == 1
    wire.after(limits.LINGER_SECONDS)
    assert wire.was_aborted(), "the client has not closed its end"


@pytest.mark.parametrize("target", ["/é", "/a?name=Zürich"])
async def test_a_url_that_is_not_ascii_is_refused_with_a_hint(target: str) -> None:
    wire = connect()
    wire.send(f"GET {target} HTTP/1.1\r\nHost: api\r\n\r\n".encode())
    answer = await wire.answer()
    assert answer.error == (400, "VALIDATION")
    assert "percent-encoded" in answer.json()["errorMessage"]


async def test_a_refusal_comes_behind_the_answers_to_earlier_requests() -> None:
    wire = connect()
    wire.send(GET % 1 + GET % 2 + b"BREW / HTTP/1.1\r\n\r\n" + GET % 3)
    answers = await wire.answers()
    assert [answer.status for answer in answers] == [200, 200, 405]
    assert not wire.is_open()


async def test_a_broken_body_ends_the_request_that_waits_for_it() -> None:
    wire = connect()
    wire.send(GET % 1, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n")
    await wire.settle()
    wire.send(b"not a chunk\r\n")
    answers = await wire.answers()
    assert [answer.status for answer in answers] == [200, 400]
    assert not wire.is_open()


async def test_a_broken_body_of_a_request_behind_another() -> None:
    go = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await refusing(scope, receive, send)

    wire = connect(slow)
    wire.send(GET % 1 + b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
    await wire.settle()
    go.set()
    assert [answer.status for answer in await wire.answers()] == [413, 400]


async def test_trailers_are_not_headers() -> None:
    """Also not of the next request."""
    wire = connect()
    request = chunked().removesuffix(b"\r\n") + b"Authorization: Bearer x\r\nIdempotency-Key: k\r\n\r\n"
    wire.send(request, GET % 2)
    first, second = await wire.answers()
    assert first.json()["headers"] == ["host", "transfer-encoding"]
    assert second.json()["headers"] == ["host"]


# Bounds


def pieces(header: bytes, piece: bytes) -> Iterator[bytes]:
    yield b"GET / HTTP/1.1\r\n" + header
    while True:
        yield piece


@pytest.mark.parametrize(
    "endless",
    [
        (b"GET /", b"a" * 999),
        (b"GET / HTTP/1.1\r\nX: ", b"a" * 999),
        (b"GET / HTTP/1.1\r\n", b"x: y\r\n" * 99),
        (b"GET / HTTP/1.1\r\n", b"x" * 999),
        (b"", b"\r\n" * 99),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * 999),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 999),
    ],
)
async def test_heads_and_trailers_are_bounded(endless: tuple[bytes, bytes]) -> None:
    wire = connect()
    start, piece = endless
    wire.send(start) if start else None
    sent = 0
    while not wire.written:
        wire.send(piece)
        sent += len(piece)
        assert sent <= 66_000
        await asyncio.sleep(0)
    assert (await wire.answer()).error == (431, "VALIDATION")
    assert not wire.is_open()


@pytest.mark.parametrize(("size", "status"), [(limits.MAX_HEAD_BYTES - 100, 200), (limits.MAX_HEAD_BYTES + 1, 431)])
async def test_a_head_may_be_large_but_not_too_large(size: int, status: int) -> None:
    """In one segment, so that only its sum tells."""
    wire = connect()
    wire.send(post(b"X: " + b"a" * size, body=b"b" * 1000))
    assert (await wire.answer()).status == status


async def test_a_body_in_the_smallest_chunks_is_read() -> None:
    wire = connect()
    wire.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    await wire.settle()
    for _ in range(40):
        wire.send(b"1\r\nx\r\n" * 1000)
        await wire.settle()
    wire.send(b"0\r\n\r\n")
    assert len((await wire.answer()).json()["body"]) == 40_000


async def test_requests_ahead_are_bounded() -> None:
    wire = connect()
    wire.send(b"".join(GET % n for n in range(1000)))
    for _ in range(20):
        await wire.settle()
    answers = read_answers(wire.written)
    assert [answer.status for answer in answers] == [200] * (limits.MAX_PIPELINED + 1) + [503]
    assert answers[-1].headers["retry-after"] == "1"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a"])
async def test_a_head_has_a_deadline(sent: bytes) -> None:
    wire = connect()
    if sent:
        wire.send(sent)
    wire.after(9.9)
    assert wire.is_open()
    wire.after(10.1)
    assert not wire.is_open()
    if sent:
        assert (await wire.answer()).error == (408, "VALIDATION")


async def test_a_head_that_begins_behind_another_request_has_a_deadline() -> None:
    wire = connect()
    wire.send(GET % 1 + b"GET / HTTP/1.1\r\nX: " + b"x" * 100)
    assert (await wire.answer()).status == 200
    wire.after(limits.HEAD_SECONDS - 0.1)
    assert wire.is_open()
    wire.after(limits.HEAD_SECONDS + 0.1)
    assert [answer.status for answer in await wire.answers()] == [200, 408]


async def test_the_deadline_of_a_head_is_not_put_off_by_more_of_it() -> None:
    wire = connect()
    wire.send(GET % 1)
    assert (await wire.answer()).status == 200
    wire.send(b"GET / HTTP/1.1\r\n")
    wire.after(limits.HEAD_SECONDS - 0.1)
    wire.send(b"Host: a\r\n")
    wire.after(limits.HEAD_SECONDS + 0.1)
    assert [answer.status for answer in await wire.answers()] == [200, 408]


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    wire = connect()
    wire.send(GET % 1)
    assert (await wire.answer()).status == 200
    wire.after(KEEP_ALIVE_SECONDS - 0.1)
    assert wire.is_open()
    wire.after(KEEP_ALIVE_SECONDS + 0.1)
    assert wire.closing
    assert len(read_answers(wire.written)) == 1


async def test_a_body_has_a_deadline() -> None:
    wire = connect()
    wire.send(post()[:-1])
    await wire.settle()
    wire.after(limits.BODY_SECONDS - 0.1)
    assert wire.written == b""
    wire.after(limits.BODY_SECONDS + 0.1)
    assert (await wire.answer()).error == (408, "VALIDATION")


async def test_the_rest_of_a_body_after_its_answer_has_a_deadline() -> None:
    wire = connect(refusing)
    wire.send(post()[:-5])
    assert (await wire.answer()).status == 413
    wire.send(BODY[-5:-3])
    assert wire.is_open()
    wire.after(limits.DRAIN_SECONDS + 0.1)
    assert wire.was_aborted()
    await wire.settle()

    wire = connect(refusing)
    wire.send(post()[:-5])
    await wire.settle()
    wire.send(BODY[-5:], GET % 1)
    assert len(await wire.answers()) == 2, "a client that sends the rest goes on"


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_a_last_answer_before_the_end_of_the_body_is_not_lost(version: bytes) -> None:
    """As gateways send it that use a connection for each request, which nginx does by default."""
    request = post(b"Connection: close").replace(b"HTTP/1.1", version)
    wire = connect(refusing)
    wire.send(request[:-5])
    assert (await wire.answer()).status == 413
    assert wire.half_closed, "the client sees the end of the answer"
    assert not wire.closing, "a close would reset the connection when the rest comes"
    wire.send(BODY[-5:], GET % 1)
    assert len(await wire.answers()) == 1, "what comes behind the last answer is thrown away"
    wire.after(limits.DRAIN_SECONDS - 0.1)
    assert not wire.closing
    wire.after(limits.DRAIN_SECONDS + 0.1)
    assert wire.was_aborted()

    wire = connect(refusing)
    wire.send(request)
    assert (await wire.answer()).status == 413
    assert wire.closing, "nothing more comes"


async def test_a_request_that_runs_has_no_deadline_here() -> None:
    go = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await refusing(scope, receive, send)

    wire = connect(slow)
    wire.send(post(), GET[:10])
    await wire.settle()
    wire.after(1000)
    assert wire.written == b""
    assert wire.is_open()
    go.set()
    assert (await wire.answer()).status == 413


async def test_connections_are_capped() -> None:
    state = ServerState()
    first = [connect(state=state, max_connections=2) for _ in range(2)]
    one_more = connect(state=state, max_connections=2)
    one_more.send(post())
    answer = await one_more.answer()
    assert answer.error == (503, "INTERNAL")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["connection"] == "close"
    assert one_more.closing
    for path in (b"/livez", b"/readyz", b"/metrics"):
        probe = connect(state=state, max_connections=2)
        probe.send(b"GET %b HTTP/1.1\r\n\r\n" % path)
        assert (await probe.answer()).status == 200
        probe.close()
        await probe.settle()
    silent = [connect(state=state, max_connections=2) for _ in range(limits.SPARE_CONNECTIONS + 1)]
    assert [wire.was_aborted() for wire in silent] == [False] * limits.SPARE_CONNECTIONS + [True]
    silent[0].send(b"GET")
    for wire in silent:
        wire.after(limits.OVERLOADED_SECONDS + 0.1)
        assert not wire.is_open()
    for wire in first:
        wire.send(GET % 1)
        assert (await wire.answer()).status == 200


async def test_the_connection_that_is_idle_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    go = asyncio.Event()

    async def until_told(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await go.wait()
        await echo(scope, receive, send)

    new = connector(until_told, max_connections=5)
    wires = [new() for _ in range(5)]
    silent, busy, begun, answered, unread = wires
    busy.send(b"GET /slow HTTP/1.1\r\n\r\n")
    begun.send((GET % 1)[:10])
    answered.send(GET % 1)
    unread.send(GET % 1)
    assert (await answered.answer()).status == 200
    assert (await unread.answer()).status == 200
    unread.unread = 1
    now = silent.protocol.loop.time()
    monkeypatch.setattr(silent.protocol.loop, "time", lambda: now)

    async def one_more() -> int:
        wire = new()
        wire.send(post())
        status = (await wire.answer()).status
        wires.append(wire)
        return status

    assert await one_more() == 503  # nobody is idle for long enough
    await wires[-1].settle()
    now += limits.MIN_IDLE_SECONDS
    assert await one_more() == 200
    assert [wire.is_open() for wire in wires[:5]] == [False, True, True, True, True]
    assert await one_more() == 200
    assert [wire.is_open() for wire in wires[:5]] == [False, True, True, False, True]
    assert await one_more() == 503
    assert unread.is_open()  # to close it would wait for its client
    go.set()
    assert (await busy.answer()).status == 200
    begun.send((GET % 1)[10:])
    assert (await begun.answer()).status == 200


# Clients that do not read


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    wire = stalled(1_000_000)
    await wire.settle()
    task = next(iter(wire.protocol.tasks))
    wire.after(0)
    wire.after(limits.WRITE_SECONDS - 0.1)
    assert not wire.was_aborted()
    wire.after(limits.WRITE_SECONDS + 0.1)
    assert wire.was_aborted()
    await wire.settle()
    assert task.done()
    assert wire.protocol not in wire.protocol.connections


async def test_a_slow_client_may_go_on() -> None:
    wire = stalled(1_000_000)
    elapsed = 0.0
    while wire.unread > limits.MIN_WRITE_BYTES:
        wire.after(elapsed)
        wire.unread -= limits.MIN_WRITE_BYTES
        elapsed += limits.WRITE_SECONDS
    wire.after(elapsed)
    assert not wire.was_aborted()
    wire.unread = 0
    wire.protocol.resume_writing()
    await wire.settle()
    assert (await wire.answers())[0].body == b"a" * 4_000_000
    await wire.settle()


async def test_a_short_answer_that_nobody_reads_does_not_stay() -> None:
    """It fits into the buffer, so nothing waits for it."""
    wire = connect()
    wire.send(GET % 1)
    assert (await wire.answer()).status == 200
    wire.unread = 100
    idle = KEEP_ALIVE_SECONDS + 1
    wire.after(idle)
    assert wire.closing
    assert not wire.was_aborted()
    wire.after(idle)
    wire.after(idle + limits.WRITE_SECONDS)
    assert wire.was_aborted()


# Stops


async def test_a_stop_lets_requests_end() -> None:
    go = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await refusing(scope, receive, send)

    idle, busy, refused = connect(), connect(slow), connect()
    busy.send(GET % 1)
    refused.send(b"\x00")
    await busy.settle()
    for wire in (idle, busy, refused):
        wire.protocol.shutdown()
    assert idle.closing
    assert refused.closing
    assert not busy.closing
    go.set()
    answer = await busy.answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert busy.closing


async def test_a_lost_connection_ends_its_requests() -> None:
    seen: list[str] = []

    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        seen.append(scope["path"])

    wire = connect(listening)
    wire.send(GET % 1 + GET % 2)
    await wire.settle()
    wire.close()
    await wire.settle()
    assert seen == ["/1"]


async def in_pieces(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers in pieces, without a length."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in (b"one ", b"", b"two"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize("more", [b"", b"Connection: keep-alive\r\n"])
async def test_a_client_of_http_1_0_gets_no_chunks(more: bytes) -> None:
    wire = connect(in_pieces)
    wire.send(b"GET / HTTP/1.0\r\n" + more + b"\r\n")
    await wire.settle()
    head, _, body = wire.written.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"one two"
    assert not wire.is_open()


async def test_a_client_of_http_1_0_gets_no_100_continue() -> None:
    wire = connect()
    wire.send(post(b"Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await wire.answer()).json()["body"] == BODY.decode()


async def test_a_client_of_http_1_0_gets_lengths_that_are_known() -> None:
    wire = connect()
    wire.send(b"HEAD / HTTP/1.0\r\n\r\n")
    assert b"content-length: " in (await _head(wire))
    wire = connect()
    wire.send(b"GET /1 HTTP/1.0\r\n\r\n")
    assert (await wire.answer()).json()["path"] == "/1"
    assert not wire.is_open()


async def _head(wire: Wire) -> bytes:
    await wire.settle()
    head, _, body = wire.written.partition(b"\r\n\r\n")
    assert not body
    return head
