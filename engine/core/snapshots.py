"""Snapshots of a partition's state: entries by key, written bit by bit, and read into a new shard.

    cut = shard.cut()            fixes the state as it is now; what changed since the last cut is to be written
    cut.entries()                those entries, while the shard goes on
    cut.summary                  goes into the marker behind them
    cut.close(written=…)

    loader = Loader(Shard())     at a restore: all entries of the topic, then what the last marker says
    loader.put(key, value)
    loader.finish(summary)

A snapshot and the events behind it come to the same state as the whole log.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from msgspec import Struct

from engine.core.errors import SnapshotUnreadable
from engine.core.sections import Entry, Section

SCHEMA: Final = 5
"""Version of all that snapshots hold: sections, keys, and the encodings of states. Whoever changes any of it raises it,
and keeps reading the version before: a log that does not begin at offset 0 any more can't be restored from anything
else. Without it, a build would take states of another build for its own."""

READABLE: Final = range(1, SCHEMA + 1)
"""The versions that this build reads. States of the older ones lack the last fields: in schema 1 nothing was ever
paused, in schema 2 nothing was ever retried, and there were no bulk operations. In schema 3 there were no
submissions. In schema 4 no aborts were remembered that came too late."""

STEP: Final = 50
"""How many entries `Loader.finish` takes over in one step. With many more, a step would hold up the event loop."""


class Summary(Struct, frozen=True, kw_only=True):
    """What a snapshot says beside its entries."""

    entries: int
    """How many there are. A reader that has another number has lost some, or has some that are gone."""
    last_at: datetime | None
    """The latest time of an event."""
    sequences: dict[str, int]
    """By source of run commands, the last number."""
    ended_unkeyed: Sequence[str]
    """Ids of the unkeyed instances that ended last, in order."""
    forgotten_before: int
    """Every keyed instance that ended at or behind this offset is among the entries."""
    retries_forgotten_before: int = 0
    """Likewise every instance that was retried. 0 in older snapshots."""
    forgotten_until_ms: int = 0
    """Every keyed instance whose id was made later is among the entries, if it has ended. 0 in older snapshots."""
    late_aborts_forgotten_before: int = 0
    """Likewise every keyed abort that came when its instance had ended. 0 in older snapshots."""
    uncounted_us: int = 0
    """What of the log's time does not count, in microseconds (see `engine.core.log_time`). 0 in older snapshots."""


class Cut:
    """The entries of a shard that changed since its last cut, as they are at one moment. `Shard.cut` makes it.

    Attributes:
        summary: of the whole state at that moment.
        is_full: whether it has every entry. Then the topic may hold keys that are gone: they need tombstones (`has`).

    Args:
        sections: all of them, those first whose entries others refer to.
        summary: see above.
    """

    def __init__(self, sections: Sequence[Section[Any]], summary: Summary):
        self.summary = summary
        self._sections = sections
        self.is_full = all([section.cut() for section in sections])  # noqa: C419  # each of them has to be cut
        self.is_open = True
        self._is_complete = False

    def entries(self) -> Iterator[Entry]:
        """The entries, one by one; the shard may change in between."""
        for section in self._sections:
            yield from section.entries()
        self._is_complete = True

    def has(self, key: str) -> bool:
        """Whether there was an entry of a key at the cut."""
        return has_entry(self._sections, key)

    def close(self, *, written: bool) -> None:
        """End the cut; the second time it does nothing.

        Args:
            written: whether the topic has all of its entries and its marker. If not, all of it stays to be written.
        """
        if not self.is_open:
            return
        self.is_open = False
        for section in self._sections:
            section.close(written=written and self._is_complete)


def has_entry(sections: Sequence[Section[Any]], key: str) -> bool:
    """Whether there is an entry of a key: at the open cut if one is open, and otherwise now."""
    name, _, id = key.partition("/")
    return any(section.has(id) for section in sections if section.name == name)


class Restorable(Protocol):
    """What a snapshot is read into: a new shard."""

    @property
    def sections(self) -> Sequence[Section[Any]]:
        """All sections, those first whose entries others refer to."""

    def restore_summary(self, summary: Summary) -> None:
        """Take over what is not by id. What changes from here on is noted for the next cut.

        Raises:
            ValueError: it does not fit to the entries.
        """


class Loader:
    """Reads a snapshot into a new shard. If it fails, the shard is of no use.

    Args:
        shard: the new one.
    """

    def __init__(self, shard: Restorable):
        self._shard = shard
        self._values: dict[str, dict[str, bytes]] = {section.name: section.intake() for section in shard.sections}

    def put(self, key: str, value: bytes | None) -> None:
        """Take the value of a key; the last one counts, and None removes it."""
        name, _, id = key.partition("/")
        values = self._values.setdefault(name, {})
        if value is None:
            values.pop(id, None)
        else:
            values[id] = value

    def finish(self, summary: Summary) -> Iterator[None]:
        """Decode all of it and make the state, in steps of less than a few milliseconds.

        Args:
            summary: of the last marker.

        Raises:
            SnapshotUnreadable: it is not a whole snapshot of this build.
        """
        count, done = sum(map(len, self._values.values())), 0
        if count != summary.entries:
            raise SnapshotUnreadable(f"it has {count} entries, but its marker says {summary.entries}")
        for section in self._shard.sections:
            try:
                for _ in section.restore(self._values.pop(section.name)):
                    done += 1
                    if done % STEP == 0:
                        yield
            except Exception as error:  # whatever the bytes hold
                raise SnapshotUnreadable(f"section {section.name}: {type(error).__name__}: {error}") from error
        if any(self._values.values()):
            raise SnapshotUnreadable(f"it has sections that this build does not know: {', '.join(self._values)}")
        try:
            self._shard.restore_summary(summary)
        except ValueError as error:
            raise SnapshotUnreadable(str(error)) from error
