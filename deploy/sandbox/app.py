"""The sandbox as a Starlette application."""

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.sandbox.control_routes import CONTROL_ROUTES
from deploy.sandbox.endpoint import Endpoint, StackEndpoint
from deploy.sandbox.stack_routes import STACK_ROUTES
from deploy.sandbox.state import Sandbox, SandboxSettings

logger = logging.getLogger(__name__)


def create_app(settings: SandboxSettings | None = None) -> Starlette:
    """Builds a sandbox with a state of its own.

    Every answer, also an error, is JSON (or empty) and carries `X-Sandbox: true`. `app.state.sandbox` is the `Sandbox`.
    """
    sandbox = Sandbox(settings or SandboxSettings())
    routes = [
        Route(
            route.path,
            StackEndpoint(sandbox, route.name, route.handler, writes=route.writes, public=route.public),
            methods=[route.method],
        )
        for route in STACK_ROUTES
    ]
    routes += [
        Route(route.path, Endpoint(sandbox, route.handler, writes=route.writes), methods=[route.method])
        for route in CONTROL_ROUTES
    ]
    app = Starlette(
        routes=routes,
        lifespan=_announce,
        exception_handlers={HTTPException: _answer_http_error, Exception: _answer_bug},
    )
    # A path with a slash too many is unknown here, as in the stack, and not redirected.
    app.router.redirect_slashes = False
    app.state.sandbox = sandbox
    return app


@contextlib.asynccontextmanager
async def _announce(app: Starlette) -> AsyncIterator[None]:
    logger.warning("Sandbox: ledger, wallets and payments in memory, for demos and tests only. Nothing is kept.")
    yield


async def _answer_http_error(request: Request, error: Exception) -> Response:
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    message = f"{request.method} {request.url.path}: the sandbox does not have this call"
    return _error_response(status, HTTPStatus(status).name, message, headers)


async def _answer_bug(request: Request, error: Exception) -> Response:
    return _error_response(500, "INTERNAL_ERROR", f"the sandbox failed: {error!r}", None)


def _error_response(status: int, code: str, message: str, headers: Mapping[str, str] | None) -> Response:
    body = {"errorCode": code, "errorMessage": message}
    return JSONResponse(body, status, {**(headers or {}), "X-Sandbox": "true"})
