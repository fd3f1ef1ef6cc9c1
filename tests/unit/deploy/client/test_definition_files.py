"""`orchestration workflows validate` and `schema`: definitions in files, without a server."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from deploy.cli import main
from deploy.client.definition_files import MAX_LINE_CHARACTERS
from schemas.definition import definition_schema
from schemas.settings import ApiSettings

GOOD = "name: payout\nstages:\n- wait_event: {event: '${a}'}\n- update: {account: {id: x, metadata: {k: '${b}'}}}\n"
WRONG = "stages:\n- sned: {}\n- noop:\n    x: 1\n"


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner(env={}).invoke(main, ["workflows", *arguments], input=stdin)


def file(folder: Path, text: str | bytes, name: str = "a.yaml") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_findings_are_shown_with_their_source(tmp_path: Path) -> None:
    name = file(tmp_path, WRONG)
    result = run("validate", name)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f'{name}:2:3: error: stages[0]: unknown stage "sned"; did you mean `send`?',
        "    2 | - sned: {}",
        "      |   ^",
        f"{name}:4:5: warning: stages[1].noop.x: unknown field, which has no effect (there are no fields here)",
        "    4 |     x: 1",
        "      |     ^",
        f"{name}: 1 error, 1 warning",
    ]


def test_a_good_file_says_its_variables(tmp_path: Path) -> None:
    name = file(tmp_path, GOOD)
    result = run("validate", name)
    assert (result.exit_code, result.stdout) == (0, f"{name}: valid: 2 stages, variables a, b?\n")


def test_several_files_and_aliases(tmp_path: Path) -> None:
    good, wrong = file(tmp_path, GOOD, "good.yaml"), file(tmp_path, WRONG, "wrong.yaml")
    result = CliRunner(env={}).invoke(main, ["w", "validate", good, wrong, good])
    assert result.exit_code == 1
    assert result.stdout.count(": valid: ") == 2


def test_warnings_can_be_taken_for_errors(tmp_path: Path) -> None:
    name = file(tmp_path, "stages: []\n")
    assert run("validate", name).exit_code == 0
    assert run("validate", "--strict", name).exit_code == 1


def test_json_is_all_that_is_written(tmp_path: Path) -> None:
    good, wrong = file(tmp_path, GOOD, "good.yaml"), file(tmp_path, WRONG, "wrong.yaml")
    result = run("validate", "--json", good, wrong)
    assert result.exit_code == 1
    first, second = json.loads(result.stdout)
    assert (first["file"], first["valid"], first["findings"]) == (good, True, [])
    assert [(found["line"], found["severity"]) for found in second["findings"]] == [(2, "error"), (4, "warning")]


def test_standard_input_and_json_by_its_name(tmp_path: Path) -> None:
    assert run("validate", "-", stdin=GOOD).stdout == "<stdin>: valid: 2 stages, variables a, b?\n"
    # Tabs are fine in JSON, and are no indentation in YAML.
    assert run("validate", file(tmp_path, '{\n\t"stages":\t[]}', "a.json")).exit_code == 0
    assert run("validate", file(tmp_path, "stages: []\n", "b.json")).exit_code == 1


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        ("wait_event: approved", 'not the string "approved"; did you mean `wait_event: {event: approved}`?'),
        ("delay: 5s", 'not the string "5s"; did you mean `delay: {duration: 5s}`?'),
        ("send: 5", "must be an object, not an integer\n"),
    ],
)
def test_a_stage_without_fields(tmp_path: Path, stage: str, told: str) -> None:
    assert told in run("validate", file(tmp_path, f"stages:\n- {stage}\n")).stdout


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there is no text"),
        (" \n", "there is no text"),
        (" " * ApiSettings().max_body_bytes + "a", "there are 524289 bytes, 524288 are allowed"),
        (b"a: \xff", "malformed YAML: "),
    ],
)
def test_what_creation_would_refuse_unread(tmp_path: Path, text: str | bytes, told: str) -> None:
    result = run("validate", file(tmp_path, text))
    assert result.exit_code == 1
    assert told in result.stdout


def test_yaml_that_is_named_as_json_is_told(tmp_path: Path) -> None:
    path = tmp_path / "payout.json"
    path.write_text("name: payout\n")
    result = run("validate", str(path))
    assert result.exit_code == 1
    assert "must not be named .json" in " ".join(result.stdout.split())


def test_a_long_line_is_cut_around_what_is_meant(tmp_path: Path) -> None:
    name = file(tmp_path, f"stages: [{'{noop: {}}, ' * 500}{{sned: {{}}}}, {'{noop: {}}, ' * 500}]\n")
    _, line, caret, _ = run("validate", name).stdout.splitlines()
    assert len(line) < MAX_LINE_CHARACTERS + 20
    assert line[caret.index("^") :].startswith("{sned: ")


def test_what_a_file_holds_can_not_speak_to_the_terminal(tmp_path: Path) -> None:
    text = 'stages:\n- noop: {"\\e[2J\\u202e": 1, "\u202e": 2, a: "\\u202e"}\n'
    result = CliRunner(env={}).invoke(main, ["workflows", "validate", file(tmp_path, text)], color=True)
    shown = click.unstyle(result.stdout)
    assert "stages[0].noop. [2J " in shown
    assert not set(shown) & set("\x1b\u202e")


def test_a_file_that_can_not_be_read_is_another_status(tmp_path: Path) -> None:
    result = run("validate", str(tmp_path / "nowhere.yaml"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert run("validate").exit_code == 2


def test_the_schema_is_printed() -> None:
    assert json.loads(run("schema").stdout) == definition_schema()
