"""HTTP servers inside a process: the probes of engine and projections, and the API itself, on sockets bound before.

`/livez` answers 200 while the event loop runs, `/readyz` 200 once the process does its work and 503 before and while it
stops, `/metrics` what Prometheus scrapes.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
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


def probe_server(ready: Callable[[], bool]) -> Server:
    """The server of a process's probes."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        return PlainTextResponse("ok") if ready() else PlainTextResponse("not ready", 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app = Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])
    return Server(
        uvicorn.Config(app, access_log=False, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    )
