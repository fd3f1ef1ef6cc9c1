"""The API's processes of the simulation: the real app, called in its process, with the ways to it that fail.

A client's request comes over a connection of its own. When the process is killed, those who wait for it see their
connections end. While it is stopped they wait.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote
from uuid import UUID

from starlette.applications import Starlette
from starlette.types import Message

from api.app import create_app
from api.services import Outside
from projections.memory_queries import MemoryQueries
from schemas.expressions import Allowance, Expression, LinkAnswer, turns
from schemas.kafka.memory import MemoryCluster, Network
from schemas.settings import ApiSettings
from tests.simulation.database import SimulatedDatabase
from tests.simulation.loop import Life
from tests.simulation.processes import SimulatedProcess
from tests.simulation.trace import Trace

STOP_SECONDS: Final = 20.0
"""How long a process that was told to stop waits for its requests, as the server does."""

STREAMS_STOP_SECONDS: Final = 2.0
"""How long streams may take to end then."""


@dataclass
class HttpFaults:
    """How often what goes wrong between clients and the API."""

    lost: float = 0.0
    """The connection ends before the request arrives."""
    unanswered: float = 0.0
    """The request is carried out, and the connection ends before the answer."""


@dataclass
class HttpRequest:
    """A request on its way."""

    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client has closed the connection."""


@dataclass
class HttpAnswer:
    """What came back."""

    status: int = 0
    body: bytes = b""
    complete: bool = False


class HttpStream:
    """An answer that comes bit by bit."""

    def __init__(self) -> None:
        self.status = 0
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._fault: Exception | None = None

    def take(self, message: Message) -> None:
        """A part of it has come."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self._pieces.put_nowait(message.get("body", b""))

    def end(self, fault: Exception | None = None) -> None:
        """Nothing more comes."""
        self._fault = self._fault or fault
        self._pieces.put_nowait(None)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """What comes; the first has nothing but the status behind it.

        Raises:
            ConnectionError: the connection has ended before the stream.
        """
        while (piece := await self._pieces.get()) is not None:
            yield piece
        if self._fault is not None:
            raise self._fault


class NoLinks:
    """`api.ports.Links` without a stack: no expression of the simulation's clients needs a link."""

    async def open(self) -> None:
        """See `Connection.open`."""

    async def close(self) -> None:
        """See `Connection.close`."""

    async def evaluate(
        self, expression: Expression, payload: Any, links: dict[str, LinkAnswer], allowance: Allowance, /
    ) -> Any:
        """See `Links.evaluate`."""
        return await turns.evaluate(expression, payload, links, allowance)


class Api:
    """What the process runs: the app, and the connections to it.

    Args:
        settings: of the API.
        reached: what it reaches.
    """

    def __init__(self, settings: ApiSettings, reached: Outside):
        self._settings, self._reached = settings, reached
        self._app: Starlette | None = None
        self._open: dict[asyncio.Future[HttpAnswer], None] = {}
        self._streams: dict[HttpStream, None] = {}
        self._under_way = 0
        self.stopping = False
        """Whether it was told to stop: then nobody waits for the end of an instance."""

    @property
    def serves(self) -> bool:
        """Whether it takes connections."""
        return self._app is not None and not self.stopping

    @property
    def busy(self) -> bool:
        """Whether requests are under way. One whose client has gone is carried out all the same."""
        return bool(self._under_way)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        app = create_app(self._settings, stop=stop, reached=self._reached)
        async with app.router.lifespan_context(app):
            self._app = app
            await stop.wait()
            self.stopping = True
            if self._open:
                await asyncio.wait(list(self._open), timeout=STOP_SECONDS)
            await asyncio.sleep(STREAMS_STOP_SECONDS)
            assert not self._streams, "a stream goes on although its process is stopping"
            self.cut()

    def cut(self) -> None:
        """End all connections."""
        self._app, cut, self._open = None, self._open, {}
        for answer in cut:
            if not answer.done():
                answer.set_exception(ConnectionResetError("the process has ended"))
        for stream in self._streams:
            stream.end(ConnectionResetError("the process has ended"))
        self._streams = {}

    def take(self, request: HttpRequest, life: Life) -> "asyncio.Future[HttpAnswer]":
        """Begin to answer a request.

        Args:
            request: it.
            life: of the process.
        """
        answer: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        self._open[answer] = None
        answer.add_done_callback(lambda done: self._open.pop(done, None))
        life.spawn(self._handle(request, answer))
        return answer

    def stream(self, request: HttpRequest, life: Life) -> HttpStream:
        """Begin to answer a request with a stream.

        Args:
            request: it.
            life: of the process.
        """
        stream = HttpStream()
        self._streams[stream] = None
        life.spawn(self._handle_stream(request, stream))
        return stream

    async def _handle_stream(self, request: HttpRequest, stream: HttpStream) -> None:
        exchange, fault = _Exchange(request), None

        async def send(message: Message) -> None:
            if request.gone.is_set():
                raise ConnectionResetError("the client has gone")
            stream.take(message)

        try:
            if self._app is None:
                raise ConnectionResetError("the process has ended")
            await self._app(exchange.scope(), exchange.receive, send)
        except ConnectionError as error:
            fault = error
        except Exception as error:  # with half an answer, a client can't tell it from a connection that was cut
            raise AssertionError(f"a stream has failed: {error!r}") from error
        self._streams.pop(stream, None)
        stream.end(fault)

    async def _handle(self, request: HttpRequest, answer: "asyncio.Future[HttpAnswer]") -> None:
        exchange, fault = _Exchange(request), None
        self._under_way += 1
        try:
            if self._app is None:
                raise ConnectionResetError("the process has ended")
            await self._app(exchange.scope(), exchange.receive, exchange.send)
        except Exception as error:
            fault = ConnectionResetError(f"the connection has ended: {error!r}")
        finally:
            self._under_way -= 1
        if answer.done():
            return
        if fault is None and exchange.answer.complete:
            answer.set_result(exchange.answer)
        else:
            answer.set_exception(fault or ConnectionResetError("half an answer"))


class SimulatedApi(SimulatedProcess[Api]):
    """One replica, not started.

    Args:
        name: of the process.
        rng: decides ids and what goes wrong.
        cluster: Kafka.
        network: the way to it.
        database: Postgres.
        settings: of the API.
        trace: is told what happens to it.
    """

    def __init__(
        self,
        name: str,
        rng: random.Random,
        cluster: MemoryCluster,
        network: Network,
        database: SimulatedDatabase,
        settings: ApiSettings,
        trace: Trace,
    ):
        super().__init__(name, cluster, network, self._make_api, trace)
        self._rng, self._database, self._settings = rng, database, settings
        self.faults = HttpFaults()

    def _make_api(self, process: SimulatedProcess[Api]) -> Api:
        outside = Outside(
            kafka=self.kafka,
            database=MemoryQueries(self._database, self.name),
            links=NoLinks(),
            clock=lambda: self.clock.now().timestamp(),
            monotonic=asyncio.get_running_loop().time,
            new_id=lambda: UUID(int=self._rng.getrandbits(128), version=4),
        )
        return Api(self._settings, outside)

    def kill(self) -> None:
        """End it at once. Its clients see their connections end."""
        super().kill()
        self._database.hang_up(self.name)
        self.program.cut()

    @property
    def serves(self) -> bool:
        """Whether it takes connections."""
        return self.is_alive and self.program.serves

    async def call(self, request: HttpRequest, timeout_seconds: float) -> HttpAnswer:
        """Send a request, and wait for the answer.

        Raises:
            ConnectionError: the connection could not be made, or has ended.
            TimeoutError: there was no answer in time.
        """
        await asyncio.sleep(self._rng.uniform(0.0, 0.002))
        if not self.serves or self._rng.random() < self.faults.lost:
            raise ConnectionRefusedError(f"{self.name} can't be reached")
        try:
            async with asyncio.timeout(timeout_seconds):
                answered = await self.program.take(request, self.life)
        finally:
            request.gone.set()
        if self._rng.random() < self.faults.unanswered:
            raise ConnectionResetError("the connection has ended")
        return answered

    @contextlib.asynccontextmanager
    async def stream(self, request: HttpRequest) -> AsyncIterator[HttpStream]:
        """Send a request, and read what is answered bit by bit. The connection ends with the context.

        Raises:
            ConnectionError: the connection could not be made.
        """
        await asyncio.sleep(self._rng.uniform(0.0, 0.002))
        if not self.serves or self._rng.random() < self.faults.lost:
            raise ConnectionRefusedError(f"{self.name} can't be reached")
        try:
            yield self.program.stream(request, self.life)
        finally:
            request.gone.set()


class _Exchange:
    """The two ends that the app speaks through."""

    def __init__(self, request: HttpRequest):
        self._request = request
        self._is_read = False
        self.answer = HttpAnswer()

    def scope(self) -> dict[str, Any]:
        request = self._request
        path, _, query = request.target.partition("?")
        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [*headers, (b"content-length", b"%d" % len(request.body))],
            "server": ("api", 80),
            "client": ("client", 1),
        }

    async def receive(self) -> Message:
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await self._request.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
        else:
            self.answer.body += message.get("body", b"")
            self.answer.complete = not message.get("more_body", False)
