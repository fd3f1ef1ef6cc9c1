"""Definitions of workflows as instances share them: one in memory for each content, however many instances run it."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
from msgspec import Raw

from engine.core.sections import Section
from schemas.records import UndecodableRecord

Stage = dict[str, Any]
"""A stage as the definition has it, such as `{"delay": {"duration": "${n}s"}}`."""

_DECODER: Final = msgspec.json.Decoder(list[Stage])

MAX_RECENT: Final = 64
MAX_RECENT_BYTES: Final = 16 * 1024
"""How many definitions are kept although no instance has them, and the largest of these. Most instances end in the turn
that starts them: their definition would be decoded again for each."""


class Definition:
    """The definition of a workflow. Two of the same content are one object, made by `of`.

    Attributes:
        digest: names the content.
        content: the stages as JSON.
        stages: the stages.
    """

    __slots__ = ("__weakref__", "content", "digest", "stages")

    def __init__(self, digest: str, content: bytes):
        self.digest, self.content = digest, content
        try:
            self.stages: Sequence[Stage] = _DECODER.decode(content)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: they are not UTF-8
            raise UndecodableRecord(f"stages: {error}") from None

    @staticmethod
    def of(stages: Raw) -> "Definition":
        """The definition with these stages, in JSON.

        Raises:
            UndecodableRecord: they are not a list of objects.
        """
        # A copy: what was decoded from a record keeps all of the record in memory.
        content = bytes(stages)
        known = _RECENT.get(content)
        if known is None:
            digest = blake2b(content, digest_size=16).hexdigest()
            known = _KNOWN.get(digest)
            if known is None:
                known = _KNOWN[digest] = Definition(digest, content)
            if len(content) <= MAX_RECENT_BYTES:
                _RECENT[content] = known
                if len(_RECENT) > MAX_RECENT:
                    del _RECENT[next(iter(_RECENT))]
        return known

    @property
    def raw(self) -> Raw:
        """The stages for a message that carries them."""
        return Raw(self.content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Definition) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<Definition {self.digest}>"


_KNOWN: Final[WeakValueDictionary[str, Definition]] = WeakValueDictionary()
_RECENT: Final[dict[bytes, Definition]] = {}


class Definitions(Section[Definition]):
    """Those that a partition's states at rest name by their digests, each with how many name it."""

    def __init__(self) -> None:
        super().__init__("definition")
        self._held: dict[str, Definition] = {}
        self._users: dict[str, int] = {}

    def get(self, id: str) -> Definition | None:
        """The definition of a digest."""
        return self._held.get(id)

    def ids(self) -> Iterable[str]:
        """All digests."""
        return self._held

    def __len__(self) -> int:
        """How many definitions are held."""
        return len(self._held)

    def encode(self, state: Definition) -> bytes:
        """The content."""
        return state.content

    def restore(self, values: dict[str, bytes]) -> Iterator[None]:
        """Take over definitions, which nobody holds yet; yields after each.

        Raises:
            UndecodableRecord: one is not a list of objects.
            ValueError: one has another digest.
        """
        for digest, content in values.items():
            definition = Definition.of(Raw(content))
            if definition.digest != digest:
                raise ValueError(f"definition {digest} has digest {definition.digest}")
            self._held[digest], self._users[digest] = definition, 0
            yield

    def hold(self, definition: Definition) -> None:
        """One more state names a definition."""
        digest = definition.digest
        users = self._users.get(digest, 0)
        self._users[digest] = users + 1
        if not users and digest not in self._held:
            self.note(digest, None)
            self._held[digest] = definition

    def release(self, definition: Definition) -> None:
        """One state less names a definition."""
        digest = definition.digest
        users = self._users[digest] - 1
        if users:
            self._users[digest] = users
            return
        self.note_gone(digest, definition)
        del self._held[digest], self._users[digest]

    def contents(self) -> object:
        """All of it, to be compared."""
        return self._users.copy()

    def unused(self) -> list[str]:
        """Digests of definitions that nobody names."""
        return [digest for digest, users in self._users.items() if not users]

    # How msgspec encodes and decodes a state that names a definition

    @staticmethod
    def enc_hook(value: Any) -> Any:
        """The digest of a definition."""
        if isinstance(value, Definition):
            return value.digest
        raise NotImplementedError(type(value))

    def dec_hook(self, kind: type, value: Any) -> Any:
        """The definition of a digest.

        Raises:
            KeyError: nobody holds it.
        """
        if kind is Definition:
            return self._held[value]
        raise NotImplementedError(kind)
