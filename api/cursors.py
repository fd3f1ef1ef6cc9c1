"""Cursors: places in a list, as text that a client carries from page to page (contract: `http-api`, Surface v2).

    base64url( checksum, msgpack [page size, backwards, [created_at, id], filters] )

A cursor holds a position, not an offset, so rows that arrive in between are neither skipped nor repeated. The position
is that of a row of the page where the cursor stood; the cursor's page lies behind it, or in front of it (backwards).

The checksum is keyed and covers the list's name, so that a text which we did not make for that list is refused. Its key
is the same on all replicas. It does not protect anything: whoever forges a cursor sees no more than without one. So
whoever takes what a cursor holds keeps it within the limits of a query.
"""

import base64
import hashlib
import re
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Annotated, Final, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from api.errors import Invalid
from projections.queries.pages import NEWEST
from projections.read_rows import RowPosition
from schemas.settings import ApiSettings

F = TypeVar("F")

DEFAULT_PAGE_SIZE: Final = 15
MAX_PAGE_SIZE: Final = 1000
"""Both are from the contract. Without the second, a client could make us hold a whole list in memory."""

START: Final = NEWEST
"""In front of all rows: they are newest first."""
END: Final = RowPosition(datetime.min.replace(tzinfo=UTC), UUID(int=0))
"""Behind all rows."""

FOREIGN: Final = "cursor: does not belong to this list"

CHECKSUM_BYTES: Final = 8
"""With fewer, a text that was damaged on its way would now and then pass for a cursor."""

_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode


class Cursor(Struct, Generic[F], frozen=True, array_like=True):
    """Which page of a list. `F` are the list's filters: what msgpack takes, None for a list without."""

    page_size: Annotated[int, Meta(ge=1, le=MAX_PAGE_SIZE)]
    backwards: bool
    """Whether it is the page in front of the position; else the one behind."""
    position: RowPosition
    filters: F


def first_page(page_size: int, filters: F) -> Cursor[F]:
    """The page that a request without a cursor asks for."""
    return Cursor(page_size, False, START, filters)


class Cursors(Generic[F]):
    """The cursors of one list, into text and back.

    Args:
        settings: the key.
        name: of the list; what its path names is a part of it.
        kind: `Cursor[F]` with the type of the list's filters.
    """

    def __init__(self, settings: ApiSettings, name: str, kind: type[Cursor[F]]):
        secret = settings.cursor_secret or f"cursors of {settings.database_schema}"
        self._key = hashlib.sha256(secret.encode()).digest()
        self._name = name.encode()
        self._kind = kind

    def encode(self, cursor: Cursor[F]) -> str:
        """The text of a cursor: letters, digits, `-` and `_`."""
        content = _encode(cursor)
        return _text(self._checksum(content) + content)

    def decode(self, text: str) -> Cursor[F]:
        """The cursor of a text.

        Raises:
            Invalid: the text is not a cursor of this list.
        """
        try:
            decoded = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
            checksum, content = decoded[:CHECKSUM_BYTES], decoded[CHECKSUM_BYTES:]
            # Several texts decode to the same bytes; only one of them is ours.
            if _text(decoded) == text and compare_digest(checksum, self._checksum(content)):
                return msgspec.msgpack.decode(content, type=self._kind)
        except (ValueError, msgspec.MsgspecError):
            pass
        raise Invalid(FOREIGN)

    def _checksum(self, content: bytes) -> bytes:
        return hashlib.blake2b(self._name + b"\0" + content, digest_size=CHECKSUM_BYTES, key=self._key).digest()


def read_page_size(text: str | None) -> int:
    """The page size that a query parameter asks for: the default if it is absent, empty or 0; at most the maximum.

    Raises:
        Invalid: the text has other characters than digits.
    """
    if not text:
        return DEFAULT_PAGE_SIZE
    if not _DIGITS.fullmatch(text):
        raise Invalid("pageSize: must be an integer, 0 or above")
    digits = text.lstrip("0") or "0"
    # Python refuses to convert thousands of digits.
    size = int(digits) if len(digits) <= len(str(MAX_PAGE_SIZE)) else MAX_PAGE_SIZE
    return min(size, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
