"""Idempotency keys: the first answer for a key is given again, and another request under the same key is refused.

A request that was refused leaves no key behind, so it may be tried again under the same one (contract: `stack-api`).
"""

import hashlib
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from deploy.sandbox.errors import ValidationError

T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="deterministic")


class Outcome(NamedTuple, Generic[T]):
    """A result, and whether it was remembered (`hit`) instead of made."""

    value: T
    hit: bool


class IdempotencyKeys:
    """The keys of one service, each with a fingerprint of its request and the result."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[bytes, Any]] = {}

    def once(self, key: str | None, request: Any, apply: Callable[[], T]) -> Outcome[T]:
        """Applies `request` unless it was applied under this key before.

        Args:
            key: the `Idempotency-Key` header; `None` or empty: always apply.
            request: the operation and its decoded body, so that spelling and order of the JSON don't count.
            apply: makes the change; when it raises, the key stays unused.

        Raises:
            ValidationError: the key was used with another request.
        """
        if not key:
            return Outcome(apply(), hit=False)
        fingerprint = hashlib.blake2b(_encoder.encode(request), digest_size=16).digest()
        record = self._records.get(key)
        if record is None:
            value = apply()
            self._records[key] = (fingerprint, value)
            return Outcome(value, hit=False)
        if record[0] != fingerprint:
            raise ValidationError(f"invalid idempotency hash when using idempotency key '{key}'")
        return Outcome(record[1], hit=True)
