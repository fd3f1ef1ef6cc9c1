"""What Starlette's router refuses: unknown paths, and methods of the paths outside of the surfaces."""

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.answers import JSON
from api.errors import ApiError, Fault, NotAllowed, NotFound
from schemas.resources import Error

_JSON: Final = {name.decode(): value.decode() for name, value in JSON}


async def answer_http_error(request: Request, error: Exception) -> Response:
    """An exception handler for Starlette's own errors (contract: `http-api`, Errors)."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        return _response(NotAllowed("method not allowed"), error.headers)
    return _response(NotFound("unknown path"))


async def answer_fault(request: Request, error: Exception) -> Response:
    """An exception handler for faults. Starlette raises them again, so that the server logs them."""
    return _response(Fault())


def _response(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    body = msgspec.json.encode(Error(error_code=error.code, error_message=error.message))
    return Response(body, error.status, {**(headers or {}), **_JSON})
