"""Where the parts of a YAML file are."""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import yaml

Path: TypeAlias = tuple[str | int, ...]


class Place(NamedTuple):
    """A place in a file: line and column, from 1."""

    line: int
    column: int


class Places:
    """Keys and values of a file that was read without error.

    Args:
        text: the file.
    """

    def __init__(self, text: str):
        self._keys: dict[Path, Place] = {}
        self._values: dict[Path, Place] = {}
        events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        next(events)  # the stream's start
        if not isinstance(next(events), yaml.StreamEndEvent):
            self._node(next(events), events, ())

    def of(self, path: Path, *, at_key: bool = False) -> Place:
        """The place of a value, or of its key; of what is around it if it is not there itself (as in an alias)."""
        for length in range(len(path), -1, -1):
            part = path[:length]
            found = self._keys.get(part) if at_key or length < len(path) else None
            found = found or self._values.get(part)
            if found is not None:
                return found
        return Place(1, 1)

    def _node(self, event: Any, events: Iterator[Any], path: Path) -> None:
        self._values[path] = _place(event)
        if isinstance(event, yaml.SequenceStartEvent):
            number = 0
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                self._node(event, events, (*path, number))
                number += 1
        elif isinstance(event, yaml.MappingStartEvent):
            while not isinstance(event := next(events), yaml.MappingEndEvent):
                key = (*path, event.value if isinstance(event, yaml.ScalarEvent) else "")
                self._keys[key] = _place(event)
                self._node(next(events), events, key)


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)
