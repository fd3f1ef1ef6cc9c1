"""Times in queries: an instant, or a day."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from api.errors import Invalid

TIME_SCHEMA: Final[dict[str, Any]] = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
"""JSON Schema of a time."""

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SPACED_OFFSET: Final = re.compile(r" (?=\d{2}:\d{2}$)", re.ASCII)
"""What becomes of the `+` of an offset in a query, unless the client encodes it."""


def read_time(name: str, text: str) -> datetime:
    """A time, in UTC; a day is its first instant in UTC.

    Args:
        name: of the parameter.
        text: RFC 3339, or a day.

    Raises:
        Invalid: the text is neither.
    """
    try:
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        at = msgspec.convert(_SPACED_OFFSET.sub("+", text), datetime)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):  # also what msgspec raises
        pass
    raise Invalid(f"{name}: must be a time such as 2026-03-01T10:00:00Z, or a day such as 2026-03-01")
