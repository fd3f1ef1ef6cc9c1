"""A whole installation for a test: own topics and schema on a Kafka and a Postgres, and our processes as real children.

    async with Installation(kafka, database_url, folder) as installation:
        answer = await installation.client().post("/workflows", {"stages": []})

Any process can be killed, terminated, paused, and started again. All of them are gone at the end, also when the test
fails or is itself killed; the output of those that run when a test fails is shown with the failure (`tests.conftest`).
"""

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
import psutil

from deploy.embedded.child import Child
from deploy.embedded.ports import HOST
from deploy.topics import create_topics
from projections.migrate import migrate
from schemas.settings import (
    PREFIX,
    ApiSettings,
    EngineSettings,
    ProjectionsSettings,
    SandboxSettings,
    environment_of,
    variable,
)
from tests.complaints import complaints
from tests.integration.http_client import Client
from tests.integration.projection_world import Tables
from tests.reserved_ports import reserved_port

PARTITIONS = 4
READY_TIMEOUT_SECONDS = 120.0
STOP_TIMEOUT_SECONDS = 60.0
"""Above the deadline of a stop in order. Only a failure takes as long."""
POLL_SECONDS = 0.05
SHOWN_LINES = 60
RUNNING: "list[Installation]" = []
"""Those that a failing test may have to do with."""


class Process:
    """One of our processes.

    Args:
        name: of its files and in reports.
        command: of the command line, such as `engine` or `api --workers 2`.
        settings: all of them; become its environment.
        port: where its probes are.
        folder: takes its output, one file per start.
        ready_path: answers 200 once it does its work.
        environment: more variables.
    """

    def __init__(
        self,
        name: str,
        command: str,
        settings: msgspec.Struct,
        port: int,
        folder: Path,
        ready_path: str = "/readyz",
        environment: Mapping[str, str] | None = None,
    ):
        self.name = name
        self.settings = settings
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self._command = [sys.executable, "-P", "-m", "deploy.cli", *command.split()]
        self._folder = folder
        self._ready_path = ready_path
        self._environment = dict(environment or {})
        self.pid_file = folder / f"{name}.pid"
        self._starts = 0
        self._child: Child | None = None

    async def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it does its work unless told not to."""
        self._starts += 1
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self._child = await asyncio.to_thread(
            Child,
            self._command,
            pid_file=self.pid_file,
            output=self._output,
            environment={**inherited, **environment_of(self.settings), **self._environment},
        )
        if wait:
            await self.wait_ready()

    async def wait_ready(self) -> None:
        """Wait until it does its work; an end before that is an error."""
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            while not await self.ready():
                assert self._child is not None
                assert self._child.returncode is None, f"{self.name} ended: {self.log()}"
                await asyncio.sleep(POLL_SECONDS)

    async def ready(self) -> bool:
        """Whether it says that it does its work."""
        timeout = aiohttp.ClientTimeout(total=2.0)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self.url + self._ready_path) as r:
                return r.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def metric(self, sample: str) -> float:
        """A sample of its metrics, with its labels as Prometheus writes them; 0 while it has none."""
        for line in (await self.metrics()).splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    async def metrics(self) -> str:
        """All that it shows Prometheus."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as response:
            return await response.text()

    async def kill(self) -> None:
        """End it at once, as `kill -9` does. Fine to call when it doesn't run."""
        if self._child is not None:
            await asyncio.to_thread(self._child.kill)

    async def terminate(self) -> int:
        """End it in order; returns its exit status."""
        assert self._child is not None
        await asyncio.to_thread(self._child.stop, STOP_TIMEOUT_SECONDS)
        status = self._child.returncode
        assert status is not None
        return status

    def pause(self) -> None:
        """Stop it in the middle of whatever it does, as if its machine stood still."""
        self.program.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.program.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Have it stand still meanwhile. It still takes connections, and what comes over them: the kernel does."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    async def restart(self) -> None:
        """Kill it and start it again."""
        await self.kill()
        await self.start()

    @property
    def returncode(self) -> int | None:
        """The exit status once it has ended by itself, else None; None as well when it was never started."""
        return self._child.returncode if self._child is not None else None

    def log(self, lines: int = SHOWN_LINES) -> str:
        """The end of what it has written since its last start."""
        if not self._starts:
            return ""
        return "\n".join(self._output.read_text(errors="replace").splitlines()[-lines:])

    def complaints(self) -> list[str]:
        """Lines of all its starts that it must never write, each with what follows it."""
        return [
            f"{output.name}: {complaint}"
            for output in self.outputs
            for complaint in complaints(output.read_text(errors="replace"))
        ]

    @property
    def outputs(self) -> list[Path]:
        """What it has written, a file for each of its starts."""
        return [self._folder / f"{self.name}-{start}.log" for start in range(1, self._starts + 1)]

    @property
    def _output(self) -> Path:
        return self.outputs[-1]

    @property
    def program(self) -> psutil.Process:
        """What runs, as the operating system sees it."""
        return psutil.Process(int(self.pid_file.read_text()))


class Installation:
    """Topics, schema and processes.

    Args:
        kafka_bootstrap_servers: of the Kafka to use.
        database_url: of the Postgres to use.
        folder: takes the processes' files.
        engine: settings of the engines that differ from the defaults here.
        sandbox: run a stand-in for the stack too; without it activities find nobody.
        overrides: settings of several processes that differ from the defaults here.
    """

    def __init__(
        self,
        kafka_bootstrap_servers: str,
        database_url: str,
        folder: Path,
        *,
        engine: dict[str, Any] | None = None,
        sandbox: bool = False,
        **overrides: Any,
    ):
        name = f"t{uuid.uuid4().hex[:12]}"
        self._folder = folder
        self._engine = {"engine_id": "engine-1", "engine_session_timeout_seconds": 6.0, **(engine or {})}
        self._kafka: dict[str, Any] = {
            "kafka_bootstrap_servers": kafka_bootstrap_servers,
            "topic_prefix": f"{name}.",
            "partitions": PARTITIONS,
            **overrides,
        }
        self._postgres: dict[str, Any] = {"database_url": database_url, "database_schema": name}
        self._sessions: list[aiohttp.ClientSession] = []
        self.processes: list[Process] = []
        self.settings = ProjectionsSettings(**self._kafka, **self._postgres)
        self.tables = Tables(self.settings)
        self.sandbox = self._add_sandbox() if sandbox else None
        self.api = self.add_api()
        self.engine = self.add_engine()
        self.projections = self._add_projections()

    async def __aenter__(self) -> Self:
        """Make topics and schema, start everything."""
        RUNNING.append(self)
        try:
            await create_topics(self.settings)
            await asyncio.to_thread(migrate, self.settings)
            async with asyncio.TaskGroup() as group:
                for process in self.processes:
                    group.create_task(process.start())
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, leave no schema behind, and see that no process complained."""
        await self.stop()
        await asyncio.to_thread(self.tables.drop)
        if kind is None:
            assert [complaint for process in self.processes for complaint in process.complaints()] == []

    async def stop(self) -> None:
        """Close the clients, end all processes at once."""
        for session in self._sessions:
            await session.close()
        await asyncio.gather(*(process.kill() for process in self.processes))
        if self in RUNNING:
            RUNNING.remove(self)

    def client(self, api: Process | None = None) -> Client:
        """A client of an API process; the first one when not given."""
        process = api or self.api
        session = aiohttp.ClientSession()
        self._sessions.append(session)
        assert isinstance(process.settings, ApiSettings)
        return Client(session, process.url, process.settings.base_path)

    def add_api(self, command: str = "api") -> Process:
        """One more API process, not started."""
        port = reserved_port()
        settings = ApiSettings(**self._kafka, **self._postgres, host=HOST, port=port)
        return self._add("api", command, settings, port, environment={variable("stack_url"): self._stack_url})

    def add_engine(self, **engine: Any) -> Process:
        """One more engine, not started."""
        port = reserved_port()
        probes = {"engine_metrics_host": HOST, "engine_metrics_port": port}
        settings = EngineSettings(**self._kafka, **{"stack_url": self._stack_url, **probes, **self._engine, **engine})
        return self._add("engine", "engine", settings, port)

    def _add_projections(self) -> Process:
        port = reserved_port()
        settings = msgspec.structs.replace(self.settings, projections_metrics_host=HOST, projections_metrics_port=port)
        return self._add("projections", "projections", settings, port)

    def _add_sandbox(self) -> Process:
        port = reserved_port()
        settings = SandboxSettings(sandbox_host=HOST, sandbox_port=port)
        return self._add("sandbox", "sandbox", settings, port, "/sandbox/calls")

    @property
    def _stack_url(self) -> str:
        return self.sandbox.url if self.sandbox else f"http://{HOST}:1"

    def _add(
        self,
        name: str,
        command: str,
        settings: msgspec.Struct,
        port: int,
        ready_path: str = "/readyz",
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        same = sum(process.name.partition("-")[0] == name for process in self.processes)
        process = Process(f"{name}-{same + 1}", command, settings, port, self._folder, ready_path, environment)
        self.processes.append(process)
        return process

    def logs(self) -> Iterator[tuple[str, str]]:
        """Name and last output of every process that was started."""
        for process in self.processes:
            if text := process.log():
                yield f"output of {process.name}", text
