"""Who wants something, and why: the subject of the token, and what the header `X-Reason` says.

Every operation that changes something takes an `Author`, and every command that it appends carries both parts.
"""

from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from api.errors import Invalid
from schemas.redaction import on_one_line

MAX_REASON: Final = 500
"""Characters of a reason. It is kept for ever with what it is the reason for, and shown in every list: a page of
longer ones would be mostly reasons."""


class Author(NamedTuple):
    """Who acts, and why; each None when it is not known."""

    by: str | None
    """The subject of the token; None when authorization is off, and for tokens without one."""
    reason: str | None


NOBODY: Final = Author(None, None)


def read_reason(header: str | None) -> str | None:
    """The reason that a header gives; None without one, and for one of white space.

    Args:
        header: its bytes as latin-1. They are UTF-8; a percent sign before two hexadecimal digits is one byte of it.

    Raises:
        Invalid: it is not UTF-8, too long, or has characters by which it would show as another text.
    """
    if header is None:
        return None
    try:
        reason = unquote_to_bytes(header.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise Invalid("X-Reason: must be UTF-8; it may be percent-encoded, then a percent sign is %25") from None
    if on_one_line(reason) != reason:
        raise Invalid(
            "X-Reason: must be one line of text, without control characters and those that turn the direction of"
            " writing or can't be seen"
        )
    reason = reason.strip()
    if len(reason) > MAX_REASON:
        raise Invalid(f"X-Reason: has {len(reason)} characters; at most {MAX_REASON} are allowed")
    return reason or None
