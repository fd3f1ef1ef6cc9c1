"""Calls an app, without a server between."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.types import Message

from api.app import create_app
from schemas.settings import ApiSettings
from tests.unit.api.fakes.backend import Backend
from tests.unit.api.fakes.services import fake_services


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: int = 0
    complete: bool = False

    def json(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.body)

    @property
    def data(self) -> Any:
        """What the envelope holds."""
        return self.json()["data"]

    @property
    def error(self) -> tuple[int, str]:
        """Status and errorCode of an error answer; its body has nothing else."""
        body = self.json()
        assert set(body) == {"errorCode", "errorMessage"}
        assert body["errorMessage"]
        assert self.headers["content-type"] == "application/json"
        assert self.headers["cache-control"] == "no-store"
        return self.status, body["errorCode"]


Chunks = Iterable[bytes]


@dataclass
class Client:
    """Calls an app, without a server between."""

    app: Starlette
    base: str = "/api/orchestration"
    on_send: Callable[[Message], None] | None = None
    disconnected: bool = False
    _left: asyncio.Event = field(default_factory=asyncio.Event)

    def leave(self) -> None:
        """Close the connections of the requests that are under way."""
        self._left.set()
        self._left = asyncio.Event()

    async def call(
        self,
        method: str,
        target: str,
        body: Any = b"",
        headers: dict[str, str] | Sequence[tuple[str, str]] = (),
        chunks: Chunks | None = None,
        base: str | None = None,
    ) -> Answer:
        """One request.

        Args:
            method: the verb.
            target: path and query, below the base path.
            body: bytes, or a value that is sent as JSON.
            headers: of the request; as pairs where one comes twice.
            chunks: a body without a declared length.
            base: another base path.
        """
        url = urlsplit((self.base if base is None else base) + target)
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = headers.items() if isinstance(headers, dict) else headers
        sent = [(name.lower().encode(), value.encode()) for name, value in named]
        if chunks is None:
            sent.append((b"content-length", b"%d" % len(content)))
        elif b"content-length" not in dict(sent):
            sent.append((b"transfer-encoding", b"chunked"))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(url.path),
            "raw_path": url.path.encode(),
            "query_string": url.query.encode(),
            "root_path": "",
            "headers": sent,
            "server": ("test", 80),
            "client": ("test", 1),
        }
        pieces = [content] if chunks is None else list(chunks)
        answer = Answer()
        left = self._left

        async def receive() -> Message:
            if self.disconnected:
                return {"type": "http.disconnect"}
            if pieces:
                return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if self.on_send is not None:
                self.on_send(message)
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")
                answer.pieces += 1
                answer.complete = not message.get("more_body", False)

        await self.app(scope, receive, send)
        return answer


def make_client(backend: Backend, **settings: Any) -> Client:
    """A client of an app with this backend."""
    return client_of(backend, ApiSettings(**settings))


def client_of(backend: Backend, configured: ApiSettings, stop: asyncio.Event | None = None) -> Client:
    """A client of an app that is told to stop by an event."""
    return Client(create_app(configured, fake_services(backend, configured), stop), configured.base_path)
