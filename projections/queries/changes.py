"""Which instances have changed lately, as the projections announce it: what streams are woken by and resume from.

Postgres is not asked for it. A *mark* says how far somebody has followed: the next offset of each partition of topic
`events`, `1523.990.77` for partitions 0 to 2. It means the same on every replica. What was announced since a mark is
remembered for a while, so a reader that comes back, here or elsewhere, misses nothing; one that was away for too long
is told so.
"""

import re
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from projections.announcements import Announcement

MAX_REMEMBERED: Final = 50_000
"""Changes that are remembered, about 100 bytes each. With fewer, a reader whose connection was cut under load could not
go on where it was."""
MAX_MARK: Final = 16_384
"""Longest text that is looked at for a mark: more than a thousand partitions need."""

_MARK: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})*", re.ASCII)


class Listener(Protocol):
    """Who wants to know what changes."""

    def changed(self, ids: Sequence[UUID]) -> None:
        """These instances can be read as they are now."""

    def missed(self) -> None:
        """Others may have changed too: an announcement was lost, or another database is read."""


class _Change(NamedTuple):
    positions: dict[int, int]
    """Where its partitions are after it."""
    ids: list[UUID]


class Changes:
    """What was announced. It waits for nothing.

    Args:
        max_remembered: how many changes are remembered.
    """

    def __init__(self, max_remembered: int = MAX_REMEMBERED):
        self._max_remembered = max_remembered
        self._listener: Listener | None = None
        self._passed: dict[int, int] = {}
        """How far each partition is, as announced."""
        self._floors: dict[int, int] = {}
        """What was announced of each partition behind this offset is remembered."""
        self._recent: deque[_Change] = deque()
        self._remembered = 0
        self._ids: list[UUID] = []
        """Announced ahead of the position that they belong to."""
        self._begins: dict[int, int] = {}
        """Likewise."""
        self._polled: dict[int, int] = {}
        """How far each partition was at the last poll."""

    def listen(self, listener: Listener) -> None:
        """Tell somebody from now on."""
        self._listener = listener

    # What is heard

    def announced(self, announcement: Announcement) -> None:
        """Take in a notification."""
        ids = [start.id for start in announcement.starts]
        ids += announcement.ended
        ids += announcement.changed
        self._ids += ids
        self._begins |= announcement.begins
        is_whole = True
        if announcement.positions:
            is_whole = self._move({p: passed.next_offset for p, passed in announcement.positions.items()})
        if self._listener is not None:
            if ids:
                self._listener.changed(ids)
            if not is_whole:
                self._listener.missed()

    def _move(self, positions: dict[int, int]) -> bool:
        """The partitions are here now; whether all that is in between was announced."""
        known = self._passed
        is_whole = all(self._begins.pop(p, next_offset) <= known.get(p, 0) for p, next_offset in positions.items())
        for partition, next_offset in positions.items():
            known[partition] = max(next_offset, known.get(partition, 0))
        if is_whole:
            self._remember(_Change(positions, self._ids))
        else:
            self._forget()
        self._ids = []
        return is_whole

    def _remember(self, change: _Change) -> None:
        self._recent.append(change)
        self._remembered += 1 + len(change.ids)
        while self._remembered > self._max_remembered:
            oldest = self._recent.popleft()
            self._remembered -= 1 + len(oldest.ids)
            for partition, next_offset in oldest.positions.items():
                self._floors[partition] = max(next_offset, self._floors.get(partition, 0))

    def connected(self, positions: Mapping[int, int]) -> None:
        """A new connection listens.

        Args:
            positions: how far each partition is, read behind its beginning.
        """
        self._ids, self._begins, self._polled = [], {}, {}
        if positions != self._passed:
            self._passed = dict(positions)
            self._miss()

    def polled(self, positions: Mapping[int, int]) -> None:
        """How far each partition is, as the tables say. What they said last time must have been announced since."""
        lost = {p: earlier for p, earlier in self._polled.items() if earlier > self._passed.get(p, 0)}
        self._polled = dict(positions)
        if lost:
            self._passed |= lost
            self._miss()

    def _miss(self) -> None:
        self._forget()
        if self._listener is not None:
            self._listener.missed()

    def _forget(self) -> None:
        self._recent.clear()
        self._remembered = 0
        self._floors = dict(self._passed)

    # What is asked

    @property
    def mark(self) -> str:
        """Now. Whoever was told of all changes until now has followed until here."""
        return ".".join(str(self._passed.get(p, 0)) for p in range(max(self._passed, default=-1) + 1))

    def since(self, mark: str) -> Collection[UUID] | None:
        """The instances that have changed since a mark; None if nobody knows, or the text is not a mark."""
        if len(mark) > MAX_MARK or not _MARK.fullmatch(mark):
            return None
        seen = {partition: int(text) for partition, text in enumerate(mark.split("."))}
        for partition in seen.keys() | self._passed.keys():
            offset = seen.get(partition, 0)
            if not self._floors.get(partition, 0) <= offset <= self._passed.get(partition, 0):
                return None
        found = dict.fromkeys(
            id
            for change in self._recent
            if any(next_offset > seen.get(p, 0) for p, next_offset in change.positions.items())
            for id in change.ids
        )
        # Of an announcement whose last part is still to come. That one does not name these once more.
        return found | dict.fromkeys(self._ids)
