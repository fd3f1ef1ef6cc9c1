"""A body that is one YAML document, as a JSON value.

Scalars follow the core schema of YAML 1.2, not PyYAML's 1.1: there `2026-04-01T00:00:00Z` would be a date, `1:30` the
number 5400, `no` a boolean and `0777` octal. Anchors, aliases and merge keys (`<<`) work; how far aliases may blow up
is bounded.

The document is built from the parser's events instead of its nodes: its composer recurses in C without a limit.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import msgspec
import yaml

from api.bodies.places import Place, YamlPlaces
from api.bodies.values import COMPRESSED, GZIP, check_text, too_deep
from api.errors import MalformedBody
from schemas.nesting import MAX_DEPTH, is_deeper

MAX_NODES: Final = 50_000
"""Most scalars, lists and objects; an alias counts as much as what it repeats. Without the limit, nine lines of aliases
to aliases make a billion nodes."""

MAX_DIRECTIVES: Final = 16
"""Most lines that begin with `%`: directives, of which documents have none or one. The parser compares each with all
before it. Without the limit, half a megabyte of them would stop the process for 20 seconds."""

MAX_INTEGER_BITS: Final = 14_000
"""4214 decimal digits. Python does not write integers over 4300 digits: a longer one could be read, but not sent on."""

_PREFIX: Final = "tag:yaml.org,2002:"
_DIRECTIVE: Final = re.compile("(?:^|[\r\n\x85\u2028\u2029])\ufeff?%")
_NULL: Final = re.compile(r"~|null|Null|NULL|")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_IN_JSON: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def decode_yaml(body: bytes, max_bytes: int, places: YamlPlaces | None = None) -> Any:
    """The value of a body; None when the document is empty.

    Args:
        body: the text, UTF-8.
        max_bytes: most characters that all texts together may have once aliases are replaced.
        places: takes where everything is in the text.

    Raises:
        MalformedBody: the body is not one YAML document, has a key twice or a key that is not a string, an unknown tag,
            a number that JSON can't hold, U+0000, too many directives, or is too large or too deep.
    """
    try:
        text = body.decode()
        if text.count("%") > MAX_DIRECTIVES and len(_DIRECTIVE.findall(text)) > MAX_DIRECTIVES:
            raise MalformedBody(f"malformed YAML: more than {MAX_DIRECTIVES} lines begin with %")
        # The C parser is ten times faster; the wheels of PyYAML have it, a build without libyaml does not.
        events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return _Document(events, max_bytes, places).read()
    except UnicodeDecodeError as error:
        raise _not_utf8(body, error) from None
    except yaml.YAMLError as error:
        raise _malformed(error, text) from None


def _not_utf8(body: bytes, error: UnicodeDecodeError) -> MalformedBody:
    if body.startswith(GZIP):
        return MalformedBody(f"malformed YAML: {COMPRESSED}")
    line_start = body.rfind(b"\n", 0, error.start) + 1
    line, column = body.count(b"\n", 0, error.start) + 1, len(body[line_start : error.start].decode()) + 1
    return _at(line, column, f"byte 0x{body[error.start]:02x} is not UTF-8; save the file as UTF-8")


def _malformed(error: yaml.YAMLError, document: str) -> MalformedBody:
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # a character that YAML does not have
        problem = " ".join(str(error).split()).partition(" in ")[0]
        return MalformedBody(f"malformed YAML: {problem}")
    line = document.split("\n")[mark.line : mark.line + 1]
    if line and line[0][mark.column : mark.column + 1] == "\t":
        return _at(mark.line + 1, mark.column + 1, "a tab, where only spaces indent a line")
    if line and line[0][max(mark.column - 1, 0) : mark.column + 1] == "${":
        return _at(
            mark.line + 1, mark.column, 'between { and } or [ and ], a text with a variable needs quotes: "${…}"'
        )
    told = (getattr(error, name, None) for name in ("context", "problem"))
    return _at(mark.line + 1, mark.column + 1, ": ".join(part for part in told if part))


def _at(line: int, column: int, what: str) -> MalformedBody:
    problem = f"malformed YAML: {what}"
    return MalformedBody(problem, line, column, f"{problem} (line {line})")


class _Document:
    """Builds the value from the events of one document."""

    def __init__(self, events: Iterator[Any], max_bytes: int, places: YamlPlaces | None):
        self._events = events
        self._max_bytes = max_bytes
        self._places = places
        self._nodes = 0
        self._characters = 0
        self._anchors: dict[str, tuple[Any, int, int]] = {}

    def read(self) -> Any:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        value = self._node(next(self._events), 0)
        next(self._events)  # the document's end
        following = next(self._events)
        if not isinstance(following, yaml.StreamEndEvent):
            _fail("only one document is allowed", following)
        if self._anchors:  # aliases may have put deep values into deep places
            _check_depth(value)
        return value

    def _node(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        nodes, characters = self._nodes, self._characters
        self._count(1, 0, event)
        if isinstance(event, yaml.ScalarEvent):
            self._count(0, len(event.value), event)
            value = _scalar(event)
        elif depth == MAX_DEPTH:
            raise too_deep()
        elif isinstance(event, yaml.SequenceStartEvent):
            _check_tag(event, "seq")
            value = self._sequence(depth)
        else:
            _check_tag(event, "map")
            value = self._mapping(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._nodes - nodes, self._characters - characters
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:  # also inside of its own anchor, which JSON can't express
            _fail(f"alias {event.anchor!r} has no complete anchor before it", event)
        value, nodes, characters = self._anchors[event.anchor]
        self._count(nodes, characters, event)
        return value

    def _count(self, nodes: int, characters: int, event: Any) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_NODES or self._characters > self._max_bytes:
            _fail("the document is too large", event)

    def _sequence(self, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._node(event, depth + 1))
            if self._places is not None:
                self._places.note(values, len(values) - 1, None, _place(event))
        return values

    def _mapping(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: list[dict[str, Any]] | None = None
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, str):
                _fail("a key must be a string", event)
            value_event = next(self._events)
            value = self._node(value_event, depth + 1)
            is_merge = key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]
            if key in values or (is_merge and merged is not None):
                _fail(f"key {key[:40]!r} occurs twice", event)
            if is_merge:
                merged = _merged(value, event)
            else:
                values[key] = value
                if self._places is not None:
                    self._places.note(values, key, _place(event), _place(value_event))
        return values if merged is None else self._joined([*reversed(merged), values])

    def _joined(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """One object of several; of equal keys the last one counts. Each is copied once, since there may be many."""
        joined: dict[str, Any] = {}
        for part in parts:
            joined.update(part)
            if self._places is not None:
                self._places.merge(joined, part)
        return joined


def _merged(value: Any, event: Any) -> list[dict[str, Any]]:
    """The keys that a merge key adds. If several objects have a key, the first one counts."""
    others = value if isinstance(value, list) else [value]
    if not all(isinstance(other, dict) for other in others):
        _fail("a merge key takes an object or a list of objects", event)
    return others


def _check_depth(value: Any) -> None:
    try:
        text = msgspec.json.encode(value)
    except RecursionError:
        raise too_deep() from None
    if is_deeper(text, MAX_DEPTH):
        raise too_deep()


def _scalar(event: Any) -> Any:
    """The value of a scalar: quoted ones and blocks are texts, plain ones what the core schema says."""
    text: str = event.value
    check_text(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        _fail("half a surrogate pair is not a character", event)
    tag = event.tag
    if tag == "!" or tag == f"{_PREFIX}str" or (tag is None and not event.implicit[0]):
        return text
    value = _plain(text, event)
    kind = "null" if value is None else type(value).__name__
    if tag is None or tag == _PREFIX + kind:
        return value
    if tag == f"{_PREFIX}float" and kind == "int":
        return value
    return _fail(f"{text[:40]!r} is not a valid {tag.removeprefix(_PREFIX)}", event)


def _plain(text: str, event: Any) -> Any:
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    try:
        if _INT.fullmatch(text):
            value = int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
            return value if value.bit_length() <= MAX_INTEGER_BITS else _fail("number out of range", event)
        if _FLOAT.fullmatch(text):
            number = float(text)
            return number if math.isfinite(number) else _fail("number out of range", event)
    except ValueError:
        _fail("number out of range", event)
    if _NOT_IN_JSON.fullmatch(text):
        _fail(f"{text} cannot be represented in JSON", event)
    return text


def _check_tag(event: Any, kind: str) -> None:
    if event.tag not in (None, "!", _PREFIX + kind):
        _fail(f"tag {event.tag} is not supported", event)


def _fail(problem: str, event: Any) -> NoReturn:
    place = _place(event)
    raise MalformedBody(problem, *place, f"YAML line {place.line}, column {place.column}: {problem}")


def _place(event: Any) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1)
