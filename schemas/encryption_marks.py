"""What the headers of a record say about its encryption, and the error of one that can't be opened."""

from collections.abc import Mapping, Sequence
from typing import Final

from schemas.error_texts import BoundedError
from schemas.settings import variable

ENCRYPTED: Final = "encrypted"
"""Header of a record whose value is encrypted: `<id of the key>:<check of the key>:<salt>`. It is the first header. A
record that still has it when a process gets it can't be opened by that process; with an empty value, it is a record
that should have been encrypted."""

DAMAGED: Final = "damaged"
"""In place of `encrypted`: the process has the key, but this is not what was encrypted with it. With an empty value, it
is a command that should have been encrypted."""


class KeyMissing(BoundedError, ValueError):
    """A record can't be read without a key that this process does not have. Nothing is wrong with the record.

    So whoever meets it must stop, and must not treat the record as one that nobody can read.
    """


def is_sealed(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Whether a record could not be opened."""
    return bool(headers) and headers[0][0] == ENCRYPTED


def damage(headers: Mapping[str, bytes | None]) -> str | None:
    """Why a record can't be decoded, as far as its encryption tells."""
    if DAMAGED not in headers:
        return None
    if not headers[DAMAGED]:
        return f"it is not encrypted, and {variable('encryption_required')} is true"
    return "it was changed or moved after it was encrypted, never was, or its key is lost"


def check_opened(headers: Sequence[tuple[str, bytes | None]], offset: int) -> None:
    """Check of a record that can't be decoded that it is not for want of a key.

    Args:
        headers: of the record.
        offset: where it is.

    Raises:
        KeyMissing: it is.
    """
    if not is_sealed(headers):
        return
    mark = headers[0][1]
    if not mark:
        raise KeyMissing(
            f"the record at offset {offset} is not encrypted, and {variable('encryption_required')} is true"
        )
    name = mark.rpartition(b":")[0].decode(errors="replace")
    raise KeyMissing(
        f"the record at offset {offset} is encrypted with key {name!r}, which this process does not have: add the key"
        f" to the file that {variable('encryption_keys_file')} names"
    )
