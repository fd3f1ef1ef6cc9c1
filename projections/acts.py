"""What people did to a workflow, a trigger or an instance: who, when, and why.

A column of the read model, as text: one `Act` as JSON a line, oldest first. It is NULL when nobody and nothing is
known, thus everywhere without authorization and reasons. The log has all acts; here are the first and the last ones.
"""

from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET, Raw

from schemas.resources import Act, ActKind

MAX_ACTS: Final = 100
"""Of one row. Without a limit, an instance that gets an event a second would grow until nobody can list it. Part
`joined_acts` of the statement that writes a batch has the same number."""
MAX_NAME: Final = 100
"""Characters of a name that are kept. That of an event may be as long as a body."""

_encode = msgspec.json.Encoder().encode


def line_of(at: datetime, action: ActKind, by: str | None, reason: str | None, name: str | None = None) -> str | None:
    """An act as a line; None when neither who nor why is known.

    Args:
        at: when it had its effect; UTC.
        action: what was done.
        by: the subject of the token.
        reason: what the request said.
        name: of the event that was sent.
    """
    if by is None and reason is None:
        return None
    act = Act(
        at=at,
        action=action,
        name=UNSET if name is None else name[:MAX_NAME],
        by=UNSET if by is None else by,
        reason=UNSET if reason is None else reason,
    )
    return _encode(act).decode()


def joined(acts: str | None, more: str | None) -> str | None:
    """Acts with those that came later; the first one and the last ones if they are many."""
    if acts is None or more is None:
        return more if acts is None else acts
    lines = [*acts.split("\n"), *more.split("\n")]
    return "\n".join(lines if len(lines) <= MAX_ACTS else [lines[0], *lines[1 - MAX_ACTS :]])


def acts_of(lines: str | None) -> Raw | None:
    """The column as a JSON list."""
    return None if lines is None else Raw(f"[{lines.replace(chr(10), ',')}]".encode())
