"""The issuer of tokens: its signing keys, found by OIDC discovery (OpenID Connect Discovery 1.0, section 4)."""

import logging
import warnings
from typing import Any, TypeVar

import aiohttp
import msgspec
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey, import_key
from msgspec import Struct

from api.auth.errors import IssuerFault

logger = logging.getLogger(__name__)

MAX_DOCUMENT_BYTES = 256 * 1024
"""Largest document that is read. Without a limit a broken issuer could fill the memory; known key sets have few KiB."""

CHUNK_BYTES = 16 * 1024
"""Read at once of a document."""

MAX_KEYS = 32
"""Keys that are used of a key set. A token that names no key is tried with each of them, so they bound its cost."""

CONNECT_TIMEOUT_SECONDS = 3.0
"""How long a connection may take; the whole fetch is bounded by `IssuerKeys`."""

Key = RSAKey | ECKey
Keys = tuple[Key, ...]

_KEY_TYPES = ("RSA", "EC")
"""What our algorithms work with. A symmetric key that was published is no secret, so it proves nothing."""

_T = TypeVar("_T")


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
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session; nothing is connected yet."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A compressed document could be small on the wire and fill the memory.
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "orchestration"},
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def keys(self) -> Keys:
        """The keys that it publishes now. The caller bounds the time.

        Raises:
            IssuerFault: it is away, or what it publishes can't be used.
        """
        configuration = await self._get(f"{self._url.rstrip('/')}/.well-known/openid-configuration", _Configuration)
        if configuration.issuer != self._url:
            raise IssuerFault(f"the issuer calls itself {configuration.issuer!r}")
        # The keys must not travel less protected than the document that says where they are.
        schemes = ("https://",) if self._url.startswith("https://") else ("http://", "https://")
        if not configuration.jwks_uri.startswith(schemes):
            raise IssuerFault(f"its jwks_uri does not start with {schemes[0]}")
        return signing_keys((await self._get(configuration.jwks_uri, _KeySet)).keys)

    async def _get(self, url: str, shape: type[_T]) -> _T:
        if self._session is None:
            raise IssuerFault("closed")
        try:
            # Redirects are not followed: an issuer says where its keys are, nobody on the way does.
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise IssuerFault(f"HTTP {response.status} from {url}")
                body = await _read(response, url)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise IssuerFault(f"no answer from {url}: {error or type(error).__name__}") from None
        try:
            return msgspec.json.decode(body, type=shape)
        except (ValueError, RecursionError) as error:
            raise IssuerFault(f"the answer from {url} can't be read: {error}") from None


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


async def _read(response: aiohttp.ClientResponse, url: str) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_DOCUMENT_BYTES:
            response.close()
            raise IssuerFault(f"the answer from {url} is larger than {MAX_DOCUMENT_BYTES} bytes")
    return bytes(body)
