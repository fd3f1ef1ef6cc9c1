"""One request as ASGI gives it: parameters of its path, query, headers, body. The sandbox uses it too."""

import asyncio
import re
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs

from starlette.types import Receive, Scope

from api.bodies.reading import announces_body, disconnected, read_body
from api.errors import ClientGone, Invalid
from schemas.commands import HEADER_TEXT

T = TypeVar("T")

_KEY: Final = re.compile(HEADER_TEXT)


class HttpRequest:
    """A request.

    Args:
        scope: of ASGI.
        receive: gives the body.
        params: what the path holds, by name.
    """

    __slots__ = ("_queries", "_receive", "_scope", "params")

    def __init__(self, scope: Scope, receive: Receive, params: dict[str, str]):
        self.params = params
        self._scope = scope
        self._receive = receive
        self._queries: dict[str, list[str]] | None = None

    def header(self, name: bytes) -> str | None:
        """The first header of a name (lower case)."""
        for key, value in self._scope["headers"]:
            if key == name:
                return str(value, "latin-1")
        return None

    def headers(self, name: bytes) -> list[str]:
        """All headers of a name (lower case)."""
        return [str(value, "latin-1") for key, value in self._scope["headers"] if key == name]

    @property
    def has_body(self) -> bool:
        """Whether the request announces a body that is not empty."""
        return announces_body(self._scope)

    @property
    def idempotency_key(self) -> str | None:
        """The Idempotency-Key; None without one, and for an empty one.

        Raises:
            Invalid: it is not printable ASCII, or there are several. Clients send other characters as UTF-8 or as
                latin-1, so a request that another client repeats would be another one, and act twice.
        """
        keys = {key for key in self.headers(b"idempotency-key") if key}
        if len(keys) > 1:
            raise Invalid("Idempotency-Key: must be given once")
        key = keys.pop() if keys else None
        if key is not None and not _KEY.match(key):
            raise Invalid(
                "Idempotency-Key: must be printable ASCII without spaces at its ends; percent-encode other characters"
            )
        return key

    def query(self, name: str) -> str | None:
        """The first value of a query parameter that is not empty; None without one."""
        return next(filter(None, self.queries.get(name, ())), None)

    @property
    def queries(self) -> Mapping[str, Sequence[str]]:
        """The values of each query parameter, in their order."""
        if self._queries is None:  # parsed once: a list asks for many
            query = self._scope["query_string"]
            self._queries = parse_qs(str(query, "latin-1"), keep_blank_values=True) if query else {}
        return self._queries

    async def read(self, max_bytes: int) -> bytes:
        """The whole body; `b""` without one.

        Raises:
            TooLarge: the body has more than `max_bytes`.
            Invalid: it did not arrive in time.
            ClientGone: the client closed the connection.
        """
        return await read_body(self._scope, self._receive, max_bytes)

    async def unless_gone(self, answering: Coroutine[Any, Any, T]) -> T:
        """What takes long, which is cancelled when the client goes. The body must have been read.

        Raises:
            ClientGone: the client closed the connection.
        """
        tasks = asyncio.ensure_future(answering), asyncio.ensure_future(disconnected(self._receive))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():
                raise ClientGone
            return tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
