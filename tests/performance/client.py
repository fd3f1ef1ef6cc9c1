"""A load client whose own cost is small beside what it measures: keep-alive connections, no HTTP library."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

import msgspec

from tests.performance.figures import Figures

TIMEOUT_SECONDS = 60.0


class _Connection(asyncio.Protocol):
    """One request at a time; understands answers with a content-length, which is all that the service sends."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found or self._answer is None:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            if line[:15].lower() == b"content-length:":
                length = int(line[15:])
        if len(rest) >= length:
            self._buffer = rest[length:]
            answer, self._answer = self._answer, None
            answer.set_result((int(head[9:12]), rest[:length]))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("closed"))

    async def request(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and wait for its answer: status and body."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


class LoadClient:
    """A number of clients, each with a connection of its own.

    Args:
        base: base URL of the service.
        clients: how many.
    """

    def __init__(self, base: str, clients: int):
        parts = urlsplit(base)
        self._host, self._port, self._path = parts.hostname or "127.0.0.1", parts.port or 80, parts.path
        self._clients = clients
        self._connections: list[_Connection] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(self._clients):
            _, connection = await loop.create_connection(_Connection, self._host, self._port)
            self._connections.append(connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            connection.close()

    async def create_workflow(self, definition: dict[str, Any]) -> str:
        """Create a workflow; its id."""
        return await self._create("/workflows", msgspec.json.encode(definition))

    async def run_instance(self, workflow: str, *, wait: bool = True) -> str:
        """Run a workflow; the instance's id."""
        return await self._create(f"/workflows/{workflow}/instances?wait={str(wait).lower()}", b"")

    async def get(self, path: str) -> Any:
        """GET a path below the base; the answer's `data`."""
        status, body = await self._connections[0].request(self._bytes("GET", path))
        assert status == 200, body
        return msgspec.json.decode(body)["data"]

    async def measure(self, name: str, seconds: float, method: str, path: str, body: bytes = b"") -> Figures:
        """Send one request over and over from every client."""
        return await self.measure_each(name, seconds, method, [path], body)

    async def measure_each(
        self, name: str, seconds: float, method: str, paths: Sequence[str], body: bytes = b""
    ) -> Figures:
        """Send a request of its own over and over from every client, as far as there are enough."""
        latencies = list[float]()
        end = time.perf_counter() + seconds

        async def client(connection: _Connection, path: str) -> None:
            request = self._bytes(method, path, body)
            while (start := time.perf_counter()) < end:
                status, answer = await connection.request(request)
                assert status in (200, 201, 204), (status, answer)
                latencies.append(time.perf_counter() - start)

        start = time.perf_counter()
        async with asyncio.timeout(seconds + TIMEOUT_SECONDS):
            await asyncio.gather(*map(client, self._connections, itertools.cycle(paths)))
        return Figures(name, latencies, time.perf_counter() - start)

    async def post(self, path: str, body: bytes = b"") -> Any:
        """POST what makes something; the answer's `data`."""
        status, answer = await self._connections[0].request(self._bytes("POST", path, body))
        assert status == 201, answer
        return msgspec.json.decode(answer)["data"]

    async def _create(self, path: str, body: bytes) -> str:
        created: str = (await self.post(path, body))["id"]
        return created

    def _bytes(self, method: str, path: str, body: bytes = b"") -> bytes:
        head = f"{method} {self._path}{path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body
