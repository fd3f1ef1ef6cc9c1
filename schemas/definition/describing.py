"""Describing what the `read` of a stage accepts, as JSON Schema.

`read` decides by what it gets: an object of this kind or of that one, an amount or none. `DescribedFields` has it read
once for each combination of such decisions. Every time it notes what was asked for, which is one alternative; a
combination that `read` refuses is none. Alternatives that differ in one field alone are put together.

Descriptions are those of the docstrings: a class's first paragraph, and its attributes.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from schemas.definition import patterns
from schemas.definition.fields import Readable, T
from schemas.definition.reading import ANY_INSTANT, MAX_COUNT

Schema: TypeAlias = dict[str, Any]
Refer: TypeAlias = Callable[[type[Readable]], Schema]
"""Makes the schema of an object inside another one."""

_NULL: Final[Schema] = {"type": "null"}


def describe(kind: type[Readable], refer: Refer) -> Schema:
    """The schema of the objects that a class can be read from.

    Args:
        kind: the class.
        refer: makes the schemas of those inside it.
    """
    about, fields = _documented(kind)
    alternatives = _merged(list(_alternatives(kind, refer)))
    common = [name for name in alternatives[0] if all(one[name] == alternatives[0][name] for one in alternatives)]
    schema: Schema = {"description": about, "type": "object"} | _properties(alternatives[0], common, fields)
    if len(alternatives) > 1:
        differing = [name for name in alternatives[0] if name not in common]
        schema["anyOf"] = [_properties(one, differing, fields) for one in alternatives]
    return schema


class Field(NamedTuple):
    """What a field may be in one alternative."""

    schemas: tuple[str, ...]
    """Any of these, as JSON."""
    required: bool


Alternative: TypeAlias = dict[str, Field]


class _Refused(Exception):
    """`read` does not accept this combination."""


class _Decisions:
    """The decisions of one reading after another, until there was every combination."""

    def __init__(self) -> None:
        self._taken: list[tuple[int, int]] = []
        self._next = 0

    def choose(self, count: int) -> int:
        """One of so many."""
        if self._next == len(self._taken):
            self._taken.append((0, count))
        self._next += 1
        return self._taken[self._next - 1][0]

    def advance(self) -> bool:
        """Go to the next combination; false after the last one."""
        while self._taken and self._taken[-1][0] + 1 == self._taken[-1][1]:
            self._taken.pop()
        if not self._taken:
            return False
        choice, count = self._taken[-1]
        self._taken[-1] = choice + 1, count
        self._next = 0
        return True


class DescribedFields:
    """The fields of one JSON object, which are described: `Fields` says what each method asks for."""

    def __init__(self, decisions: _Decisions, refer: Refer) -> None:
        self.found: Alternative = {}
        self._decisions = decisions
        self._refer = refer
        self._given = ""
        """The one that is given of several that exclude each other."""

    def refuse(self, reason: str, name: str = "", *, knowing: tuple[str, ...] = ()) -> None:
        """This is not an alternative."""
        raise _Refused

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        if name == self._given:
            return self.required_text(name)
        schema: Schema = {"type": ["string", "null"]}
        self._note(name, schema | {"default": default} if default else schema, required=False)
        return default

    def required_text(self, name: str) -> str:
        """A string that must be there."""
        self._note(name, {"type": "string", "minLength": 1})
        return ""

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of some words."""
        texts = _texts(patterns.EMPTY, *map(patterns.any_case, choices))
        self._note(name, {"default": choices[0], "anyOf": [{"enum": [*choices, None]}, texts]}, required=False)
        return choices[0]

    def amount(self, name: str) -> int:
        """An integer that must be there."""
        self._note(name, {"anyOf": [{"type": "integer", "minimum": 0}, _texts(patterns.AMOUNT)]})
        return 0

    def count(self, name: str) -> int | None:
        """A JSON integer from 1 to 2^31-1."""
        self._note(name, {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_COUNT}, required=False)
        return None

    def boolean(self, name: str) -> bool:
        """A boolean."""
        texts = _texts(patterns.EMPTY, patterns.any_case("true"), patterns.any_case("false"))
        self._note(name, {"default": False, "anyOf": [{"type": ["boolean", "null"]}, texts]}, required=False)
        return False

    def instant(self, name: str) -> datetime | None:
        """An instant."""
        if name == self._given:
            self._note(name, _texts(patterns.INSTANT))
        else:
            self._note(name, {"anyOf": [_NULL, _texts(patterns.EMPTY, patterns.INSTANT)]}, required=False)
        return ANY_INSTANT

    def duration(self, name: str) -> int:
        """A duration that must be there."""
        self._note(name, _texts(patterns.DURATION))
        return 0

    def texts(self, name: str) -> dict[str, str] | None:
        """A map of strings."""
        self._note(name, {"type": ["object", "null"], "additionalProperties": {"type": "string"}}, required=False)
        return {}

    def required_texts(self, name: str) -> dict[str, str]:
        """A map of strings that must be there."""
        self._note(name, {"type": "object", "additionalProperties": {"type": "string"}})
        return {}

    def objects(self, name: str) -> list[Any]:
        """A list that must be there."""
        self._note(name, {"type": "array"})
        return []

    def child(self, name: str, kind: type[T]) -> T | None:
        """What an object inside this one is."""
        if self._decisions.choose(2) == 0:
            return self.required_child(name, kind)
        self._note(name, _NULL, required=False)
        return None

    def required_child(self, name: str, kind: type[T]) -> T:
        """What an object is that must be there."""
        self._note(name, self._refer(kind))
        return kind.read(DescribedFields(_Decisions(), self._refer))

    def one_child_of(self, name: str, kinds: Mapping[str, type[T]]) -> T:
        """What an object is that has exactly one of some keys."""
        given = list(kinds)[self._decisions.choose(len(kinds))]
        properties = {key: self._refer(kind) if key == given else _NULL for key, kind in kinds.items()}
        self._note(name, {"type": "object", "properties": properties, "required": [given]})
        return kinds[given].read(DescribedFields(_Decisions(), self._refer))

    def one_text_of(self, *names: str) -> str:
        """The name of the one field that is given of several texts."""
        self._given = names[self._decisions.choose(len(names))]
        absent = {"anyOf": [_NULL, {"type": "string", "pattern": patterns.ONLY_REFERENCES}]}
        for name in names:
            self._note(name, absent, required=False)
        return self._given

    def _note(self, name: str, schema: Schema, *, required: bool = True) -> None:
        self.found[name] = Field((msgspec.json.encode(schema).decode(),), required)


def _texts(*accepted: str) -> Schema:
    """Texts that match a pattern, or have a reference: variables can make anything of them."""
    return {"type": "string", "pattern": "|".join((*accepted, patterns.REFERENCE))}


def _alternatives(kind: type[Readable], refer: Refer) -> Iterator[Alternative]:
    decisions, more = _Decisions(), True
    while more:
        fields = DescribedFields(decisions, refer)
        try:
            kind.read(fields)
        except _Refused:
            pass
        else:
            yield fields.found
        more = decisions.advance()


def _merged(alternatives: list[Alternative]) -> list[Alternative]:
    """The same with fewer alternatives. The fields that were decided last are tried first."""
    for name in reversed(alternatives[0]):

        def others(one: Alternative, name: str = name) -> str:
            return repr([(other, field) for other, field in one.items() if other != name])

        groups = [list(group) for _, group in groupby(sorted(alternatives, key=others), others)]
        groups.sort(key=lambda group: alternatives.index(group[0]))
        alternatives = [group[0] | {name: _any([one[name] for one in group])} for group in groups]
    return alternatives


def _any(fields: Sequence[Field]) -> Field:
    schemas = dict.fromkeys(schema for field in fields for schema in field.schemas)
    return Field(tuple(schemas), all(field.required for field in fields))


def _properties(alternative: Alternative, names: Sequence[str], about: Mapping[str, str]) -> Schema:
    properties = {}
    for name in names:
        schemas = [msgspec.json.decode(schema) for schema in alternative[name].schemas]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        properties[name] = {"description": about[name]} | schema
    required = [name for name in names if alternative[name].required]
    return {"properties": properties} | ({"required": required} if required else {})


_ATTRIBUTE: Final = re.compile(r"^    (\w+): (.+(?:\n {8,}.+)*)", re.MULTILINE)
_UNIT: Final = "_nanoseconds"
"""Attributes name the unit; fields hold a text with one."""


def _documented(kind: type[Readable]) -> tuple[str, dict[str, str]]:
    """What the docstring says: of the class, and of each field by its name in JSON."""
    doc = inspect.getdoc(kind) or ""
    about = _one_line(doc.partition("\n\n")[0])
    fields = {
        _in_json(name.removesuffix(_UNIT)): _one_line(text)
        for name, text in _ATTRIBUTE.findall(doc.partition("Attributes:")[2])
    }
    return about, fields


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _in_json(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
