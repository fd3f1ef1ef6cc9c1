"""How long an error's text may be where it is stored or answered."""

from typing import Final

MAX_ERROR_BYTES: Final = 4096
"""As UTF-8. An error can repeat what its message or its author wrote: without a bound, one that repeats a million
characters makes a record that no topic takes."""


def cut_error(text: str) -> str:
    """The text, cut to `MAX_ERROR_BYTES`; a cut one ends with `…`."""
    if len(text) <= MAX_ERROR_BYTES // 4:  # no character takes more than four bytes
        return text
    encoded = text.encode(errors="replace")
    if len(encoded) <= MAX_ERROR_BYTES:
        return text
    return encoded[: MAX_ERROR_BYTES - len("…".encode())].decode(errors="ignore") + "…"
