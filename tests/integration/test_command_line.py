"""Every command of a client on a real installation: those of `fctl orchestration` with their flags, and ours."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from deploy.cli import main
from deploy.client import connection
from schemas.settings import variable
from tests.integration.installation import Installation

DOCUMENT = Path(__file__).parents[2] / "docs" / "command-line.md"
UNKNOWN = "00000000-0000-4000-8000-000000000000"

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(installation: Installation) -> Run:
    """Runs a command line in a thread, since it has an event loop of its own."""
    settings: Any = installation.api.settings
    environment = {variable("client_url"): f"{installation.api.url}{settings.base_path}", "TZ": "UTC"}

    async def call(*arguments: str, stdin: str | None = None, exit_code: int = 0) -> Result:
        TRIED.append(arguments)
        result = await asyncio.to_thread(CliRunner(env=environment).invoke, main, arguments, input=stdin)
        assert result.exit_code == exit_code, (arguments, result.output, result.exception)
        return result

    return call


TRIED: list[tuple[str, ...]] = []
"""What the tests of this module have run."""


def made_id(result: Result) -> str:
    return result.stdout.split()[-1]


def workflow_file(folder: Path, name: str, *stages: Any) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"name": name, "stages": stages}))
    return str(path)


async def until(run: Run, *arguments: str, shows: str) -> str:
    deadline = time.monotonic() + 60.0
    while shows not in (shown := (await run(*arguments)).stdout):
        assert time.monotonic() < deadline, shown
        await asyncio.sleep(0.05)
    return shown


async def test_workflows(run: Run, tmp_path: Path) -> None:
    name = f"cli-{time.time_ns()}"
    file = workflow_file(tmp_path, name, {"noop": {"text": "1e3", "é": "${x}"}}, {"wait_event": {"event": "go"}})
    created = json.loads((await run("workflows", "create", file, "--json")).stdout)
    other = made_id(await run("w", "c", "-", stdin="stages: [{noop: {}}]"))
    listed = (await run("workflows", "list")).stdout
    assert re.search(rf"^{created['id']}  {name} +noop wait_event +20", listed, re.MULTILINE)
    assert json.loads((await run("w", "ls", "-o", "json", "-n", "1")).stdout)[0]["id"] == other
    limited = await run("work", "l", "--limit", "1")
    assert len(limited.stdout.splitlines()) == 2
    assert "--limit 0 lists all" in limited.stderr
    shown = (await run("workflows", "show", name)).stdout
    assert shown.startswith(f"id       {created['id']}\nname     {name}\n")
    assert "text: '1e3'\n    é: ${x}\n" in shown
    assert json.loads((await run("w", "s", created["id"].upper(), "--json")).stdout) == created
    assert (await run("workflows", "delete", name)).stdout == f"deleted workflow {created['id']}\n"
    assert json.loads((await run("w", "d", other, "--json")).stdout) == {"id": other}
    gone = await run("workflows", "show", name, exit_code=3)
    assert gone.stderr == f'Error: no workflow has the id or name "{name}"\n'
    assert "deleted" in (await run("workflows", "show", other)).stdout


async def test_a_definition_that_is_refused_is_shown(run: Run, tmp_path: Path) -> None:
    refused = await run("workflows", "create", workflow_file(tmp_path, "wrong", {"sned": {}}), exit_code=3)
    assert refused.stdout == ""
    assert 'stages[0]: unknown stage "sned"; did you mean `send`?' in refused.stderr
    assert refused.stderr.endswith('Error: stages[0]: unknown stage "sned"\n')


async def test_a_name_of_several_workflows_is_not_enough(run: Run, tmp_path: Path) -> None:
    file = workflow_file(tmp_path, f"twin-{time.time_ns()}", {"noop": {}})
    ids = [made_id(await run("workflows", "create", file)) for _ in range(2)]
    refused = await run("workflows", "run", Path(file).stem, exit_code=2)
    assert all(id in refused.stderr for id in ids)
    for id in ids:
        await run("workflows", "delete", id)


async def test_runs_that_are_waited_for_end_with_their_outcome(run: Run, tmp_path: Path) -> None:
    name = f"wait-{time.time_ns()}"
    stage = {"send": {"source": {"account": {"id": "world"}}, "destination": {"account": {"id": "users:${who}"}},
                      "amount": {"amount": "${amount}", "asset": "EUR/2"}}}  # fmt: skip
    await run("workflows", "create", workflow_file(tmp_path, name, stage, {"noop": {}}))
    succeeded = await run("workflows", "run", name, "--variable", "who=alice,amount=100", "--wait")
    started, *told, ended = succeeded.stdout.splitlines()
    assert started.startswith("started instance ")
    assert "✓ 0 send  100 EUR/2 from account world to account users:alice" in "\n".join(told)
    assert "   ✓ CreateTransaction  " in "\n".join(told)
    assert re.fullmatch(rf"{name}  instance {started.split()[-1]}  succeeded after [0-9.]+ m?s", ended)
    failed = await run("w", "r", name, "-v", "who=bob", "-v", "amount=ten", "--wait", "--json", exit_code=1)
    instance = json.loads(failed.stdout)
    assert instance["error"] == 'send.amount.amount: must be an integer, not "ten"'
    assert instance["terminated"]
    wrong = await run("workflows", "run", name, "--variable", "who", exit_code=2)
    assert "'who' is not key=value" in wrong.stderr


async def test_the_same_key_starts_nothing_new(run: Run, tmp_path: Path) -> None:
    workflow = made_id(await run("workflows", "create", workflow_file(tmp_path, "once", {"noop": {}})))
    key = f"k-{time.time_ns()}"
    ids = {made_id(await run("workflows", "run", workflow, "--idempotency-key", key)) for _ in range(2)}
    assert len(ids) == 1


async def test_instances(run: Run, tmp_path: Path) -> None:
    name = f"instances-{time.time_ns()}"
    stages = [{"wait_event": {"event": "${event}"}}, {"delay": {"duration": "1ms"}}, {"noop": {}}]
    await run("workflows", "create", workflow_file(tmp_path, name, *stages))
    instance = made_id(await run("workflows", "run", name, "--variable", "event=go"))
    aborted = made_id(await run("workflows", "run", name, "--variable", "event=never"))
    described = await until(run, "instances", "describe", instance, shows="▸ 0 wait_event  for go")
    assert "· 1 delay  1ms\n· 2 noop\n" in described
    listed = (await run("instances", "list", "--workflow", name, "--running")).stdout
    assert [line.split()[:3] for line in listed.splitlines()[1:]] == [
        [aborted, name, "waiting"],
        [instance, name, "waiting"],
    ]
    assert (await run("instances", "stop", aborted)).stdout == f"stopped instance {aborted}\n"
    sent = await run("instances", "send-event", instance, "go")
    assert sent.stdout == f"sent go to instance {instance}\n"
    watched = await run("i", "watch", instance)
    assert "✓ 1 delay  1ms" in watched.stdout
    assert "succeeded after" in watched.stdout
    assert "aborted after" in (await run("ins", "w", aborted, exit_code=5)).stdout
    shown = (await run("instances", "show", instance)).stdout
    assert f"id          {instance}\n" in shown
    assert re.search(r"^0 +wait_event  20.*^1 +delay .*^2 +noop ", shown, re.MULTILINE | re.DOTALL)
    histories = json.loads((await run("instances", "describe", instance, "--json")).stdout)
    assert [stage["name"] for stage in histories] == ["RunWaitEvent", "RunDelay", "RunNoop"]
    found = json.loads((await run("i", "ls", "--workflow", name, "--json")).stdout)
    assert [(item["id"], item["terminated"]) for item in found] == [(aborted, True), (instance, True)]
    assert (await run("instances", "list", "--workflow", name, "--running")).stdout == "no instances\n"
    refused = await run("instances", "send-event", instance, "go", exit_code=3)
    assert refused.stderr == "Error: the instance has ended\n"
    assert "not found" in (await run("instances", "show", UNKNOWN, exit_code=3)).stderr


async def test_triggers(run: Run, tmp_path: Path) -> None:
    name = f"triggers-{time.time_ns()}"
    await run("workflows", "create", workflow_file(tmp_path, name, {"noop": {}}))
    trigger = made_id(
        await run(
            "triggers",
            "create",
            "SAVED_PAYMENT",
            name,
            "--name",
            name,
            "--filter",
            'event.provider == "stripe"',
            "--vars",
            "id=event.id",
            "--vars",
            'first=split(event.x, ",")[0]',
        )
    )
    listed = (await run("triggers", "list", "--name", name.upper())).stdout
    assert re.search(rf'^{trigger}  {name}  SAVED_PAYMENT  .*event.provider == "stripe"', listed, re.MULTILINE)
    shown = (await run("triggers", "show", name)).stdout
    assert 'variable first  split(event.x, ",")[0]\n' in shown
    tested = (await run("triggers", "test", name, '{"provider": "stripe", "id": "p-1", "x": "a,b"}')).stdout
    assert tested.splitlines()[0] == "fires  yes"
    assert re.search(r"^id +p-1$.*^first +a$", tested, re.MULTILINE | re.DOTALL)
    assert (await run("t", "test", trigger, "{}")).stdout == "fires  no\n"
    assert (await run("triggers", "occurrences", "list", trigger)).stdout == "no occurrences\n"
    assert json.loads((await run("t", "o", "ls", name, "--json")).stdout) == []
    assert (await run("triggers", "delete", name)).stdout == f"deleted trigger {trigger}\n"
    await run("trig", "show", trigger, exit_code=3)


async def test_an_api_that_is_not_there_is_another_status(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PAUSES_SECONDS", (0.0,))
    away = await run("workflows", "list", "--url", "http://127.0.0.1:1/api", exit_code=4)
    assert away.stderr == "Error: http://127.0.0.1:1/api: connection refused\n"


async def test_a_url_without_its_base_path_is_told(run: Run, installation: Installation) -> None:
    told = await run("workflows", "list", "--url", installation.api.url, exit_code=3)
    assert "unknown path" in told.stderr


def test_every_verb_of_fctl_is_in_the_document_and_was_tried() -> None:
    """Runs last: the tests above note what they have run."""
    if len(TRIED) < 40:
        pytest.skip("only some of the tests were run")
    rows = re.findall(r"^\| `fctl orchestration ([^`]+)` \| `orchestration ([^`]+)` \|", DOCUMENT.read_text(), re.M)
    assert len(rows) == 16
    tried = {command_path(arguments) for arguments in TRIED}
    for theirs, ours in rows:
        words = command_path(tuple(ours.split()))
        assert words in tried, ours
        assert command_path(tuple(theirs.split())) == words
        for flag in re.findall(r"--[a-z]+", theirs):
            assert flag in ours
            assert any(flag in arguments for arguments in TRIED if command_path(arguments) == words), (ours, flag)


def command_path(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the groups and the command that a command line means."""
    names: list[str] = []
    command: click.Command | None = main
    for argument in arguments:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), argument)
        assert command is not None, arguments
        names.append(command.name or "")
    return tuple(names)
