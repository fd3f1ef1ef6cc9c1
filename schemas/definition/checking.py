"""Checking the fields of an object: all that is wrong with it, fields that nobody asked for, variables.

`CheckedFields` asks `ReadFields`, as creation does. What can't be read is noted, and a placeholder stands in for it.
A placeholder leads to no further error: of a field that was found wrong, nothing else is said.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from schemas.definition.errors import InvalidField, Path
from schemas.definition.fields import Readable, T
from schemas.definition.findings import ReadAs, Report, Use
from schemas.definition.reading import ReadFields, check_entry
from schemas.definition.suggestions import as_amount, as_duration, as_instant, as_object, did_you_mean
from schemas.definition.text import has_reference, is_one_reference, references

_V = TypeVar("_V")
_R = TypeVar("_R", bound=Readable)

NO_NAME: Final = "`${` without a name and `}` is plain text, not a variable"


class CheckedFields:
    """The fields of one JSON object, which are checked: `Fields` says what each method asks for.

    Args:
        path: where the object is.
        values: the object.
        report: takes what is found.
        replaced: whether variables in its texts are replaced when an instance runs.
    """

    def __init__(self, path: Path, values: Mapping[str, Any], report: Report, *, replaced: bool = True) -> None:
        self._path = path
        self._values = values
        self._report = report
        self._replaced = replaced
        self._read = ReadFields(path, values, None)
        self._asked: set[str] = set()
        self._wrong: set[str] = set()
        self._needed: set[str] = set()
        self._alternatives: set[str] = set()

    def finish(self) -> None:
        """Note what nobody has asked for, after everybody has asked."""
        for name in self._alternatives:  # what still has to be looked at if the other one was taken
            self._note_text(name, "string", required=False)
        for key in self._values:
            if key not in self._asked:
                known = sorted(self._asked)
                allowed = f"known here: {', '.join(known)}" if known else "there are no fields here"
                message = f"unknown field, which has no effect ({allowed})"
                meant = did_you_mean(key, known) if self._report.has_room("warning") else ""
                self._report.warn((*self._path, key), message, meant, at_key=True)

    def refuse(self, reason: str, name: str = "", *, knowing: tuple[str, ...] = ()) -> None:
        """Note an error, unless it follows from another one."""
        if self._wrong.isdisjoint(knowing):
            self._report.error(self._read.fail(reason, name))

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        return self._text(name, "string", lambda: self._read.text(name, default), default)

    def required_text(self, name: str) -> str:
        """A string that must be there."""
        return self._text(name, "string", lambda: self._read.required_text(name), "", required=True)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of some words."""
        return self._text(name, "choice", lambda: self._read.choice(name, choices), choices[0])

    def amount(self, name: str) -> int:
        """An integer that must be there."""
        return self._text(name, "integer", lambda: self._read.amount(name), 0, required=True, meant=as_amount)

    def count(self, name: str) -> int | None:
        """A JSON integer from 1 to 2^31-1."""
        return self._try(name, lambda: self._read.count(name), None)

    def boolean(self, name: str) -> bool:
        """A boolean."""
        return self._text(name, "boolean", lambda: self._read.boolean(name), False)

    def instant(self, name: str) -> datetime | None:
        """An instant."""
        return self._text(name, "date-time", lambda: self._read.instant(name), None, meant=as_instant)

    def duration(self, name: str) -> int:
        """A duration that must be there."""
        return self._text(name, "duration", lambda: self._read.duration(name), 0, required=True, meant=as_duration)

    def texts(self, name: str) -> dict[str, str] | None:
        """A map of strings, of which every entry is looked at."""
        values = self._object(name)
        if values is None:
            return None
        path = (*self._path, name)
        for key, value in values.items():
            try:
                check_entry(path, key, value)
            except InvalidField as error:
                self._report.error(error)
                continue
            if has_reference(key):
                self._report.warn((*path, key), "variables are replaced in values only, not in keys", at_key=True)
            self._note((*path, key), value, "string", required=False, optional=True)
        return {}

    def required_texts(self, name: str) -> dict[str, str]:
        """A map of strings that must be there."""
        if self._try(name, lambda: self._read.required(name), None) is None:
            return {}
        return self.texts(name) or {}

    def objects(self, name: str) -> list[Any]:
        """A list that must be there."""
        return self._try(name, lambda: self._read.objects(name), [])

    def child(self, name: str, kind: type[T]) -> T | None:
        """What an object inside this one is."""
        return None if self._object(name) is None else self._inside(name).read_as(kind)

    def required_child(self, name: str, kind: type[T]) -> T:
        """What an object is that must be there."""
        if self._try(name, lambda: self._read.required(name), None, lambda value: as_object(name, value)) is None:
            return _placeholder(kind)
        return self._inside(name).read_as(kind)

    def one_child_of(self, name: str, kinds: Mapping[str, type[T]]) -> T:
        """What an object is that has exactly one of some keys. If it has several, each is looked at."""
        if self._try(name, lambda: self._read.required(name), None) is None:
            return _placeholder(next(iter(kinds.values())))
        found = self._inside(name).read_as_one_of(kinds)
        if len(found) == 1:
            return found[0]
        self._wrong.add(name)
        return _placeholder(next(iter(kinds.values())))

    def one_text_of(self, *names: str) -> str:
        """The name of the one field that is given of several texts."""
        self._asked.update(names)
        given = [name for name in names if isinstance(value := self._values.get(name), str) and value]
        (self._needed if len(given) == 1 else self._alternatives).update(given)
        try:
            return self._read.one_text_of(*names)
        except InvalidField as error:
            self._report.error(error)
            self._wrong.update(name for name in names if name not in given)
            return given[0] if given else names[0]

    def read_as(self, kind: type[T]) -> T:
        """What the object is, once all of it has been looked at."""
        read = kind.read(self)
        self.finish()
        return read

    def read_as_one_of(self, kinds: Mapping[str, type[T]]) -> list[T]:
        """What is at each of the keys that are given, of which only one should be."""
        # What is of a kind, but not an object, counts as given.
        given = [key for key in kinds if self._object(key) is not None or key in self._wrong]
        if len(given) != 1:
            self._report.error(self._read.not_one(tuple(kinds), given))
        found = [
            _placeholder(kinds[key]) if key in self._wrong else self._inside(key).read_as(kinds[key]) for key in given
        ]
        self.finish()
        return found

    def _inside(self, name: str) -> "CheckedFields":
        return CheckedFields((*self._path, name), self._values[name], self._report, replaced=self._replaced)

    def _object(self, name: str) -> Mapping[str, Any] | None:
        if self._try(name, lambda: self._read.inside(name), None, lambda value: as_object(name, value)) is None:
            return None
        values: Mapping[str, Any] = self._values[name]
        return values

    def _text(
        self,
        name: str,
        read_as: ReadAs,
        read: Callable[[], _V],
        placeholder: _V,
        *,
        required: bool = False,
        meant: Callable[[Any], str] | None = None,
    ) -> _V:
        needed = name in self._needed or (required and name not in self._alternatives)
        self._note_text(name, read_as, required=needed)
        self._alternatives.discard(name)
        return self._try(name, read, placeholder, meant)

    def _try(self, name: str, read: Callable[[], _V], placeholder: _V, meant: Callable[[Any], str] | None = None) -> _V:
        """What `read` reads; if it can't, that is noted, with what `meant` makes of the value."""
        self._asked.add(name)
        try:
            return read()
        except InvalidField as error:
            if name not in self._wrong:
                self._wrong.add(name)
                helps = meant if self._report.has_room("error") else None
                self._report.error(error, helps(self._values.get(name)) if helps else "")
            return placeholder

    def _note_text(self, name: str, read_as: ReadAs, *, required: bool) -> None:
        value = self._values.get(name)
        if isinstance(value, str) and self._replaced:
            self._note((*self._path, name), value, read_as, required=required)

    def _note(self, path: Path, text: str, read_as: ReadAs, *, required: bool, optional: bool = False) -> None:
        """Note the variables of a text; `optional` if one that is not given counts as empty everywhere in it."""
        if "${" not in text:
            return
        names = references(text)
        required |= not optional and not is_one_reference(text)
        for name in names:
            self._report.use(Use(path=path, variable=name, read_as=read_as, required=required))
        if text.count("${") > sum(names.values()):
            self._report.warn(path, NO_NAME)


def _placeholder(kind: type[_R]) -> _R:
    """What stands for an object that can't be read."""
    return kind.read(CheckedFields((), {}, Report()))
