"""One HTTP exchange: pooled connections, bounded answers, no redirects, errors that say what went wrong."""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Final

from schemas.stack.answers import Answer
from schemas.stack.errors import NoAnswer, NotSendable
from schemas.stack.exchange import Before, Streamed

if TYPE_CHECKING:
    from schemas.stack.session import Session

NOT_ENCODED: Final = "it holds characters that must be percent-encoded in a URL"

_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
"""The characters of RFC 3986, 2."""


def is_encoded(url: str) -> bool:
    """Whether the URL holds only characters that are allowed in one.

    A raw space or line break would end the request's first line, and the rest would become headers beside our token.
    """
    return _ENCODED.fullmatch(url) is not None


class Transport:
    """A pooled HTTP session.

    Args:
        connect_timeout_seconds: how long connecting may take.
        max_answer_bytes: the largest answer that is read.
    """

    def __init__(self, connect_timeout_seconds: float, max_answer_bytes: int):
        self._connect_timeout_seconds = connect_timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self._session: Session | None = None

    async def open(self) -> None:
        """Make the session; nothing is connected yet."""
        from schemas.stack.session import Session

        self._session = Session(self._connect_timeout_seconds, self._max_answer_bytes)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        before: Before | None = None,
    ) -> Answer:
        """Send a request and read its answer. The caller bounds the time.

        Args:
            method: the HTTP method.
            url: absolute, percent-encoded; it is sent as it is.
            headers: beside those that every request has.
            body: bytes of the body.
            before: awaited when there is a connection, right before the request is sent.

        Raises:
            NotSendable: the URL is not percent-encoded.
            NoAnswer: no connection, or it broke.
            Unreadable: the answer is too large.
            CallFailed: `before` has raised it; nothing was sent.
        """
        return await self._session_for(url).send(method, url, headers, body, before)

    @contextlib.asynccontextmanager
    async def stream(self, url: str, *, headers: Mapping[str, str]) -> AsyncIterator[Streamed]:
        """Send a GET and read its answer as it comes. The caller bounds the time and the size.

        Args:
            url: absolute, percent-encoded.
            headers: beside those that every request has.

        Raises:
            NotSendable: the URL is not percent-encoded.
            NoAnswer: no connection, or it broke before the answer.
        """
        async with self._session_for(url).stream(url, headers) as answer:
            yield answer

    def _session_for(self, url: str) -> "Session":
        if self._session is None:
            raise NoAnswer("the session is closed")
        if not is_encoded(url):
            raise NotSendable(f"the request's URL is not valid: {NOT_ENCODED}")
        return self._session
