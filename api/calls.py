"""One request, as an operation sees it."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.types import Receive, Scope

from api.authors import NOBODY, Author, read_reason
from api.bodies.json_body import decode_json
from api.errors import Invalid
from api.requests import HttpRequest
from api.services import Services

_TRUE: Final = frozenset({"true", "1"})


class Call(HttpRequest):
    """A request with the services that answer it."""

    __slots__ = ("recheck", "services", "subject")

    def __init__(self, services: Services, scope: Scope, receive: Receive, params: dict[str, str]):
        super().__init__(scope, receive, params)
        self.services = services
        self.subject: str | None = None
        """Who asks, as the token says; None when authorization is off, and for tokens that do not say it."""
        self.recheck: Callable[[], Awaitable[None]] | None = None
        """Raises `ApiError` once the token is not good any more, for answers that last; None when authorization is
        off."""

    @property
    def author(self) -> Author:
        """Who asks, and why.

        Raises:
            Invalid: `X-Reason` can't be used.
        """
        header = self.header(b"x-reason")
        if header is None and self.subject is None:
            return NOBODY
        return Author(self.subject, read_reason(header))

    def flag(self, name: str) -> bool:
        """A query parameter that is a boolean: `true` and `1` in any letter case are true, anything else is false."""
        value = self.query(name)
        return value is not None and value.lower() in _TRUE

    async def body(self) -> bytes:
        """The body; `b""` if it is missing or only white space."""
        body = await self.read(self.services.settings.max_body_bytes)
        return b"" if body.isspace() else body

    async def json(self, required: bool = True) -> Any:
        """The JSON value of the body.

        Args:
            required: whether a missing body is an error; if not, its value is None.

        Raises:
            Invalid: the body is missing, or not JSON that we take.
            TooLarge: the body is over the limit.
        """
        body = await self.body()
        if body:
            return decode_json(body)
        if required:
            raise Invalid("a body is required")
        return None
