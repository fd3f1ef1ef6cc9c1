"""The installation under test: three brokers, Postgres, sandbox, engines, projections, APIs, and the network between.

<folder>/
    kafka/kafka-<n>/    a broker's data and logs
    postgres/           Postgres' data and log
    network/            the socket at which Postgres is reached
    processes/          what our processes write, a file for each of their starts
    run/                where our processes lock their names
"""

import asyncio
import contextlib
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from deploy.embedded.cluster import EmbeddedCluster
from deploy.embedded.ports import HOST
from deploy.embedded.postgres import SOCKET_NAME, EmbeddedPostgres
from deploy.topics import create_topics
from projections.migrate import migrate
from schemas.kafka import clients_of
from schemas.kafka.options import client_options
from schemas.kafka.ports import Place
from schemas.settings import (
    PREFIX,
    ApiSettings,
    EngineSettings,
    PostgresSettings,
    ProjectionsSettings,
    SandboxSettings,
    environment_of,
    variable,
)
from schemas.topics import EVENTS, SNAPSHOTS, topic_name
from tests.chaos.disk import SmallDisk
from tests.chaos.network import Network
from tests.chaos.parts import Broker, Database, Ours, Part
from tests.chaos.tls import Certificates
from tests.integration.broker_faults import make_again
from tests.integration.installation import Process
from tests.performance.written_log import WrittenLog
from tests.reserved_ports import reserved_port

BROKERS: Final = 3
PARTITIONS: Final = 4
ENGINES: Final = 3
"""The third one is started when engines are added."""
PROJECTIONS: Final = 2
APIS: Final = 2
MESSAGES: Final = "payments.events"
"""Topic of another service, which engines listen to."""
MESSAGE_PARTITIONS: Final = 2
RESTARTS_A_MINUTE: Final = 6
"""A part that ends by itself more often than this is left alone, so that the rest of a run still tells something."""
REAL_SOCKET: Final = "postgres"
ANSWER_SECONDS: Final = 30.0
VERIFY_SECONDS: Final = 300.0
OLD: Final = timedelta(days=3)
"""How long ago those instances were that are there before anything starts."""
RETENTION_DAYS: Final = 1
"""How long instances are kept that have succeeded, where there are such. Those of a run are never so old."""
OWNED: Final = re.compile(r'^orchestration_engine_snapshot_age_seconds\{partition="(\d+)"\}', re.MULTILINE)


class System:
    """Everything, up and running inside the block.

    Args:
        folder: new and empty.
        tls: let our processes and brokers talk TLS.
        disk_bytes: size of the disk of the first broker's data, which can be filled then; no limit when not given.
        old_instances: so many that wait, and as many that have succeeded long ago, are in the log before anything
            starts. With a million, restores take a while, and faults meet them. What has succeeded so long ago is
            deleted by the projections meanwhile.
    """

    def __init__(self, folder: Path, *, tls: bool = False, disk_bytes: int | None = None, old_instances: int = 0):
        folder.chmod(0o755)  # Postgres may run as another user
        self.folder = folder
        self.parts: dict[str, Part] = {}
        self.network = Network()
        self.began, self.ready_at = time.monotonic(), math.inf
        """When everything was started, and when all of it was there."""
        self.first_offsets = [0] * PARTITIONS
        """Where `events` begins to tell of what happens here, by partition."""
        self.exits: list[str] = []
        """What has ended by itself, in words."""
        self.message_partitions = MESSAGE_PARTITIONS
        self._certificates = Certificates(folder / "tls") if tls else None
        self.disk = SmallDisk(folder / "kafka" / "kafka-1", disk_bytes) if disk_bytes else None
        self.old_instances = old_instances
        self._resting: dict[str, list[float]] = {}
        self._sockets = Path(tempfile.mkdtemp(prefix="chaos-"))  # the path of a socket can't be long
        self._supervisor: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start everything."""
        try:
            await self._prepare()
            self._supervisor = asyncio.create_task(self._supervise())
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything at once."""
        await self.stop()

    async def _prepare(self) -> None:
        for name in ("processes", "run"):
            (self.folder / name).mkdir()
        self.network.start()
        security = self._certificates.properties if self._certificates else {}
        self.cluster = EmbeddedCluster(self.folder / "kafka", nodes=BROKERS, reach=self._reach, properties=security)
        if self.disk is not None:
            self.disk.mount()
        for number, kafka in self.cluster.nodes.items():
            name = f"kafka-{number}"
            self.parts[name] = Broker(name, kafka=kafka, folder=self.cluster.folders[number])
        self.postgres = EmbeddedPostgres(self.folder / "postgres")
        self.parts["postgres"] = Database(
            "postgres",
            postgres=self.postgres,
            folder=self.folder / "postgres",
            # Where the socket is may be another place after each start.
            link=self._sockets / REAL_SOCKET,
        )
        self._add_ours()
        await asyncio.gather(asyncio.to_thread(self.cluster.start), self.parts["postgres"].start())
        for part in self.of("kafka"):
            part.wanted = True
        self.network.know({name: part.pid_file for name, part in self.parts.items()})
        self.network.socket_for("postgres", self._sockets / SOCKET_NAME, self._sockets / REAL_SOCKET)
        await asyncio.gather(
            create_topics(self.settings), self._make_messages(), asyncio.to_thread(migrate, self._direct)
        )
        if self.old_instances:
            await self._write_old()
        ours = [part for part in self.parts.values() if isinstance(part, Ours) and part.name != f"engine-{ENGINES}"]
        await asyncio.gather(*(part.start(wait=True) for part in ours))
        self.ready_at = time.monotonic()

    def _add_ours(self) -> None:
        security = self._certificates.settings if self._certificates else {}
        kafka: dict[str, Any] = {
            "kafka_bootstrap_servers": self.cluster.bootstrap_servers,
            "partitions": PARTITIONS,
            "replication_factor": BROKERS,
            **security,
        }
        postgres: dict[str, Any] = {"database_url": _url(self._sockets)}
        sandbox = reserved_port()
        sandbox_port = self.network.port_for("sandbox", sandbox)
        self.stack_url = f"http://{HOST}:{sandbox_port}"
        self.sandbox_url = f"http://{HOST}:{sandbox}"
        days = RETENTION_DAYS if self.old_instances else None
        self.settings = ProjectionsSettings(**kafka, **postgres, retention_succeeded_days=days)
        stack: dict[str, Any] = {"stack_url": self.stack_url}
        self._add("sandbox-1", "sandbox", SandboxSettings(sandbox_host=HOST, sandbox_port=sandbox), sandbox)
        for number in range(1, APIS + 1):
            port = reserved_port()
            api = ApiSettings(**kafka, **postgres, host=HOST, port=port)
            self._add(f"api-{number}", "api", api, port, **stack)
        for number in range(1, ENGINES + 1):
            port = reserved_port()
            engine = EngineSettings(
                **kafka,
                **stack,
                engine_metrics_host=HOST,
                engine_metrics_port=port,
                trigger_topics=MESSAGES,
                snapshot_seconds=2.0,
            )
            self._add(f"engine-{number}", "engine", engine, port)
        for number in range(1, PROJECTIONS + 1):
            port = reserved_port()
            both = msgspec.structs.replace(self.settings, projections_metrics_host=HOST, projections_metrics_port=port)
            self._add(f"projections-{number}", "projections", both, port)

    def _add(self, name: str, command: str, settings: msgspec.Struct, port: int, **more: str) -> None:
        environment = {variable(field): value for field, value in more.items()}
        environment["XDG_RUNTIME_DIR"] = str(self.folder / "run")
        path = "/sandbox/calls" if command == "sandbox" else "/readyz"
        process = Process(name, command, settings, port, self.folder / "processes", path, environment)
        self.parts[name] = Ours(name, process=process)

    def _reach(self, node: int, listener: str, port: int) -> int:
        return self.network.port_for(f"kafka-{node}", port)

    @property
    def _direct(self) -> PostgresSettings:
        return msgspec.structs.replace(self.settings, database_url=self.postgres.url)

    async def _write_old(self) -> None:
        kafka = clients_of(self.settings)
        log = WrittenLog(kafka, self.settings, datetime.now(UTC) - OLD)
        await log.write(waiting=self.old_instances, finished=self.old_instances)
        places = [Place(topic_name(self.settings, EVENTS), partition) for partition in range(PARTITIONS)]
        async with kafka.reader() as reader:
            ends = await reader.ends(places)
        self.first_offsets = [ends[place] for place in places]

    async def lose_snapshots(self) -> None:
        """Make the topic of snapshots again, empty: what restores then reads the whole log."""
        await make_again(self.settings, SNAPSHOTS)

    async def _make_messages(self) -> None:
        async with self.admin() as admin:
            await admin.create_topics([NewTopic(MESSAGES, MESSAGE_PARTITIONS, BROKERS)])

    # What there is

    def of(self, *kinds: str) -> list[Part]:
        """The parts of some kinds."""
        return [part for part in self.parts.values() if part.kind in kinds]

    def running(self, *kinds: str) -> list[Part]:
        """Those of them that run."""
        return [part for part in self.of(*kinds) if part.wanted and not part.stopped]

    @property
    def api_urls(self) -> list[str]:
        """Where each API process is."""
        return [part.process.url for part in self.of("api") if isinstance(part, Ours)]

    @property
    def database_url(self) -> str:
        """Of Postgres, past the network."""
        return self.postgres.url

    def process(self, name: str) -> Process:
        """One of our processes."""
        part = self.parts[name]
        assert isinstance(part, Ours)
        return part.process

    async def owned(self, engine: str) -> set[int]:
        """The partitions that an engine works on; none if it doesn't answer."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2.0):
                return {int(number) for number in OWNED.findall(await self.process(engine).metrics())}
        return set()

    async def led(self) -> dict[int, set[int]]:
        """Partitions of `events` and `commands` by the broker that leads one of them."""
        found: dict[int, set[int]] = {}
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5.0), self.admin() as admin:
                for topic in await admin.describe_topics(["events", "commands"]):
                    for partition in topic["partitions"]:
                        found.setdefault(partition["leader"], set()).add(partition["partition"])
        return found

    @contextlib.asynccontextmanager
    async def admin(self) -> Any:
        """An admin client."""
        admin = AIOKafkaAdminClient(**client_options(self.settings))
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                await admin.start()
                yield admin
            finally:
                await admin.close()

    async def add_partition(self) -> int:
        """Give the topic of messages one more partition; returns its number."""
        async with self.admin() as admin:
            await admin.create_partitions({MESSAGES: NewPartitions(self.message_partitions + 1)})
        self.message_partitions += 1
        return self.message_partitions - 1

    async def verify(self) -> tuple[int, str]:
        """`orchestration verify`: its exit status and what it says."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "deploy.cli", "verify"),
            env={**_inherited(), **environment_of(self.settings)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(VERIFY_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return -1, f"no end after {VERIFY_SECONDS:.0f} s"
        return process.returncode or 0, output.decode(errors="replace")

    # Ends

    async def _supervise(self) -> None:
        """Note what ends by itself, and start it again as whoever runs it would do."""
        while True:
            for part in self.parts.values():
                status = part.ended_by_itself
                if status is not None:
                    await self._revive(part, status)
            await asyncio.sleep(0.2)

    async def _revive(self, part: Part, status: int) -> None:
        part.wanted = False
        self.exits.append(f"{part.name} ended by itself with status {status}: {self.last_words(part)}")
        recent = [at for at in self._resting.get(part.name, []) if time.monotonic() - at < 60.0]
        self._resting[part.name] = [*recent, time.monotonic()]
        if len(recent) < RESTARTS_A_MINUTE:
            await part.start()
        else:
            self.exits.append(f"{part.name} ends again and again, and is left alone")

    @staticmethod
    def last_words(part: Part) -> str:
        """What a part has written last."""
        if isinstance(part, Ours):
            return part.process.log(3).replace("\n", " | ")
        return part.kafka.last_words if isinstance(part, Broker) else ""

    def outputs(self) -> dict[str, list[Path]]:
        """What our processes have written, by name."""
        return {part.name: part.process.outputs for part in self.parts.values() if isinstance(part, Ours)}

    async def heal(self, besides: Collection[str] = ()) -> None:
        """End all cuts, let everything go on, and start what does not run."""
        self.network.mend()
        for part in self.parts.values():
            part.carry_on()
        gone = [p for p in self.parts.values() if not p.wanted and p.name not in (f"engine-{ENGINES}", *besides)]
        await asyncio.gather(*(part.start() for part in gone))

    async def stop(self) -> None:
        """End everything at once."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
        await asyncio.gather(*(part.kill() for part in self.parts.values()))
        await asyncio.to_thread(self.network.stop)
        if self.disk is not None:
            self.disk.unmount()
        shutil.rmtree(self._sockets, ignore_errors=True)


def _url(folder: Path) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(folder), safe='')}"


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
