"""The timers of one partition: a heap that is derived state, rebuilt from the log at every restore."""

import heapq
from collections.abc import Callable, Iterator
from datetime import datetime

from engine.core.effects import Token

Entry = tuple[datetime, int, str, Token]


class Timers:
    """What is due when. Stale entries stay until they are due or too many."""

    def __init__(self, is_current: Callable[[str, Token], bool]):
        self._is_current = is_current
        self._heap: list[Entry] = []
        self._count = 0
        self._sweep_at = 1000

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: datetime, subject: str, token: Token) -> None:
        """Ring for a subject at a time, unless its token has changed by then."""
        self._count += 1  # keeps entries of one instant in order, and ids and tokens out of the comparison
        heapq.heappush(self._heap, (at, self._count, subject, token))
        if len(self._heap) >= self._sweep_at:
            # Aborted delays of a year would otherwise pile up for a year.
            self._heap = [entry for entry in self._heap if self._is_current(entry[2], entry[3])]
            heapq.heapify(self._heap)
            self._sweep_at = max(1000, 2 * len(self._heap))

    def clear(self) -> None:
        """Forget all of them."""
        self._heap.clear()

    def next_at(self) -> datetime | None:
        """When the earliest one is due; None without any."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: datetime) -> Iterator[tuple[str, Token]]:
        """Take out what is due and still current, earliest first."""
        while self._heap and self._heap[0][0] <= now:
            _, _, subject, token = heapq.heappop(self._heap)
            if self._is_current(subject, token):
                yield subject, token
