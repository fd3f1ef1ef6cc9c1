"""Reading the fields of an object, at creation and when a stage runs, by the same rules.

When the stage runs, variables are replaced first. At creation they are not known: a text with `${name}` can still
become anything, so it counts as given and as readable, and is kept as it is (texts) or for an arbitrary value of its
type. What is read at creation is therefore good for checking alone.

Contract: `workflows`, "Creating a workflow: what is checked" and "Resolution, before each stage".
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from schemas.definition.durations import parse_duration
from schemas.definition.errors import InvalidField, Path
from schemas.definition.fields import T
from schemas.definition.instants import parse_instant
from schemas.definition.text import (
    MAX_RESOLVED_CHARACTERS,
    has_reference,
    is_only_references,
    quoted,
    replace_references,
)

_V = TypeVar("_V")

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_TOO_LONG: Final = f"is longer than {MAX_RESOLVED_CHARACTERS} characters with its variables"
_BOOLEANS: Final = {"true": True, "false": False}
MAX_COUNT: Final = 2**31 - 1
"""Largest count of something (contract: workflows, Attempt limit, pause and resume)."""
ANY_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""In place of one that depends on variables."""


class ReadFields:
    """The fields of one JSON object, which are read: `Fields` says what each method does.

    Attributes:
        path: Where the object is, such as `("send", "source", "account")`.
    """

    __slots__ = ("_values", "_variables", "path")

    def __init__(self, path: Path, values: Mapping[str, Any], variables: Mapping[str, str] | None) -> None:
        """Wrap an object; `variables` is None at creation."""
        self.path = path
        self._values = values
        self._variables = variables

    def fail(self, reason: str, name: str = "") -> InvalidField:
        """The error to raise about a field, or about the object as a whole."""
        return InvalidField((*self.path, name) if name else self.path, reason)

    def refuse(self, reason: str, name: str = "", *, knowing: tuple[str, ...] = ()) -> None:
        """Raise the error."""
        raise self.fail(reason, name)

    def text(self, name: str, default: str = "") -> str:
        """A string; `default` if it is missing, null or empty after replacement.

        A variable that is not given makes it empty if it is the whole text; mixed with other text, the field fails.
        """
        value = self._values.get(name)
        if value is None:
            return default
        if type(value) is not str:
            raise self.fail(f"must be a string, not {_kind(value)}", name)
        if self._variables is not None:
            value = self._replaced(name, value, self._variables)
        return value or default

    def required_text(self, name: str) -> str:
        """A string that must be there and not empty."""
        return self.text(name) or self._missing(name)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of some words in capitals, read in any case as the reference does; the first one is the default."""
        text = self.text(name)
        if not text or self._unknown(text):
            return choices[0]
        if text.upper() not in choices:
            raise self.fail(f"must be {' or '.join(choices)}, not {quoted(text)}", name)
        return text.upper()

    def amount(self, name: str) -> int:
        """An integer of any size that is not negative and must be there; JSON integer or text.

        A JSON number with a point or exponent is refused, `10.0` too: it went through a float on its way, and whether
        that was exact can't be told any more.
        """
        value = self._values.get(name)
        if type(value) is int:
            number = value
        elif value is not None and type(value) is not str:
            raise self.fail(f"must be an integer, not {_kind(value)}", name)
        elif not self.text(name):
            raise self.fail("amount must be specified", name)
        else:
            number = self._parsed(name, "an integer", _parse_integer, 0)
        if number < 0:
            raise self.fail("must not be negative", name)
        return number

    def count(self, name: str) -> int | None:
        """A JSON integer from 1 to 2^31-1, which is never a text; None if missing or null."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is not int:
            raise self.fail(f"must be an integer, not {_kind(value)}", name)
        if not 1 <= value <= MAX_COUNT:
            raise self.fail(f"must be from 1 to {MAX_COUNT}", name)
        return value

    def boolean(self, name: str) -> bool:
        """`true` or `false`, as JSON or as text in any case; false if missing, null or empty."""
        value = self._values.get(name)
        if type(value) is bool:
            return value
        if value is not None and type(value) is not str:
            raise self.fail(f"must be a boolean, not {_kind(value)}", name)
        text = self.text(name)
        if not text or self._unknown(text):
            return False
        parsed = _BOOLEANS.get(text.lower())
        if parsed is None:
            raise self.fail(f"must be true or false, not {quoted(text)}", name)
        return parsed

    def instant(self, name: str) -> datetime | None:
        """An RFC 3339 text, in UTC; None if missing, null or empty."""
        return self._parsed(name, "an RFC 3339 date and time", parse_instant, ANY_INSTANT) if self.text(name) else None

    def duration(self, name: str) -> int:
        """A duration that must be there, in nanoseconds."""
        return self._parsed(name, "a duration such as 1h30m or 250ms", parse_duration, 0)

    def texts(self, name: str) -> dict[str, str] | None:
        """A map of strings, variables replaced in its values (empty when not given); None if missing or null."""
        values = self._object(name)
        if values is None:
            return None
        for key, value in values.items():
            check_entry((*self.path, name), key, value)
        variables = self._variables
        if variables is None:
            return dict(values)
        resolved = {}
        room = MAX_RESOLVED_CHARACTERS
        for key, value in values.items():
            resolved[key] = self._replaced(name, value, variables, optional=True)
            room -= len(resolved[key])
            if room < 0:
                raise self.fail(_TOO_LONG, name)
        return resolved

    def required_texts(self, name: str) -> dict[str, str]:
        """A map of strings that must be there; `{}` is one."""
        texts = self.texts(name)
        return self._missing(name) if texts is None else texts

    def objects(self, name: str) -> list[Any]:
        """A list that must be there."""
        value = self._values.get(name)
        if isinstance(value, list):
            return value
        raise self.fail("is required" if value is None else f"must be a list, not {_kind(value)}", name)

    def child(self, name: str, kind: type[T]) -> T | None:
        """What an object inside this one is; None if missing or null."""
        inner = self.inside(name)
        return None if inner is None else kind.read(inner)

    def required_child(self, name: str, kind: type[T]) -> T:
        """What an object is that must be there."""
        return kind.read(self.required(name))

    def one_child_of(self, name: str, kinds: Mapping[str, type[T]]) -> T:
        """What an object is that has exactly one of some keys."""
        inner = self.required(name)
        given = [(key, child) for key in kinds if (child := inner.inside(key)) is not None]
        if len(given) != 1:
            raise inner.not_one(tuple(kinds), [key for key, _ in given])
        ((key, child),) = given
        return kinds[key].read(child)

    def one_text_of(self, *names: str) -> str:
        """The name of the one field that is given of several texts that exclude each other.

        At creation a text that consists of references alone may still become empty, so it excludes nothing yet.
        """
        given = [name for name in names if self._values.get(name) is not None and self.text(name)]
        if self._variables is None and len(given) > 1:
            certain = [name for name in given if not is_only_references(self._values[name])]
            given = certain or given[:1]
        if len(given) != 1:
            raise self.not_one(names, given)
        return given[0]

    def not_one(self, names: tuple[str, ...], given: list[str]) -> InvalidField:
        """The error to raise if not exactly one of some fields is given."""
        if given:
            return self.fail(f"only one of {', '.join(names)} is allowed, not {' and '.join(given)}")
        return self.fail(f"one of {', '.join(names)} is required")

    def required(self, name: str) -> "ReadFields":
        """The fields of an object that must be there."""
        return self.inside(name) or self._missing(name)

    def inside(self, name: str) -> "ReadFields | None":
        """The fields of an object inside this one; None if missing or null."""
        values = self._object(name)
        return None if values is None else ReadFields((*self.path, name), values, self._variables)

    def _object(self, name: str) -> Mapping[str, Any] | None:
        value = self._values.get(name)
        if value is None or isinstance(value, dict):
            return value
        raise self.fail(f"must be an object, not {_kind(value)}", name)

    def _parsed(self, name: str, what: str, parse: Callable[[str], _V], unknown: _V) -> _V:
        """The value of a text that must be there; `unknown` if that shows only when the stage runs."""
        text = self.required_text(name)
        if self._unknown(text):
            return unknown
        try:
            return parse(text)
        except ValueError:
            raise self.fail(f"must be {what}, not {quoted(text)}", name) from None

    def _replaced(self, name: str, text: str, variables: Mapping[str, str], *, optional: bool = False) -> str:
        try:
            return replace_references(text, variables, optional=optional)
        except LookupError as error:
            # The contract's text, without the field: the stage's input shows where the variable is named.
            raise InvalidField((), f"variable {quoted(error.args[0])} is not given") from None
        except OverflowError:
            raise self.fail(_TOO_LONG, name) from None

    def _unknown(self, text: str) -> bool:
        return self._variables is None and has_reference(text)

    def _missing(self, name: str) -> Any:
        raise self.fail("is required", name)


def _parse_integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise ValueError("not an integer")
    # Over 4300 digits this raises too, as the JSON decoder does: reading them takes quadratic time.
    return int(text)


def _kind(value: object) -> str:
    """What a JSON value is, for an error message."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return f"the number {value!r}"
        case str():
            return f"the string {quoted(value)}"
        case list():
            return "a list"
        case dict():
            return "an object"
    return f"a {type(value).__name__}"


def check_entry(path: Path, key: object, value: object) -> None:
    """Check an entry of the map of strings at `path`; raises `InvalidField`."""
    if type(key) is not str:
        raise InvalidField(path, f"keys must be strings, not {_kind(key)}")
    if type(value) is not str:
        raise InvalidField((*path, key), f"must be a string, not {_kind(value)}")


def read_object(value: object, path: Path) -> Mapping[str, Any]:
    """The fields of a stage; null counts as `{}`."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise InvalidField(path, f"must be an object, not {_kind(value)}")
