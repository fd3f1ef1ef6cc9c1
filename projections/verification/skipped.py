"""What is not compared, since the projections may have deleted it, or may do so meanwhile (`projections.retention`)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from projections.verification.tables import DELETED, TABLES, Values
from schemas.resources import InstanceState

MARGIN: Final = timedelta(hours=2)
"""How much more is not compared than what may be gone: a comparison takes time, and more is deleted meanwhile."""

_STATE: Final = TABLES["instances"].columns.index("state")
_ENDED: Final = TABLES["instances"].columns.index("terminated_at")


class Retained(NamedTuple):
    """What a read model knows of instances that were deleted."""

    ended_before: Mapping[InstanceState, datetime]
    """Up to when instances of an outcome may have been deleted."""
    restored: frozenset[str]
    """Those that were deleted and show again, from a retry on."""


class Skipped:
    """Which instances are not compared, with all their rows.

    Args:
        retained: as it was before the comparison began.
    """

    def __init__(self, retained: Retained):
        self.ended_before = {outcome: before + MARGIN for outcome, before in retained.ended_before.items()}
        self.restored = retained.restored

    def covers(self, later: Retained) -> bool:
        """Whether nothing else was deleted until then, and nothing that was deleted shows again."""
        return later.restored <= self.restored and all(
            outcome in self.ended_before and before <= self.ended_before[outcome]
            for outcome, before in later.ended_before.items()
        )

    def is_old(self, state: Any, terminated_at: datetime | None) -> bool:
        """Whether an instance has ended so long ago that it may be deleted."""
        return terminated_at is not None and state in self.ended_before and terminated_at < self.ended_before[state]

    def leaves_out(self, table: str, values: Values) -> bool:
        """Whether a row is not compared: one of a restored instance, or of `instances` itself if that is old.

        Requests of instances that were deleted are compared: they must be there.
        """
        if table == DELETED:
            return False
        if table == "instances" and self.is_old(values[_STATE], values[_ENDED]):
            return True
        return bool(self.restored) and TABLES[table].owner(values) in self.restored

    @property
    def last_hour(self) -> datetime | None:
        """Up to when something of it has happened; None if nothing is left out."""
        return max(self.ended_before.values(), default=None)


NOTHING: Final = Skipped(Retained({}, frozenset()))
