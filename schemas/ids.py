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
