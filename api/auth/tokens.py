"""Access tokens: JWTs (RFC 7519) that are checked as RFC 8725 advises.

The library does the cryptography and the claims; this module does the rest. The algorithm must be on our list
and belong to the key, so that neither `none` nor a public key taken for an HMAC's secret can pass.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from joserfc import jws, jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError

from api.auth.errors import TokenInvalid
from api.auth.issuer import Keys
from schemas.redaction import on_one_line
from schemas.settings import ApiSettings

MAX_TOKEN_BYTES: Final = 8192
"""Longest token that is looked at; common gateways pass on no longer header. A longer one would only cost time."""

MAX_HEADER_BYTES: Final = 4096
"""Longest header of a token; with a certificate chain it exceeds the library's 512."""

MAX_VERIFIED_TOKENS: Final = 1024
"""How many good tokens are remembered; the least recently used is forgotten first. Without this memory each request
would cost a signature's check; without a limit it would grow with every token. The longest tokens take 8 MiB."""

MAX_SUBJECT: Final = 255
"""Characters of a subject that are kept. It is recorded with what its owner does; OpenID Connect allows no more."""

_TYPES: Final = frozenset({"jwt", "at+jwt"})
"""What a token's `typ` may be. Other tokens that an issuer signs, such as logout tokens, give no access."""


class KeySource(Protocol):
    """`IssuerKeys`, as far as tokens need it."""

    async def current(self) -> Keys:
        """The keys; the same tuple until they change. Raises `KeysUnavailable`."""

    async def newer(self, than: Keys) -> Keys | None:
        """Keys that were fetched later than these; None without any. Raises `KeysUnavailable`."""


class Verified(NamedTuple):
    """What a good token says."""

    expires_at: float
    scopes: frozenset[str]
    """That it grants."""
    subject: str | None
    """Who has it."""


class TokenVerifier:
    """Tells which tokens are good.

    Args:
        settings: issuer, audience, algorithms and leeway.
        keys: the issuer's.
        now: seconds since the epoch.
    """

    def __init__(self, settings: ApiSettings, keys: KeySource, now: Callable[[], float] = time.time):
        self._keys = keys
        self._now = now
        self._leeway_seconds = settings.auth_leeway_seconds
        # Unknown header fields are ignored (RFC 7515, 4), except critical ones, which `_parsed` refuses.
        self._registry = jws.JWSRegistry(algorithms=settings.auth_algorithms.split(","), strict_check_header=False)
        self._registry.max_header_length = MAX_HEADER_BYTES
        options: dict[str, jwt.ClaimsOption] = {
            "iss": {"essential": True, "value": settings.auth_issuer or ""},
            "exp": {"essential": True},
        }
        if settings.auth_audience:
            options["aud"] = {"essential": True, "value": settings.auth_audience}
        self._claims = jwt.JWTClaimsRegistry(now=lambda: int(now()), leeway=self._leeway_seconds, **options)
        self._verified: OrderedDict[str, Verified] = OrderedDict()
        self._verified_with: Keys | None = None

    async def verify(self, token: str) -> Verified:
        """Check a token; returns what it says.

        Raises:
            TokenInvalid: it is not good. The message says why and repeats nothing of it.
            KeysUnavailable: nobody can tell.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenInvalid(f"invalid token: it is longer than {MAX_TOKEN_BYTES} bytes")
        keys = await self._keys.current()
        if keys is not self._verified_with:
            # A token must not outlive a key that was withdrawn.
            self._verified.clear()
            self._verified_with = keys
        verified = self._verified.get(token)
        if verified is None or verified.expires_at <= int(self._now()):
            verified = await self._verify(token, keys)
        else:
            self._verified.move_to_end(token)
        return verified

    async def _verify(self, token: str, keys: Keys) -> Verified:
        signed = self._parsed(token)
        if not self._signed_by(keys, signed):
            # The issuer may have a new key. That a key which we know did not sign needs no second look.
            kid = signed.headers().get("kid")
            unknown = kid is None or all(key.kid != kid for key in keys)
            newer = await self._keys.newer(keys) if unknown else None
            if newer is None or not self._signed_by(newer, signed):
                raise TokenInvalid("invalid token: it is not signed with a key of the issuer")
            keys = newer
        claims = self._valid_claims(signed.payload)
        verified = Verified(claims["exp"] + self._leeway_seconds, _scopes(claims), _subject(claims))
        if keys is self._verified_with:
            self._remember(token, verified)
        return verified

    def _remember(self, token: str, verified: Verified) -> None:
        self._verified[token] = verified
        self._verified.move_to_end(token)
        if len(self._verified) > MAX_VERIFIED_TOKENS:
            self._verified.popitem(last=False)

    def _parsed(self, token: str) -> jws.CompactSignature:
        try:
            signed = jws.extract_compact(token.encode(), registry=self._registry)
            header: object = signed.headers()
            if not isinstance(header, dict):
                raise TokenInvalid("invalid token: its header is not an object")
            self._registry.check_header(header)
            self._registry.get_alg(header["alg"])
        except (JoseError, ValueError, TypeError, RecursionError):
            # What the library says may repeat the token.
            raise TokenInvalid("invalid token: it is not a JWT, or its algorithm is not allowed") from None
        if "crit" in header:
            raise TokenInvalid("invalid token: it has critical extensions")
        if header.get("typ", "jwt").lower().removeprefix("application/") not in _TYPES:
            raise TokenInvalid("invalid token: it is not an access token")
        return signed

    def _signed_by(self, keys: Keys, signed: jws.CompactSignature) -> bool:
        kid = signed.headers().get("kid")
        for key in keys:
            if kid is None or kid == key.kid:
                try:
                    if jws.validate_compact(signed, key, registry=self._registry):
                        return True
                except (JoseError, ValueError):
                    continue  # not a key for this algorithm
        return False

    def _valid_claims(self, payload: bytes) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = msgspec.json.decode(payload, type=dict[str, Any])
            self._claims.validate(claims)
        except ClaimError as error:
            expired = isinstance(error, ExpiredTokenError)
            reason = "it has expired" if expired else f"its claim {error.claim} is missing or wrong"
            raise TokenInvalid(f"invalid token: {reason}") from None
        except (ValueError, RecursionError):
            raise TokenInvalid("invalid token: its claims can't be read") from None
        return claims


def _subject(claims: dict[str, Any]) -> str | None:
    subject = claims.get("sub")
    return on_one_line(subject)[:MAX_SUBJECT] if isinstance(subject, str) and subject else None


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """All of `scope` and `scp`, each a list or a text with spaces between (RFC 8693, 4.2; the latter as some do)."""
    scopes: set[str] = set()
    for name in ("scope", "scp"):
        value = claims.get(name)
        if isinstance(value, str):
            scopes.update(value.split(" "))
        elif isinstance(value, list):
            scopes.update(scope for scope in value if isinstance(scope, str))
    return frozenset(scopes)
