"""Probes and metrics, outside the base path and without a token (contract: `http-api`, Authorization and health).

`/readyz` is about reads alone: without Kafka no write is accepted, but a gateway that took every replica out of service
would take the reads away too. `/readyz?verbose` shows all checks, as the other processes' probes do.

Anybody may ask, as often as they like: Kafka and Postgres are asked at most once in `CHECK_SECONDS`.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from api.metrics import Metrics
from api.services import Services
from projections.queries.errors import ReadModelUnavailable

Endpoint = Callable[[Request], Awaitable[Response]]

CHECK_SECONDS: Final = 1.0
"""How long an answer of Kafka or Postgres is used. Without it, whoever reaches the probes could load both."""

_NOBODY: Final = UUID(int=0)
"""An id that nothing has: looking it up shows whether Postgres answers."""


class Check:
    """Whether a service answers, asked once for all who want to know.

    Args:
        ask: asks the service; does not raise, and ends by a deadline of its own.
        clock: seconds that only go forwards.
    """

    def __init__(self, ask: Callable[[], Awaitable[bool]], clock: Callable[[], float] = time.monotonic):
        self._ask = ask
        self._clock = clock
        self._until = 0.0
        self._asking: asyncio.Future[bool] | None = None

    async def passes(self) -> bool:
        """The answer, at most `CHECK_SECONDS` old."""
        if self._asking is None or (self._asking.done() and self._clock() >= self._until):
            self._asking = asyncio.ensure_future(self._asked())
        return await asyncio.shield(self._asking)  # others may wait for the same answer

    async def _asked(self) -> bool:
        answer = await self._ask()
        self._until = self._clock() + CHECK_SECONDS
        return answer


def health_routes(services: Services, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> list[BaseRoute]:
    """`/_healthcheck`, `/livez`, `/readyz` and `/metrics`."""
    reads = Check(lambda: _reads(services), clock)
    kafka = Check(services.command_log.reachable, clock)

    async def dependencies() -> dict[str, bool]:
        kafka_answers, postgres_answers = await asyncio.gather(kafka.passes(), reads.passes())
        found = {"kafka": kafka_answers, "postgres": postgres_answers}
        for name, answers in found.items():
            metrics.show_dependency(name, answers)
        return found

    async def healthcheck(request: Request) -> Response:
        return JSONResponse({"default": "OK"})

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Request) -> Response:
        if "verbose" not in request.query_params:
            serves = await reads.passes()
            return JSONResponse({"ready": serves}, 200 if serves else 503)
        found = await dependencies()
        serves = found["postgres"]
        checks = {**found, "notifications": services.positions.ready}
        return JSONResponse({"ready": serves, "checks": checks}, 200 if serves else 503)

    async def exposition(request: Request) -> Response:
        await dependencies()
        content, content_type = metrics.exposition()
        return Response(content, headers={"content-type": content_type})

    endpoints: dict[str, Endpoint] = {
        "/_healthcheck": healthcheck,
        "/livez": live,
        "/readyz": ready,
        "/metrics": exposition,
    }
    return [Route(path, endpoint) for path, endpoint in endpoints.items()]


async def _reads(services: Services) -> bool:
    """Whether the read model can be read."""
    # Looking something up also makes lost connections come back while no request does, because nobody sends any to a
    # process that is not ready.
    with contextlib.suppress(ReadModelUnavailable):
        await asyncio.gather(services.read_model.workflow(_NOBODY), services.read_model.instance(_NOBODY))
    return services.read_model.ready
