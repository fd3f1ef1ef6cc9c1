"""The scenarios of the examples pass, and quickly; editors and readers are told all that a file may hold."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import jsonschema_rs
import msgspec
import pytest
from msgspec import inspect

from api.bodies.yaml_body import decode_yaml
from deploy import scenarios
from deploy.scenarios import model
from deploy.scenarios.files import MAX_BYTES, Case, find_files, read_cases
from deploy.scenarios.report import lines_of
from deploy.scenarios.running import run
from deploy.scenarios.schema import as_file, schema
from deploy.scenarios.story import STAGE_OF, STAGES
from engine.activities.attempts import OPERATIONS

ROOT = Path(__file__).parents[4]
EXAMPLES = ROOT / "deploy" / "examples"
FILES = find_files([EXAMPLES])
CASES = [case for file in FILES for case in read_cases(file)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file.name}: {case.name}")
def test_an_example(case: Case) -> None:
    result = run(case)
    assert result.passed, "\n".join(lines_of(result))


def test_every_workflow_has_scenarios() -> None:
    workflows = {file.name for file in EXAMPLES.glob("*.yaml") if ".scenarios" not in file.name}
    assert workflows
    assert {decode_yaml(file.read_bytes(), MAX_BYTES)["workflow"] for file in FILES} == workflows


def test_a_hundred_scenarios_take_two_seconds() -> None:
    cases = (CASES * (100 // len(CASES) + 1))[:100]
    begin = time.process_time()
    assert all(run(case).passed for case in cases)
    assert time.process_time() - begin < 2.0


def test_the_schema_is_the_one_that_is_kept() -> None:
    kept = Path(scenarios.__file__).with_name("scenarios.schema.json")
    assert kept.read_bytes() == as_file()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_editors_find_the_schema_and_the_examples_fit_it(file: Path) -> None:
    (reference,) = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", file.read_text(), re.MULTILINE)
    found = msgspec.json.decode((file.parent / reference).read_bytes())
    assert found == schema()
    jsonschema_rs.validator_for(found).validate(decode_yaml(file.read_bytes(), MAX_BYTES))


@pytest.mark.parametrize(
    "wrong", [{}, {"workflow": 1, "scenarios": [{"name": "a"}]}, {"workflow": "a", "scenarios": []}]
)
def test_the_schema_refuses_what_the_reader_refuses(wrong: object) -> None:
    assert not jsonschema_rs.is_valid(schema(), wrong)


def structs(kind: inspect.Type) -> Iterator[inspect.StructType]:
    match kind:
        case inspect.Metadata():
            yield from structs(kind.type)
        case inspect.UnionType():
            for one in kind.types:
                yield from structs(one)
        case inspect.ListType():
            yield from structs(kind.item_type)
        case inspect.DictType():
            yield from structs(kind.value_type)
        case inspect.StructType():
            yield kind
            for field in kind.fields:
                yield from structs(field.type)


STRUCTS = {struct.cls.__name__: struct for struct in structs(inspect.type_info(model.ScenarioFile))}


@pytest.mark.parametrize("struct", STRUCTS.values(), ids=STRUCTS)
def test_every_field_says_what_it_is(struct: inspect.StructType) -> None:
    for field in struct.fields:
        assert isinstance(field.type, inspect.Metadata), field.name
        assert (field.type.extra_json_schema or {}).get("description"), field.name


def test_the_names_of_stages_and_activities_are_all_there_are() -> None:
    assert set(get_args(model.ActivityName)) == set(OPERATIONS)
    assert set(STAGE_OF) == {stage.name for stage in STAGES}
    assert set(STAGE_OF.values()) == set(get_args(model.StageName))


def rows(struct: inspect.StructType) -> list[str]:
    """A row of the reference for each field."""
    told = []
    for field in struct.fields:
        assert isinstance(field.type, inspect.Metadata)
        description = (field.type.extra_json_schema or {})["description"]
        told.append(
            f"| `{field.encode_name}`{' (required)' if field.required else ''} | {description} |".replace("||", "|")
        )
    return told


@pytest.mark.parametrize("struct", STRUCTS.values(), ids=STRUCTS)
def test_the_reference_has_every_field(struct: inspect.StructType) -> None:
    text = (ROOT / "docs" / "scenarios.md").read_text()
    missing = [row for row in rows(struct) if row not in text]
    assert not missing, "\n".join(["docs/scenarios.md needs these rows:", *missing])


def test_what_the_tutorial_shows_passes(tmp_path: Path) -> None:
    """The files of the tutorial, as they are in the docs, and what it says that they print."""
    text = (ROOT / "docs" / "scenarios.md").read_text()
    blocks = dict(re.findall(r"`([a-z.]+\.yaml)`:\n```yaml\n(.*?)```", text, re.DOTALL))
    assert set(blocks) == {"refund.yaml", "refund.scenarios.yaml"}
    for name, block in blocks.items():
        (tmp_path / name).write_text(block)
    for case in read_cases(tmp_path / "refund.scenarios.yaml"):
        result = run(case)
        printed = [line for line in lines_of(result) if line]
        assert all(line in text for line in printed), "\n".join(printed)
