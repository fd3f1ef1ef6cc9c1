"""The container image and the compose files: valid, and in step with the settings, commands and ports of the code.

`data/compose-spec` is the official JSON Schema of compose files (compose-go 2.16.2).
"""

import asyncio
import importlib.util
import json
import re
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import click
import jsonschema_rs
import msgspec
import pytest
import yaml

from deploy.cli import main as command_line
from deploy.container import healthcheck
from deploy.http.server import KEEP_ALIVE_SECONDS, bind
from deploy.probes import probe_server
from schemas.settings import (
    ALL,
    ApiSettings,
    EngineSettings,
    OperatorSettings,
    ProjectionsSettings,
    SandboxSettings,
    load,
    variable,
)

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "deploy" / "compose"
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
SCHEMA = Path(__file__).parent / "data" / "compose-spec" / "compose-spec.json"

PROCESSES: dict[str, Any] = {"api": ApiSettings, "engine": EngineSettings, "projections": ProjectionsSettings}
OURS: dict[str, Any] = {**PROCESSES, "setup": OperatorSettings, "sandbox": SandboxSettings}


def interpolated(text: str) -> str:
    """A compose file as it is without a `.env`: `${NAME:-default}` becomes the default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(interpolated((COMPOSE / "compose.yaml").read_text()))["services"]
    return found


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Containerfile with their arguments, comments left out and continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    pairs = (line.split(maxsplit=1) for line in re.sub(r"\\\n", " ", lines).splitlines() if line.strip())
    return [(name, " ".join(rest.split())) for name, rest in pairs]


def final_stage() -> dict[str, str]:
    """Instructions of the last stage by name; the last one counts."""
    found = instructions(CONTAINERFILE.read_text())
    last = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return dict(found[last:])


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in final_stage()["ENV"].split())


def environment(name: str) -> dict[str, str]:
    return {**image_environment(), **services()[name]["environment"]}


# Compose files


@pytest.mark.parametrize("name", ["compose.yaml", "compose.external.yaml", "compose.encryption.yaml"])
def test_compose_file_follows_the_specification(name: str) -> None:
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    document = yaml.safe_load(interpolated((COMPOSE / name).read_text()))
    assert [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(document)] == []


def test_all_settings_exist() -> None:
    known = {variable(field.name) for kind in ALL for field in msgspec.structs.fields(kind)}
    for path in (*COMPOSE.iterdir(), CONTAINERFILE):
        assert set(re.findall(r"\bORCHESTRATION_\w+", path.read_text())) <= known, path.name


@pytest.mark.parametrize("name", OURS)
def test_settings_can_be_loaded(name: str) -> None:
    settings = load(OURS[name], environment(name))
    for field, value in msgspec.structs.asdict(settings).items():
        if field == "host" or field.endswith("_host"):
            assert value == "0.0.0.0"  # noqa: S104 - the only address that other containers reach
    if name in PROCESSES:
        assert settings.kafka_bootstrap_servers == "kafka:9092"


def commands(group: click.Group, *path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name))


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    given = services()[name]
    if "entrypoint" in given:
        assert given["entrypoint"] == ["sh", "-ec"]
        wanted = [line.strip().removeprefix("orchestration ") for line in given["command"][0].split(";")]
    else:
        wanted = [" ".join(given["command"])]
    assert set(wanted) <= set(commands(command_line))
    assert wanted == (["topics create", "migrate"] if name == "setup" else [name])


def test_processes_start_after_the_setup_and_may_stop_in_order() -> None:
    for name in PROCESSES:
        given = services()[name]
        assert given["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}
        assert given["restart"] == "unless-stopped"
        grace_seconds = float(given["stop_grace_period"].removesuffix("s"))
        assert grace_seconds > load(ApiSettings, environment(name)).shutdown_timeout_seconds
        assert given["healthcheck"]["test"] == ["CMD", "python", "-m", "deploy.container.healthcheck", "/readyz"]


@pytest.mark.parametrize("name", PROCESSES)
def test_processes_can_be_scaled(name: str) -> None:
    """Two containers can't share a name, a port of the host, or an engine's name in its consumer group."""
    given = services()[name]
    assert not given.keys() & {"container_name", "ports", "hostname", "deploy", "scale"}
    assert variable("engine_id") not in environment(name)


def test_only_loopback_ports_are_open() -> None:
    for name, given in services().items():
        for port in given.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name


def test_mounted_files_are_here() -> None:
    for given in services().values():
        for volume in given.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (COMPOSE / source).exists(), source


def test_gateway_leads_to_the_api() -> None:
    text = (COMPOSE / "Caddyfile").read_text()
    api = load(ApiSettings, environment("api"))
    assert f"dynamic a api {api.port} " in text
    assert f"path {api.base_path} {api.base_path}/*" in text
    assert ":8080 {" in text
    assert services()["gateway"]["ports"] == ["127.0.0.1:8080:8080"]


def test_gateway_closes_idle_connections_before_the_api_does() -> None:
    (seconds,) = re.findall(r"\bkeepalive (\d+)s\b", (COMPOSE / "Caddyfile").read_text())
    assert int(seconds) < KEEP_ALIVE_SECONDS


def test_no_client_can_have_the_gateway_leave_out_the_api() -> None:
    """Caddy counts a request's broken body as a failure of the replica that it was sent to."""
    directives = re.findall(r"^\s*(\w+)", (COMPOSE / "Caddyfile").read_text(), re.MULTILINE)
    assert "reverse_proxy" in directives
    assert not {"fail_duration", "unhealthy_status", "unhealthy_latency"} & set(directives)


def test_commands_in_the_handbook_do_not_run_the_setup() -> None:
    """It changes the installation, and fails while something is away, which is when somebody runs `doctor`."""
    runs = re.findall(r"docker compose run\b[^`\n]*", (ROOT / "docs" / "operations.md").read_text())
    assert len(runs) > 3
    assert [text for text in runs if "--no-deps" not in text] == []


# Image


def test_image_runs_without_rights_and_stops_in_order() -> None:
    stage = final_stage()
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", stage["USER"])
    assert stage["STOPSIGNAL"] == "SIGTERM"
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert json.loads(stage["ENTRYPOINT"])[0] in scripts


def test_image_opens_the_ports_of_the_settings() -> None:
    ports = ApiSettings().port, EngineSettings().engine_metrics_port, ProjectionsSettings().projections_metrics_port
    assert final_stage()["EXPOSE"].split() == [str(port) for port in ports]


def test_health_check_of_the_image_exists() -> None:
    command = json.loads(final_stage()["HEALTHCHECK"].split("CMD ")[1])
    assert command[:2] == ["python", "-m"]
    assert importlib.util.find_spec(command[2]) is not None
    assert command[3:] == ["/livez"]


def test_image_gets_the_locked_versions_of_what_it_runs() -> None:
    """No extras: what tests and embedded services need stays out."""
    installs = [text for name, text in instructions(CONTAINERFILE.read_text()) if name == "RUN" and " install " in text]
    assert len(installs) == 2
    assert "bootstrap.py requirements > dependencies.txt" in installs[0]
    assert "install --require-hashes --no-deps --only-binary :all: --requirement dependencies.txt" in installs[0]
    assert "pip wheel --no-deps --no-build-isolation" in installs[1]
    assert installs[1].endswith("install --no-deps wheels/*.whl")


def test_all_packages_are_sent_to_the_build() -> None:
    lines = CONTAINERFILE.with_name("Containerfile.dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert sent == {"pyproject.toml", "requirements.lock", "README.md", "LICENSE", *packages["packages"]}
    left_out = [line for line in lines if line and not line.startswith(("#", "!", "*"))]
    for pattern in left_out:
        assert not any(path.suffix == ".py" for path in ROOT.glob(f"{pattern}/**/*")), pattern


# Health check


@asynccontextmanager
async def process(*, ready: bool) -> AsyncIterator[int]:
    """The probes of a process; gives their port."""
    with bind("127.0.0.1", 0) as listener:
        server = probe_server(lambda: ready, lambda: {"group": ready, "topics": {"ledger": "unreadable"}})
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


def free_port() -> int:
    with bind("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("mine", ["PORT", "ENGINE_METRICS_PORT", "PROJECTIONS_METRICS_PORT"])
@pytest.mark.parametrize(
    ("ready", "arguments", "status"),
    [(True, [], 0), (True, ["/readyz"], 0), (False, ["/livez"], 0), (False, ["/readyz"], 1)],
)
async def test_health_check_asks_the_process_that_runs(
    monkeypatch: pytest.MonkeyPatch, mine: str, ready: bool, arguments: list[str], status: int
) -> None:
    async with process(ready=ready) as port:
        for name in ("PORT", "ENGINE_METRICS_PORT", "PROJECTIONS_METRICS_PORT"):
            monkeypatch.setenv(f"ORCHESTRATION_{name}", str(port if name == mine else free_port()))
        assert await asyncio.to_thread(healthcheck.main, arguments) == status


@pytest.mark.parametrize("ready", [True, False])
async def test_probes_show_their_checks(ready: bool) -> None:
    async with (
        process(ready=ready) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/readyz?verbose") as answer,
    ):
        assert answer.status == (200 if ready else 503)
        checks = {"group": ready, "topics": {"ledger": "unreadable"}}
        assert await answer.json() == {"ready": ready, "checks": checks}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/", 404, "NOT_FOUND"), ("POST", "/livez", 405, "VALIDATION"), ("BREW", "/livez", 405, "VALIDATION")],
)
async def test_probes_refuse_in_json(method: str, path: str, status: int, code: str) -> None:
    async with (
        process(ready=True) as port,
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}") as answer,
    ):
        assert answer.status == status
        assert answer.content_type == "application/json"
        assert (await answer.json())["errorCode"] == code
        assert ("allow" in answer.headers) == (status == 405)


def test_health_check_says_what_it_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("PORT", "ENGINE_METRICS_PORT", "PROJECTIONS_METRICS_PORT"):
        monkeypatch.setenv(f"ORCHESTRATION_{name}", str(free_port()))
    assert healthcheck.main(["/readyz"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("/readyz was not answered with 200 (")
    assert said.count("refused") == 3
    monkeypatch.setenv("ORCHESTRATION_PORT", "http")
    assert healthcheck.main([]) == 1
    assert "ORCHESTRATION_PORT" in capsys.readouterr().out
