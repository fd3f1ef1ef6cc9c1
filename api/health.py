"""Probes and metrics, outside the base path and without a token (contract: `http-api`, Authorization and health)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from api.metrics import Metrics
from api.services import Services
from projections.queries.errors import ReadModelUnavailable

Endpoint = Callable[[Request], Awaitable[Response]]

_NOBODY = UUID(int=0)
"""An id that nothing has: looking it up shows whether Postgres answers."""


def health_routes(services: Services, metrics: Metrics) -> list[BaseRoute]:
    """`/_healthcheck`, `/livez`, `/readyz` and `/metrics`."""

    async def healthcheck(request: Request) -> Response:
        return JSONResponse({"default": "OK"})

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Request) -> Response:
        kafka, postgres = await asyncio.gather(services.command_log.reachable(), _postgres(services))
        found = {"kafka": kafka, "postgres": postgres}
        return JSONResponse(found, 200 if all(found.values()) else 503)

    async def exposition(request: Request) -> Response:
        content, content_type = metrics.exposition()
        return Response(content, headers={"content-type": content_type})

    endpoints: dict[str, Endpoint] = {
        "/_healthcheck": healthcheck,
        "/livez": live,
        "/readyz": ready,
        "/metrics": exposition,
    }
    return [Route(path, endpoint) for path, endpoint in endpoints.items()]


async def _postgres(services: Services) -> bool:
    # Looking something up also makes lost connections come back while no request does, because nobody sends any to a
    # process that is not ready.
    with contextlib.suppress(ReadModelUnavailable):
        await asyncio.gather(services.read_model.workflow(_NOBODY), services.read_model.instance(_NOBODY))
    return services.read_model.ready and services.positions.ready
