"""Scenario files: which there are, and their scenarios as cases that can be run."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path as FilePath
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from api.bodies.places import YamlPlaces, place_of, prefixes
from api.bodies.yaml_body import decode_yaml
from api.errors import MalformedBody
from deploy.scenarios.model import Expect, Scenario, ScenarioFile, Setup, Stack
from deploy.scenarios.problems import Problem, Unusable
from deploy.scenarios.reading import read_as
from deploy.scenarios.rules import DEFAULT_START, check_file, start_of
from deploy.scenarios.times import read_instant
from schemas.definition import Definition, Finding, Path, check_definition, parse_definition, shown_path
from schemas.settings import ApiSettings

SUFFIXES: Final = (".scenarios.yaml", ".scenarios.yml")
"""How the files end that a folder is searched for."""

MAX_BYTES: Final = ApiSettings().max_body_bytes
"""Largest file. A workflow above it could not be created."""


class Case(Struct, frozen=True, kw_only=True):
    """A scenario with all that it needs.

    Attributes:
        file: where it was read.
        line: of the scenario in the file.
        name: what it shows.
        workflow: its definition.
        start: when the instance starts.
        setup: with the file's defaults.
        expect: what should come of it.
    """

    file: FilePath
    line: int
    name: str
    workflow: Definition
    start: datetime
    setup: Setup
    expect: Expect


def find_files(paths: Iterable[FilePath]) -> list[FilePath]:
    """The files that were named, and those in the folders that were named, each once.

    Raises:
        Unusable: one does not exist, or a folder has none.
    """
    found: dict[FilePath, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.name.endswith(SUFFIXES) and one.is_file())
            if not inside:
                raise Unusable(path, [Problem(f"no file in this folder ends with {SUFFIXES[0]}")])
            found |= dict.fromkeys(inside)
        elif path.exists():
            found[path] = None
        else:
            raise Unusable(path, [Problem("there is no such file or folder")])
    return list(found)


def read_cases(file: FilePath) -> Sequence[Case]:
    """The scenarios of a file.

    Raises:
        Unusable: the file or its workflow can't be used.
    """
    source = _read_yaml(file)
    problems: list[Problem] = []

    def complain(path: Path, message: str, *, at_key: bool = False) -> None:
        problems.append(source.problem(path, message, at_key=at_key))

    if not isinstance(source.value, dict):
        raise Unusable(file, [Problem("a scenario file is a mapping with `workflow` and `scenarios`", 1, 1)])
    read = read_as(ScenarioFile, source.value, complain)
    if read is not None:
        check_file(read, complain)
    if problems or read is None:
        raise Unusable(file, _in_order(problems))
    workflow = _workflow(file, read, source)
    return [
        Case(
            file=file,
            line=source.problem(("scenarios", number, "name"), "").line,
            name=scenario.name,
            workflow=workflow,
            start=start_of(scenario, read.defaults),
            setup=_merged(read.defaults, scenario),
            expect=scenario.expect,
        )
        for number, scenario in enumerate(read.scenarios)
    ]


def _workflow(file: FilePath, read: ScenarioFile, source: "_Source") -> Definition:
    if not isinstance(read.workflow, str):
        return _checked(file, source, ("workflow",), read.workflow)
    workflow = file.parent / read.workflow
    if not workflow.is_file():
        raise Unusable(file, [source.problem(("workflow",), f"there is no workflow {workflow}")])
    inside = _read_yaml(workflow)
    return _checked(workflow, inside, (), inside.value)


def _checked(file: FilePath, source: "_Source", path: Path, value: Any) -> Definition:
    """A workflow, checked as when it is created."""
    problems = [
        source.problem((*path, *finding.path), _message(finding), at_key=finding.at_key)
        for finding in check_definition(value, read_instant(DEFAULT_START)).findings
        if finding.severity == "error"
    ]
    if problems:
        raise Unusable(file, _in_order(problems))
    return parse_definition(value)


def _message(finding: Finding) -> str:
    told = ": ".join(part for part in (shown_path(finding.path), finding.message) if part)
    return f"{told}; {finding.suggestion}" if finding.suggestion else told


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column))


class _Source(NamedTuple):
    """A YAML file that was read."""

    value: Any
    places: YamlPlaces

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> Problem:
        """Something that is wrong at a path."""
        place = place_of(path, self.places.spots(self.value, prefixes([path])), at_key=at_key)
        return Problem(message, *(place or ()))


def _read_yaml(file: FilePath) -> _Source:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Unusable(file, [Problem(f"it can't be read: {error.strerror or error}")]) from None
    if len(content) > MAX_BYTES:
        raise Unusable(file, [Problem(f"it has more than {MAX_BYTES} bytes")])
    places = YamlPlaces()
    try:
        return _Source(decode_yaml(content, MAX_BYTES, places), places)
    except MalformedBody as error:
        raise Unusable(file, [Problem(error.problem, error.line, error.column)]) from None


def _merged(defaults: Setup, scenario: Scenario) -> Setup:
    """What a scenario begins with, its own beside and before the file's."""
    before, own = defaults.given, scenario.given
    ledgers = {name: before.ledgers.get(name, {}) | accounts for name, accounts in own.ledgers.items()}
    return replace(
        defaults,
        variables=defaults.variables | scenario.variables,
        given=Stack(
            ledgers=before.ledgers | ledgers,
            wallets=before.wallets | own.wallets,
            payments=before.payments | own.payments,
        ),
        **{
            name: given
            for name in ("starts", "arrivals", "events", "faults", "abort", "until")
            if (given := getattr(scenario, name)) is not None
        },
    )
