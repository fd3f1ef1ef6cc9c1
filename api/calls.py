"""One request, as an operation sees it."""

from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

from api.bodies.json_body import decode_json
from api.bodies.reading import announces_body, read_body
from api.errors import Invalid
from api.services import Services

_TRUE = frozenset({"true", "1"})


class Call:
    """A request with the services that answer it."""

    __slots__ = ("_receive", "_scope", "params", "services")

    def __init__(self, services: Services, scope: Scope, receive: Receive, params: dict[str, str]):
        self.services = services
        self.params = params
        self._scope = scope
        self._receive = receive

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
        """The Idempotency-Key; an empty one is none."""
        return self.header(b"idempotency-key") or None

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        query = self._scope["query_string"]
        if query:
            for key, value in parse_qsl(str(query, "latin-1"), keep_blank_values=True):
                if key == name:
                    return value
        return None

    def flag(self, name: str) -> bool:
        """A query parameter that is a boolean: `true` and `1` in any letter case are true, anything else is false."""
        value = self.query(name)
        return value is not None and value.lower() in _TRUE

    async def body(self) -> bytes:
        """The body; `b""` when there is none or only white space."""
        body = await read_body(self._scope, self._receive, self.services.settings.max_body_bytes)
        return b"" if body.isspace() else body

    async def json(self, required: bool = True) -> Any:
        """The JSON value of the body.

        Args:
            required: whether there must be a body; if not, None stands for none.

        Raises:
            Invalid: there is none, or it can't be read.
            TooLarge: it is over the limit.
        """
        body = await self.body()
        if body:
            return decode_json(body)
        if required:
            raise Invalid("a body is required")
        return None
