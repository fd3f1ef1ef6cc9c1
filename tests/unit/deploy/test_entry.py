"""The command `orchestration`: help is made beautiful, and only when somebody asks for it."""

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from deploy.cli import main
from deploy.entry import GROUPS, PANELS, asks_for_help

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


def test_a_shell_that_completes_does_not_ask_for_help() -> None:
    asked = {
        "_ORCHESTRATION_COMPLETE": "bash_complete",
        "COMP_WORDS": "orchestration workflows run pay",
        "COMP_CWORD": "3",
    }
    code = f"""
import os
from deploy.client import completion
from deploy.entry import main

async def names(*of_what):
    return ["payout"]

completion._names = names
os.environ |= {asked}
main()"""
    assert run(code) == "plain,payout\n"


def test_a_command_loads_no_other_ones() -> None:
    loaded = "import sys; from deploy.entry import main\ntry: main()\nfinally: print(*sorted(sys.modules))"
    modules = run(loaded, "--version").split()
    assert "deploy.cli" in modules
    others = {f"deploy.client.{name}" for name in ("workflows", "instances", "bulk")} | {"deploy.bench.command"}
    assert not others.intersection(modules)


@pytest.mark.parametrize("arguments", [("workflows", "schema"), ("--help",), ("doctor",), ("test", "deploy/examples")])
def test_nothing_is_said_when_the_reader_has_gone(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "deploy.entry", *arguments]
    environment = {**os.environ, "ORCHESTRATION_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    ended = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "xterm"}])
def test_colours_can_be_turned_off(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("stages: 1")
    main_end, their_end = pty.openpty()
    command = [sys.executable, "-m", "deploy.entry", "workflows", "validate", str(tmp_path / "wrong.yaml")]
    terminal = {"PATH": os.environ["PATH"], "TERM": "xterm", **environment}
    subprocess.run(command, env=terminal, stdout=their_end, stderr=their_end, check=False)
    os.close(their_end)
    shown = b""
    with contextlib.suppress(OSError):  # the end, once the other one is closed
        while some := os.read(main_end, 65536):
            shown += some
    os.close(main_end)
    assert b"must be a list" in shown
    assert (b"\x1b[" in shown) is (environment == {"TERM": "xterm"})


def test_every_group_is_known_by_all_its_names() -> None:
    context = click.Context(main)
    groups = {name for name in main.list_commands(context) if isinstance(main.get_command(context, name), click.Group)}
    aliases = {alias for alias, name in main._names.items() if name in groups}
    assert groups | aliases == GROUPS


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
        (["doctor"], False),  # its errors are for logs and scripts, and not for a box
        (["workflow"], False),
    ],
)
def test_what_asks_for_help(arguments: list[str], asks: bool) -> None:
    assert asks_for_help(arguments) is asks
