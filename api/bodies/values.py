"""What a body may not hold, because a process behind us could not keep it."""

from typing import Final

from api.errors import MalformedBody
from schemas.nesting import MAX_DEPTH

GZIP: Final = b"\x1f\x8b"
"""What compressed bodies begin with. No content coding is taken, as in the reference."""
COMPRESSED: Final = "it is compressed with gzip; send it as it is"


def check_text(text: str) -> None:
    """Check a text.

    Raises:
        MalformedBody: it holds U+0000.
    """
    if "\0" in text:
        raise no_nul()


def no_nul() -> MalformedBody:
    """The error for a text with U+0000, which Postgres can't store."""
    return MalformedBody("the character U+0000 is not supported")


def too_deep() -> MalformedBody:
    """The error for a value that is nested too deeply."""
    return MalformedBody(f"the body is nested more than {MAX_DEPTH} levels deep")
