"""The instances of a partition that have not ended.

One that waits is kept as its encoded state alone, which names its definition; the definition is in memory once. The
garbage collector does not look at bytes, so a million that wait do not slow it down.

Between events and `settle` states are kept decoded, since an instance mostly has several events in a row. One that
starts and ends in between leaves nothing behind and costs nothing here.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from engine.core import effects
from engine.core.definition import Definitions
from engine.core.instance import Instance
from engine.core.sections import Section

RESTLESS: Final = b" "
"""What ends the state of an instance at rest that wants something done: a call, a delay, a turn. Its decoder passes it
over, and snapshots don't have it. Without it, a restore would decode a million that wait for events to find the others.
"""


class Instances(Section[bytes]):
    """Instances by id.

    Args:
        definitions: those of the instances at rest.
    """

    def __init__(self, definitions: Definitions):
        super().__init__("instance")
        self._definitions = definitions
        self._hot: dict[str, Instance] = {}
        self._cold: dict[str, bytes] = {}
        """Those at rest."""
        self._paused: set[str] = set()
        self._encoder = msgspec.json.Encoder(enc_hook=definitions.enc_hook)
        self._decoder = msgspec.json.Decoder(Instance, dec_hook=definitions.dec_hook)

    def find(self, id: str) -> Instance | None:
        """An instance; None when it is unknown or has ended."""
        hot = self._hot.get(id)
        if hot is not None:
            return hot
        cold = self._cold.get(id)
        return None if cold is None else self._decoder.decode(cold)

    @property
    def count(self) -> int:
        """How many have not ended."""
        return len(self._cold.keys() | self._hot.keys()) if self._hot else len(self._cold)

    @property
    def paused(self) -> int:
        """How many of those at rest wait for a person."""
        return len(self._paused)

    def all_ids(self) -> Iterable[str]:
        """All that have not ended."""
        return {**self._cold, **self._hot} if self._hot else self._cold

    def restless_ids(self) -> Iterable[str]:
        """All that want something done, and maybe others."""
        return [*(id for id, state in self._cold.items() if state.endswith(RESTLESS)), *self._hot]

    def put(self, instance: Instance) -> None:
        """Set the state of an instance."""
        self._hot[instance.id] = instance

    def remove(self, instance: Instance) -> None:
        """Remove an instance."""
        id = instance.id
        self._hot.pop(id, None)
        if id in self._cold:
            self.note_gone(id, self._cold[id])
            del self._cold[id]
            self._paused.discard(id)
            self._definitions.release(instance.definition)

    def settle(self) -> None:
        """Encode what events have come for."""
        cold = self._cold
        for id, instance in self._hot.items():
            before = cold.get(id)
            self.note(id, before)
            if before is None:
                self._definitions.hold(instance.definition)
            cold[id] = _marked(self._encoder.encode(instance), instance)
            if instance.paused:
                self._paused.add(id)
            elif self._paused:
                self._paused.discard(id)
        self._hot.clear()

    # As a section: what is at rest

    def get(self, id: str) -> bytes | None:
        """The encoded state of an instance at rest."""
        return self._cold.get(id)

    def ids(self) -> Iterable[str]:
        """Those at rest."""
        return self._cold

    def __len__(self) -> int:
        """How many are at rest."""
        return len(self._cold)

    def encode(self, state: bytes) -> bytes:
        """The state, which is encoded."""
        return state.removesuffix(RESTLESS)

    def intake(self) -> dict[str, bytes]:
        """Entries are read right into their place: with a copy, a restore would need more memory than comes of it."""
        return self._cold

    def restore(self, values: dict[str, bytes]) -> Iterator[None]:
        """Take over what was read into its place; yields after each.

        Raises:
            MsgspecError: one can't be decoded.
            KeyError: its definition is missing.
            ValueError: it has another id, or has ended.
        """
        for id, state in values.items():
            instance = self._decoder.decode(state)
            if instance.id != id or instance.ended:
                raise ValueError(f"this is not the state of instance {id}")
            self._definitions.hold(instance.definition)
            values[id] = _marked(state, instance)
            if instance.paused:
                self._paused.add(id)
            yield


def _marked(state: bytes, instance: Instance) -> bytes:
    return state if effects.effect(instance) is None else state + RESTLESS
