"""Answers to requests that no application sees, in the form of the contract (`http-api`, Errors).

A connection can't be used after one of them: nobody knows where the next request would begin.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec
from starlette.types import Receive, Scope, Send

from schemas.resources import Error, ErrorCode

Header = tuple[bytes, bytes]

METHODS: Final = b"DELETE, GET, HEAD, POST, PUT"
"""What `Allow` says when a method is unknown, since then nobody has looked at the path."""


class Refusal(NamedTuple):
    """An answer that is complete; the connection ends with it."""

    status: int
    headers: Sequence[Header]
    body: bytes

    def encode(self) -> bytes:
        """The answer as it goes over the wire."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}".encode()]
        lines += [name + b": " + value for name, value in self.headers]
        return b"\r\n".join((*lines, b"", self.body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with it, as an ASGI application."""
        await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers]})
        await send({"type": "http.response.body", "body": self.body})


def _refusal(status: int, message: str, code: ErrorCode = "VALIDATION", *more: Header) -> Refusal:
    body = msgspec.json.encode(Error(error_code=code, error_message=message))
    length = b"%d" % len(body)
    headers = ((b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close"), *more)
    return Refusal(status, headers, body)


MALFORMED: Final = _refusal(400, "malformed HTTP")
MALFORMED_URL: Final = _refusal(400, "malformed URL: characters outside of ASCII have to be percent-encoded")
"""Most often somebody has typed an `ü` into a query."""
UNKNOWN_METHOD: Final = _refusal(405, "method not allowed", "VALIDATION", (b"allow", METHODS))
HEAD_TOO_SLOW: Final = _refusal(408, "the head of the request did not arrive in time")
BODY_TOO_SLOW: Final = _refusal(408, "the body of the request did not arrive in time")
HEAD_TOO_LARGE: Final = _refusal(431, "the head or the trailers of the request are too large")
OVERLOADED: Final = _refusal(503, "too many connections", "INTERNAL", (b"retry-after", b"1"))
TOO_MANY_REQUESTS_AHEAD: Final = _refusal(
    503, "too many requests wait on this connection", "INTERNAL", (b"retry-after", b"1")
)
