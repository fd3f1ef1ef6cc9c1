"""How people sign in to the console: at the OIDC issuer, by the code flow with PKCE (RFC 7636), without a secret.

The browser talks to the issuer itself; nothing of it passes through here. This only tells where the issuer's endpoints
are, found by discovery, since the pages may connect to origins that their security policy names and to no others.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from msgspec import Struct
from yarl import URL

from schemas.settings import ApiSettings
from schemas.stack.discovery import MAX_DOCUMENT_BYTES, Sender, check_protected, discover
from schemas.stack.errors import CallFailed
from schemas.stack.transport import Transport

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 3.0
"""How long the page waits for the issuer. Without an answer people can still paste a token."""

PAUSE_SECONDS: Final = 5.0
"""Shortest time between two questions to an issuer that did not answer. Without it everybody who opens the console
would wait for it and load it."""


class Endpoints(Struct, frozen=True):
    """Where an issuer signs people in."""

    authorization_endpoint: str
    token_endpoint: str


class ClosableSender(Sender, Protocol):
    """What asks the issuer."""

    async def open(self) -> None:
        """Make it ready."""

    async def close(self) -> None:
        """Close all connections."""


class SignIn:
    """The issuer's endpoints, asked for when somebody opens the console, and kept for a while.

    Args:
        settings: issuer, client and scopes.
        transport: asks the issuer.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        settings: ApiSettings,
        transport: ClosableSender | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self._settings = settings
        enabled = settings.console_enabled and settings.auth_enabled and settings.console_client_id
        self._issuer = settings.auth_issuer if enabled else None
        self._transport = transport or Transport(TIMEOUT_SECONDS, MAX_DOCUMENT_BYTES)
        self._monotonic = monotonic
        self._endpoints: Endpoints | None = None
        self._ask_at = -math.inf
        self._asking = asyncio.Lock()

    async def open(self) -> None:
        """Make the session, if there is somebody to ask; nothing is connected yet."""
        if self._issuer:
            await self._transport.open()

    async def close(self) -> None:
        """Close all connections."""
        if self._issuer:
            await self._transport.close()

    async def origins(self) -> list[str]:
        """The origins that the pages must be able to talk to."""
        endpoints = await self._found()
        if endpoints is None:
            return []
        return [str(URL(endpoints.token_endpoint).origin())]

    async def shown(self) -> dict[str, Any] | None:
        """What the pages need to know of authorization; None when it is off."""
        settings = self._settings
        if not settings.auth_enabled:
            return None
        endpoints = await self._found()
        return {
            "issuer": settings.auth_issuer,
            "audience": settings.auth_audience,
            "checkScopes": settings.auth_check_scopes,
            "clientID": settings.console_client_id,
            "scopes": settings.console_scopes,
            "authorizationEndpoint": endpoints and endpoints.authorization_endpoint,
            "tokenEndpoint": endpoints and endpoints.token_endpoint,
        }

    async def _found(self) -> Endpoints | None:
        if not self._issuer:
            return None
        async with self._asking:
            if self._monotonic() >= self._ask_at:
                asked = await self._asked(self._issuer)
                self._endpoints = asked or self._endpoints
                self._ask_at = self._monotonic() + (self._settings.auth_keys_ttl_seconds if asked else PAUSE_SECONDS)
        return self._endpoints

    async def _asked(self, issuer: str) -> Endpoints | None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                found = await discover(self._transport, issuer, Endpoints)
            check_protected("authorization_endpoint", found.authorization_endpoint, issuer)
            check_protected("token_endpoint", found.token_endpoint, issuer)
            URL(found.token_endpoint)  # fails if its port is out of range
        except (CallFailed, TimeoutError, ValueError) as error:
            logger.warning("nobody can sign in to the console: the issuer at %s: %s", issuer, error or "no answer")
            return None
        return found
