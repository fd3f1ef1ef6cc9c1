"""Decisions about an instance together with the state after them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from engine.core import decisions
from engine.core.decisions import Input
from engine.core.instance import Instance, evolve
from schemas.events import InstanceEvent


class Decided(NamedTuple):
    """What a decision came to."""

    events: Sequence[InstanceEvent]
    state: Instance | None


def decide(
    state: Instance | None, given: Input, now: datetime, instance_id: str, clock: datetime | None = None
) -> Decided:
    """Decide an input and take over its events."""
    return after(state, decisions.decide(state, given, now, instance_id, clock), instance_id)


def after(state: Instance | None, events: Sequence[InstanceEvent], instance_id: str) -> Decided:
    """Take over events."""
    for event in events:
        state = evolve(state, event, instance_id)
    return Decided(events, state)
