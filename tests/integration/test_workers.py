"""`orchestration api --workers 2`: one port, a worker that is killed, signals, metrics, settings that are wrong."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from deploy.errors import DeployError
from deploy.workers import parent
from schemas.settings import PREFIX, ApiSettings
from tests.integration.http_client import Client, Json
from tests.integration.installation import STOP_TIMEOUT_SECONDS, Installation, Process
from tests.integration.waiting import eventually

WAITS: Json = {"wait_event": {"event": "go"}}
MAX_CONNECTIONS = 100
"""Tries to reach a certain worker; that all come to the other one is less likely than a broken machine."""


@pytest.fixture
async def api(installation: Installation) -> AsyncIterator[Process]:
    """Two workers."""
    api = installation.add_api("api --workers 2")
    await api.start()
    started = workers(api).values()
    yield api
    await api.kill()
    for process in started:  # some tests end the parent alone
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def workers(api: Process) -> dict[int, psutil.Process]:
    """The workers' processes, by their numbers."""
    # One that is just being started still has the command of its parent.
    found = {child: child.cmdline()[-4:-3] for child in api.program.children()}
    return {int(number): child for child, numbers in found.items() for number in numbers if number.isdecimal()}


async def requests_of(api: Process, worker: int) -> float:
    assert isinstance(api.settings, ApiSettings)
    labels = f'worker="{worker}",method="GET",path="{api.settings.base_path}/workflows",status="200"'
    return await api.metric(f"orchestration_api_requests_total{{{labels}}}")


async def client_of(installation: Installation, api: Process, worker: int) -> Client:
    """A client whose one connection is to a certain worker."""
    for _ in range(MAX_CONNECTIONS):
        client = installation.client(api)
        before = await requests_of(api, worker)
        assert (await client.get("/workflows")).status == 200
        if await requests_of(api, worker) > before:
            return client
    raise AssertionError(f"no connection came to worker {worker}")


async def gone(process: psutil.Process) -> None:
    await asyncio.to_thread(process.wait, STOP_TIMEOUT_SECONDS)


async def all_up(api: Process) -> bool:
    return [await api.metric(f'orchestration_api_worker_up{{worker="{number}"}}') for number in (0, 1)] == [1, 1]


async def test_both_answer_on_one_port_and_metrics_are_those_of_both(installation: Installation, api: Process) -> None:
    await eventually(partial(all_up, api))
    for worker in (0, 1):
        await client_of(installation, api, worker)
    counted = [await requests_of(api, worker) for worker in (0, 1)]
    assert all(counted)
    metrics = await api.metrics()
    started = re.findall(r'^process_start_time_seconds\{worker="(\d)"\}', metrics, re.MULTILINE)
    assert started == ["0", "1"]
    assert metrics.count("# TYPE orchestration_api_requests_total counter") == 1


async def test_one_is_killed_and_comes_back_while_the_other_answers(installation: Installation, api: Process) -> None:
    other = await client_of(installation, api, 1)
    killed = workers(api)[0]
    killed.kill()
    await gone(killed)
    answered = 0

    async def back() -> bool:
        nonlocal answered
        for client in (other, installation.client(api)):
            assert (await client.get("/workflows")).status == 200
            answered += 1
        return await all_up(api)

    await eventually(back)
    assert answered
    assert workers(api)[0].pid != killed.pid
    assert "worker 0 ended (status -9), starts again in 0.5 s" in api.log(10_000)
    await client_of(installation, api, 0)


async def test_a_stop_ends_all_in_order(installation: Installation, api: Process) -> None:
    clients = [await client_of(installation, api, worker) for worker in (0, 1)]
    workflow = await clients[0].workflow(WAITS)
    runs = [asyncio.create_task(client.run(workflow, wait=True)) for client in clients]
    for worker in (0, 1):
        waiting = f'orchestration_api_waiting_requests{{worker="{worker}",kind="command"}}'
        await eventually(partial(api.metric, waiting))
    processes = workers(api).values()
    assert await api.terminate() == 0
    assert not any(process.is_running() for process in processes)
    assert all(f"api stopped worker={worker}" in api.log() for worker in (0, 1))
    for instance in await asyncio.gather(*runs):
        assert instance["terminated"] is False
        await installation.client().abort(instance["id"])


async def test_a_stop_during_the_start_ends_all_in_order(installation: Installation) -> None:
    api = installation.add_api("api --workers 2")
    await api.start(wait=False)

    async def started() -> dict[int, psutil.Process]:
        return workers(api) if api.pid_file.exists() and "2 workers start" in api.log() else {}

    processes = (await eventually(started)).values()
    assert await api.terminate() == 0
    assert not any(process.is_running() for process in processes)
    assert "Traceback" not in api.log()


async def test_signals_for_the_whole_group_are_no_second_ones(api: Process) -> None:
    """As systemd sends them."""
    for process in workers(api).values():
        process.terminate()
    assert await api.terminate() == 0
    assert "second signal" not in api.log()


async def test_a_second_signal_ends_all_at_once(api: Process) -> None:

    async def returncode() -> int | None:
        return api.returncode

    processes = workers(api)
    processes[1].suspend()  # so the stop is still under way
    api.program.terminate()
    await gone(processes[0])
    api.program.terminate()
    assert await eventually(returncode) == 128 + signal.SIGTERM
    await gone(processes[1])


async def test_workers_end_with_their_parent(api: Process) -> None:
    processes = workers(api).values()
    api.program.kill()
    for process in processes:
        await gone(process)


async def outcome(*arguments: str, **settings: str) -> tuple[int | None, str]:
    """Exit status and standard error of a command that fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli", *arguments),
        env={**environment, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await command.communicate()
    assert out == b""
    return command.returncode, errors.decode()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ORCHESTRATION_PROT", "1", "unknown setting ORCHESTRATION_PROT"),
        ("ORCHESTRATION_AUTH_ENABLED", "true", "ORCHESTRATION_AUTH_ISSUER is missing"),
    ],
)
async def test_what_is_wrong_with_the_settings_is_said_once(name: str, value: str, message: str) -> None:
    errors = []
    for arguments in (["api"], ["api", "--workers", "3"]):
        status, told = await outcome(*arguments, **{"ORCHESTRATION_PORT": "0", name: value})
        assert status == 1
        errors += [[line for line in told.splitlines() if line.startswith("Error:")]]
    assert errors[0] == errors[1]
    assert len(errors[0]) == 1
    assert message in errors[0][0]


async def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = await outcome("api", "--workers", "2", ORCHESTRATION_PORT=str(port))
    assert told == (1, f"Error: can't listen on 127.0.0.1:{port}: Address already in use\n")


async def test_a_worker_that_hangs_at_its_start_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hangs = tmp_path / "python"
    hangs.write_text("#!/bin/sh\nexec sleep 3600\n")
    hangs.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(hangs))
    monkeypatch.setattr(parent, "START_SECONDS", 0.1)
    worker = parent._Worker(1, 0, 1, tmp_path, asyncio.Event())
    async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
        with pytest.raises(DeployError, match="worker 0 ended by signal 9"):
            await worker.start()
    worker.leave()
