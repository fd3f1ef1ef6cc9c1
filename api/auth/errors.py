"""Errors of authorization (contract: `http-api`, Errors), and of fetching the issuer's keys."""

from api.errors import ApiError, Unavailable


class Refused(ApiError):
    """The token does not allow the request."""

    code = "VALIDATION"
    challenge = b"Bearer"
    """Value of `WWW-Authenticate` (RFC 6750, 3)."""


class TokenMissing(Refused):
    """The request carries no bearer token."""

    status = 401


class TokenInvalid(Refused):
    """The token is malformed, not from our issuer, not for us, or not valid now."""

    status = 401
    challenge = b'Bearer error="invalid_token"'


class ScopeMissing(Refused):
    """The token is good, but not for this operation."""

    status = 403

    def __init__(self, scope: str):
        super().__init__(f"the token lacks the scope {scope}")
        self.challenge = f'Bearer error="insufficient_scope", scope="{scope}"'.encode()


class KeysUnavailable(Unavailable):
    """The keys to check the token with are missing, so nobody can tell whether it is good."""


class IssuerFault(Exception):
    """The issuer did not answer, or not as OIDC discovery says. The message is for the log alone."""
