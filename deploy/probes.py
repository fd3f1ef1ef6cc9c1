"""The probes of engine and projections.

`/livez` answers 200 while the event loop runs, `/readyz` 200 once the process does its work and 503 before and while it
stops, `/metrics` what Prometheus scrapes. `/readyz?verbose` has the same status and shows the checks behind it as JSON:
`{"ready": true, "checks": {"name": …}}`. A check may be about something that does not make the process unready.
"""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from api.refusals import answer_http_error
from deploy.http.server import ManagedServer, server_config

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
        exception_handlers={HTTPException: answer_http_error},
    )
    return ManagedServer(server_config(app, max_connections=MAX_CONNECTIONS, stop_seconds=1))
