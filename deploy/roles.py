"""What a process is: an API, one of its workers, an engine or the projections; each with its probes.

How each of them starts and stops in order is in `deploy.process`.
"""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.http.server import ManagedServer, bind, bind_shared, connections_within, server_config
from deploy.probes import probe_server
from deploy.process import run, stop_event, until_stopped
from deploy.workers.metrics import AllMetrics
from deploy.workers.place import Place, bind_own, parent_of
from schemas.settings import ApiSettings, EngineSettings, ProcessSettings, ProjectionsSettings

logger = logging.getLogger(__name__)

PROBES_STOP_SECONDS: Final = 1.0
"""How long the probes' server may take to end. A scraper that keeps its connection open would hold it for longer."""


class Role(Protocol):
    """What a process runs: the engine or the projections."""

    @property
    def ready(self) -> bool:
        """Whether it does its work."""
        ...

    @property
    def checks(self) -> Mapping[str, object]:
        """What `/readyz?verbose` shows, by name; values that JSON has."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then end in order. Raises on a fault that it can't recover from."""
        ...


def run_engine(settings: EngineSettings) -> None:
    """Run an engine until it is told to stop."""
    from engine.process import Engine

    host, port = settings.engine_metrics_host, settings.engine_metrics_port
    run(settings, _serve_role("engine", lambda: Engine(settings), settings, host, port))


def run_projections(settings: ProjectionsSettings) -> None:
    """Run the projections until they are told to stop."""
    from projections.process import Projections

    host, port = settings.projections_metrics_host, settings.projections_metrics_port
    run(settings, _serve_role("projections", lambda: Projections(settings), settings, host, port))


def run_api(settings: ApiSettings, place: Place | None = None) -> None:
    """Run an API server until it is told to stop.

    Args:
        settings: of the API.
        place: among the workers of one port; None if there are none.
    """
    from api.app import create_app

    def make(stop: asyncio.Event) -> Starlette:
        return create_app(settings, stop=stop)

    if place is None:
        run(settings, _serve_api(make, settings))
    else:
        run(settings, _serve_api_worker(make, settings, place), worker=place.number)


async def _serve_role(name: str, make: Callable[[], Role], settings: ProcessSettings, host: str, port: int) -> None:
    with bind(host, port) as listener:
        role = make()
        async with stop_event() as stop, _probes(role, stop, listener):
            logger.info("%s started, probes on http://%s:%d", name, *listener.getsockname()[:2])
            await until_stopped(name, role.run(stop), stop, settings)
    logger.info("%s stopped", name)


async def _serve_api(make: Callable[[asyncio.Event], Starlette], settings: ApiSettings) -> None:
    with bind(settings.host, settings.port) as listener:
        async with stop_event() as stop:
            await _serve_until(stop, _RecordedStart(make(stop)), [listener], settings)


async def _serve_api_worker(make: Callable[[asyncio.Event], Starlette], settings: ApiSettings, place: Place) -> None:
    with bind_shared(settings.host, place.port, first=False) as listener, bind_own(place) as own:
        async with stop_event() as stop, parent_of(place, stop) as parent:
            app = _RecordedStart(AllMetrics(make(stop), place), parent.may_listen)
            await _serve_until(stop, app, [listener, own], settings)


async def _serve_until(
    stop: asyncio.Event, app: "_RecordedStart", listeners: list[socket.socket], settings: ApiSettings
) -> None:
    server = ManagedServer(
        server_config(
            app,
            max_connections=connections_within(settings.max_connections),
            # Whole seconds, and less than all of them: the lifespan ends behind the requests.
            stop_seconds=max(1, math.floor(settings.shutdown_timeout_seconds * 0.7)),
            lifespan="on",
        )
    )

    async def serve() -> None:
        await server.serve(sockets=listeners)
        if app.failure:
            raise app.failure

    stopping = asyncio.create_task(_exit_when(stop, server))
    logger.info("api started on http://%s:%d%s", *listeners[0].getsockname()[:2], settings.base_path)
    try:
        await until_stopped("api", serve(), stop, settings)
    finally:
        stopping.cancel()
    logger.info("api stopped")


async def _at_once() -> None:
    """Waits for nothing."""


class _RecordedStart:
    """Wraps an application and keeps the error of its start, which uvicorn would only log.

    Args:
        app: the application.
        may_listen: awaited once it has started, before uvicorn listens.
    """

    def __init__(self, app: ASGIApp, may_listen: Callable[[], Awaitable[None]] = _at_once) -> None:
        self._app = app
        self._may_listen = may_listen
        self.failure: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def without_traceback(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._may_listen()
            await send({**message, "message": ""} if "message" in message else message)

        try:
            await self._app(scope, receive, without_traceback)
        except Exception as error:
            self.failure = error
            raise


async def _exit_when(stop: asyncio.Event, server: ManagedServer) -> None:
    await stop.wait()
    server.should_exit = True


@contextlib.asynccontextmanager
async def _probes(role: Role, stop: asyncio.Event, listener: Any) -> AsyncIterator[None]:
    server = probe_server(lambda: role.ready and not stop.is_set(), lambda: role.checks)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait({serving}, timeout=PROBES_STOP_SECONDS)
        serving.cancel()
