"""The proxies between processes: what passes, and what a cut does to it."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.embedded.ports import HOST
from tests.chaos.network import Cut, Network, both_ways

CLIENT, SERVER = "client", "server"
DEADLINE_SECONDS = 60.0
SHORT = 0.1
"""Long enough for what is not cut to arrive on loopback, so that what is cut can be told from it."""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells who connects")


class Echo:
    """A server that sends back what it gets, and notes it."""

    def __init__(self) -> None:
        self.got = b""
        self.arrived = asyncio.Condition()
        self.writers: list[asyncio.StreamWriter] = []
        self.resets = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                async with self.arrived:
                    self.got += data
                    self.arrived.notify_all()
                writer.write(data)
            writer.close()

    async def has(self, data: bytes) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self.arrived:
            await self.arrived.wait_for(lambda: self.got == data)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    pid_file = tmp_path / "pid"
    pid_file.write_text(f"{os.getpid()}\n")
    network = Network()
    network.start()
    network.know({CLIENT: pid_file, "engine-1": tmp_path / "does not run"})
    yield network
    network.stop()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def port(network: Network, echo: Echo) -> AsyncIterator[int]:
    """Of a proxy in front of the server."""
    server = await asyncio.start_server(echo.serve, HOST, 0)
    yield await asyncio.to_thread(network.port_for, SERVER, server.sockets[0].getsockname()[1])
    server.close()
    for writer in echo.writers:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def read(reader: asyncio.StreamReader, count: int) -> bytes:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await reader.readexactly(count)


async def silent(reader: asyncio.StreamReader) -> bool:
    """Whether nothing comes, not even an end."""
    try:
        await asyncio.wait_for(reader.read(1), SHORT)
    except TimeoutError:
        return True
    return False


async def test_bytes_pass_in_order_and_without_a_bound(port: int, network: Network) -> None:
    data = os.urandom(3_000_000)
    async with connected(port) as (reader, writer):
        writer.write(data)
        assert await read(reader, len(data)) == data
        assert await asyncio.to_thread(network.connected, CLIENT, SERVER) == 1


async def test_a_cut_of_requests_holds_them_until_it_is_over(port: int, network: Network, echo: Echo) -> None:
    async with connected(port) as (reader, writer):
        writer.write(b"1")
        assert await read(reader, 1) == b"1"
        cut = Cut(CLIENT, SERVER)
        network.cut(cut)
        writer.write(b"2")
        assert await silent(reader)
        assert echo.got == b"1"
        network.mend(cut)
        assert await read(reader, 1) == b"2"


async def test_a_cut_of_answers_lets_requests_through(port: int, network: Network, echo: Echo) -> None:
    network.cut(Cut(SERVER, CLIENT))
    async with connected(port) as (reader, writer):
        writer.write(b"1")
        await echo.has(b"1")
        assert await silent(reader)
        network.mend()
        assert await read(reader, 1) == b"1"


async def test_an_end_does_not_pass_a_cut(port: int, network: Network, echo: Echo) -> None:
    async with connected(port) as (reader, writer):
        writer.write(b"1")
        assert await read(reader, 1) == b"1"
        network.cut(*both_ways(CLIENT, SERVER))
        echo.writers[0].close()
        assert await silent(reader)
        network.mend()
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await reader.read() == b""


async def test_delayed_bytes_come_later_and_in_order(port: int, network: Network) -> None:
    network.cut(Cut(CLIENT, SERVER, "delay", 0.3))
    loop = asyncio.get_running_loop()
    async with connected(port) as (reader, writer):
        began = loop.time()
        for byte in b"123":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        assert await read(reader, 3) == b"123"
        assert loop.time() - began >= 0.3


async def test_a_reset_ends_connections_at_once_and_new_ones_too(port: int, network: Network) -> None:
    async with connected(port) as (reader, writer):
        writer.write(b"1")
        assert await read(reader, 1) == b"1"
        network.cut(Cut(CLIENT, SERVER, "reset"))
        with pytest.raises(ConnectionResetError):
            await read(reader, 1)
        with pytest.raises(ConnectionResetError):
            async with connected(port) as (again, _):
                await read(again, 1)
        network.mend()
    async with connected(port) as (reader, writer):
        writer.write(b"2")
        assert await read(reader, 1) == b"2"


async def test_others_are_not_cut(port: int, network: Network) -> None:
    network.cut(*both_ways("engine-1", SERVER), *both_ways(CLIENT, "kafka-1", "reset"))
    async with connected(port) as (reader, writer):
        writer.write(b"1")
        assert await read(reader, 1) == b"1"


async def test_where_nobody_serves_connections_are_reset(network: Network) -> None:
    port = await asyncio.to_thread(network.port_for, SERVER, 1)
    with pytest.raises(ConnectionResetError):  # by the connect already, or behind it
        async with connected(port) as (reader, _):
            await read(reader, 1)


async def test_a_unix_socket_knows_who_connects(network: Network, echo: Echo, tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(echo.serve, str(tmp_path / "real"))
    await asyncio.to_thread(network.socket_for, SERVER, tmp_path / "proxy", tmp_path / "real")
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "proxy"))
    writer.write(b"1")
    assert await read(reader, 1) == b"1"
    network.cut(Cut(CLIENT, SERVER))
    writer.write(b"2")
    assert await silent(reader)
    network.mend()
    assert await read(reader, 1) == b"2"
    server.close()
    for open_here in (writer, *echo.writers):
        open_here.transport.abort()
        with contextlib.suppress(ConnectionError):
            await open_here.wait_closed()
