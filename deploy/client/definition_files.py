"""`orchestration workflows validate`: files with definitions, checked as creation does, without a server."""

import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec
import yaml

from api.validation import validate
from deploy.client.output import json_text
from schemas.redaction import on_one_line
from schemas.resources import Validation, ValidationFinding
from schemas.settings import ApiSettings

STANDARD_INPUT: Final = "-"
MAX_LINE_CHARACTERS: Final = 120
"""How much of a source line is shown around what is meant. A definition may be one line of half a megabyte."""
YAML_HINT: Final = "a file with YAML must not be named .json"
COLOURS: Final = {"error": "red", "warning": "yellow"}


class Checked(NamedTuple):
    """A file and what was found in it."""

    name: str
    text: str
    validation: Validation


def read(name: str) -> bytes:
    """The bytes of a file, or of standard input."""
    return sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()


def is_json(name: str) -> bool:
    """Whether a file holds JSON rather than YAML: its name says so."""
    return name.endswith(".json")


def check(names: Sequence[str]) -> Iterator[Checked]:
    """Check files one after another.

    Raises:
        OSError: a file can't be read.
    """
    for name in names:
        yield _checked(name, read(name))


def _checked(name: str, body: bytes) -> Checked:
    max_bytes = ApiSettings().max_body_bytes
    if body.isspace() or not body or len(body) > max_bytes:
        problem = f"there are {len(body)} bytes, {max_bytes} are allowed" if body.strip() else "there is no text"
        finding = ValidationFinding(severity="error", path="", message=problem)
        validation = Validation(
            valid=False, findings=[finding], variables=[], stages=0, size=len(body), max_size=max_bytes
        )
    else:
        validation = validate(
            body, is_yaml=not is_json(name), max_bytes=max_bytes, now=datetime.now(UTC), yaml_hint=YAML_HINT
        )
    return Checked(name, body.decode(errors="replace"), validation)


def as_json(checked: Sequence[Checked]) -> str:
    """All that was found, as one list."""
    told: list[dict[str, Any]] = [{"file": one.name, **msgspec.to_builtins(one.validation)} for one in checked]
    return json_text(told)


def tell(name: str, text: bytes) -> None:
    """Write to standard error what is wrong with a definition, or surely not meant, with its source lines."""
    checked = _checked(name, text)
    if checked.validation.findings:
        for line in lines(checked):
            click.echo(line, err=True)


def as_yaml(value: object) -> str:
    """A definition as YAML that the API reads as the same one.

    All but ASCII is written out where a character would not show, such as one that turns the direction of an account.
    """
    text = _dumped(value, allow_unicode=True)
    shows = all(line == on_one_line(line) for line in text.split("\n"))
    return text if shows else _dumped(value, allow_unicode=False)


def _dumped(value: object, *, allow_unicode: bool) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode, width=MAX_LINE_CHARACTERS)


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 reads as a number, such as the text `1e3`. By itself it thinks of YAML 1.1 only."""


_Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)  # what an API has answered is of a subclass
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|0o[0-7]+$"),
    list("-+.0123456789"),
)


def lines(checked: Checked) -> Iterator[str]:
    """What was found in a file, for people: each finding with its source line."""
    source = checked.text.splitlines()
    name = "<stdin>" if checked.name == STANDARD_INPUT else checked.name
    for found in checked.validation.findings:
        yield _headline(name, found)
        if isinstance(found.line, int) and isinstance(found.column, int) and found.line <= len(source):
            yield from _source(source[found.line - 1], found.line, found.column, COLOURS[found.severity])
    if checked.validation.omitted:
        yield f"{name}: and {checked.validation.omitted} more"
    yield f"{name}: {_summary(checked.validation)}"


def _headline(name: str, found: ValidationFinding) -> str:
    place = f"{name}:{found.line}:{found.column}" if found.line else name
    severity = click.style(f"{found.severity}:", fg=COLOURS[found.severity], bold=True)
    about = f" {found.path}:" if found.path else ""
    suggestion = f"; {found.suggestion}" if found.suggestion else ""
    return f"{place}: {severity}{_printable(f'{about} {found.message}{suggestion}')}"


def _source(line: str, number: int, column: int, colour: str) -> Iterator[str]:
    """The line, and a caret below the column."""
    start = max(0, column - 1 - MAX_LINE_CHARACTERS // 2)
    shown = _printable(line[start : start + MAX_LINE_CHARACTERS])
    cut = "…" if start else ""
    margin = f"{number:>5} | "
    yield f"{margin}{cut}{shown}"
    yield f"{'|':>{len(margin) - 1}} {' ' * (len(cut) + column - 1 - start)}{click.style('^', fg=colour, bold=True)}"


def _summary(validation: Validation) -> str:
    counts = {
        severity: sum(found.severity == severity for found in validation.findings) for severity in ("error", "warning")
    }
    found = [f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items() if count]
    if not validation.valid:
        return ", ".join(found)
    stages = f"{validation.stages} stage{'s' * (validation.stages != 1)}"
    names = [variable.name + "?" * (not variable.required) for variable in validation.variables]
    variables = f"variables {', '.join(names)}" if names else "no variables"
    return ", ".join((*found, f"valid: {stages}, {variables}"))


def _printable(text: str) -> str:
    """The text without what would move the cursor or turn the writing: a file must not speak to the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
