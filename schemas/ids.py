"""Ids of workflows, instances and triggers as records have them."""

import re
from typing import Annotated, Final

from msgspec import Meta

PATTERN: Final = r"\A[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"
"""A UUID in its one canonical form. In another form, or with anything else in its place, no column of the read model
could hold it, and no process that makes ids of ids could go on."""

Id = Annotated[str, Meta(pattern=PATTERN)]

_PATTERN: Final = re.compile(PATTERN)


def is_id(text: str) -> bool:
    """Whether a text is an id."""
    return _PATTERN.match(text) is not None


def made_at_ms(id: str) -> int | None:
    """When an id was made, in milliseconds since 1970; None if it does not say (it is not of version 7, RFC 9562)."""
    return int(id[:8] + id[9:13], 16) if id[14:15] == "7" else None
