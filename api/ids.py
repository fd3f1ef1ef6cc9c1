"""Ids: the UUIDs that we make, of a key or not, and those in paths (contract: `http-api`, Rules for every operation).

Programs outside that check an installation ask here for the id that a key makes.
"""

import os
import re
import time
from typing import Final
from uuid import UUID

from schemas.idempotency import id_for_key

__all__ = ["id_for_key", "new_id", "parse_id"]

_CANONICAL: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

_VERSION_AND_VARIANT: Final = (7 << 76) | (2 << 62)
_LOW_62: Final = (1 << 62) - 1


def new_id() -> UUID:
    """A UUID of version 7 (RFC 9562): milliseconds since 1970, then 74 random bits.

    Since they are ordered by time, new rows are neighbours in the indexes.
    """
    random = int.from_bytes(os.urandom(10), "big")
    value = (time.time_ns() // 1_000_000) << 80
    value |= ((random >> 62) & 0xFFF) << 64 | random & _LOW_62
    return UUID(int=value | _VERSION_AND_VARIANT)


def parse_id(text: str) -> UUID | None:
    """Parse a canonical UUID, in any letter case; None if the text is not one, so that it counts as unknown."""
    return UUID(text) if _CANONICAL.fullmatch(text) is not None else None
