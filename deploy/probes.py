"""The probes of engine and projections.

`/livez` answers 200 while the event loop runs, `/readyz` 200 once the process does its work and 503 before and while it
stops, `/metrics` what Prometheus scrapes. `/readyz?verbose` has the same status and shows the checks behind it as JSON:
`{"ready": true, "checks": {"name": …}}`. A check may be about something that does not make the process unready.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploy.http.server import ManagedServer, server_config
from schemas.resources import Error, ErrorCode

MAX_CONNECTIONS: Final = 64
"""Prometheus, an orchestrator and a few people; more could take file descriptors from the process's work."""


def probe_server(ready: Callable[[], bool], checks: Callable[[], Mapping[str, object]]) -> ManagedServer:
    """The server of a process's probes.

    Args:
        ready: whether the process does its work.
        checks: what `/readyz?verbose` shows, by name; values that JSON has, quick to get.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(request: Request) -> Response:
        works = ready()
        status = 200 if works else 503
        if "verbose" in request.query_params:
            return JSONResponse({"ready": works, "checks": dict(checks())}, status)
        return PlainTextResponse("ok" if works else "not ready", status)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app = Starlette(
        routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)],
        exception_handlers={HTTPException: _refused},
    )
    return ManagedServer(server_config(app, max_connections=MAX_CONNECTIONS, stop_seconds=1))


async def _refused(request: Request, error: Exception) -> Response:
    """An unknown path or method, as the API answers it (contract: `http-api`, Errors)."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    code: ErrorCode = "NOT_FOUND" if status == 404 else "VALIDATION"
    body = msgspec.json.encode(Error(error_code=code, error_message=HTTPStatus(status).phrase.lower()))
    return Response(body, status, headers, "application/json")
