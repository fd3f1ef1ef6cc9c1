"""The API as an ASGI app: routes, start and stop."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from api import flows, v1, v2
from api.auth.guard import make_guard
from api.console.routes import console_routes
from api.console.sign_in import SignIn
from api.health import health_routes
from api.metrics import Metrics
from api.openapi.routes import openapi_routes
from api.ports import Connection
from api.refusals import answer_fault, answer_http_error
from api.routing import PathRoute, Paths, path_of, path_routes
from api.services import Outside, Services, outside, services_of
from api.waiting import Admission
from api.web_pages import WebPages
from schemas.settings import ApiSettings

logger = logging.getLogger(__name__)

OPERATIONS: Final = (*v1.OPERATIONS, *v2.OPERATIONS, *flows.OPERATIONS)
"""The operations of all surfaces."""

START_TIMEOUT_SECONDS: Final = 5.0
"""How long a start waits for Kafka and Postgres. After that the process serves anyway, answers 503 and recovers by
itself. If it ended instead, an orchestrator would restart it again and again, which adds load to what is coming
back."""


class Api(Starlette):
    """Starlette, where requests for operations go straight to their routes.

    Those answer every error themselves, and a table finds them. Starlette's middleware, and its look at one route after
    another, would be a tenth of what a short answer costs.

    Args:
        operations: routes of the operations; they come before the others.
        more: of Starlette.
    """

    def __init__(self, operations: Sequence[PathRoute], **more: Any):
        super().__init__(**more)
        self._paths = Paths(operations)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        found = self._paths.find(path_of(scope)) if scope["type"] == "http" else None
        if found is None:
            await super().__call__(scope, receive, send)
            return
        route, scope["path_params"] = found
        await route.handle(scope, receive, send)


def create_app(
    settings: ApiSettings,
    services: Services | None = None,
    stop: asyncio.Event | None = None,
    *,
    reached: Outside | None = None,
) -> Starlette:
    """The API.

    Args:
        settings: where things are, and the limits.
        services: what is behind the operations; made from `reached` when not given.
        stop: set when the process is to end; then nobody waits for the end of an instance any longer, and streams end.
        reached: what the process reaches; when not given, Kafka and Postgres as the settings say, and the stack as the
            environment says.

    Raises:
        SettingsError: the settings for Kafka, the stack or authorization can't be used.
    """
    guard = make_guard(settings)
    operations = WebPages(settings).protect(guard.protect(OPERATIONS) if guard else OPERATIONS)
    reads, commands = Admission(settings.max_waiting_requests), Admission(settings.max_waiting_requests)
    metrics = Metrics(reads, commands)
    monotonic = time.monotonic if reached is None else reached.monotonic
    if services is None:
        services = services_of(settings, metrics, reached or outside(settings), v2.render_instance)
    opened, sign_in = services, SignIn(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with guard or contextlib.nullcontext():
            await sign_in.open()
            await _open(opened)
            stopping = asyncio.create_task(_stop_waiting(stop, opened)) if stop else None
            try:
                yield
            finally:
                if stopping:
                    stopping.cancel()
                await sign_in.close()
                await _close(opened)

    app = Api(
        path_routes(settings.base_path, operations, services, reads, commands, metrics),
        routes=[
            *health_routes(services, metrics, monotonic),
            *openapi_routes(settings.base_path, operations),
            *console_routes(settings, sign_in),
        ],
        exception_handlers={HTTPException: answer_http_error, Exception: answer_fault},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirected POST loses its body with some clients; `Operation.slash` does it
    return app


async def _open(services: Services) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            await asyncio.gather(*(connection.open() for connection in _connections(services)))
    except TimeoutError:
        logger.warning("Kafka or Postgres does not answer yet; the API serves anyway, and answers 503 until they do")


async def _stop_waiting(stop: asyncio.Event, services: Services) -> None:
    """Answer requests with `wait=true` with the present state, and end streams: both could outlast a stop."""
    await stop.wait()
    services.positions.stop_waiting()
    services.streams.stop()


async def _close(services: Services) -> None:
    try:
        async with asyncio.timeout(services.settings.shutdown_timeout_seconds):
            await asyncio.gather(*(connection.close() for connection in _connections(services)))
    except TimeoutError:
        logger.warning("Kafka or Postgres could not be closed in time")


def _connections(services: Services) -> tuple[Connection, ...]:
    return (
        services.read_model,
        services.positions,
        services.command_log,
        services.links,
        services.streams,
        services.log_reader,
    )
