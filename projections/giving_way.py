"""Two projectors that believe they own a partition: the one that is not in the group any more gives way.

For a moment that is normal: a partition goes from one to the other, and the first goes on until the group tells it. A
projector that does not reach the group's coordinator goes on for longer. Nothing is written twice: positions are
compared, and the slower one's batch is dropped, a *conflict*. But both would load and drop batches in turns, for as
long as that lasts. So after conflicts in a row a projector leaves the partition alone for a while. If it has not heard
from the group lately, it does so for as long as another moves the position.

If conflicts go on all the same, as with two groups on one read model, the pauses grow. Other partitions go on.
"""

import logging
from collections.abc import Callable
from typing import Final

from msgspec import Struct

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.25
"""Pause after the second conflict in a row; it doubles. Without it two projectors would keep Postgres busy in turns."""
MAX_PAUSE_SECONDS: Final = 4.0
"""Longest pause: how long the partition may wait for this projector when the other one ends."""
CALM_SECONDS: Final = 30.0
"""After this long without a conflict, the next one counts as the first. Conflicts are logged once in this time, since
there may be several in a second."""
SILENCE_SECONDS: Final = 2.0
"""Who has heard nothing from the group for this long may have been given up. Heartbeats are more frequent."""


class _Conflicts(Struct):
    """Those of one partition."""

    in_a_row: int = 0
    last: float = -CALM_SECONDS


class GivingWay:
    """How long a projector leaves partitions alone after conflicts.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._conflicts: dict[int, _Conflicts] = {}
        self._untold = 0
        self._told = -CALM_SECONDS

    def conflict(self, partition: int) -> float:
        """Note that another has moved the position of a partition.

        Returns:
            For how many seconds to leave it alone.
        """
        now = self._clock()
        conflicts = self._conflicts.setdefault(partition, _Conflicts())
        conflicts.in_a_row = conflicts.in_a_row + 1 if now - conflicts.last < CALM_SECONDS else 1
        conflicts.last = now
        self._tell(now)
        if conflicts.in_a_row == 1:
            return 0.0
        return min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(conflicts.in_a_row - 2, 10))

    def again(self, paused_seconds: float, silence_seconds: float, *, moved: bool) -> float:
        """For how many seconds to leave a partition alone after a pause; 0 to go on.

        Args:
            paused_seconds: the pause that has ended.
            silence_seconds: since when nothing was heard from the group.
            moved: whether another has moved the position meanwhile.
        """
        if not moved or silence_seconds < SILENCE_SECONDS:
            return 0.0
        return min(MAX_PAUSE_SECONDS, max(2 * paused_seconds, FIRST_PAUSE_SECONDS))

    def _tell(self, now: float) -> None:
        self._untold += 1
        if now - self._told >= CALM_SECONDS:
            logger.info(
                "another projector, or a rebuild, moved positions: batches dropped since this was last said: %d",
                self._untold,
            )
            self._told, self._untold = now, 0
