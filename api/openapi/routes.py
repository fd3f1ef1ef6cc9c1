"""`/openapi.json`."""

from collections.abc import Sequence
from functools import cache

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.openapi.document import document
from api.routing import Operation


def openapi_routes(base_path: str, operations: Sequence[Operation]) -> list[BaseRoute]:
    """The description, outside the base path and, for clients behind a gateway, under it."""

    @cache
    def body() -> bytes:
        """Made when somebody asks for it: it takes as long as the rest of the start."""
        return msgspec.json.encode(document(base_path, operations))

    async def describe(request: Request) -> Response:
        return Response(body(), headers={"content-type": "application/json"})

    return [Route(path, describe) for path in dict.fromkeys(("/openapi.json", f"{base_path}/openapi.json"))]
