"""The load generator on a server whose answers are told."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from deploy.bench.http import Address
from deploy.bench.load import LoadClient, RequestFailed

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\n, 3\r\n0\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"
NOT_HTTP = b"hello\r\n\r\n"
GONE = b""


class Served:
    """What a server has been sent."""

    def __init__(self) -> None:
        self.url = ""
        self.heads: list[str] = []
        self.connections = 0


@contextlib.asynccontextmanager
async def served(*answers: bytes, pieces: bool = False) -> AsyncIterator[Served]:
    """A server that gives these answers, the last one for ever; no bytes end the connection."""
    seen, left = Served(), itertools.chain(answers, itertools.repeat(answers[-1]))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                seen.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                answer = next(left)
                for piece in [answer[n : n + 1] for n in range(len(answer))] if pieces else [answer]:
                    writer.write(piece)
                    await writer.drain()
                if not answer or answer == NOT_HTTP:
                    break
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    seen.url = f"http://{host}:{port}/base"
    async with server:
        yield seen


def ticking(step: float = 0.1) -> Callable[[], float]:
    """A clock that goes on by a step whenever somebody looks."""
    times: Iterator[float] = itertools.count(0.0, step)
    return lambda: next(times)


async def test_a_round_counts_what_succeeded_and_when() -> None:
    async with served(OK) as server, LoadClient(server.url, 1, clock=ticking()) as load:
        figures = await load.measure("round", 1.0, "GET", ["/x"])
    assert figures.count == 5  # two looks at the clock for each
    assert figures.latencies == pytest.approx([0.1] * 5)
    assert figures.ends == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert figures.seconds == pytest.approx(1.2)
    assert figures.errors == {}
    assert figures.client_cpu > 0


async def test_a_request_has_the_base_path_and_the_headers() -> None:
    async with served(OK) as server, LoadClient(server.url, 1, headers={"Authorization": "Bearer t"}) as load:
        assert await load.request("POST", "/x?wait=true", b"{}") == (200, b"ok")
    (head,) = server.heads
    assert head.startswith("POST /base/x?wait=true HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "Authorization: Bearer t\r\n" in head
    assert "Content-Length: 2\r\n" in head


@pytest.mark.parametrize("pieces", [False, True])
async def test_answers_in_pieces(pieces: bool) -> None:
    async with served(EARLY + CHUNKED, OK, pieces=pieces) as server, LoadClient(server.url, 1) as load:
        assert await load.request("GET", "/") == (200, b"ok, 3")
        assert await load.request("GET", "/") == (200, b"ok")
    assert server.connections == 1


async def test_a_connection_that_was_closed_is_opened_again() -> None:
    async with served(CLOSING, OK) as server, LoadClient(server.url, 1) as load:
        assert await load.request("GET", "/") == (200, b"ok")
        assert await load.request("GET", "/") == (200, b"ok")
    assert server.connections == 2


async def test_each_client_asks_for_its_own_and_the_rest_from_the_front() -> None:
    async with served(OK) as server, LoadClient(server.url, 3, clock=ticking(0.5)) as load:
        await load.measure("round", 1.0, "GET", ["/a", "/b"])
    asked = [head.split()[1] for head in server.heads]
    assert set(asked) <= {"/base/a", "/base/b"}
    assert server.connections == 3


async def test_errors_are_counted_by_what_happened() -> None:
    async with (
        served(BUSY, GONE, NOT_HTTP, OK) as server,
        LoadClient(server.url, 1, tolerant=True, clock=ticking()) as load,
    ):
        figures = await load.measure("round", 1.0, "GET", ["/"], judge=lambda body: "" if body == b"ok" else "odd")
    assert figures.errors == {"503": 1, "no connection": 2}
    assert figures.count == 4


async def test_a_success_whose_body_is_wrong_is_an_error() -> None:
    async with served(OK) as server, LoadClient(server.url, 1, tolerant=True, clock=ticking()) as load:
        figures = await load.measure("round", 0.35, "GET", ["/"], judge=lambda body: "not ended")
    assert figures.count == 0
    assert figures.errors == {"not ended": 3}


async def test_where_nothing_may_fail_the_first_error_ends_the_round() -> None:
    async with served(OK, BUSY) as server, LoadClient(server.url, 2) as load:
        with pytest.raises(RequestFailed, match="503: GET /x: busy"):
            await load.measure("round", 60.0, "GET", ["/x"])


async def test_a_list_of_requests_is_shared() -> None:
    async with served(OK) as server, LoadClient(server.url, 2) as load:
        assert await load.request_all("POST", ["/a", "/b", "/c"]) == [b"ok"] * 3
    assert sorted(head.split()[1] for head in server.heads) == ["/base/a", "/base/b", "/base/c"]


async def test_a_list_of_requests_ends_with_the_first_error() -> None:
    async with served(OK, BUSY) as server, LoadClient(server.url, 1) as load:
        with pytest.raises(RequestFailed, match="POST /b: 503 busy"):
            await load.request_all("POST", ["/a", "/b", "/c"])
    assert len(server.heads) == 2


async def test_nobody_there() -> None:
    async with served(OK) as server:
        url = server.url
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await LoadClient(url, 1).__aenter__()
    async with LoadClient(url, 1, tolerant=True, clock=ticking()) as load:
        figures = await load.measure("round", 0.15, "GET", ["/"])
    assert figures.errors == {"no connection": 1}


def test_where_requests_go() -> None:
    plain, secure = Address("http://[::1]:80/a/"), Address("https://me:secret@example.com/b")
    assert (plain.host, plain.port, plain.ssl) == ("::1", 80, None)
    assert plain.request("GET", "/x").startswith(b"GET /a/x HTTP/1.1\r\nHost: [::1]:80\r\n")
    assert (secure.host, secure.port) == ("example.com", 443)
    assert secure.ssl is not None
    assert b"secret" not in secure.request("GET", "/x")
    with pytest.raises(ValueError, match="no host"):
        Address("/api")
    with pytest.raises(ValueError, match="line break"):
        Address("http://example.com", {"Authorization": "Bearer a\r\nX: y"})
