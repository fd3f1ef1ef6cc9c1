"""The wall clock."""

import time
from datetime import UTC, datetime
from typing import Final

_SINCE_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""The monotonic clock of Linux leaves out the time that a machine was suspended."""


class SystemClock:
    """`engine.ports.Clock` of the machine."""

    def now(self) -> datetime:
        """Now, UTC, microseconds."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back, and go on while the process or its machine is suspended."""
        return time.clock_gettime(_SINCE_BOOT)
