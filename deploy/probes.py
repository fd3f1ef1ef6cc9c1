"""HTTP servers inside a process: the probes of engine and projections, and the API itself, on sockets bound before.

`/livez` answers 200 while the event loop runs, `/readyz` 200 once the process does its work and 503 before and while it
stops, `/metrics` what Prometheus scrapes. `/readyz?verbose` has the same status and shows the checks behind it as JSON:
`{"ready": true, "checks": {"name": …}}`. A check may be about something that does not make the process unready.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploy.errors import DeployError

BACKLOG = 2048
"""Connections that may wait to be accepted; a burst of clients beyond Python's 128 would be refused."""


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to its process: `should_exit` stops it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Changes nothing: the process stops everything in order by one deadline."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0 takes a free one.

    Raises:
        DeployError: the port is in use or the host is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise DeployError(f"can't listen on {host}:{port}: {error.strerror or error}") from None


def probe_server(ready: Callable[[], bool], checks: Callable[[], Mapping[str, object]]) -> Server:
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

    app = Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])
    return Server(
        uvicorn.Config(app, access_log=False, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    )
