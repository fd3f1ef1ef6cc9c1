"""Kafka and Postgres for tests, once a session.

`KAFKA_BOOTSTRAP_SERVERS` and `DATABASE_URL` name running ones; else containers if an engine answers; else the embedded
ones, in a temporary folder. Tests share them: `topic_prefix` and `database_schema` keep each test's things apart.
"""

import contextlib
import gc
import os
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.embedded.jars import KAFKA_VERSION
from deploy.embedded.kafka import NODE, EmbeddedKafka
from deploy.embedded.ports import free_ports
from deploy.embedded.postgres import EmbeddedPostgres

CONTROLLER_PORT = 9093


@pytest.fixture(scope="session")
def kafka_bootstrap_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a Kafka that lives as long as the session."""
    with _service(
        "KAFKA_BOOTSTRAP_SERVERS", _kafka_container, lambda: _embedded_kafka(tmp_path_factory.mktemp("kafka"))
    ) as servers:
        yield servers


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The libpq URL of a Postgres that lives as long as the session; its user may create schemas."""
    with _service(
        "DATABASE_URL", _postgres_container, lambda: _embedded_postgres(tmp_path_factory.mktemp("postgres"))
    ) as url:
        yield url


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}."


@pytest.fixture
def database_schema() -> str:
    """A schema name that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


Service = Callable[[], contextlib.AbstractContextManager[str]]


@contextlib.contextmanager
def _service(variable: str, container: Service, embedded: Service) -> Iterator[str]:
    given = os.environ.get(variable)
    if given:
        yield given
        return
    with contextlib.ExitStack() as stack:
        yield _entered(stack, container) or stack.enter_context(embedded())


def _entered(stack: contextlib.ExitStack, container: Service) -> str | None:
    """The container's address, or None where no engine answers or it can't get the image."""
    import docker  # type: ignore[import-untyped]
    import docker.errors  # type: ignore[import-untyped]

    # The client leaves its socket open when no engine answers, which would fail the test.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            docker.from_env(timeout=5).close()
            return stack.enter_context(container())
        except docker.errors.DockerException:
            return None
        finally:
            gc.collect()


@contextlib.contextmanager
def _kafka_container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.waiting_utils import wait_for_logs

    (port,) = free_ports(1)
    container = DockerContainer(f"apache/kafka:{KAFKA_VERSION}").with_bind_ports(port, port)
    host = container.get_container_host_ip()
    properties = {
        **NODE,
        "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://0.0.0.0:{CONTROLLER_PORT}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        "controller.quorum.voters": f"1@localhost:{CONTROLLER_PORT}",
    }
    for name, value in properties.items():
        container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    with container:
        wait_for_logs(container, "Kafka Server started", timeout=60)
        yield f"{host}:{port}"


@contextlib.contextmanager
def _postgres_container() -> Iterator[str]:
    from testcontainers.postgres import PostgresContainer

    with PostgresContainer("postgres:18", driver=None) as container:
        yield container.get_connection_url()


@contextlib.contextmanager
def _embedded_kafka(folder: Path) -> Iterator[str]:
    kafka = EmbeddedKafka(folder)
    try:
        yield kafka.start()
    finally:
        kafka.stop()


@contextlib.contextmanager
def _embedded_postgres(folder: Path) -> Iterator[str]:
    postgres = EmbeddedPostgres(folder)
    try:
        yield postgres.start()
    finally:
        postgres.stop()
