"""The guard before the operations: no token, no operation, except for those that are public."""

import ipaddress
import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from api.answers import Answer, error_answer
from api.auth.errors import Refused, ScopeMissing, TokenInvalid, TokenMissing
from api.calls import Call
from api.routing import Handler, Operation
from schemas.settings import ApiSettings, SettingsError, variable

logger = logging.getLogger(__name__)

READ: Final = "orchestration:read"
WRITE: Final = "orchestration:write"


class Guard:
    """Checks token and scopes before an operation sees its request. A context manager: open while the API serves.

    Args:
        settings: with `auth_issuer`.
    """

    def __init__(self, settings: ApiSettings):
        # Cryptography takes a tenth of the process's memory, and without authorization nobody needs it.
        from api.auth.issuer import Issuer
        from api.auth.keys import IssuerKeys
        from api.auth.tokens import TokenVerifier

        self._issuer = Issuer(settings.auth_issuer or "")
        self._keys = IssuerKeys(self._issuer.keys, settings.auth_keys_ttl_seconds)
        self._tokens = TokenVerifier(settings, self._keys)
        self._check_scopes = settings.auth_check_scopes

    async def __aenter__(self) -> Self:
        """Start to fetch the issuer's keys, without waiting for them: the issuer may be away for now."""
        await self._issuer.open()
        self._keys.renew()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop fetching."""
        await self._keys.close()
        await self._issuer.close()

    def protect(self, operations: Sequence[Operation]) -> tuple[Operation, ...]:
        """The operations behind the guard; public ones stay as they are."""
        return tuple(operation if operation.public else self._protected(operation) for operation in operations)

    def _protected(self, operation: Operation) -> Operation:
        allowing = (READ, WRITE) if operation.only_reads else (WRITE,)
        handler: Handler = operation.handler

        async def guarded(call: Call) -> Answer:
            try:
                await self._admit(call, allowing)
            except Refused as refused:
                return error_answer(refused, headers=[(b"www-authenticate", refused.challenge)])
            return await handler(call)

        return msgspec.structs.replace(operation, handler=guarded, errors=(*operation.errors, 401, 403))

    async def _admit(self, call: Call, allowing: tuple[str, ...]) -> None:
        given = call.headers(b"authorization")
        if len(given) > 1:  # a gateway may have looked at the other one
            raise TokenInvalid("invalid token: there is more than one")
        scheme, _, token = "".join(given).partition(" ")
        token = token.strip(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenMissing("a bearer token is required")
        verified = await self._tokens.verify(token)
        if self._check_scopes and verified.scopes.isdisjoint(allowing):
            raise ScopeMissing(allowing[0])
        call.subject = verified.subject

        async def recheck() -> None:
            await self._tokens.verify(token)

        call.recheck = recheck


def make_guard(settings: ApiSettings) -> Guard | None:
    """The guard; None when authorization is off.

    Warns if authorization is off and other machines can reach the API, and if every token of the issuer is accepted.

    Raises:
        SettingsError: it is on, but nothing says who issues tokens.
    """
    if settings.auth_enabled:
        if settings.auth_issuer is None:
            raise SettingsError(f"setting {variable('auth_issuer')} is missing; {variable('auth_enabled')} needs it")
        if settings.auth_audience is None and not settings.auth_check_scopes:
            logger.warning(
                "every token of %s may do everything, even one that was made for another service: set %s or %s",
                settings.auth_issuer,
                variable("auth_audience"),
                variable("auth_check_scopes"),
            )
        return Guard(settings)
    if not _loopback(settings.host):
        logger.warning(
            "authorization is off and the API listens on %s: whoever can reach it may do everything; set %s",
            settings.host or "all addresses",
            variable("auth_enabled"),
        )
    return None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
