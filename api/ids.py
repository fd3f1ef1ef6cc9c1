"""Ids: UUIDs that we make, and what of a path is one (contract: `http-api`, Rules for every operation)."""

import os
import re
import time
from typing import Final
from uuid import UUID, uuid5

_CANONICAL: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

NAMESPACE: Final = UUID("b3f6ac8e-54e9-5b0c-9b52-1ce2a7a5b0d4")
"""Of the ids that follow from an Idempotency-Key. Changing it would make every key new."""

_VERSION_AND_VARIANT: Final = (7 << 76) | (2 << 62)
_LOW_62: Final = (1 << 62) - 1


def new_id() -> UUID:
    """A UUID of version 7 (RFC 9562): milliseconds since 1970, then 74 random bits.

    Being ordered by time, new rows land side by side in the indexes.
    """
    random = int.from_bytes(os.urandom(10), "big")
    value = (time.time_ns() // 1_000_000) << 80
    value |= ((random >> 62) & 0xFFF) << 64 | random & _LOW_62
    return UUID(int=value | _VERSION_AND_VARIANT)


def id_for_key(operation: str, path: str, key: str) -> UUID:
    """The id that a POST with an Idempotency-Key makes: the same for the same operation, path and key.

    Args:
        operation: what is made, the same on every surface.
        path: what it is made under, such as the workflow's id; `""` for nothing.
        key: the header's value.
    """
    return uuid5(NAMESPACE, f"{operation}\n{path}\n{key}")


def parse_id(text: str) -> UUID | None:
    """The id that a text is: canonical form, in any letter case. None otherwise, so that it counts as unknown."""
    return UUID(text) if _CANONICAL.fullmatch(text) is not None else None
