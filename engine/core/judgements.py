"""What triggers have fired for and judged. It can be much, so it is kept beside the triggers, entry by entry.

The id of an entry is `<trigger>/<once key>` or `<trigger>/<identity>`.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator

import msgspec

from engine.core.sections import Section

ONCE = b"1"
"""The value of an entry that says nothing beyond its key."""


class Fired(Section[bytes]):
    """What triggers fire for once, ever, and have fired for."""

    def __init__(self) -> None:
        super().__init__("fired")
        self._keys: dict[str, set[str]] = {}
        """By trigger."""

    def has_fired_for(self, trigger_id: str, once_key: str) -> bool:
        """Whether a trigger has fired for this."""
        return once_key in self._keys.get(trigger_id, ())

    def add(self, trigger_id: str, once_key: str) -> None:
        """A trigger has fired for this."""
        keys = self._keys.setdefault(trigger_id, set())
        if once_key not in keys:
            self.note(f"{trigger_id}/{once_key}", None)
            keys.add(once_key)

    def remove_all(self, trigger_id: str) -> None:
        """Forget all that a trigger has fired for."""
        for once_key in self._keys.get(trigger_id, ()):
            self.note_gone(f"{trigger_id}/{once_key}", ONCE)
        self._keys.pop(trigger_id, None)

    def contents(self) -> object:
        """All of it, to be compared."""
        return {trigger_id: sorted(keys) for trigger_id, keys in self._keys.items() if keys}

    def get(self, id: str) -> bytes | None:
        """Whether there is an entry."""
        trigger_id, _, once_key = id.partition("/")
        return ONCE if self.has_fired_for(trigger_id, once_key) else None

    def ids(self) -> Iterable[str]:
        """All ids."""
        return (f"{trigger_id}/{key}" for trigger_id, keys in self._keys.items() for key in keys)

    def __len__(self) -> int:
        """How many there are."""
        return sum(map(len, self._keys.values()))

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
            self._keys.setdefault(trigger_id, set()).add(once_key)
            yield


class Judged(Section[float]):
    """When triggers have judged messages, by the identities of these.

    No two messages of a trigger have one time, so their times are also their order.
    """

    def __init__(self) -> None:
        super().__init__("judged")
        self._times: dict[str, OrderedDict[str, float]] = {}
        """By trigger, seconds of the epoch by identity, oldest first."""

    def at(self, trigger_id: str, identity: str) -> float | None:
        """When a trigger has judged a message; None if that is not known."""
        times = self._times.get(trigger_id)
        return None if times is None else times.get(identity)

    def add(self, trigger_id: str, identity: str, at: float, limit: int) -> None:
        """A trigger has judged a message, unless it is known that it has. Above the limit, the oldest is forgotten."""
        times = self._times.setdefault(trigger_id, OrderedDict())
        if identity in times:
            return
        if times:
            at = max(at, math.nextafter(times[next(reversed(times))], math.inf))
        self.note(f"{trigger_id}/{identity}", None)
        times[identity] = at
        if len(times) > limit:
            self._forget_oldest(trigger_id, times)

    def forget_until(self, trigger_id: str, at: float) -> None:
        """Forget what a trigger has judged up to a time."""
        times = self._times.get(trigger_id)
        while times and times[next(iter(times))] <= at:
            self._forget_oldest(trigger_id, times)

    def remove_all(self, trigger_id: str) -> None:
        """Forget all that a trigger has judged."""
        times = self._times.pop(trigger_id, None)
        while times:
            self._forget_oldest(trigger_id, times)

    def _forget_oldest(self, trigger_id: str, times: OrderedDict[str, float]) -> None:
        identity, at = times.popitem(last=False)
        self.note_gone(f"{trigger_id}/{identity}", at)

    def contents(self) -> object:
        """All of it, to be compared."""
        return {trigger_id: list(times.items()) for trigger_id, times in self._times.items() if times}

    def get(self, id: str) -> float | None:
        """When the message of an id was judged."""
        trigger_id, _, identity = id.partition("/")
        return self.at(trigger_id, identity)

    def ids(self) -> Iterable[str]:
        """All ids."""
        return (f"{trigger_id}/{identity}" for trigger_id, times in self._times.items() for identity in times)

    def __len__(self) -> int:
        """How many there are."""
        return sum(map(len, self._times.values()))

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
            self._times.setdefault(trigger_id, OrderedDict())[identity] = at
            yield
