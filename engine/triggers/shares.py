"""A limited number of slots that triggers share, so that those whose links hang do not keep the others waiting."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator


class Shares:
    """Slots. One that becomes free goes to the triggers in turn.

    Args:
        slots: how many there are.
        most_of_one: how many of them one trigger has at most.
    """

    def __init__(self, slots: int, most_of_one: int):
        self._free, self._most_of_one = slots, most_of_one
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
        return next((id for id in self._waiting if self._used[id] < self._most_of_one), None)

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
