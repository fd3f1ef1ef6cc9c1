"""What the `read` of a stage asks for: the fields of one JSON object.

Each stage says once, in its `read`, which fields it has, what each of them must be and how they belong together. That
one method serves everybody, since `Fields` has three makes:

| module | what `read` does with it |
|---|---|
| `reading` | gives values, or raises at the first field that is wrong: creation, and stages that are about to run |
| `checking` | finds everything that is wrong, fields that nobody asked for, and variables |
| `describing` | describes what would be accepted, as JSON Schema |

So all of them agree. In turn a `read` must do nothing but ask: what it gets may be a placeholder.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol, Self, TypeVar


class Readable(Protocol):
    """A class that is read from the fields of one JSON object."""

    @classmethod
    def read(cls, fields: "Fields") -> Self:
        """Read it; raises `InvalidField`."""
        ...


T = TypeVar("T", bound=Readable)


class Fields(Protocol):
    """The fields of one JSON object. Every method raises `InvalidField`, unless it says that it does not."""

    def refuse(self, reason: str, name: str = "", *, knowing: tuple[str, ...] = ()) -> None:
        """Say that the object, or a field of it, can't be accepted.

        Args:
            reason: what is wrong.
            name: the field; the object as a whole when not given.
            knowing: fields of which the reason takes for granted that they were read.
        """

    def text(self, name: str, default: str = "") -> str:
        """A string; `default` if it is missing, null or empty."""
        ...

    def required_text(self, name: str) -> str:
        """A string that must be there and not empty."""
        ...

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of some words in capitals, read in any case as the reference does; the first one is the default."""
        ...

    def amount(self, name: str) -> int:
        """An integer of any size that is not negative and must be there; JSON integer or text."""
        ...

    def count(self, name: str) -> int | None:
        """A JSON integer from 1 to 2^31-1, which is never a text; None if missing or null."""
        ...

    def boolean(self, name: str) -> bool:
        """`true` or `false`, as JSON or as text in any case; false if missing, null or empty."""
        ...

    def instant(self, name: str) -> datetime | None:
        """An RFC 3339 text, in UTC; None if missing, null or empty."""
        ...

    def duration(self, name: str) -> int:
        """A duration that must be there, in nanoseconds."""
        ...

    def texts(self, name: str) -> dict[str, str] | None:
        """A map of strings; None if missing or null."""
        ...

    def required_texts(self, name: str) -> dict[str, str]:
        """A map of strings that must be there; `{}` is one."""
        ...

    def objects(self, name: str) -> list[Any]:
        """A list that must be there. Whoever asks reads its items."""
        ...

    def child(self, name: str, kind: type[T]) -> T | None:
        """What an object inside this one is; None if missing or null."""
        ...

    def required_child(self, name: str, kind: type[T]) -> T:
        """What an object is that must be there."""
        ...

    def one_child_of(self, name: str, kinds: Mapping[str, type[T]]) -> T:
        """What an object is that must be there, and have exactly one of some keys: the kind of that key."""
        ...

    def one_text_of(self, *names: str) -> str:
        """The name of the one field that is given of several texts that exclude each other."""
        ...
