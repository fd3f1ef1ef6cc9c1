"""From a YAML value to the model: all that is wrong with it at once, in words for those who wrote it.

The rules are those of `model`, whose types are walked along with the value. What they can't say (which fields exclude
each other, what comes before the start) is checked behind that, in `rules`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import inspect

from deploy.scenarios.model import ADDRESS, ASSET, BALANCE, DURATION, ID, INSTANT, MOMENT
from deploy.scenarios.times import read_duration, read_instant
from schemas.definition import Path
from schemas.definition.suggestions import did_you_mean

T = TypeVar("T", bound=msgspec.Struct)

MAX_QUOTED: Final = 60
"""How much of a text is repeated in a message."""


class Complain(Protocol):
    """Takes what is wrong."""

    def __call__(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Something is wrong at a path; `at_key` if its last key is meant."""


def read_as(kind: type[T], value: Any, complain: Complain) -> T | None:
    """The value as a model; None if something was wrong with it.

    Args:
        kind: the model.
        value: the decoded file.
        complain: takes what is wrong.
    """
    walk = _Walk(complain)
    walk.check(_type_of(kind), value, ())
    return None if walk.found else msgspec.convert(value, kind)


@cache
def _type_of(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


class _Walk:
    """Walks along a value and its type."""

    def __init__(self, complain: Complain):
        self._complain = complain
        self.found = 0

    def check(self, kind: inspect.Type, value: Any, path: Path) -> None:
        """Check a value."""
        match _plain(kind):
            case inspect.AnyType():
                pass
            case inspect.UnionType() as union:
                self._union(union, value, path)
            case inspect.StructType() as struct if isinstance(value, dict):
                self._struct(struct, value, path)
            case inspect.DictType() as mapping if isinstance(value, dict):
                self._mapping(mapping, value, path)
            case inspect.ListType() as items if isinstance(value, list):
                self._list(items, value, path)
            case other:
                reason = _wrong(kind, other, value)
                if reason is not None:
                    self._note(path, reason)

    def _note(self, path: Path, message: str, *, at_key: bool = False) -> None:
        self.found += 1
        self._complain(path, message, at_key=at_key)

    def _union(self, union: inspect.UnionType, value: Any, path: Path) -> None:
        """A union is told by what kind of value there is: no two of its types take the same."""
        of_kind = [kind for kind in union.types if _takes(_plain(kind), value)]
        literal = _plain(of_kind[0]) if of_kind else None
        if isinstance(literal, inspect.LiteralType):
            if value not in literal.values:
                self._note(path, _not_one_of(_expected(union), literal, value))
        elif of_kind:
            self.check(of_kind[0], value, path)
        else:
            is_text = any(isinstance(_plain(kind), inspect.StrType) for kind in union.types)
            self._note(path, f"must be {_expected(union)}, not {shown(value)}{_in_quotes(value) if is_text else ''}")

    def _struct(self, struct: inspect.StructType, value: Mapping[str, Any], path: Path) -> None:
        fields = {field.encode_name: field for field in struct.fields}
        for name, inner in value.items():
            if name in fields:
                self.check(fields[name].type, inner, (*path, name))
            else:
                self._note((*path, name), f"unknown field {quoted(name)}: {_hint(name, fields)}", at_key=True)
        for name, field in fields.items():
            if field.required and name not in value:
                self._note(path, f"{quoted(name)} is missing")

    def _mapping(self, mapping: inspect.DictType, value: Mapping[str, Any], path: Path) -> None:
        for key, inner in value.items():
            reason = _wrong(mapping.key_type, _plain(mapping.key_type), key)
            if reason is not None:
                self._note((*path, key), reason, at_key=True)
            self.check(mapping.value_type, inner, (*path, key))

    def _list(self, items: inspect.ListType, value: Sequence[Any], path: Path) -> None:
        if items.min_length is not None and len(value) < items.min_length:
            self._note(path, "must not be empty")
        if items.max_length is not None and len(value) > items.max_length:
            self._note(path, f"has {len(value)} items; at most {items.max_length} are allowed")
        for number, inner in enumerate(value):
            self.check(items.item_type, inner, (*path, number))


def _hint(name: str, fields: Mapping[str, inspect.Field]) -> str:
    """What to do about a field that is not one of these."""
    homes = [
        home
        for home, field in fields.items()
        if isinstance(inner := _plain(field.type), inspect.StructType)
        and any(name == one.encode_name for one in inner.fields)
    ]
    if homes:
        return f"it belongs in {_any_of([quoted(home) for home in homes])}"
    return did_you_mean(name, fields) or f"the fields here are {', '.join(fields)}"


def _in_quotes(value: Any) -> str:
    """What to write instead of a number or a boolean where a text is wanted."""
    return f': write "{str(value).lower()}"' if isinstance(value, int | float) else ""


def _plain(kind: inspect.Type) -> inspect.Type:
    """A type without what is said about it."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _kind_of_text(kind: inspect.Type) -> str | None:
    """Which kind of text a type is; None for any."""
    while isinstance(kind, inspect.Metadata):
        if kind.extra and "kind" in kind.extra:
            return str(kind.extra["kind"])
        kind = kind.type
    return None


def _takes(kind: inspect.Type, value: Any) -> bool:
    """Whether a type takes values of this kind at all."""
    match kind:
        case inspect.NoneType():
            return value is None
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.LiteralType():
            return isinstance(value, str)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.StructType() | inspect.DictType():
            return isinstance(value, dict)
        case inspect.ListType():
            return isinstance(value, list)
    return True


def _wrong(kind: inspect.Type, plain: inspect.Type, value: Any) -> str | None:
    """What is wrong with a value that holds no others; None if nothing is."""
    if not _takes(plain, value):
        hint = _in_quotes(value) if isinstance(plain, inspect.StrType) else ""
        return f"must be {_expected(kind)}, not {shown(value)}{hint}"
    match plain:
        case inspect.StrType():
            return _wrong_text(_kind_of_text(kind), plain, value)
        case inspect.LiteralType() if value not in plain.values:
            return _not_one_of(_expected(plain), plain, value)
        case inspect.IntType():
            low, high = plain.ge, plain.le
            if (low is not None and value < low) or (high is not None and value > high):
                return f"must be {_expected(plain)}, not {value}"
    return None


def _not_one_of(expected: str, literal: inspect.LiteralType, value: str) -> str:
    hint = did_you_mean(value, [str(choice) for choice in literal.values])
    return f"must be {expected}, not {quoted(value)}" + (f": {hint}" if hint else "")


def _wrong_text(kind: str | None, plain: inspect.StrType, value: str) -> str | None:
    read = _READERS.get(kind or "")
    if read is not None:
        try:
            read(value)
        except ValueError as error:
            return str(error)
    if plain.pattern is not None and re.search(plain.pattern, value) is None:
        return f"{quoted(value)} is not {_KINDS[kind or ''].removeprefix('the name of ')}"
    if plain.min_length and len(value) < plain.min_length:
        return "must not be empty"
    return None


def _read_moment(text: str) -> object:
    if "T" in text.upper():
        return read_instant(text)
    return read_duration(text)


_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    DURATION: read_duration,
    INSTANT: read_instant,
    MOMENT: _read_moment,
}
_KINDS: Final = {
    DURATION: "a duration such as 1h30m",
    INSTANT: "a date and time such as 2026-03-01T10:00:00Z",
    MOMENT: "a duration such as 1h30m, or a date and time such as 2026-03-01T10:00:00Z",
    ASSET: "an asset such as EUR/2",
    ADDRESS: "the address of an account, such as users:7",
    ID: "an id of letters, digits, - and _",
    BALANCE: "a balance, as in `main: {EUR/2: 1250}`",
}


def _expected(kind: inspect.Type) -> str:
    """What a type takes, in words."""
    text = _kind_of_text(kind)
    if text is not None:
        return _KINDS[text]
    match _plain(kind):
        case inspect.UnionType() as union:
            parts = [_expected(part) for part in union.types if not isinstance(part, inspect.NoneType)]
            return (", or " if any(" or " in part for part in parts) else " or ").join(parts)
        case inspect.StrType():
            return "a text"
        case inspect.LiteralType() as literal:
            return _any_of([str(choice) for choice in literal.values])
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() as number:
            if number.ge is not None:
                return f"a whole number from {number.ge}" + (f" to {number.le}" if number.le is not None else " on")
            return "a whole number"
        case inspect.ListType():
            return "a list"
    return "a mapping (`key: value`)"


def _any_of(choices: Sequence[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def shown(value: Any) -> str:
    """What a value is, for a message."""
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return quoted(value)
        case list():
            return "a list"
        case dict():
            return "a mapping"
    return type(value).__name__


def quoted(text: str) -> str:
    """A text as a message repeats it."""
    cut = text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…"
    return f"`{cut}`"
