"""`orchestration bench` on a real installation: what it finds, keeps and leaves behind."""

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.bench.report import read
from deploy.bench.scenarios import CLIENTS, NAMES, PREFIX
from deploy.cli import main
from schemas.settings import variable
from tests.integration.installation import Installation
from tests.integration.waiting import eventually

QUICK = ("--seconds", "0.3", "--rounds", "2", "--warm-up", "0")


def environment(installation: Installation) -> dict[str, str]:
    settings: Any = installation.api.settings
    return {variable("client_url"): f"{installation.api.url}{settings.base_path}"}


async def names(installation: Installation) -> list[str]:
    """The names of the workflows of a benchmark that are there."""
    listed = await asyncio.to_thread(
        CliRunner(env=environment(installation)).invoke, main, ["workflows", "list", "--json", "-n", "0"]
    )
    found = [workflow["config"]["name"] for workflow in json.loads(listed.stdout)]
    return [name for name in found if name.startswith(PREFIX)]


async def test_all_scenarios(installation: Installation, tmp_path: Path) -> None:
    file, page = tmp_path / "figures.json", tmp_path / "figures.html"
    runner = CliRunner(env=environment(installation))
    arguments = ["bench", *QUICK, "--clients", "2", "--json", str(file), "--html", str(page)]
    ended = await asyncio.to_thread(runner.invoke, main, arguments)
    assert ended.exit_code == 0, (ended.output, ended.exception)
    lines = ended.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(NAMES)
    assert lines[0].endswith("API CPU MS")
    report = read(file)
    assert [(one.scenario, one.clients, one.errors) for one in report.scenarios] == [(name, 2, {}) for name in NAMES]
    assert all(one.per_second > 0 and 0 < one.client_cpu < 2 for one in report.scenarios)
    assert all(one.server_cpu_ms is not None for one in report.scenarios)
    assert report.server.version == report.program.version
    assert page.read_text().count("<svg ") == 2 * len(NAMES)
    assert await names(installation) == []

    compared = await asyncio.to_thread(
        runner.invoke,
        main,
        ["bench", *QUICK, "--clients", "2", "--scenario", "noop", "--compare", str(file), "--fail-below", "1000"],
    )
    assert compared.exit_code == 1
    assert re.search(r"^noop +2 +[\d,]+ +[\d,]+ +\d\.\d\d ", compared.stdout, re.MULTILINE)
    assert re.search(r"^noop, 2 clients: \d\.\d\d is below 1000$", compared.stderr, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_who_stops_it_finds_no_workflow_left(installation: Installation, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "deploy.cli", "bench", "--seconds", "60", "--scenario", "list-v1"),
        env=environment(installation),
    )
    await eventually(lambda: names(installation), lambda found: len(found) == max(CLIENTS["list-v1"]))
    process.send_signal(number)
    assert await process.wait() == 130
    assert await names(installation) == []
