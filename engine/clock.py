"""The wall clock."""

import time
from datetime import UTC, datetime

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux leaves out a suspended machine otherwise


class SystemClock:
    """`engine.ports.Clock` of the machine."""

    def now(self) -> datetime:
        """Now, UTC, microseconds."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back, and go on while the process or its machine stands still."""
        return time.clock_gettime(_SINCE_BOOT)
