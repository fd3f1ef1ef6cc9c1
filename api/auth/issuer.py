"""The issuer of tokens: its signing keys, found by OIDC discovery (OpenID Connect Discovery 1.0, section 4)."""

import logging
import warnings
from typing import Any, Final

from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey, import_key
from msgspec import Struct

from api.auth.errors import IssuerFault
from schemas.stack.answers import read_as
from schemas.stack.discovery import MAX_DOCUMENT_BYTES, check_protected, discover
from schemas.stack.errors import CallFailed
from schemas.stack.transport import Transport

logger = logging.getLogger(__name__)

MAX_KEYS: Final = 32
"""How many keys of a key set are used. A token that names no key is tried with each, so this bounds its cost."""

CONNECT_TIMEOUT_SECONDS: Final = 3.0
"""How long a connection may take; the whole fetch is bounded by `IssuerKeys`."""

Key = RSAKey | ECKey
Keys = tuple[Key, ...]

_KEY_TYPES: Final = ("RSA", "EC")
"""What our algorithms work with. A symmetric key that was published is not secret, so it proves nothing."""


class _Configuration(Struct):
    issuer: str
    jwks_uri: str


class _KeySet(Struct):
    keys: list[dict[str, Any]]


class Issuer:
    """An OIDC provider, as far as its signing keys go.

    Args:
        url: its identifier, exactly as its tokens have it in `iss`.
    """

    def __init__(self, url: str):
        self._url = url
        self._transport = Transport(CONNECT_TIMEOUT_SECONDS, MAX_DOCUMENT_BYTES)

    async def open(self) -> None:
        """Make the session; nothing is connected yet."""
        await self._transport.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def keys(self) -> Keys:
        """The keys that the issuer publishes now. The caller bounds the time.

        Raises:
            IssuerFault: the issuer is away, or what it publishes can't be used.
        """
        try:
            configuration = await discover(self._transport, self._url, _Configuration)
            if configuration.issuer != self._url:
                raise IssuerFault(f"the issuer at {self._url} calls itself {configuration.issuer!r}")
            check_protected("jwks_uri", configuration.jwks_uri, self._url)
            published = read_as(await self._transport.send("GET", configuration.jwks_uri), _KeySet)
        except CallFailed as failed:
            raise IssuerFault(f"the issuer at {self._url}: {failed}") from None
        return signing_keys(published.keys)


def signing_keys(published: list[dict[str, Any]]) -> Keys:
    """The keys of a JWK set that can check signatures; others are left out, as RFC 7517, 5 says."""
    keys: list[Key] = []
    for jwk in published:
        if jwk.get("kty") in _KEY_TYPES and jwk.get("use", "sig") == "sig" and len(keys) < MAX_KEYS:
            try:
                with warnings.catch_warnings():
                    # The library only warns of RSA keys below 2048 bits, which RFC 7518, 3.3 forbids.
                    warnings.simplefilter("error", SecurityWarning)
                    key = import_key(jwk)
            except Exception as error:  # a key of another kind of wrong must not take the others away
                logger.warning("a key of the token issuer can't be used: %s", error, extra={"kid": jwk.get("kid")})
            else:
                assert isinstance(key, RSAKey | ECKey)  # noqa: S101 - told by kty
                keys.append(key)
    return tuple(keys)
