"""Where the parts of a body are in its text: lines and columns, from 1 on, columns in characters.

YAML's parser tells places while it reads (`YamlPlaces`). For JSON they are looked up afterwards, in the text of a body
that was decoded without error (`json_spots`), so that reading JSON costs nothing more.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

Path: TypeAlias = tuple[str | int, ...]

_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s\[\]{},:"]+')


class Place(NamedTuple):
    """A place in a text."""

    line: int
    column: int


class Spot(NamedTuple):
    """Where a part of a body is."""

    key: Place | None
    """Where its key is; None for the whole body and for items of lists."""
    value: Place
    is_compound: bool
    """Whether it is an object or a list."""


def prefixes(paths: Iterable[Path]) -> set[Path]:
    """The paths and all that is around them."""
    return {path[:length] for path in paths for length in range(len(path) + 1)}


def place_of(path: Path, spots: Mapping[Path, Spot], *, at_key: bool = False) -> Place | None:
    """The place that shows best what is meant by a path.

    Args:
        path: what is meant; what is not there is shown where the object is that it is missing from.
        spots: where the path and everything around it is.
        at_key: whether its key is meant.
    """
    for length in range(len(path), -1, -1):
        spot = spots.get(path[:length])
        if spot is not None:
            if spot.key is not None and (at_key or spot.is_compound or length < len(path)):
                return spot.key
            return spot.value
    return None


class YamlPlaces:
    """Takes places while a document is read, by the list or object that something is in: aliases share them."""

    def __init__(self) -> None:
        self._noted: dict[int, tuple[Any, dict[str | int, tuple[Place | None, Place]]]] = {}

    def note(self, container: Any, step: str | int, key: Place | None, value: Place) -> None:
        """Note where an entry of a list or object is."""
        self._of(container)[step] = key, value

    def merge(self, merged: Any, other: Any) -> None:
        """Note that one object has the entries of another one, also in place of its own."""
        self._of(merged).update(self._of(other))

    def spots(self, value: Any, wanted: Collection[Path]) -> dict[Path, Spot]:
        """Where some parts of the document are; those that do not exist are left out."""
        found = {}
        for path in wanted:
            spot = self._spot(value, path)
            if spot is not None:
                found[path] = spot
        return found

    def _spot(self, value: Any, path: Path) -> Spot | None:
        key: Place | None = None
        place = Place(1, 1)
        for step in path:
            noted = self._of(value).get(step) if isinstance(value, dict | list) else None
            if noted is None:
                return None
            key, place = noted
            value = value[step]
        return Spot(key, place, isinstance(value, dict | list))

    def _of(self, container: Any) -> dict[str | int, tuple[Place | None, Place]]:
        # The container is kept, so that no other one gets its id.
        return self._noted.setdefault(id(container), (container, {}))[1]


def json_spots(text: str, wanted: Collection[Path]) -> dict[Path, Spot]:
    """Where some parts of a body are; those that do not exist are left out. Of equal keys the last one counts.

    Args:
        text: one JSON value, without errors.
        wanted: the parts.
    """
    lines = _Lines(text)
    found: dict[Path, Spot] = {}
    path: list[str | int] = []
    """Of the value that comes next or is being read."""
    key: int | None = None
    """Where the key of the value that comes next is."""
    inside: list[bool] = []
    """For each list and object around: whether it is an object."""
    at_key = False
    for token in _TOKEN.finditer(text):
        mark, position = token[0], token.start()
        if mark in "]}":
            inside.pop()
            path.pop()
            key = None
        elif mark == ",":
            key = None
            at_key = inside[-1]
            if not at_key:
                path[-1] = int(path[-1]) + 1
        elif at_key and mark != ":":
            key, path[-1] = position, _string(mark)
            at_key = False
        elif mark != ":":
            is_compound = mark in "[{"
            place = tuple(path)
            if place in wanted:
                found[place] = Spot(None if key is None else lines.place(key), lines.place(position), is_compound)
            if is_compound:
                at_key = mark == "{"
                inside.append(at_key)
                path.append("" if at_key else 0)
                key = None
    return found


def _string(literal: str) -> str:
    return msgspec.json.decode(literal, type=str) if "\\" in literal else literal[1:-1]


class _Lines:
    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(self, position: int) -> Place:
        line = bisect_right(self._starts, position)
        return Place(line, position - self._starts[line - 1] + 1)
