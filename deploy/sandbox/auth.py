"""Access tokens by OAuth2 client credentials (RFC 6749, 4.4), so that a client's token handling can be exercised.

Tokens are random texts with an expiry. They protect nothing: whoever reaches the sandbox may change everything.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs, unquote_plus

from deploy.sandbox.errors import UnauthorizedError

MAX_TOKENS: Final = 10_000
"""A client that fetches a token per call would otherwise fill the memory; the oldest token is forgotten first."""


class TokenRequestError(Exception):
    """A token request that is refused; `args` are the error of RFC 6749, 5.2, and its HTTP status."""

    def __init__(self, error: str, status: int) -> None:
        super().__init__(error, status)
        self.error = error
        self.status = status


class Tokens:
    """The tokens that are valid now."""

    def __init__(self, clients: Mapping[str, str] | None, ttl_seconds: float, clock: Callable[[], float]) -> None:
        """Begins without tokens.

        Args:
            clients: secret by client id; `None` takes every client.
            ttl_seconds: how long a token is valid.
            clock: seconds that never go back.
        """
        self._clients = clients
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._expiries: dict[str, float] = {}

    def issue(self, form: bytes, authorization: str | None) -> dict[str, str | int]:
        """Answers a token request.

        Args:
            form: the urlencoded body: `grant_type`, and `client_id`, `client_secret` if not sent as Basic credentials.
            authorization: the request's `Authorization` header.

        Raises:
            TokenRequestError: another grant, or an unknown client.
        """
        fields = {name: values[-1] for name, values in parse_qs(form.decode("latin-1")).items()}
        if fields.get("grant_type") != "client_credentials":
            raise TokenRequestError("unsupported_grant_type", 400)
        client_id, client_secret = _basic_credentials(authorization) or (
            fields.get("client_id", ""),
            fields.get("client_secret", ""),
        )
        if not self._knows(client_id, client_secret):
            raise TokenRequestError("invalid_client", 401)
        if len(self._expiries) >= MAX_TOKENS:
            del self._expiries[next(iter(self._expiries))]
        token = secrets.token_urlsafe(24)
        self._expiries[token] = self._clock() + self._ttl_seconds
        return {"access_token": token, "token_type": "bearer", "expires_in": int(self._ttl_seconds)}

    def _knows(self, client_id: str, client_secret: str) -> bool:
        if self._clients is None:
            return bool(client_id)
        expected = self._clients.get(client_id)
        return expected is not None and hmac.compare_digest(expected.encode(), client_secret.encode())

    def check(self, authorization: str | None) -> None:
        """Raises `UnauthorizedError` unless the header holds a bearer token that is valid now."""
        scheme, _, token = (authorization or "").partition(" ")
        expiry = self._expiries.get(token.strip())
        if scheme.lower() != "bearer" or expiry is None:
            raise UnauthorizedError("missing, unknown or revoked access token")
        if expiry <= self._clock():
            del self._expiries[token.strip()]
            raise UnauthorizedError("expired access token")

    def revoke_all(self) -> int:
        """Forgets all tokens and says how many there were."""
        count = len(self._expiries)
        self._expiries.clear()
        return count


def configuration(base_url: str) -> dict[str, str | list[str]]:
    """The OIDC discovery document of an issuer at `<base_url>/api/auth`, as far as a machine client reads it."""
    issuer = f"{base_url}/api/auth"
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth/token",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }


def _basic_credentials(authorization: str | None) -> tuple[str, str] | None:
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, client_secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return unquote_plus(client_id), unquote_plus(client_secret)
