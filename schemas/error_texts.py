"""What errors say where they are stored or answered, and how long their texts may be."""

from typing import Final

MAX_ERROR_BYTES: Final = 4096
"""As UTF-8. An error can repeat what its message or its author wrote: without a bound, one that repeats a million
characters makes a record that no topic takes."""

INTERNAL_FAULT: Final = "internal fault"
"""What is stored, and what a client is told, when something fails by a defect of ours; the log has the traceback."""


def cut_error(text: str, max_bytes: int = MAX_ERROR_BYTES) -> str:
    """The text, cut to so many bytes; a cut one ends with `…`."""
    if len(text) <= max_bytes // 4:  # no character takes more than four bytes
        return text
    encoded = text.encode(errors="replace")
    if len(encoded) <= max_bytes:
        return text
    return encoded[: max_bytes - len("…".encode())].decode(errors="ignore") + "…"


class BoundedError(Exception):
    """Base of the errors whose text is stored or answered. It is cut where the error is made, so nobody can forget."""

    def __init__(self, text: str = ""):
        super().__init__(cut_error(text))
