"""Fetching what `link()` names (contract: triggers-and-events, Expressions).

The uri comes in a message, so it decides where a request goes: the service's credentials go to the stack's own origin
alone. Other origins have to be allowed by a setting, and get none.
"""

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from schemas.error_texts import cut_error
from schemas.expressions import Allowance, Expression, LinkAnswer, LinkNeeded, turns
from schemas.redaction import on_one_line, without_credentials
from schemas.settings import SettingsError, StackSettings, variable
from schemas.stack.answers import Answer
from schemas.stack.client import StackClient
from schemas.stack.errors import CallFailed, NoAnswer, NoToken
from schemas.stack.transport import NOT_ENCODED, is_encoded

LINK_TIMEOUT_SECONDS: Final = 10.0
"""How long one link may take. Without it a service that hangs would keep its place among the evaluations for ever."""

TOO_MANY_REQUESTS: Final = 429

MAX_SHOWN_BYTES: Final = 300
"""Longest part of a uri in an error. The whole uri is in the message."""

Origin = tuple[str, str | None, int | None]
_PORTS: Final = {"http": 80, "https": 443}
_NOT_PLAIN: Final = "it is not a plain http or https URL"


class _Answered(msgspec.Struct):
    data: Any


class LinkFetcher:
    """Evaluates expressions, fetching the links that they need, with a pooled session of its own.

    Args:
        settings: the stack, and the origins that are allowed beside it.
        client: sends the requests; one of its own by default.

    Raises:
        SettingsError: the stack's URL or an allowed origin is not an HTTP URL, or one of two credentials is missing.
    """

    def __init__(self, settings: StackSettings, client: StackClient | None = None):
        self._client = client or StackClient(settings)
        self._own = _setting("stack_url", settings.stack_url)
        allowed = [text.strip() for text in settings.link_allowed_origins.split(",")]
        self._allowed = {_setting("link_allowed_origins", text) for text in allowed if text}
        self._is_open = self._has_client = False

    async def open(self) -> None:
        """Let links be fetched. The stack need not be there yet."""
        self._is_open = True

    async def close(self) -> None:
        """Close all connections, for good."""
        self._is_open = False
        await self._client.close()

    async def evaluate(
        self, expression: Expression, payload: Any, links: dict[str, LinkAnswer], allowance: Allowance
    ) -> Any:
        """The value of an expression.

        Args:
            expression: what to evaluate.
            payload: the message's payload, `event`.
            links: answers so far, by uri; new ones are added, so that several expressions fetch each link once.
            allowance: what the trigger's expressions may use together.

        Raises:
            EvaluationError: it does not compile, or fails, also because a link can't be fetched.
        """
        while True:  # an evaluation asks for a bounded number of links
            try:
                return await turns.evaluate(expression, payload, links, allowance)
            except LinkNeeded as needed:
                links[needed.uri] = await self._fetch(needed.uri)

    async def _fetch(self, uri: str) -> LinkAnswer:
        shown = cut_error(on_one_line(without_credentials(uri)), MAX_SHOWN_BYTES)
        try:
            async with asyncio.timeout(LINK_TIMEOUT_SECONDS):
                answer = await self._send(uri)
        except TimeoutError:
            return LinkAnswer(error=f"link {shown}: timeout after {LINK_TIMEOUT_SECONDS:g} s", may_pass=True)
        except (NoAnswer, NoToken) as error:
            return LinkAnswer(error=f"link {shown}: {error}", may_pass=True)
        except (CallFailed, ValueError) as error:
            return LinkAnswer(error=f"link {shown}: {error}")
        if not 200 <= answer.status < 300:
            passing = answer.status == TOO_MANY_REQUESTS or answer.status >= 500
            return LinkAnswer(error=f"link {shown}: HTTP {answer.status}", may_pass=passing)
        try:
            return LinkAnswer(data=msgspec.json.decode(answer.body, type=_Answered).data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return LinkAnswer(error=f"link {shown}: the answer is not a JSON object with `data`")

    async def _send(self, uri: str) -> Answer:
        origin = _origin(uri)
        if self._is_open and not self._has_client:  # made for the first link: few processes ever fetch one
            self._has_client = True
            await self._client.open()
        if origin == self._own:
            return await self._client.send("GET", uri)
        if origin in self._allowed:
            return await self._client.transport.send("GET", uri)
        raise ValueError("its origin is not allowed")


def _setting(name: str, text: str) -> Origin:
    try:
        return _origin(text)
    except ValueError as error:
        raise SettingsError(f"setting {variable(name)} {without_credentials(text)!r}: {error}") from None


def _origin(uri: str) -> Origin:
    """Scheme, host and port.

    Raises:
        ValueError: it is not an absolute http(s) URL, holds a user name, or characters that no URL holds.
    """
    if not is_encoded(uri):
        raise ValueError(NOT_ENCODED)
    try:
        parts = urlsplit(uri)
        origin = parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # its text may repeat the password
        raise ValueError(_NOT_PLAIN) from None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError(_NOT_PLAIN)
    return origin
