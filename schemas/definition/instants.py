"""Instants as RFC 3339 texts (contract: `http-api`, "Rules for every operation"; `workflows`, "Resolution")."""

import re
from datetime import UTC, datetime
from typing import Final

_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
"""Stricter than `fromisoformat`, which also takes week dates, dates alone, texts without an offset and hour 24."""


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 date and time; the answer is in UTC, to the microsecond (further digits are cut).

    Raises:
        ValueError: No such date, or one that is before year 1 or after 9999 in UTC.
    """
    if _RFC_3339.fullmatch(text) is None:
        raise ValueError("not an RFC 3339 date and time")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None


def format_instant(instant: datetime) -> str:
    """Write an instant in UTC with `Z`, up to six digits behind the second, trailing zeros cut."""
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"
