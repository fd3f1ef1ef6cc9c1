"""A limited number of slots that triggers share, so that those whose links hang do not keep the others waiting."""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from typing import Final

UNKNOWN: Final = 1
"""Slots of a trigger of which nothing is known yet."""

MAX_KNOWN: Final = 10_000
"""Triggers of which it is known how they end; the one that was noted longest ago is forgotten first."""


class Shares:
    """Slots. One that becomes free goes to the triggers in turn.

    How many slots a trigger may have follows from how its uses ended: it begins with one, each good end adds one, and a
    failure leaves one. So who may fail holds little while nobody knows, and has all of its slots after a few good ends.

    Args:
        slots: how many there are.
        most_of_one: how many of them one trigger has at most.
        most_of_failing: how many of them all triggers together have at most whose last use has failed. However many
            there are, the others have the rest.
        most_of_unproven: how many of them those have at most together with all of which nothing is known yet. The rest
            is for triggers whose last use was good, whatever comes first.
    """

    def __init__(self, slots: int, most_of_one: int, most_of_failing: int, most_of_unproven: int):
        self._free, self._most_of_one = slots, most_of_one
        self._most_of_failing, self._most_of_unproven = most_of_failing, most_of_unproven
        self._room: OrderedDict[str, int] = OrderedDict()
        """How many slots a trigger may have. 0 means that it has failed: one, within what those have together."""
        self._used: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @contextlib.asynccontextmanager
    async def slot(self, trigger_id: str) -> AsyncIterator[None]:
        """Have a slot for as long as the block runs; waits for one."""
        given = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(trigger_id, deque()).append(given)
        self._give()
        try:
            await given
            yield
        finally:
            if given.done() and not given.cancelled():
                self._take_back(trigger_id)
            else:
                self._leave(trigger_id, given)

    def note(self, trigger_id: str, *, failed: bool) -> None:
        """Remember how a use of a slot has ended, before it is given back."""
        room = self._room.pop(trigger_id, UNKNOWN)
        self._room[trigger_id] = 0 if failed else min(room + 1, self._most_of_one)
        if len(self._room) > MAX_KNOWN:
            self._room.popitem(last=False)

    def _give(self) -> None:
        """Give free slots to those who wait, each trigger one in turn."""
        while self._free and (trigger_id := self._next()) is not None:
            queue = self._waiting.pop(trigger_id)
            given = queue.popleft()
            if queue:
                self._waiting[trigger_id] = queue  # at the end
            if not given.done():
                self._free -= 1
                self._used[trigger_id] += 1
                given.set_result(None)

    def _next(self) -> str | None:
        used = {id: count for id, count in self._used.items() if not self._room.get(id)}
        unproven, failing = sum(used.values()), sum(count for id, count in used.items() if id in self._room)
        for id in self._waiting:
            room = self._room.get(id)
            known = room is not None
            fits = room or (unproven < self._most_of_unproven and (not known or failing < self._most_of_failing))
            if fits and self._used[id] < (room or UNKNOWN):
                return id
        return None

    def _take_back(self, trigger_id: str) -> None:
        self._free += 1
        self._used[trigger_id] -= 1
        if not self._used[trigger_id]:
            del self._used[trigger_id]
        self._give()

    def _leave(self, trigger_id: str, given: asyncio.Future[None]) -> None:
        """Wait no longer."""
        queue = self._waiting.get(trigger_id)
        if queue is None or given not in queue:
            return
        queue.remove(given)
        if not queue:
            del self._waiting[trigger_id]
