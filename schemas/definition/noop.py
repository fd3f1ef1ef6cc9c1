"""The stage `noop`: ends at once."""

from typing import Any, ClassVar, Final

import msgspec

from schemas.definition.fields import Fields


class Noop(msgspec.Struct, frozen=True, tag="noop"):
    """Does nothing.

    This is the resolved stage. Whatever fields it was given are unknown ones, without effect.
    """

    name: ClassVar[str] = "RunNoop"

    @classmethod
    def read(cls, fields: Fields) -> "Noop":
        """Read the stage: there is nothing to read, so every one is the same."""
        return _NOOP

    def shown(self) -> dict[str, Any]:
        """The `input` of the stage history: `{}`."""
        return {}


_NOOP: Final = Noop()
