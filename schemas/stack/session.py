"""A pooled session of aiohttp.

`Transport.open` alone imports this: aiohttp takes 7 MB and a fifth of a start, and an API mostly sends no requests.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import Any, Final

import aiohttp
from yarl import URL

from schemas.stack.answers import Answer
from schemas.stack.errors import NoAnswer, Unreadable
from schemas.stack.exchange import Before, Streamed

KEEPALIVE_SECONDS: Final = 4.0
"""How long an idle connection is kept: less than the 5 s after which common servers close theirs. If it were kept
longer, a call would now and then use a connection that is just being closed, and fail."""

DNS_CACHE_SECONDS: Final = 10
"""How long an address is trusted. Without the cache each connection would ask; if it lived much longer, calls would
go to the old address of a stack that has moved."""

CHUNK_BYTES: Final = 64 * 1024
"""How much of an answer is read at once. An answer may exceed its limit by this much before it is given up."""

_before: Final = ContextVar[Before | None]("before", default=None)


class _Connector(aiohttp.TCPConnector):
    """Connections of a pool. Whoever gets one has a last chance not to use it: a new one may have taken long."""

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        connection = await super().connect(*args, **kwargs)
        before = _before.get()
        if before is not None:
            try:
                await before()
            except BaseException:
                connection.release()
                raise
        return connection


class Session:
    """Sends requests. To be made where an event loop runs; nothing is connected yet.

    Args:
        connect_timeout_seconds: how long connecting may take.
        max_answer_bytes: the largest answer that is read.
    """

    def __init__(self, connect_timeout_seconds: float, max_answer_bytes: int):
        self._connect_timeout_seconds = connect_timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        # The callers bound how many exchanges there are. A limit here would count waiting for a connection as slowness.
        connector = _Connector(limit=0, ttl_dns_cache=DNS_CACHE_SECONDS, keepalive_timeout=KEEPALIVE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A compressed answer could be small on the wire and fill the memory.
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "orchestration"},
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        before: Before | None = None,
    ) -> Answer:
        """See `Transport.send`; the URL is known to be percent-encoded."""
        outer = _before.set(before)
        try:
            # Redirects are not followed: they would carry the token wherever an answer points.
            async with self._session.request(
                method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response:
                return Answer(response.status, await self._read(response))
        except aiohttp.ConnectionTimeoutError:
            raise self._not_connected() from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(_reason(error)) from None
        finally:
            _before.reset(outer)

    @contextlib.asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Streamed]:
        """See `Transport.stream`; the URL is known to be percent-encoded."""
        try:
            response = await self._session.get(URL(url, encoded=True), headers=headers, allow_redirects=False)
        except aiohttp.ConnectionTimeoutError:
            raise self._not_connected() from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(_reason(error)) from None
        try:
            yield Streamed(response.status, response.content_type, _pieces(response))
        finally:
            response.close()

    def _not_connected(self) -> NoAnswer:
        return NoAnswer(f"no connection after {self._connect_timeout_seconds:g} s")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            body += chunk
            if len(body) > self._max_answer_bytes:
                response.close()
                if response.status >= 300:
                    # What a refusal says is clear without its body.
                    return b""
                raise Unreadable(f"the answer is larger than {self._max_answer_bytes} bytes", response.status)
        return bytes(body)


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for piece in response.content.iter_any():
            yield piece
    except (aiohttp.ClientError, OSError) as error:
        raise NoAnswer(_reason(error)) from None


def _reason(error: Exception) -> str:
    """What happened, without the addresses, headers or bytes that the library's own text may hold."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "the TLS certificate or protocol is not accepted"
        case aiohttp.ClientConnectorDNSError():
            return "the host name is not known"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()
        case OSError():
            return "connection failed"
        case aiohttp.ServerDisconnectedError():
            return "connection closed without an answer"
        case aiohttp.ClientPayloadError():
            return "connection broken in the middle of the answer"
        case aiohttp.ClientResponseError():
            return "the answer is not HTTP"
        case _:
            return "the request's URL or a header is not valid"
