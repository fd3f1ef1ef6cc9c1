"""Requests to an ASGI application in the same process: no sockets, and the same answers and faults as over HTTP."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from deploy.sandbox.endpoint import ABORT_EXTENSION
from schemas.stack.answers import Answer
from schemas.stack.errors import NoAnswer

CONNECTION_CLOSED = "connection closed without an answer"
"""What the HTTP transport says when a server hangs up."""


class Exchange:
    """One request and its answer, as ASGI sees them."""

    def __init__(self, body: bytes):
        self._body: bytes | None = body
        self._aborted = False
        self._status = 0
        self._answer = bytearray()

    async def receive(self) -> Message:
        """The body, then the end of the connection."""
        if self._body is None or self._aborted:
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
        else:
            self._answer += message.get("body", b"")

    def abort(self) -> None:
        """Hang up."""
        self._aborted = True

    def answer(self) -> Answer:
        """The answer.

        Raises:
            NoAnswer: the application has hung up.
        """
        if self._aborted:
            raise NoAnswer(CONNECTION_CLOSED)
        return Answer(self._status, bytes(self._answer))


async def exchange(app: ASGIApp, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
    """Have an application answer a request.

    Args:
        app: the application.
        method: the HTTP method.
        path: percent-encoded, with the query.
        headers: beside `Content-Length`.
        body: bytes of the body.

    Raises:
        NoAnswer: the application has hung up.
    """
    raw_path, _, query = path.partition("?")
    named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    if body is not None:
        named.append((b"content-length", b"%d" % len(body)))
    under_way = Exchange(body or b"")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": named,
        "client": None,
        "server": ("sandbox", 80),
        "extensions": {ABORT_EXTENSION: under_way.abort},
    }
    await app(scope, under_way.receive, under_way.send)
    return under_way.answer()
