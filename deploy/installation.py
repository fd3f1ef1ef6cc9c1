"""Everything on one machine: an embedded Kafka and Postgres, and our processes on them (`orchestration dev`, `demo`).

    <data_dir>/
        lock                 held by the one installation that uses the folder
        kafka/, postgres/    see `deploy.embedded`
        run/<name>.pid       our processes
        logs/<name>.log      their output

Kafka with its topics and Postgres with its migrations start side by side; then api, engine and projections (and the
sandbox) start as processes of their own. A later start on the same folder carries on where this one ended.
"""

import asyncio
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from deploy.children import Service, say, stop_all, wait_ready
from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded.ports import HOST, check_free, free_ports
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.errors import DevError, Stopped
from deploy.topics import create_topics
from schemas.settings import (
    PREFIX,
    ApiSettings,
    EngineSettings,
    KafkaSettings,
    OperatorSettings,
    ProjectionsSettings,
    SandboxSettings,
    StackSettings,
    environment_of,
    load,
    variable,
)
from schemas.topics import trigger_topics

LOCAL_HOSTS: Final = "localhost,127.0.0.1,[::1]"
"""If any host were allowed, a web page could read and write everything here, under a name that resolves to
127.0.0.1."""
PARTITIONS: Final = 1
"""Fewer than the default: on one machine more partitions only split batches."""
TOLD: Final = ("kafka_bootstrap_servers", "partitions", "database_url")
"""What a program needs to know of an installation, beside its stack."""
MIN_FREE_BYTES: Final = 1024**3
"""Kafka and Postgres need some hundred megabytes to start, and break in odd ways on a full disk."""
READY_TIMEOUT_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 0.2
PROCESS_STOP_SHARE: Final = 0.3
"""Share of the shutdown's deadline that each of our processes may take, so that Kafka and Postgres can end in order."""
KILL_SECONDS: Final = 10.0
"""How long everything may take to end at once. A second signal may come in the middle of a wait for a process, and its
lock is free again only when the signal was handled: without the deadline nothing would end any more."""
SANDBOX_READY_PATH: Final = "/sandbox/calls"
RELAPSE_SECONDS: Final = 30.0
"""If Kafka or Postgres ends again this soon, another start would not help."""


@dataclass(frozen=True)
class Options:
    """What the user chose.

    `port` 0 takes a free one; `quiet` keeps the processes' output in their log files; without `train` Kafka is not
    prepared for quick starts, which does not pay off for a short run.
    """

    port: int
    data_dir: Path
    sandbox: bool = False
    quiet: bool = False
    train: bool = True


class Installation:
    """All processes. A context manager: whatever happens, no process is left behind."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._folder = options.data_dir.resolve()
        self._lock: IO[str] | None = None
        self._api = load(ApiSettings)
        self._kafka = EmbeddedKafka(self._folder / "kafka", train=self._options.train)
        self._postgres = EmbeddedPostgres(self._folder / "postgres")
        self._services: list[Service] = []
        self._restarted: dict[str, float] = {}
        self.stopping = False
        self.url = ""
        self.sandbox_url = ""
        self.engine_url = ""
        self.environment: dict[str, str] = {}
        """By which `orchestration doctor`, `log`, `verify` and other programs find what runs here."""

    @property
    def console_url(self) -> str:
        """Where the console is; `""` when it is turned off."""
        return f"{self.url}/console/" if self._api.console_enabled else ""

    @property
    def kafka_bootstrap_servers(self) -> str:
        """Where the embedded Kafka listens."""
        return self._kafka.bootstrap_servers

    @property
    def database_url(self) -> str:
        """Where the embedded Postgres listens."""
        return self._postgres.url

    def __enter__(self) -> Self:
        """Start everything; returns once all processes are ready.

        Raises:
            DeployError: something can't start; nothing is left running.
            Stopped: the user asked to stop meanwhile.
        """
        try:
            self._check()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    def supervise(self) -> None:
        """Start again what ends by itself, until the user asks to stop.

        Raises:
            DeployError: Kafka or Postgres can't be kept running.
            Stopped: the user asked to stop.
        """
        # A signal that comes while Python cleans up is only seen here: what its handler raises is lost there.
        while not self.stopping:
            self._revive("kafka", self._kafka)
            self._revive("postgres", self._postgres)
            for service in self._services:
                service.revive(time.monotonic())
            time.sleep(WATCH_SECONDS)
        raise Stopped

    def stop(self) -> None:
        """Stop everything in order, by one deadline; what is still there then is killed."""
        self.stopping = True
        services = [service.stop for service in self._services]
        try:
            stop_all(
                [
                    *(self._shared(stop) for stop in services),
                    self._kafka.stop,
                    self._postgres.stop,
                ],
                self._api.shutdown_timeout_seconds,
            )
        finally:
            if self._lock:
                self._lock.close()

    def kill(self) -> None:
        """End everything at once. What hangs ends with its guard, behind this process."""
        killers = [service.kill for service in self._services] + [self._kafka.kill, self._postgres.kill]
        threads = [threading.Thread(target=kill, daemon=True) for kill in killers]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + KILL_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _shared(self, stop: Callable[[float], None]) -> Callable[[float], None]:
        share = self._api.shutdown_timeout_seconds * PROCESS_STOP_SHARE
        return lambda left: stop(min(left, share))

    def _check(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (self._folder / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DevError(
                f"{self._folder} is in use by another `orchestration dev` or `demo`; choose another --data-dir"
            ) from None
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < MIN_FREE_BYTES:
            raise DevError(
                f"the disk of {self._folder} has {free_bytes // 1024**2} MiB free, at least "
                f"{MIN_FREE_BYTES // 1024**2} MiB are needed"
            )
        check_free(self._options.port)

    def _start(self) -> None:
        database = _in_background(self._start_database)
        bootstrap_servers = self._kafka.start()
        kafka = msgspec.structs.replace(
            load(KafkaSettings), kafka_bootstrap_servers=bootstrap_servers, kafka_security_protocol="PLAINTEXT"
        )
        if variable("partitions") not in os.environ:
            kafka = msgspec.structs.replace(kafka, partitions=PARTITIONS)
        asyncio.run(create_topics(kafka, others=trigger_topics(load(EngineSettings))))
        database.result()
        self._services = self._make_services(kafka)
        for service in self._services:
            service.start()
        wait_ready(self._services, READY_TIMEOUT_SECONDS)

    def _start_database(self) -> None:
        from projections.migrate import migrate

        url = self._postgres.start()
        migrate(OperatorSettings(database_url=url, database_schema=self._api.database_schema))

    def _make_services(self, kafka: KafkaSettings) -> list[Service]:
        api_port, engine_port, projections_port, sandbox_port = free_ports(4)
        api_port = self._options.port or api_port
        common = {
            **msgspec.structs.asdict(kafka),
            "database_url": self._postgres.url,
            "shutdown_timeout_seconds": self._api.shutdown_timeout_seconds * PROCESS_STOP_SHARE,
        }
        replace = msgspec.structs.replace
        stack = load(StackSettings)
        if self._options.sandbox:
            stack = replace(stack, stack_url=f"http://{HOST}:{sandbox_port}")
        hosts = self._api.allowed_hosts or LOCAL_HOSTS
        api = replace(self._api, **common, host=HOST, port=api_port, allowed_hosts=hosts)
        engine = replace(
            load(EngineSettings),
            **{name: value for name, value in common.items() if name != "database_url"},
            stack_url=stack.stack_url,
            engine_id="dev",  # the only one: started again, it takes its partitions back at once
            engine_metrics_host=HOST,
            engine_metrics_port=engine_port,
        )
        projections = replace(
            load(ProjectionsSettings),
            **common,
            projections_id="dev",
            projections_metrics_host=HOST,
            projections_metrics_port=projections_port,
        )
        self.url = f"http://{HOST}:{api_port}{api.base_path}"
        self.engine_url = f"http://{HOST}:{engine_port}"
        told = {"stack_url": stack.stack_url} | {name: common[name] for name in TOLD}
        self.environment = {variable(name): str(value) for name, value in told.items()}
        services = [
            self._service("api", api, api_port, more=stack),
            self._service("engine", engine, engine_port),
            self._service("projections", projections, projections_port),
        ]
        if self._options.sandbox:
            self.sandbox_url = f"http://{HOST}:{sandbox_port}"
            sandbox = SandboxSettings(sandbox_host=HOST, sandbox_port=sandbox_port)
            services.append(self._service("sandbox", sandbox, sandbox_port, SANDBOX_READY_PATH))
        return services

    def _service(
        self,
        name: str,
        settings: msgspec.Struct,
        port: int,
        ready_path: str = "/readyz",
        more: msgspec.Struct | None = None,
    ) -> Service:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return Service(
            name,
            # -P: modules in the user's current directory must not replace ours.
            ["-P", "-m", "deploy.cli", name],
            {**inherited, **(environment_of(more) if more else {}), **environment_of(settings)},
            port=port,
            folder=self._folder,
            quiet=self._options.quiet,
            ready_path=ready_path,
        )

    def _revive(self, name: str, server: EmbeddedKafka | EmbeddedPostgres) -> None:
        if server.returncode is None:
            return
        now = time.monotonic()
        reason = server.last_words
        if now - self._restarted.get(name, -RELAPSE_SECONDS) < RELAPSE_SECONDS:
            raise DevError(f"{name} ended again: {reason}")
        say(f"{name} ended (status {server.returncode}), starts again: {reason}")
        self._restarted[name] = now
        before = self._kafka.bootstrap_servers, self._postgres.url
        server.start()
        if (self._kafka.bootstrap_servers, self._postgres.url) != before:
            raise DevError(f"{name} could not get its address back: another process has taken it")


def _in_background(work: Callable[[], None]) -> Future[None]:
    """Run in a daemon thread, which an exit doesn't wait for."""
    future: Future[None] = Future()

    def target() -> None:
        try:
            work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=target, daemon=True).start()
    return future
