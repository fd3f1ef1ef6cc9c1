"""The sandbox under uvicorn, with a way to hang up on a client without an answer."""

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deploy.sandbox.app import create_app
from deploy.sandbox.endpoint import ABORT_EXTENSION
from deploy.sandbox.state import SandboxSettings

# Longer than clients keep idle connections: else a call would now and then meet a connection that is just being closed,
# and a test would see a fault that nobody asked for.
KEEP_ALIVE_SECONDS = 120
# Without a limit, a call that the fault `slow` holds would hold up the shutdown.
SHUTDOWN_SECONDS = 1


class AbortableProtocol(HttpToolsProtocol):
    """uvicorn's protocol, plus an ASGI extension: a function that closes the connection at once.

    ASGI itself has no means for that: an application that returns without an answer makes the server send a 500.
    """

    def on_message_begin(self) -> None:
        """Begins a request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT_EXTENSION: self.transport.abort}  # type: ignore[dict-item]


def server_config(app: Starlette, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    """How uvicorn runs a sandbox; without a line in the log per request."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=AbortableProtocol,
        ws="none",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def serve(host: str, port: int, settings: SandboxSettings | None = None) -> None:
    """Runs a sandbox until the process is told to stop (SIGINT, SIGTERM)."""
    uvicorn.Server(server_config(create_app(settings), host, port)).run()
