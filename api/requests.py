"""One request as ASGI gives it: parameters of its path, query, headers, body. The sandbox uses it too."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from starlette.types import Receive, Scope

from api.bodies.reading import announces_body, read_body


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
        """The Idempotency-Key; None without one, and for an empty one."""
        return self.header(b"idempotency-key") or None

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = self.queries.get(name)
        return values[0] if values else None

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
