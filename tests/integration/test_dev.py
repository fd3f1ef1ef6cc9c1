"""`orchestration dev` and `demo` as a user runs them: ready line, one-line errors, restarts, no process left behind."""

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from deploy import installation
from deploy.demo import read_scenario
from deploy.embedded.ports import free_ports
from deploy.errors import DevError, ScenarioError
from tests.integration.test_embedded import processes_of, until

EXIT_SECONDS = 300.0
"""Of what takes seconds, with the start of a Kafka. Only a failure takes as long."""
ANSWER_SECONDS = 60.0
COMMAND = [sys.executable, "-m", "deploy.cli"]


class Dev:
    """A running `orchestration dev`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.errors = folder.with_suffix(".stderr")
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*COMMAND, "dev", "--port", "0", "--data-dir", str(folder), *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:"), self.errors.read_text()
        self.url = line.split()[1]
        assert self.process.stdout.readline() == f"console {self.url}/console/\n"
        assert self.process.stdout.readline().startswith("for doctor, log, verify ")
        exports = [self.process.stdout.readline() for _ in range(4)]
        self.environment = dict(shlex.split(line)[1].split("=", 1) for line in exports)

    def call(self, method: str, path: str, body: object = None) -> int:
        data = None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=ANSWER_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, urlsplit(self.url).path + path, data)
            answer = connection.getresponse()
            assert answer.status < 300
            return len(json.load(answer)["data"])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self._wait()

    def kill(self) -> int:
        self.process.kill()
        return self._wait()

    def _wait(self) -> int:
        status = self.process.wait(EXIT_SECONDS)
        assert self.process.stdout
        self.process.stdout.close()
        return status


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCHESTRATION_TRIGGER_TOPICS", "orders")
        running = Dev(tmp_path_factory.mktemp("dev") / "data", "--sandbox")
    yield running
    assert running.stop() == 0, running.errors.read_text()
    assert processes_of(running.folder) == []


def refused(*arguments: str, **variables: str) -> str:
    """The one line on standard error of a command that fails."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=EXIT_SECONDS,
        check=False,
        env={**os.environ, **variables},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_a_second_start_on_the_same_folder_is_refused(running: Dev) -> None:
    assert "in use by another" in refused("dev", "--port", "0", "--data-dir", str(running.folder))


def test_other_programs_find_what_runs_here(running: Dev) -> None:
    environment = {**os.environ, **running.environment, "ORCHESTRATION_TRIGGER_TOPICS": "orders"}
    done = subprocess.run(
        [*COMMAND, "doctor"], capture_output=True, text=True, timeout=EXIT_SECONDS, check=False, env=environment
    )
    found = done.stdout.splitlines()
    assert found[-1].endswith(" 0 wrong"), done.stdout
    for what in ("brokers", "topic orders", "Postgres", "read model", "stack"):
        assert any(line.startswith("ok") and what in line for line in found), done.stdout


def test_a_process_that_is_killed_is_started_again(running: Dev) -> None:
    pid_file = running.folder / "run" / "engine.pid"
    before = int(pid_file.read_text())
    psutil.Process(before).kill()
    until(lambda: pid_file.exists() and pid_file.read_text() not in ("", f"{before}\n"))
    assert "engine ended (status 137), starts again in 0.5 s" in running.errors.read_text()


def test_a_kafka_that_is_killed_is_started_again(running: Dev) -> None:
    pid_file = running.folder / "kafka" / "pid"
    before = int(pid_file.read_text())
    psutil.Process(before).kill()
    until(lambda: pid_file.exists() and pid_file.read_text() not in ("", f"{before}\n"))
    assert "kafka ended (status 137), starts again" in running.errors.read_text()


def test_it_carries_on_after_a_kill_and_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = Dev(folder)
    first.call("POST", "/workflows", {"stages": []})
    first.kill()
    again = Dev(folder)
    assert again.call("GET", "/workflows") == 1
    engine = psutil.Process(int((folder / "run" / "engine.pid").read_text()))
    engine.suspend()  # It can't end in order, so the stop is still under way when the second signal comes.
    again.process.send_signal(signal.SIGTERM)
    api = folder / "run" / "api.pid"
    until(lambda: not api.exists())
    assert again.stop() == 128 + signal.SIGTERM
    # Nobody waits for them any more: they go a moment later.
    until(lambda: processes_of(folder) == [])


def test_ctrl_c_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with subprocess.Popen([*COMMAND, "dev", "--port", "0", "--data-dir", str(folder)]) as process:
        until((folder / "kafka" / "pid").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(EXIT_SECONDS) == 130
    # What was just being started is ended by its guard, a moment later.
    until(lambda: processes_of(folder) == [])


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} on 127.0.0.1 is in use" in refused("dev", "--port", port, "--data-dir", str(tmp_path))
    assert processes_of(tmp_path) == []


def test_a_process_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(DevError, match=r"api ended while starting: .*can't listen on 127.0.0.1"):
        occupy_api_port(tmp_path)
    assert processes_of(tmp_path) == []


def occupy_api_port(folder: Path) -> None:
    """Start an installation whose API port is taken between the check and the start of the API."""
    (port,) = free_ports(1)
    dev = installation.Installation(installation.Options(port=port, data_dir=folder, quiet=True))
    start_database = dev._start_database
    with socket.socket() as taken:

        def take_port() -> None:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            start_database()

        dev._start_database = take_port  # type: ignore[method-assign]
        with dev:
            pass


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["api"], {"ORCHESTRATION_PROT": "1"}, "unknown setting ORCHESTRATION_PROT"),
        (["dev", "--port", "0", "--data-dir", "/proc/no"], {}, "/proc/no"),
        (["migrate"], {"ORCHESTRATION_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "connect"),
        (
            ["topics", "create"],
            {"ORCHESTRATION_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
            "no broker answers at 127.0.0.1:1",
        ),
        (
            ["demo"],
            {"ORCHESTRATION_AUTH_ENABLED": "true", "ORCHESTRATION_AUTH_ISSUER": "http://127.0.0.1:1"},
            "unset ORCHESTRATION_AUTH_ENABLED",
        ),
    ],
)
def test_expected_faults_are_one_line(arguments: list[str], variables: dict[str, str], message: str) -> None:
    assert message in refused(*arguments, **variables)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "MIN_FREE_BYTES", 1 << 62)
    with pytest.raises(DevError, match="MiB free"):
        installation.Installation(installation.Options(port=0, data_dir=tmp_path)).__enter__()


FIRST = "workflow: {stages: []}\nscenarios: [{name: a, "


@pytest.mark.parametrize(
    "text",
    [
        "workflow: 1",
        "workflow: [",
        "",
        FIRST + "abort: 1s}]",
        FIRST + "events: [{event: a, at: 1s}]}]",
        FIRST + "expect: {outcome: waiting}}]",
        FIRST.replace("[]", "[{delay: {duration: 61s}}]") + "}]",
        FIRST.replace("[]", "[{wait_event: {event: e}}]") + "}]",
    ],
)
def test_a_wrong_scenario_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.scenarios.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match="scenario"):
        read_scenario(path)


def test_the_demo_tells_its_story() -> None:
    done = subprocess.run([*COMMAND, "demo"], capture_output=True, text=True, timeout=EXIT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert "sent the event approved" in done.stdout
    told = (
        "RunSend",
        "CreditWallet",
        "RunWaitEvent",
        "RunDelay",
        "DebitWallet",
        "CreateTransferInitiation",
        "balance main of wallet alice in the end: 750 EUR/2",
    )
    assert [words for words in told if words not in done.stdout] == []
    started = next(line.split()[2] for line in done.stdout.splitlines() if line.startswith("started instance"))
    assert done.stdout.splitlines()[-1].endswith(f"/api/orchestration/console/#/instances/{started}")
