"""What the tests of streams share: an API with its read model, in virtual time, and clients that read streams."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.types import Message

from api.app import create_app
from api.services import Services
from projections.announcements import Announcement, Passed
from schemas.settings import ApiSettings
from tests.unit.api.fakes import Backend, Client, fake_services

PATIENCE_SECONDS: Final = 300.0
"""In virtual time. A stream has heartbeats for ever, so a test that waits for what does not come would never end."""


class Event(NamedTuple):
    """A message of a stream."""

    event: str
    data: Any
    id: str | None = None
    retry: int | None = None


def read_events(text: bytes) -> list[Event]:
    """All complete messages in what was sent."""
    found = []
    for block in text.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        retry = fields.get("retry")
        data = msgspec.json.decode(fields["data"])
        found.append(Event(fields["event"], data, fields.get("id"), None if retry is None else int(retry)))
    return found


class Reading:
    """A client that reads a stream.

    Args:
        app: the API.
        path: of the stream, with its query.
        headers: of the request.
    """

    def __init__(self, app: Starlette, path: str, headers: Sequence[tuple[str, str]] = ()):
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        self.reads = asyncio.Event()
        """Cleared while the client takes nothing."""
        self.reads.set()
        self._gone = asyncio.Event()
        self._news = asyncio.Event()
        path, _, query = path.partition("?")
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/api/orchestration/v2" + path,
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        }
        self.task = asyncio.create_task(app(self._scope, self._receive, self._send))

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")
            self.complete = not message.get("more_body", False)
        self._news.set()

    @property
    def events(self) -> list[Event]:
        """All that came, without heartbeats."""
        return [event for event in read_events(self.body) if event.event != "heartbeat"]

    async def begin(self) -> int:
        """Wait for the status of the answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.status:
                self._news.clear()
                await self._news.wait()
        return self.status

    async def until(self, count: int) -> list[Event]:
        """Wait until so many messages have come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.events) < count:
                self._news.clear()
                await self._news.wait()
        return self.events

    async def end(self) -> list[Event]:
        """Wait until the stream has ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.task
        assert self.complete
        return self.events

    async def leave(self) -> None:
        """Close the connection."""
        self._gone.set()
        await self.task


class World:
    """An API on a read model in memory.

    Args:
        settings: of the API.
    """

    def __init__(self, **settings: Any):
        self.backend = Backend()
        self.settings = ApiSettings(**settings)
        self.stop = asyncio.Event()
        self.services: Services = fake_services(self.backend, self.settings)
        self.app = create_app(self.settings, self.services, self.stop)
        self.client = Client(self.app)
        self.workflow = self.backend.add_workflow(UUID(int=1)).id
        self.offset = 0
        self.backend.changes.connected({0: 0})

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["World"]:
        async with self.app.router.lifespan_context(self.app):
            yield self

    def add(self, number: int, workflow: UUID | None = None) -> UUID:
        """An instance."""
        return self.backend.add_instance(UUID(int=number), workflow or self.workflow).id

    def announce(self, *ids: UUID, lost: bool = False) -> None:
        """The projections have written something about these instances."""
        self.offset += 1
        if not lost:
            self.backend.changes.announced(
                Announcement(changed=list(ids), begins={0: self.offset - 1}, positions={0: Passed(-1, self.offset)})
            )

    def change(self, *ids: UUID, announced: bool = True) -> None:
        """These instances have changed."""
        for id in ids:
            row = self.backend.instance_rows[id]
            self.backend.instance_rows[id] = replace(row, updated_at=self.backend.later())
        self.announce(*ids, lost=not announced)

    def end(self, id: UUID, error: str | None = None, *, announced: bool = True) -> None:
        """An instance has ended."""
        self.backend.end(id, error)
        self.announce(id, lost=not announced)

    def read(self, path: str, **headers: str) -> Reading:
        """Read a stream."""
        return Reading(self.app, path, [(name.replace("_", "-"), value) for name, value in headers.items()])

    def shown(self, id: UUID) -> Any:
        """An instance as GET answers it."""
        return msgspec.json.decode(msgspec.json.encode(self._render(id)))

    def _render(self, id: UUID) -> object:
        from api.v2 import render_instance

        return render_instance(self.backend.instance_rows[id])
