"""The effect that a subject wants now, and where it is."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from engine.core.effects import Token


class Wanted(Struct, eq=False, gc=False):
    """The effect of one subject; a new one whenever the subject wants another effect.

    An engine may have a million of them, so they are small, and the garbage collector does not look at them. Timers and
    queues keep what is gone until its turn comes, or until half of what they hold is gone.

    Attributes:
        subject: an instance or an occurrence.
        token: of the effect.
        place: where it is. `timed`: it waits for its time. `queued`: a call that waits for a slot. `started`: it is
            under way, or its result is still to be decided. `gone`: its subject does not want it any more.
        at: when its time comes, if it is timed.
        service: that it calls, if it is queued.
    """

    subject: str
    token: Token
    place: Literal["timed", "queued", "started", "gone"] = "started"
    at: datetime | None = None
    service: str = ""

    def __lt__(self, other: "Wanted") -> bool:
        """Whether its time comes earlier, for the heap of timers."""
        return self.at < other.at  # type: ignore[operator]
