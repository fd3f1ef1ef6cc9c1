"""Idempotency-Key: same key and body, same answer and no second effect; another body is refused.

The key makes the new id, so a repeated request finds what the first one made. What it made carries a digest of the
body, which tells whether the bodies are the same. (Contract: `http-api`, Rules for every operation.)
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar
from uuid import UUID

from msgspec import Struct

from api.errors import Invalid
from api.ids import id_for_key
from schemas.idempotency import digest_of


class KeyedRequest(Struct, frozen=True):
    """A request that came with a key."""

    id: UUID
    digest: str

    def check(self, digest: str | None) -> None:
        """Compare with the digest that the existing resource carries.

        Raises:
            Invalid: the key was used with another body.
        """
        if digest != self.digest:
            raise Invalid("the Idempotency-Key was used with another body")


def request_fields(keyed: KeyedRequest | None, seen_requests: int | None) -> dict[str, Any]:
    """The fields of a command by which engines know its request again.

    Args:
        keyed: the request, if it had a key.
        seen_requests: how many others the read model knew when it did not know this one.
    """
    if keyed is None:
        return {}
    return {"request_key": str(keyed.id), "request_digest": keyed.digest, "seen_requests": seen_requests}


class Made(Protocol):
    """A row of what a request has made."""

    @property
    def request(self) -> str | None:
        """Digest of the request, if it had a key."""


Row = TypeVar("Row", bound=Made)


async def made_before(keyed: KeyedRequest | None, read: Callable[[UUID], Awaitable[Row | None]]) -> Row | None:
    """What an earlier request with the same key has made; None without a key, and for the first request.

    Args:
        keyed: the request.
        read: the row of an id.

    Raises:
        Invalid: the key was used with another body.
    """
    row = None if keyed is None else await read(keyed.id)
    if keyed is not None and row is not None:
        keyed.check(row.request)
    return row


def keyed_request(key: str | None, operation: str, path: str, body: Any) -> KeyedRequest | None:
    """What a key means; None without one.

    Args:
        key: the header's value.
        operation: what is made, the same on every surface.
        path: what it is made under, such as the workflow's id.
        body: the decoded body. The order of keys and white space make no difference.
    """
    if not key:
        return None
    return KeyedRequest(id_for_key(operation, path, key), digest_of(body))
