"""A connection that costs little: keep-alive, one request at a time, no HTTP library but its parser."""

import asyncio
import ssl
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

CONNECT_TIMEOUT_SECONDS: Final = 5.0
FIRST_FINAL_STATUS: Final = 200
"""What is below comes before the answer itself."""
NOT_IN_A_HEADER: Final = ("\r", "\n", "\0")


class Address:
    """Where requests go, and what each of them has.

    Args:
        base: URL with the base path.
        headers: of every request.

    Raises:
        ValueError: the URL has no host, or a header has a line break.
    """

    def __init__(self, base: str, headers: dict[str, str] | None = None):
        parts = urlsplit(base)
        if not parts.hostname:
            raise ValueError(f"{base!r} has no host")
        self.host = parts.hostname
        self.ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self.port = parts.port or (443 if self.ssl else 80)
        self._path = parts.path.rstrip("/")
        sent = {"Host": parts.netloc.rpartition("@")[2], "Accept": "application/json", **(headers or {})}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        if any(character in value for value in sent.values() for character in NOT_IN_A_HEADER):
            raise ValueError("a header has a line break")

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """A request for a path below the base, as it goes over the wire."""
        typed = "Content-Type: application/json\r\n" if body else ""
        length = "" if method == "GET" else f"Content-Length: {len(body)}\r\n"
        return f"{method} {self._path}{path} HTTP/1.1\r\n{self._head}{typed}{length}\r\n".encode() + body


class Connection:
    """One request at a time. It connects for the first one, and again after it was closed.

    Args:
        address: where to.
    """

    def __init__(self, address: Address):
        self._address = address
        self._wire: _Wire | None = None

    async def open(self) -> "_Wire":
        """Connect.

        Raises:
            OSError: there is no connection.
        """
        loop, address = asyncio.get_running_loop(), self._address
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            _, self._wire = await loop.create_connection(_Wire, address.host, address.port, ssl=address.ssl)
        return self._wire

    async def request(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and wait for its answer: status and body.

        Raises:
            OSError: there is no connection, it ended before the answer did, or the answer is not HTTP.
        """
        wire = self._wire
        if wire is None or wire.closed:
            wire = await self.open()
        return await wire.send(request)

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()


class _Wire(asyncio.Protocol):
    """A connection as long as it lasts."""

    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.Transport  # from `connection_made` on
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    def send(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self.closed = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(ConnectionError("the answer is not HTTP"))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._fail(error if isinstance(error, OSError) else ConnectionError("closed without an answer"))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < FIRST_FINAL_STATUS:
            return
        body, self._body = b"".join(self._body), []
        if not self._parser.should_keep_alive():
            self.close()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result((status, body))

    def _fail(self, error: OSError) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
