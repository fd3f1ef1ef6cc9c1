"""The answer of a stream: what its follower has, heartbeats, and the end.

It takes neither a connection to Postgres nor one of the places of ordinary requests. A client that does not read is cut
off by the server (`deploy.http.protocol`), or here past `SEND_SECONDS`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Send

from api.answers import Answer
from api.errors import ApiError, Unavailable
from api.streams.followers import Follower
from api.streams.hub import Hub
from api.streams.messages import error_data, message

logger = logging.getLogger(__name__)

SEND_SECONDS: Final = 30.0
"""How long a client may leave a message unread. Without it, one that stops reading would hold its stream for ever."""
STOP_SECONDS: Final = 1.0
"""How long streams may take to end when the process is stopping. Then they are cut off."""


class _Response(EventSourceResponse):
    """The library's response, which ends when our process does: it knows only of signals that it handles itself."""

    stopping: asyncio.Event

    async def _listen_for_exit_signal(self) -> None:  # type: ignore[override]
        await self.stopping.wait()


class EventStream(Answer):
    """A stream of messages.

    Args:
        hub: shows the follower what has changed.
        follower: what is followed.
        heartbeat_seconds: how long nothing is sent at most. As often it is seen after the token.
        recheck: raises when the request would not be admitted any more; None when everyone is.
        retry_ms: when the client comes back after the end of the connection.
    """

    __slots__ = ("_follower", "_heartbeat_seconds", "_hub", "_recheck", "_retry_ms")

    def __init__(
        self,
        hub: Hub,
        follower: Follower,
        heartbeat_seconds: float,
        recheck: Callable[[], Awaitable[None]] | None,
        retry_ms: int,
    ):
        super().__init__(200, None)
        self._hub, self._follower, self._recheck = hub, follower, recheck
        self._heartbeat_seconds, self._retry_ms = heartbeat_seconds, retry_ms

    async def send(self, receive: Receive, send: Send) -> None:
        """Send messages until the end, or until the client goes away."""
        await self._respond("GET", receive, send)

    async def send_head(self, send: Send) -> None:
        """Send what comes before the first message."""
        await self._respond("HEAD", _nothing, send)

    async def _respond(self, method: str, receive: Receive, send: Send) -> None:
        response = _Response(
            self._messages(), ping=0, send_timeout=SEND_SECONDS, shutdown_grace_period=STOP_SECONDS, sep="\n"
        )
        response.stopping = self._hub.stopping
        # The server knows whether the connection is kept, and says so if not.
        response.raw_headers = [header for header in response.raw_headers if header[0] != b"connection"]
        try:
            await response({"type": "http", "method": method}, receive, send)
        except SendTimeoutError:
            logger.info("a stream was cut off: the client did not read for %g s", SEND_SECONDS)

    async def _messages(self) -> AsyncIterator[bytes]:
        follower, metrics = self._follower, self._hub.metrics
        retry = b"retry: %d\n" % self._retry_ms
        with self._hub.following(follower):
            while True:
                messages = await self._next()
                metrics.count_messages(follower.kind, len(messages))
                if messages:
                    yield retry + b"".join(messages)
                    retry = b""
                if follower.has_ended:
                    return

    async def _next(self) -> list[bytes]:
        """What is to be sent next; nothing at the end."""
        follower = self._follower
        if self._recheck is not None:
            try:
                await self._recheck()
            except Unavailable:
                # Nobody can tell whether the token is good. The client comes back, and is answered 503 meanwhile.
                follower.stop()
                return []
            except ApiError as error:
                follower.stop()
                return [message("expired", error_data(error.message))]
        messages = follower.take()
        if messages or follower.has_ended:
            return messages
        try:
            async with asyncio.timeout(self._heartbeat_seconds):
                await follower.wait()
        except TimeoutError:
            self._hub.look(follower)
            # What came in the same moment goes first: a heartbeat says that nothing waits.
            return follower.take() or [follower.heartbeat]
        return follower.take()


async def _nothing() -> dict[str, str]:
    return {"type": "http.disconnect"}
