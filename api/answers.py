"""Answers: what goes back over ASGI.

An answer with a body says `Content-Type: application/json`, exactly (contract: `http-api`, Rules for every operation).
It says too that nobody may keep it: some caches in front of an API keep an answer that says nothing for a day.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec
from starlette.types import Receive, Send

from api.bodies.reading import disconnected
from api.errors import ApiError
from api.ports import Slice
from schemas.resources import Error, ErrorCode

Row = TypeVar("Row")
Header = tuple[bytes, bytes]

JSON: Final[Sequence[Header]] = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
"""Headers of every answer with a body."""

RETRY_AFTER: Header = (b"retry-after", b"1")
"""Seconds. Without it clients retry at once, or give up."""

SEND_TIMEOUT_SECONDS: Final = 30.0
"""How long a client may leave a piece of a streamed list unread. Without the limit, a client that stops reading would
hold a database connection for ever."""

_encode = msgspec.json.Encoder().encode


class Answer:
    """An answer that is complete.

    Args:
        status: the HTTP status.
        body: JSON, or None for an answer without a body.
        headers: those beside content type and length.
    """

    __slots__ = ("_body", "_headers", "status")

    def __init__(self, status: int, body: bytes | None, headers: Sequence[Header] = ()):
        self.status = status
        self._body = b"" if body is None else body
        self._headers = [*headers] if body is None else [*JSON, (b"content-length", b"%d" % len(body)), *headers]

    async def send(self, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})

    async def send_head(self, send: Send) -> None:
        """Send it without its body, for HEAD."""
        await send({"type": "http.response.start", "status": self.status, "headers": self._headers})
        await send({"type": "http.response.body", "body": b""})


class StreamedList(Answer, Generic[Row]):
    """A list in the envelope `{"data": […]}`, sent page by page, so that a long one needs no memory.

    A fault between two pages ends the connection in the middle: a client must not take half a list for a whole one.

    Args:
        first: the items of the first page.
        pages: the other pages.
        render: makes a row a resource.
    """

    __slots__ = ("_first", "_pages", "_render")

    def __init__(self, first: bytes, pages: AsyncIterator[Slice[Row]], render: Callable[[Row], object]):
        super().__init__(200, b"")
        self._first = first
        self._pages = pages
        self._render = render

    async def send(self, receive: Receive, send: Send) -> None:
        """Send it, unless the client goes away."""
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [*JSON]})
            # What waits for a slow client is one page, as bytes.
            first, self._first = self._first, b""
            await _piece(send, b'{"data":[' + first)
            del first
            async for page in self._pages:
                if gone.done():
                    return
                if page.rows:
                    items = b"," + _items(page, self._render)
                    del page
                    await _piece(send, items)
            await send({"type": "http.response.body", "body": b"]}"})
        finally:
            gone.cancel()
            await _close(self._pages)

    async def send_head(self, send: Send) -> None:
        """Send what comes before the list."""
        await _close(self._pages)
        await send({"type": "http.response.start", "status": 200, "headers": [*JSON]})
        await send({"type": "http.response.body", "body": b""})


NO_CONTENT: Final = Answer(204, None)


def json_answer(status: int, value: object) -> Answer:
    """An answer with a resource or envelope as its body."""
    return Answer(status, _encode(value))


async def list_answer(pages: AsyncIterator[Slice[Row]], render: Callable[[Row], object]) -> Answer:
    """All pages as one list. The first is read before anything is sent, so that its failure is an error answer."""
    first = await anext(pages)
    items = _items(first, render)
    if first.more:
        return StreamedList(items, pages, render)
    await _close(pages)
    return Answer(200, b'{"data":[%s]}' % items)


def error_answer(error: ApiError, code: ErrorCode | None = None, headers: Sequence[Header] = ()) -> Answer:
    """The body of the contract for an error, with `Retry-After` where it is 503.

    Args:
        error: what went wrong.
        code: the errorCode; that of the error's kind when not given.
        headers: more headers.
    """
    body = _encode(Error(error_code=code or error.code, error_message=error.message))
    return Answer(error.status, body, [*headers, RETRY_AFTER] if error.status == 503 else headers)


def _items(page: Slice[Row], render: Callable[[Row], object]) -> bytes:
    return _encode([render(row) for row in page.rows])[1:-1]


async def _piece(send: Send, body: bytes) -> None:
    async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def _close(pages: AsyncIterator[object]) -> None:
    # A generator that is left in the middle keeps what it holds of the database until it is collected.
    if isinstance(pages, AsyncGenerator):
        await pages.aclose()
