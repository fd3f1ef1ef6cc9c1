"""The wall clock."""

from datetime import UTC, datetime


class SystemClock:
    """`engine.ports.Clock` of the machine."""

    def now(self) -> datetime:
        """Now, UTC, microseconds."""
        return datetime.now(UTC)
