"""Definitions of workflows as instances share them: one in memory for each content, however many instances run it."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
from msgspec import Raw

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

    @staticmethod
    def known(digest: str) -> "Definition":
        """The definition of a digest, which somebody holds."""
        return _KNOWN[digest]

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
