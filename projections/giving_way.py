"""Two projectors that believe they own the same partitions: the one that is not in the group any more gives way.

A projector that does not reach the group's coordinator keeps its partitions, while the group has given them to another.
Nothing is written twice: positions are compared, and the slower one's batch is dropped, a *conflict*. But both would
load and drop batches in turns, for as long as that lasts. So after a conflict a projector asks the group whether it is
still a member. If it is, it goes on. If not, or without an answer, it waits while another moves the positions.

If conflicts go on all the same, as with two groups on one read model, the pauses grow.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from projections.rows import ReadPosition

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.25
"""Pause after the second conflict in a row; it doubles. Without it two projectors would keep Postgres busy in turns."""
MAX_PAUSE_SECONDS: Final = 4.0
"""Longest pause: how long the partitions may wait for this projector when the other one ends."""
CALM_SECONDS: Final = 30.0
"""After this long without a conflict, the next one counts as the first. Conflicts are logged once in this time, since
there may be several in a second."""


class GivingWay:
    """What a projector does after a conflict.

    Args:
        is_member: whether the group confirms that this projector is a member of it, in its present generation.
        positions: where the partitions are in the read model.
        wait: waits for so many seconds; True when there is something else to do meanwhile, such as to stop.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        *,
        is_member: Callable[[], Awaitable[bool]],
        positions: Callable[[], Awaitable[Mapping[int, ReadPosition]]],
        wait: Callable[[float], Awaitable[bool]],
        clock: Callable[[], float] = time.monotonic,
    ):
        self._is_member = is_member
        self._positions = positions
        self._wait = wait
        self._clock = clock
        self._conflicts = 0
        self._untold = 0
        self._last = self._told = -CALM_SECONDS

    async def conflict(self) -> None:
        """Note a conflict, and return when this projector may write again.

        Raises:
            StoreAway: Postgres is away.
        """
        now = self._clock()
        self._conflicts = self._conflicts + 1 if now - self._last < CALM_SECONDS else 1
        self._last = now
        self._tell(now)
        pause = 0.0
        if self._conflicts > 1:
            pause = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._conflicts - 2, 10))
        if await self._is_member():
            if pause:
                await self._wait(pause)
            return
        pause = pause or FIRST_PAUSE_SECONDS
        while True:
            before = await self._positions()
            if await self._wait(pause) or await self._positions() == before or await self._is_member():
                return
            pause = min(MAX_PAUSE_SECONDS, 2 * pause)

    def _tell(self, now: float) -> None:
        self._untold += 1
        if now - self._told >= CALM_SECONDS:
            logger.info(
                "another projector, or a rebuild, moved the positions: batches dropped since this was last said: %d",
                self._untold,
            )
            self._told, self._untold = now, 0
