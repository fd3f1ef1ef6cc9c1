"""The time of a partition's log: that of its newest event, and what of it counts as passed.

An event's time never lies before that of the event before it. So a clock that was ahead for a moment leaves the log
ahead for as long. What is forgotten after a time must not be forgotten by that. The log alone can't tell such a clock
from a partition in which nothing happened. So a long step between two events counts in part only: what is remembered
is remembered for longer where little happens.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

NOTHING: Final = timedelta()


class LogTime:
    """Follows from the events alone, so a restore comes to the same.

    Args:
        longest_step: what counts of the step between two events, at most.

    Attributes:
        last_at: the latest time of an event; None before the first.
        uncounted: what does not count of the time that has passed until then.
    """

    def __init__(self, longest_step: timedelta):
        self._longest_step = longest_step
        self.last_at: datetime | None = None
        self.uncounted = NOTHING

    def stamp(self, now: datetime) -> datetime:
        """The time that events carry now: never earlier than an event before them, even if the clock was set back."""
        return now if self.last_at is None else max(now, self.last_at)

    def counted(self, at: datetime) -> datetime:
        """A time, less what does not count of the time until then.

        Args:
            at: of the next event, or of an event that is not noted yet.
        """
        return at - self.uncounted - self._excess(at)

    def note(self, times: Iterable[datetime]) -> None:
        """Take over the times of events, in their order."""
        for at in times:
            if self.last_at is None or at > self.last_at:
                self.uncounted += self._excess(at)
                self.last_at = at

    def _excess(self, at: datetime) -> timedelta:
        return NOTHING if self.last_at is None else max(NOTHING, at - self.last_at - self._longest_step)
