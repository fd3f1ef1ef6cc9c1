"""`orchestration test`: what it prints, writes and ends with."""

import re
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as Xml

import msgspec
import pytest
from click.testing import CliRunner, Result

from deploy.cli import main
from deploy.scenarios.schema import as_file

FILE = """
workflow: {stages: [{delay: {duration: 720h}}, {wait_event: {event: approved}}]}
scenarios:
  - name: it ends
    events: [approved]
    expect: {duration: 720h}
  - name: it <waits>
    expect: {outcome: waiting, waitsFor: aproved, stages: [delay]}
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner(env={}).invoke(main, ["test", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "it.scenarios.yaml"
    file.write_text(FILE)
    return file


def test_what_people_read(file: Path) -> None:
    it = run(file)
    assert it.exit_code == 1
    told = re.sub(r"in \d\.\d\d s", "in … s", it.stdout.replace(str(file), "FILE"))
    assert told == dedent("""\
        FILE
          ok      it ends  (succeeded after 720h)
          FAILED  it <waits>  (waiting for approved)

              waitsFor: expected aproved, but found approved
              stages: expected delay, but found delay, wait_event

              what happened, and when:
                      0s  the instance starts
                      0s  stage 0 delay starts: it takes 720h0m0s
                    720h  stage 0 ends
                    720h  stage 1 wait_event starts: it waits for approved

        1 passed, 1 failed in … s
        """)


def test_those_with_a_text_in_their_names(file: Path) -> None:
    it = run(file, "-k", "ENDS")
    assert (it.exit_code, "1 passed, 0 failed" in it.stdout) == (0, True)
    it = run(file, "-k", "nothing")
    assert (it.exit_code, it.stdout, it.stderr) == (2, "", f"{file}: no scenario has 'nothing' in its name\n")


def test_json(file: Path) -> None:
    it = run(file, "--json")
    told = msgspec.json.decode(it.stdout)
    assert it.exit_code == 1
    assert (told["passed"], told["failed"]) == (1, 1)
    first, second = told["scenarios"]
    assert (first["file"], first["line"], first["name"], first["passed"]) == (str(file), 4, "it ends", True)
    assert (first["outcome"], first["duration"], first["failures"]) == ("succeeded", "720h", [])
    assert [stage["name"] for stage in first["stages"]] == ["delay", "wait_event"]
    assert second["failures"][0] == "waitsFor: expected aproved, but found approved"
    assert second["timeline"][0].strip() == "0s  the instance starts"


def test_junit(file: Path, tmp_path: Path) -> None:
    it = run(file, "--junit", tmp_path / "junit.xml")
    assert it.exit_code == 1
    suites = Xml.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - it is ours
    assert (suites.get("tests"), suites.get("failures")) == ("2", "1")
    (suite,) = suites
    assert suite.get("name") == str(file)
    passed, failed = suite
    assert (passed.get("name"), passed.get("line"), len(passed)) == ("it ends", "4", 0)
    assert failed.get("name") == "it <waits>"
    assert failed[0].get("message") == "waitsFor: expected aproved, but found approved"
    assert "720h  stage 0 ends" in (failed[0].text or "")


def test_results_that_cannot_be_written_are_not_taken_for_a_failure(file: Path, tmp_path: Path) -> None:
    it = run(file, "-k", "ENDS", "--junit", tmp_path / "nowhere" / "junit.xml")
    assert it.exit_code == 2
    assert "No such file or directory" in it.stderr


def test_junit_takes_every_name(tmp_path: Path) -> None:
    file = tmp_path / "it.scenarios.yaml"
    file.write_text('workflow: {stages: []}\nscenarios: [{name: "a\\u0007 & b"}]\n')
    assert run(file, "--junit", tmp_path / "junit.xml").exit_code == 0
    (case,) = Xml.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314
    assert case.get("name") == "a� & b"


def test_a_file_that_cannot_be_used(file: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("workflow: {stages: []}\nscenarios: [{name: a, expct: {}}]\n")
    it = run(file, wrong)
    assert (it.exit_code, it.stdout) == (2, "")
    assert it.stderr == f"{wrong}:2:23: unknown field `expct`: did you mean `expect`?\n"


def test_a_folder(file: Path) -> None:
    assert "1 passed, 1 failed" in run(file.parent).stdout


def test_the_schema() -> None:
    it = run("--schema")
    assert (it.exit_code, it.stdout_bytes) == (0, as_file())
    assert run().exit_code == 2
