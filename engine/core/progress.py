"""A decision in the making: the events so far, and the state after them."""

from datetime import datetime

from engine.core.instance import Instance, evolve
from schemas.events import InstanceEvent


class Progress:
    """Folds every event that a decision records into the state at once, so later steps see it.

    Args:
        instance_id: the instance that is decided about.
        state: its state before, None when there is none.
        clock: what the clock says, for what is due later.
    """

    __slots__ = ("clock", "events", "instance_id", "state")

    def __init__(self, instance_id: str, state: Instance | None, clock: datetime):
        self.instance_id = instance_id
        self.state = state
        self.clock = clock
        self.events: list[InstanceEvent] = []

    def record(self, event: InstanceEvent) -> Instance:
        """Add an event.

        Raises:
            IllegalTransition: it does not follow from the state.
        """
        self.state = evolve(self.state, event, self.instance_id)
        self.events.append(event)
        return self.state
