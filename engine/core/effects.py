"""What has to happen outside for an instance to go on. Effects are data, and a function of the state alone.

After a decision the runtime starts the effect of the new state if it differs from that of the old one; after a restore
it starts the effect of every instance. The token tells whether a result still fits: it names stage, activity and
attempt.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct

from engine.core.instance import Instance

Token = tuple[int, int, int]
"""Stage, index of the activity (-1: none) and attempt (0: none) that an effect belongs to."""


class GoOn(Struct, frozen=True):
    """The instance is between two stages: decide again, in a turn of its own."""

    token: Token


class Wake(Struct, frozen=True):
    """A delay ends at `at`."""

    token: Token
    at: datetime


class CallActivity(Struct, frozen=True, kw_only=True):
    """Call the stack, not before `not_before`. Every attempt of an activity has the same idempotency key."""

    token: Token
    name: str
    input: dict[str, Any]
    idempotency_key: str
    not_before: datetime | None


Effect = GoOn | Wake | CallActivity


def effect(state: Instance | None) -> Effect | None:
    """The one thing that has to happen for the instance to go on; None when it waits for an event or has ended."""
    if state is None or state.ended:
        return None
    if not state.running:
        return GoOn((state.stage, -1, 0))
    if state.wait_until is not None:
        return Wake((state.stage, -1, 0), state.wait_until)
    if state.activities and not state.activities[-1].ended:
        activity, index = state.activities[-1], len(state.activities) - 1
        return CallActivity(
            token=(state.stage, index, activity.attempt),
            name=activity.name,
            input=activity.input,
            idempotency_key=f"{state.id}:{state.stage}:{index}",
            not_before=activity.retry_at,
        )
    return None
