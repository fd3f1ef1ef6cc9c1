"""The sandbox under uvicorn, with a way to hang up on a client without an answer."""

from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import LOGGING_CONFIG

from deploy.http.protocol import Protocol
from deploy.http.server import Server
from deploy.http.server import server_config as config
from deploy.sandbox.app import create_app
from deploy.sandbox.endpoint import ABORT_EXTENSION

KEEP_ALIVE_SECONDS: Final = 120
"""Longer than clients keep idle connections: else a call would now and then meet a connection that is just being
closed, and a test would see a fault that nobody asked for."""
SHUTDOWN_SECONDS: Final = 1
"""Without a limit, a call that the fault `slow` holds would hold up the shutdown."""
MAX_CONNECTIONS: Final = 4096
"""Above what all calls of an engine need at once."""


class AbortableProtocol(Protocol):
    """Our protocol, plus an ASGI extension: a function that closes the connection at once.

    ASGI itself has no means for that: an application that returns without an answer makes the server send a 500.
    """

    def on_message_begin(self) -> None:
        """Begins a request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT_EXTENSION: self.transport.abort}  # type: ignore[dict-item]


def server_config(app: Starlette, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    """How uvicorn runs a sandbox; without a line in the log per request."""
    return config(
        app,
        max_connections=MAX_CONNECTIONS,
        stop_seconds=SHUTDOWN_SECONDS,
        keep_alive_seconds=KEEP_ALIVE_SECONDS,
        protocol=AbortableProtocol,
        lifespan="on",
        host=host,
        port=port,
        log_config=LOGGING_CONFIG,  # it is a server of its own, whose user wants to know where it listens
    )


def serve(host: str, port: int) -> None:
    """Runs a sandbox until the process is told to stop (SIGINT, SIGTERM)."""
    Server(server_config(create_app(), host, port)).run()
