"""An API with the console, served from a thread: the tests wait in the browser meanwhile."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.http.server import ManagedServer, bind, server_config

HOST = "127.0.0.1"


class Switch:
    """Passes requests on to the app of the moment: with one address for all tests, the browser keeps the files."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        assert self.app is not None
        await self.app(scope, receive, send)


@contextlib.contextmanager
def served(app: ASGIApp, lifespan: Literal["on", "off"] = "off") -> Iterator[str]:
    """Serve an app; the address has no `/` at its end."""
    listener = bind(HOST, 0)
    config = server_config(app, max_connections=100, stop_seconds=1, lifespan=lifespan)
    server = ManagedServer(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), name="site")
    thread.start()
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def without_streams(app: ASGIApp) -> ASGIApp:
    """An API of before there were streams, so that pages have to ask: what tests change, nobody announces."""

    async def older(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/stream"):
            scope = {**scope, "path": "/unknown"}
        await app(scope, receive, send)

    return older


def behind(prefix: str, app: ASGIApp, only: str = "") -> ASGIApp:
    """A gateway that takes its own prefix away before it passes a request on.

    Args:
        prefix: its own; every request has it.
        app: what is behind it.
        only: what the rest of each path begins with.
    """

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(f"{prefix}{only}/")
            scope = {**scope, "path": scope["path"].removeprefix(prefix)}
        await app(scope, receive, send)

    return gateway
