"""The command `orchestration`: help is made beautiful, and only when somebody asks for it."""

import os
import re
import subprocess
import sys

import click
import pytest

from deploy.cli import main
from deploy.entry import PANELS, asks_for_help

LOADED = "import sys; from deploy.entry import main\ntry: main()\nfinally: print('rich_click' in sys.modules)"


def run(code: str, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "100", "TERM": "dumb"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_help_has_panels_and_aliases() -> None:
    shown = run(LOADED, "workflows", "--help")
    assert "╭─ Commands ─" in shown
    assert re.search("│ list +ls,l +List workflows, newest first", shown)
    assert shown.endswith("True\n")


def test_the_groups_of_commands() -> None:
    shown = run(LOADED, "-h")
    for panel in PANELS:
        assert f"─ {panel['name']} ─" in shown
    assert "─ Commands ─" not in shown


def test_who_asks_for_no_help_loads_nothing_for_it() -> None:
    assert run(LOADED, "workflows", "schema").endswith("}\nFalse\n")


def test_a_command_loads_no_other_ones() -> None:
    loaded = "import sys; from deploy.entry import main\ntry: main()\nfinally: print(*sorted(sys.modules))"
    modules = run(loaded, "--version").split()
    assert "deploy.cli" in modules
    assert not {f"deploy.client.{name}" for name in ("workflows", "instances", "bulk", "bench")}.intersection(modules)


def test_nothing_is_said_when_the_reader_has_gone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "deploy.entry", "workflows", "schema"]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_every_command_has_a_panel() -> None:
    listed = [name for panel in PANELS for name in panel["commands"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(main.list_commands(click.Context(main)))


@pytest.mark.parametrize(
    ("arguments", "asks"),
    [
        ([], True),
        (["workflows"], True),
        (["--help"], True),
        (["workflows", "run", "-h"], True),
        (["workflows", "run", "payout"], False),
    ],
)
def test_what_asks_for_help(arguments: list[str], asks: bool) -> None:
    assert asks_for_help(arguments) is asks
