"""Scenario files: which there are, and their scenarios as cases that can be run."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path as FilePath
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from api.bodies.yaml_body import decode_yaml
from api.errors import Invalid
from deploy.scenarios.model import Expect, Scenario, ScenarioFile, Setup, Stack
from deploy.scenarios.places import Path, Places
from deploy.scenarios.problems import Problem, Unusable
from deploy.scenarios.reading import read_as
from deploy.scenarios.rules import check_file, start_of
from schemas.definition import InvalidDefinition, parse_definition
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
        stages: of the workflow.
        start: when the instance starts.
        setup: with the file's defaults.
        expect: what should come of it.
    """

    file: FilePath
    line: int
    name: str
    stages: list[dict[str, Any]]
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
    value, places = _read_yaml(file)
    problems: list[Problem] = []

    def complain(path: Path, message: str, *, at_key: bool = False) -> None:
        problems.append(Problem(message, *places.of(path, at_key=at_key)))

    if not isinstance(value, dict):
        raise Unusable(file, [Problem("a scenario file is a mapping with `workflow` and `scenarios`", 1, 1)])
    read = read_as(ScenarioFile, value, complain)
    if read is not None:
        check_file(read, complain)
    if problems or read is None:
        raise Unusable(file, sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column)))
    stages = _stages(file, read, places)
    return [
        Case(
            file=file,
            line=places.of(("scenarios", number)).line,
            name=scenario.name,
            stages=stages,
            start=start_of(scenario, read.defaults),
            setup=_merged(read.defaults, scenario),
            expect=scenario.expect,
        )
        for number, scenario in enumerate(read.scenarios)
    ]


def _stages(file: FilePath, read: ScenarioFile, places: Places) -> list[dict[str, Any]]:
    if not isinstance(read.workflow, str):
        return _checked(file, read.workflow, places, ("workflow",))
    workflow = file.parent / read.workflow
    if not workflow.is_file():
        problem = Problem(f"there is no workflow {workflow}", *places.of(("workflow",)))
        raise Unusable(file, [problem])
    value, inside = _read_yaml(workflow)
    return _checked(workflow, value, inside, ())


def _checked(file: FilePath, value: Any, places: Places, path: Path) -> list[dict[str, Any]]:
    """The stages of a workflow, checked as when it is created."""
    try:
        return parse_definition(value).stages
    except InvalidDefinition as error:
        raise Unusable(file, [Problem(f"the workflow can't be created: {error}", *places.of(path))]) from None


def _read_yaml(file: FilePath) -> tuple[Any, Places]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Unusable(file, [Problem(f"it can't be read: {error.strerror or error}")]) from None
    if len(content) > MAX_BYTES:
        raise Unusable(file, [Problem(f"it has more than {MAX_BYTES} bytes")])
    try:
        return decode_yaml(content, MAX_BYTES), Places(content.decode())
    except Invalid as error:
        raise Unusable(file, [Problem(str(error))]) from None


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
