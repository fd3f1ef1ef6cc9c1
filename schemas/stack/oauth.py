"""Access tokens for the stack by OAuth2 client credentials (RFC 6749, 4.4), found by OIDC discovery if need be."""

import asyncio
import base64
import re
import time
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import quote_plus, urlencode

import msgspec
from msgspec import Struct

from schemas.settings import StackSettings
from schemas.stack.answers import Answer, printable
from schemas.stack.discovery import Sender, check_protected, discover
from schemas.stack.errors import CallFailed, NoToken, Refused, Unreadable

RENEWAL_MARGIN_SECONDS: Final = 30.0
"""A token is renewed this long before it expires, or a quarter of its life if that is less. Without the margin, calls
would set out with a token that expires on the way."""

DEFAULT_LIFETIME_SECONDS: Final = 300.0
"""How long a token is used if the server does not tell its lifetime. If that is too long, a 401 renews it."""

RENEWAL_TIMEOUT_SECONDS: Final = 20.0
"""How long discovery and token request may take together. Less than a call may take, so that the history can
say that the token was the problem."""

FAILURE_PAUSE_SECONDS: Final = 1.0
"""After a failed renewal, the next one is not tried sooner. Without the pause, all calls of a busy engine would take
turns at a token endpoint that is in trouble."""

REFUSAL_PAUSE_SECONDS: Final = 1.0
"""After a new token was refused, too, no refusal is a reason for another one for so long. Without the pause, calls of a
service that refuses all of them would each take the token away from all others, and make a new one."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
"""The characters of a header's value. A line break in a token would let the token endpoint write its own headers."""

_T = TypeVar("_T")


class _Configuration(Struct):
    token_endpoint: str
    token_endpoint_auth_methods_supported: list[str] | None = None


class _Granted(Struct):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - no secret
    expires_in: float | None = None


class _Denied(Struct):
    error: str


class TokenSource:
    """Keeps an access token at hand. Callers share one renewal, and while the token is valid nobody waits for it.

    Args:
        settings: client credentials, and where tokens come from.
        transport: sends the requests.
        monotonic: seconds that never go back.
    """

    def __init__(self, settings: StackSettings, transport: Sender, monotonic: Callable[[], float] = time.monotonic):
        self._client_id = settings.stack_client_id or ""
        self._client_secret = settings.stack_client_secret or ""
        self._token_url = settings.stack_token_url
        self._issuer = settings.stack_issuer or f"{settings.stack_url.rstrip('/')}/api/auth"
        self._transport = transport
        self._monotonic = monotonic
        self._token: str | None = None
        self._renew_at = 0.0
        self._expires_at = 0.0
        self._problem: str | None = None
        self._paused_until = 0.0
        self._kept_until = 0.0
        self._renewal: asyncio.Task[None] | None = None

    async def token(self) -> str:
        """A token that is valid now, as far as we know.

        Raises:
            NoToken: no token could be had. The message says why.
        """
        now = self._monotonic()
        if (self._token is None or now >= self._renew_at) and now >= self._paused_until and self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
        if self._renewal is not None and not self._valid():
            # A caller that gives up must not take the renewal away from all others.
            await asyncio.shield(self._renewal)
        if self._token is None or not self._valid():
            raise NoToken(f"no access token: {self._problem or 'it expired on the way'}")
        return self._token

    def reject(self, token: str) -> bool:
        """The stack does not take this token. Whether another one is worth a try; the next call waits for it then."""
        if token == self._token:
            if self._monotonic() < self._kept_until:
                return False
            self._token = None
        return True

    def reject_new(self) -> None:
        """The stack does not take the one either that came after a `reject`: it is not the token."""
        self._kept_until = self._monotonic() + REFUSAL_PAUSE_SECONDS

    async def close(self) -> None:
        """Stop a renewal under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})

    def _valid(self) -> bool:
        return self._token is not None and self._monotonic() < self._expires_at

    async def _renew(self) -> None:
        """Get a new token, or note why that failed."""
        try:
            async with asyncio.timeout(RENEWAL_TIMEOUT_SECONDS):
                granted = await self._request()
        except CallFailed as failed:
            self._problem = str(failed)
        except TimeoutError:
            self._problem = f"timeout after {RENEWAL_TIMEOUT_SECONDS:g} s"
        else:
            lifetime = granted.expires_in
            if lifetime is None or not lifetime > 0:  # which NaN is not, either
                lifetime = DEFAULT_LIFETIME_SECONDS
            now = self._monotonic()
            self._token, self._problem = granted.access_token, None
            self._expires_at = now + lifetime
            self._renew_at = self._expires_at - min(RENEWAL_MARGIN_SECONDS, lifetime / 4)
            return
        finally:
            self._renewal = None
        self._paused_until = self._monotonic() + FAILURE_PAUSE_SECONDS

    async def _request(self) -> _Granted:
        url, methods = await self._endpoint()
        answer = await self._ask(url, methods[0])
        if answer.status in (400, 401) and len(methods) > 1:
            # Servers that know one way to name the client only need not say which.
            answer = await self._ask(url, methods[1])
        if answer.status != 200:
            denied = _decoded(answer, _Denied)
            raise NoToken(f"HTTP {answer.status}" + (f" {printable(denied.error, 100)}" if denied else ""))
        granted = _decoded(answer, _Granted)
        if granted is None or granted.token_type.lower() != "bearer" or not _TOKEN.fullmatch(granted.access_token):
            raise NoToken("the token endpoint's answer can't be read")
        return granted

    async def _endpoint(self) -> tuple[str, tuple[str, ...]]:
        """Where tokens are, and how to name the client there: the ways to try, in order."""
        both = ("client_secret_basic", "client_secret_post")
        if self._token_url is not None:
            return self._token_url, both
        try:
            found = await discover(self._transport, self._issuer, _Configuration)
            check_protected("token_endpoint", found.token_endpoint, self._issuer)
        except (Refused, Unreadable) as error:
            raise NoToken(f"OIDC discovery: {error}") from None
        offered = tuple(way for way in both if way in (found.token_endpoint_auth_methods_supported or both))
        return found.token_endpoint, offered or both

    async def _ask(self, url: str, way: str) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        form = {"grant_type": "client_credentials"}
        if way == "client_secret_basic":
            # RFC 6749, 2.3.1: both are form-encoded first, since an id may hold a colon.
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        return await self._transport.send("POST", url, headers=headers, body=urlencode(form).encode())


def _decoded(answer: Answer, shape: type[_T]) -> _T | None:
    try:
        # Some servers write `expires_in` as a text.
        return msgspec.json.decode(answer.body, type=shape, strict=False)
    except (ValueError, RecursionError):
        return None
