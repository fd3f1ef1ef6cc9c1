"""The JSON Schema of a definition accepts what creation accepts, and tells an editor what each field means."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.definition import InvalidDefinition, definition_schema, inlined_schema, parse_definition
from schemas.json_schema import DIALECT
from tests.definition_strategies import definitions
from tests.unit.schemas.definition.test_definition import ACCEPTED_STAGES, REFUSED_BODIES, REFUSED_STAGES, send_amount

EXAMPLES = Path(__file__).parents[4] / "deploy" / "examples"
FILE = EXAMPLES / "workflow.schema.json"
DOCUMENT = EXAMPLES.parents[1] / "docs" / "workflows.md"

SCHEMA = definition_schema()
CHECK = jsonschema_rs.Draft202012Validator(SCHEMA)
CHECK_INLINED = jsonschema_rs.Draft202012Validator(inlined_schema())


def is_created(value: object) -> bool:
    try:
        parse_definition(value)
    except InvalidDefinition:
        return False
    return True


def is_valid(value: Any) -> bool:
    """What the schema says; without definitions inside it says the same."""
    valid = CHECK.is_valid(value)
    assert CHECK_INLINED.is_valid(value) is valid
    return valid


def test_it_is_a_schema_of_its_dialect() -> None:
    assert SCHEMA["$schema"] == DIALECT
    assert jsonschema_rs.meta.is_valid(SCHEMA)
    assert set(SCHEMA["$defs"]) == {name.rpartition("/")[2] for name in references(SCHEMA)}
    assert list(references(inlined_schema())) == []


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from references(item)


@settings(max_examples=300)
@given(definitions)
def test_it_accepts_what_creation_accepts(value: Any) -> None:
    assert is_valid(value) is is_created(value)


@pytest.mark.parametrize("stage", ACCEPTED_STAGES, ids=str)
def test_stages_that_creation_accepts(stage: Any) -> None:
    assert is_valid({"stages": [{"noop": {}}, stage]})


@pytest.mark.parametrize("stage", [stage for stage, _ in REFUSED_STAGES if stage != send_amount(10.0)], ids=str)
def test_stages_that_creation_refuses(stage: Any) -> None:
    assert not is_valid({"stages": [{"noop": {}}, stage]})


@pytest.mark.parametrize("body", [body for body, _ in REFUSED_BODIES], ids=str)
def test_bodies_that_creation_refuses(body: Any) -> None:
    assert not is_valid(body)


@settings(max_examples=500)
@given(
    st.builds(
        "{}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}".format,
        st.sampled_from(
            ("0000", "0001", "0002", "1900", "2000", "2023", "2024", "2100", "9996", "9998", "9999", "999")
        ),
        st.integers(0, 13),
        st.one_of(st.integers(0, 32), st.integers(28, 31)),
        st.sampled_from("TTTt "),
        st.integers(0, 24),
        st.integers(58, 60),
        st.integers(58, 60),
        st.sampled_from(("", "", ".", ".5", ".123456789")),
        st.sampled_from(("Z", "z", "", "+00:00", "-23:59", "+02:00", "+24:00", "+0200")),
    )
)
def test_instants(text: str) -> None:
    stages = [{"delay": {"until": text}}]
    if text[:4] in ("0001", "9999") and text[-1] not in "Zz":
        return  # whether it is year 0 or 10000 in UTC is too much for a pattern: such a text is never valid
    assert is_valid({"stages": stages}) is is_created({"stages": stages})


@settings(max_examples=300)
@given(
    st.builds(
        "{}{}".format,
        st.sampled_from(("", "", "-", "+", "--")),
        st.lists(
            st.builds(
                "{}{}".format,
                st.sampled_from(("0", "1", "1.5", ".5", "5.", ".", "", "99999", "1e3", "007")),
                st.sampled_from(("h", "m", "s", "ms", "us", "µs", "μs", "ns", "d", "", " s", "S")),
            ),
            max_size=4,
        ).map("".join),
    )
)
def test_durations(text: str) -> None:
    stages = [{"delay": {"duration": text}}]
    if re.search("[0-9]{6}", text):
        return  # over eleven years of hours: nobody needs it, and a pattern can't add up what is still in range
    assert is_valid({"stages": stages}) is is_created({"stages": stages})


def test_every_field_and_stage_is_described() -> None:
    for name, kind in {"": SCHEMA, **SCHEMA["$defs"]}.items():
        assert kind["description"].endswith(".") or ":" in kind["description"], name
        fields = dict(kind["properties"])
        for alternative in kind.get("anyOf", ()):
            fields |= alternative["properties"]
        for field, described in fields.items():
            assert len(described["description"]) > 10, (name, field)
    items = SCHEMA["properties"]["stages"]["items"]["oneOf"]
    assert [list(item["properties"]) for item in items] == [["send"], ["wait_event"], ["delay"], ["update"], ["noop"]]
    assert items[2]["description"] == "Waits for a duration or until an instant: one of the two is given."
    assert SCHEMA["$defs"]["Delay"]["anyOf"][0]["properties"]["duration"]["description"].startswith("How long to wait")


def test_the_file_beside_the_examples_is_the_schema() -> None:
    assert FILE.read_text() == json.dumps(SCHEMA, indent=2, ensure_ascii=False) + "\n", (
        f"write it again: orchestration workflows schema > {FILE}"
    )


@pytest.mark.parametrize("name", ["approval.yaml", "payout.yaml"])
def test_examples_are_valid_and_name_the_schema(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    assert f"# yaml-language-server: $schema={FILE.name}\n" in text
    assert is_valid(yaml.safe_load(text))


def rows(schema: Any) -> Iterator[str]:
    """A row of the reference for each field."""
    required, fields = schema.get("required", ()), dict[str, Any]()
    for part in (schema, *schema.get("anyOf", ())):
        fields |= {name: field for name, field in part.get("properties", {}).items() if name not in fields}
    for name, field in fields.items():
        default = f" Default: `{field['default']}`." if field.get("default") else ""
        needed = " (required)" if name in required or name in IN_EACH_ALTERNATIVE else ""
        if name not in SAID_OTHERWISE:
            yield f"| `{name}`{needed} | {field['description']}{default} |"


IN_EACH_ALTERNATIVE = ("source", "destination")
"""Of `send`: each of its alternatives requires them."""
SAID_OTHERWISE = ("stages", "account")
"""What the reference has no row for, or one in shorter words."""


@pytest.mark.parametrize("described", [SCHEMA, *SCHEMA["$defs"].values()], ids=lambda one: one["description"])
def test_the_reference_has_every_field(described: Any) -> None:
    text = DOCUMENT.read_text()
    missing = [row for row in rows(described) if row not in text]
    assert not missing, "\n".join(["docs/workflows.md needs these rows:", *missing])


def test_the_example_of_the_reference_is_created() -> None:
    (block,) = re.findall(r"```yaml\n(name: .*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert is_created(yaml.safe_load(block))
