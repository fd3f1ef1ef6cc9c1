"""What triggers have fired for and judged. It can be much, so it is kept beside the triggers, entry by entry.

The id of an entry is `<trigger>/<once key>` or `<trigger>/<identity>`. What a deleted trigger leaves behind goes bit by
bit.
"""

import math
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from engine.core.sections import Section

S = TypeVar("S")

ONCE: Final = b"1"
"""The value of an entry that says nothing beyond its key."""

MAX_FORGOTTEN: Final = 500
"""Entries of deleted triggers that are removed at a time. All of a trigger that has fired for a million payments would
hold up the partition for a second."""


class ByTrigger(Section[S]):
    """Entries of triggers."""

    def __init__(self, name: str):
        super().__init__(name)
        self._all: dict[str, dict[str, S]] = {}
        """By trigger, and by the rest of the id."""
        self._deleted: dict[str, None] = {}
        """Triggers whose entries mean nothing any more, but are still there."""

    def find(self, trigger_id: str, name: str) -> S | None:
        """What is known of a trigger by a name."""
        known = self._all.get(trigger_id)
        return None if known is None or trigger_id in self._deleted else known.get(name)

    def remove_all(self, trigger_id: str) -> None:
        """Nothing that is known of a trigger means anything any more."""
        if trigger_id in self._all:
            self._deleted[trigger_id] = None

    def remove_all_but(self, triggers: Container[str]) -> None:
        """Likewise, of all triggers but these."""
        for trigger_id in self._all:
            if trigger_id not in triggers:
                self.remove_all(trigger_id)

    def settle(self) -> None:
        """Remove some of what means nothing any more."""
        left = MAX_FORGOTTEN
        while self._deleted and left > 0:
            trigger_id = next(iter(self._deleted))
            known = self._all[trigger_id]
            while known and left > 0:
                self._forget_one(trigger_id, known)
                left -= 1
            if not known:
                del self._all[trigger_id], self._deleted[trigger_id]

    def _forget_one(self, trigger_id: str, known: dict[str, S]) -> None:
        name, state = known.popitem()
        self.note_gone(f"{trigger_id}/{name}", state)

    def contents(self) -> object:
        """All that means something, to be compared."""
        return {id: list(known.items()) for id, known in self._all.items() if known and id not in self._deleted}

    # As a section

    def get(self, id: str) -> S | None:
        """What there is of an id."""
        trigger_id, _, name = id.partition("/")
        known = self._all.get(trigger_id)
        return None if known is None else known.get(name)

    def ids(self) -> Iterable[str]:
        """All ids."""
        return (f"{trigger_id}/{name}" for trigger_id, known in self._all.items() for name in known)

    def __len__(self) -> int:
        """How many there are."""
        return sum(map(len, self._all.values()))


class Fired(ByTrigger[bytes]):
    """What triggers fire for once, ever, and have fired for."""

    def __init__(self) -> None:
        super().__init__("fired")

    def add(self, trigger_id: str, once_key: str) -> None:
        """A trigger has fired for this."""
        known = self._all.setdefault(trigger_id, {})
        if once_key not in known:
            self.note(f"{trigger_id}/{once_key}", None)
            known[once_key] = ONCE

    def contents(self) -> object:
        """All that means something, in no order."""
        return {id: known for id, known in self._all.items() if known and id not in self._deleted}

    def encode(self, state: bytes) -> bytes:
        """The value of an entry."""
        return state

    def restore(self, values: dict[str, bytes]) -> Iterator[None]:
        """Take over entries; yields after each.

        Raises:
            ValueError: one is not of this section.
        """
        for id, value in values.items():
            if value != ONCE:
                raise ValueError(f"{value!r} is not {ONCE!r}")
            trigger_id, _, once_key = id.partition("/")
            self._all.setdefault(trigger_id, {})[once_key] = ONCE
            yield


class Judged(ByTrigger[float]):
    """When triggers have judged messages, in seconds of the epoch, by the identities of these; oldest first.

    No two messages of a trigger have one time, so their times are also their order.
    """

    def __init__(self) -> None:
        super().__init__("judged")
        # Dicts would look through all that has gone each time for their oldest.
        self._all: dict[str, OrderedDict[str, float]] = {}  # type: ignore[assignment]

    def add(self, trigger_id: str, identity: str, at: float, limit: int) -> None:
        """A trigger has judged a message, unless it is known that it has. Above the limit, the oldest is forgotten."""
        times = self._all.setdefault(trigger_id, OrderedDict())
        if identity in times:
            return
        if times:
            at = max(at, math.nextafter(times[next(reversed(times))], math.inf))
        self.note(f"{trigger_id}/{identity}", None)
        times[identity] = at
        if len(times) > limit:
            self._forget_one(trigger_id, times)

    def forget_until(self, trigger_id: str, at: float) -> None:
        """Forget what a trigger has judged up to a time."""
        times = self._all.get(trigger_id)
        while times and times[next(iter(times))] <= at:
            self._forget_one(trigger_id, times)

    def _forget_one(self, trigger_id: str, known: dict[str, float]) -> None:
        identity = next(iter(known))
        self.note_gone(f"{trigger_id}/{identity}", known.pop(identity))

    def encode(self, state: float) -> bytes:
        """The value of an entry."""
        return msgspec.json.encode(state)

    def restore(self, values: dict[str, bytes]) -> Iterator[None]:
        """Take over entries; yields after each.

        Raises:
            MsgspecError: one can't be decoded.
        """
        found: list[tuple[float, str]] = []
        for id, value in values.items():
            found.append((msgspec.json.decode(value, type=float), id))
            yield
        for at, id in sorted(found):
            trigger_id, _, identity = id.partition("/")
            self._all.setdefault(trigger_id, OrderedDict())[identity] = at
            yield
