"""Sections of a partition's state, and what of them changed since the last snapshot.

A section holds the states of one kind by id, and notes which of them changed. A *cut* fixes what all of them are at one
moment, and takes no copy: while it is open, the first change of an entry keeps what the entry was at the cut.

| of an entry | what the next cut hands out |
|---|---|
| not changed since the last cut | nothing |
| changed or new | its state |
| gone that was there at the last cut | None: a tombstone |
| came and went since the last cut | nothing: whatever lives shortly costs nothing |

As long as nothing is known of what the topic holds (the *base*), nothing is noted, and a cut hands out every entry.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

S = TypeVar("S")


class Entry(NamedTuple):
    """One entry of a snapshot: `<section>/<id>`, and the encoded state; None if there is no such state any more."""

    key: str
    value: bytes | None


class Section(ABC, Generic[S]):
    """States of one kind. Whoever changes one calls `note` or `note_gone` before.

    Args:
        name: the first part of the keys of its entries.
    """

    def __init__(self, name: str):
        self.name = name
        self._changed: dict[str, bool] | None = None
        """By id of what changed since the last cut, whether it was there at that cut. None: the base is unknown."""
        self._before: dict[str, S | None] | None = None
        """While a cut is open, what the entries that changed since were then; None: no cut is open."""
        self._due: Iterable[str] = ()
        """What the open cut hands out."""
        self._is_full = False
        """Whether that is every entry."""

    # What it holds

    @abstractmethod
    def get(self, id: str) -> S | None:
        """The present state of an id."""

    @abstractmethod
    def ids(self) -> Iterable[str]:
        """All ids that have a state."""

    @abstractmethod
    def __len__(self) -> int:
        """How many those are."""

    @abstractmethod
    def encode(self, state: S) -> bytes:
        """The value of an entry."""

    def intake(self) -> dict[str, bytes]:
        """What a restore puts the entries into that it reads, by id; see `restore`."""
        return {}

    @abstractmethod
    def restore(self, values: dict[str, bytes]) -> Iterator[None]:
        """Take over the entries of a snapshot, by id; yields after each, or a few of them.

        Raises:
            Exception: of any kind, if a value is not one of this section or does not fit to the others.
        """

    # Changes

    @property
    def changes(self) -> int:
        """How many entries the next cut would hand out."""
        return len(self) if self._changed is None else len(self._changed)

    def note(self, id: str, before: S | None) -> None:
        """The state of an id is about to be another one.

        Args:
            id: which.
            before: what it is until then; None if there is none.
        """
        changed = self._changed
        if changed is not None and id not in changed:
            changed[id] = before is not None
            if self._before is not None:
                self._before[id] = before

    def note_gone(self, id: str, before: S) -> None:
        """The state of an id is about to go."""
        changed = self._changed
        if changed is None:
            return
        was_there = changed.get(id)
        if was_there is None:
            changed[id] = True
            if self._before is not None:
                self._before[id] = before
        elif not was_there:
            del changed[id]

    def rebase(self, *, known: bool) -> None:
        """Forget what changed.

        Args:
            known: whether the topic holds what is here now; if not, the next cut hands out everything.
        """
        self._changed = {} if known else None

    # Cuts

    def cut(self) -> bool:
        """Fix the entries that changed as they are now. Nothing is copied, except all ids if the base is unknown.

        Returns:
            Whether it has every entry.
        """
        self._is_full = self._changed is None
        self._due = list(self.ids()) if self._changed is None else self._changed
        self._changed, self._before = {}, {}
        return self._is_full

    def entries(self) -> Iterator[Entry]:
        """What the open cut hands out, each entry as it was at the cut. The section may change in between."""
        for id in self._due:
            if self._before is None:
                raise RuntimeError("the cut was closed")
            state = self._before[id] if id in self._before else self.get(id)
            yield Entry(f"{self.name}/{id}", None if state is None else self.encode(state))

    def close(self, *, written: bool) -> None:
        """End the open cut.

        Args:
            written: whether the topic has what it handed out. If not, all of it stays to be written, tombstones of what
                came and went included: the topic may have it, and may not.
        """
        if not written and self._is_full:
            self._changed = None
        elif not written and self._changed is not None:
            self._changed.update(dict.fromkeys(self._due, True))
        self._before, self._due = None, ()

    def has(self, id: str) -> bool:
        """Whether there is an entry of an id: at the open cut if one is open, and otherwise now."""
        if self._before is not None and self._changed is not None and id in self._changed:
            return self._changed[id]
        return self.get(id) is not None


class Table(Section[S]):
    """States in memory as they are.

    Args:
        name: see `Section`.
        kind: the type of the states, which decodes them.
        order: states come back in the order of this; None if their order does not matter.
        enc_hook: encodes what msgspec can't.
        dec_hook: decodes it.
    """

    def __init__(
        self,
        name: str,
        kind: Any,
        *,
        order: Callable[[S], Any] | None = None,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[type, Any], Any] | None = None,
    ):
        super().__init__(name)
        self.states: OrderedDict[str, S] | dict[str, S] = {}
        self._order = order
        self._encoder = msgspec.json.Encoder(enc_hook=enc_hook)
        self._decoder = msgspec.json.Decoder(kind, dec_hook=dec_hook)

    def get(self, id: str) -> S | None:
        """The present state of an id."""
        return self.states.get(id)

    def ids(self) -> Iterable[str]:
        """All ids that have a state."""
        return self.states

    def __len__(self) -> int:
        """How many those are."""
        return len(self.states)

    def put(self, id: str, state: S) -> None:
        """Set the state of an id."""
        self.note(id, self.states.get(id))
        self.states[id] = state

    def pop(self, id: str) -> S | None:
        """Remove the state of an id, if there is one."""
        state = self.states.pop(id, None)
        if state is not None:
            self.note_gone(id, state)
        return state

    def encode(self, state: S) -> bytes:
        """The value of an entry."""
        return self._encoder.encode(state)

    def decode(self, value: bytes) -> S:
        """The state of an entry's value."""
        state: S = self._decoder.decode(value)
        return state

    def restore(self, values: dict[str, bytes]) -> Iterator[None]:
        """Take over entries; yields after each."""
        found: list[tuple[str, S]] = []
        for id, value in values.items():
            found.append((id, self.decode(value)))
            yield
        order = self._order
        if order is not None:
            found.sort(key=lambda entry: order(entry[1]))
        for id, state in found:
            self.insert(id, state)
            yield

    def insert(self, id: str, state: S) -> None:
        """Take over the state of one entry, behind those taken over before."""
        self.states[id] = state


class Queue(Table[S]):
    """The last so many states, oldest first."""

    def __init__(self, name: str, kind: Any, *, order: Callable[[S], Any]):
        super().__init__(name, kind, order=order)
        # A dict would look through all that has gone each time for its oldest.
        self.states: OrderedDict[str, S] = OrderedDict()

    def append(self, id: str, state: S, limit: int) -> S | None:
        """Set the state of an id, as the latest; what is forgotten for it, if there are more than the limit."""
        before = self.states.pop(id, None)
        self.note(id, before)
        self.states[id] = state
        if len(self.states) <= limit:
            return None
        oldest, forgotten = self.states.popitem(last=False)
        self.note_gone(oldest, forgotten)
        return forgotten
