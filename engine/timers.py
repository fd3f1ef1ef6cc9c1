"""The timers of one partition: a heap that is derived state, rebuilt from the log at every restore."""

import heapq
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from engine.wanted import Wanted

MIN_SWEPT: Final = 1000
"""From how many stale entries on they are swept out. Sweeping for fewer would cost more than they do."""


class Timers:
    """What is due when. Stale entries stay until they are due, or until they are more than the others."""

    def __init__(self) -> None:
        self._heap: list[Wanted] = []
        self._stale = 0

    def __len__(self) -> int:
        return len(self._heap) - self._stale

    @property
    def entries(self) -> Sequence[Wanted]:
        """All of them, stale ones included, in no order."""
        return self._heap.copy()

    def set(self, wanted: Wanted, at: datetime) -> None:
        """Ring for an effect at a time, unless it is dropped before."""
        wanted.place, wanted.at = "timed", at
        heapq.heappush(self._heap, wanted)

    def drop(self, wanted: Wanted) -> None:
        """Never ring for an effect that a timer was set for."""
        wanted.place = "gone"
        self._stale += 1
        # Aborted delays of a year would otherwise pile up for a year.
        if self._stale >= MIN_SWEPT and self._stale > len(self):
            self._heap = [entry for entry in self._heap if entry.place == "timed"]
            heapq.heapify(self._heap)
            self._stale = 0

    def next_at(self) -> datetime | None:
        """When the earliest one is due; None without any."""
        while self._heap and self._heap[0].place != "timed":
            heapq.heappop(self._heap)
            self._stale -= 1
        return self._heap[0].at if self._heap else None

    def due(self, now: datetime) -> Iterator[Wanted]:
        """Take out what is due, earliest first."""
        while (at := self.next_at()) is not None and at <= now:
            wanted = heapq.heappop(self._heap)
            wanted.place, wanted.at = "started", None
            yield wanted
