"""What an idempotency key means: the same on every way that leads to the engine.

A key makes the id by which its request is known, and a digest of the request tells whether it is used for another one.
"""

import hashlib
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec

NAMESPACE: Final = UUID("b3f6ac8e-54e9-5b0c-9b52-1ce2a7a5b0d4")
"""Namespace of the ids that are made of an idempotency key. If it changed, every key would count as new."""

KEPT_REQUESTS: Final = 100
"""Requests with a key of which an engine knows for each instance that they came before, and which a retry takes along.
The read model knows all of them, so more are needed only for repetitions that come before it has caught up."""

_encoder: Final = msgspec.json.Encoder(order="sorted")


def id_for_key(operation: str, path: str, key: str) -> UUID:
    """The id that an idempotency key makes: the same for the same operation, path and key.

    Args:
        operation: what is made or done, the same on every surface.
        path: what it is made under, such as the workflow's id; `""` for nothing.
        key: what the client has sent.
    """
    return uuid5(NAMESPACE, f"{operation}\n{path}\n{key}")


def digest_of(request: Any) -> str:
    """What tells whether two requests of one key are the same. The order of keys in objects makes no difference."""
    return hashlib.sha256(_encoder.encode(request)).hexdigest()
