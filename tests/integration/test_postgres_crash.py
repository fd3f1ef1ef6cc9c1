"""Postgres crashes and loses what it had acknowledged: nobody is told that what was shown before does not exist.

The loss is real and certain here: the processes of Postgres that write its log to disk stand still from a moment on, so
every transaction after it that does not wait for the disk is lost with the crash.
"""

import asyncio
import contextlib
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from api.app import create_app
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.topics import create_topics
from projections.migrate import migrate
from projections.queries import caught_up as admission
from projections.queries.errors import ReadModelUnavailable
from projections.queries.positions import ReadPositions
from projections.queries.read_model import ReadModel
from schemas import events, rejections
from schemas.settings import ApiSettings, ProjectionsSettings
from tests.happened import CREATED, LISTENS, WORKFLOW, at, fired, started
from tests.integration.projection_world import Log, Tables, until
from tests.integration.test_projections import caught_up, running
from tests.integration.waiting import DEADLINE_SECONDS, eventually
from tests.unit.api.fakes import Backend, Client, fake_services

Request = tuple[str, str, Any, dict[str, str]]

PARTITIONS = 4
WRITERS = ("walwriter", "background writer", "checkpointer")
"""The processes of Postgres that write to disk what transactions do not wait for."""


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    postgres.start()
    yield postgres
    postgres.kill()


@pytest.fixture
async def settings(kafka_bootstrap_servers: str, postgres: EmbeddedPostgres, topic_prefix: str) -> ProjectionsSettings:
    settings = ProjectionsSettings(
        kafka_bootstrap_servers=kafka_bootstrap_servers,
        topic_prefix=topic_prefix,
        partitions=PARTITIONS,
        database_url=postgres.url,
    )
    await create_topics(settings)
    migrate(settings)
    return settings


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal comes soon, so that the tests are quick."""
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.1)


class Reader:
    """An API process with its own connections."""

    def __init__(self, settings: ProjectionsSettings):
        backend = Backend()
        mine = ApiSettings(database_url=settings.database_url, database_schema=settings.database_schema)
        self.model, self.positions = ReadModel(mine), ReadPositions(mine)
        services = fake_services(backend, mine, read_model=self.model, positions=self.positions)
        self.app = create_app(mine, services)
        self.client = Client(self.app)


@asynccontextmanager
async def reading(settings: ProjectionsSettings) -> AsyncIterator[Reader]:
    reader = Reader(settings)
    async with reader.app.router.lifespan_context(reader.app):
        yield reader


async def statuses(reader: Reader, *requests: Request) -> set[int]:
    """What requests at the same time are answered."""
    answers = await asyncio.gather(*(reader.client.call(*request) for request in requests))
    for answer in answers:
        assert answer.status != 503 or answer.headers["retry-after"] == "1"
    return {answer.status for answer in answers}


def hold_writers(tables: Tables) -> list[int]:
    """From now on nothing reaches the disk that a transaction does not wait for; the pids of what stands still."""
    tables.rows("CHECKPOINT")
    kinds = ", ".join(f"'{kind}'" for kind in WRITERS)
    pids = [pid for (pid,) in tables.rows(f"SELECT pid FROM pg_stat_activity WHERE backend_type IN ({kinds})")]  # noqa: S608
    assert len(pids) == len(WRITERS)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def crash(postgres: EmbeddedPostgres, how: str, writers: list[int], tables: Tables) -> None:
    """End Postgres without a warning and wait until it serves again."""
    if how == "server":
        postgres.kill()
        assert postgres.start() == postgres.url
        return
    # One process of it is killed, as by the kernel when memory is short. The server ends all others and recovers.
    (before,) = tables.rows("SELECT pg_postmaster_start_time()")
    for pid in writers:
        os.kill(pid, signal.SIGKILL)
    pids = ", ".join(map(str, writers))
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        with contextlib.suppress(psycopg.OperationalError):
            alive = f"SELECT FROM pg_stat_activity WHERE pid IN ({pids})"
            if found := tables.rows(f"SELECT pg_postmaster_start_time() WHERE NOT EXISTS ({alive})"):
                break
        assert time.monotonic() < deadline
    assert found == [before]


@pytest.mark.parametrize("how", ["server", "one process"])
async def test_what_was_shown_before_a_crash_is_not_denied_after_it(
    how: str, postgres: EmbeddedPostgres, settings: ProjectionsSettings
) -> None:
    tables, instance, trigger = Tables(settings), uuid.uuid4(), uuid.uuid4()
    stage = events.StageStarted(workflow_id="w", at=at(1), number=0, name="RunWaitEvent", input={"event": "go"})
    received = events.EventReceived(at=at(2), name="x", request_key=str(uuid.UUID(int=5)), request_digest="digest")
    rejected = events.CommandRejected(at=datetime.now(UTC), code=rejections.ENDED, message="has ended")
    reads: list[Request] = [
        ("GET", f"/instances/{instance}", b"", {}),
        ("GET", f"/instances/{instance}/history", b"", {}),
        ("GET", f"/instances/{instance}/stages/0/history", b"", {}),
        ("GET", "/instances", b"", {}),
        ("GET", "/v2/instances?pageSize=1", b"", {}),
        ("GET", f"/workflows/{WORKFLOW}", b"", {}),
        ("GET", f"/triggers/{trigger}", b"", {}),
        ("GET", f"/triggers/{trigger}/occurrences", b"", {}),
    ]
    writes: list[Request] = [
        ("POST", f"/instances/{instance}/events", {"name": "go"}, {}),
        ("PUT", f"/instances/{instance}/abort", b"", {}),
        ("POST", f"/workflows/{WORKFLOW}/instances", b"", {"Idempotency-Key": "k"}),
    ]

    async with AsyncExitStack() as stack, Log(settings) as log:
        async with running(settings):
            for partition in range(PARTITIONS):
                await log.claim(partition)
            await until(lambda: caught_up(log, tables))
            writers = hold_writers(tables)
            old = await stack.enter_async_context(reading(settings))
            await log.append(0, WORKFLOW, CREATED, cause=1)
            await log.append(1, instance, started(), stage, received, cause=1)
            await log.append(2, trigger, LISTENS, fired(uuid.uuid4(), 1), cause=1)
            await log.append(3, instance, rejected, cause=7)
            await until(lambda: caught_up(log, tables))
            assert (await old.client.call("GET", f"/instances/{instance}")).status == 200
            assert await old.model.event_request(instance, uuid.UUID(int=5)) == ("digest", 1)
        before = tables.positions()
        crash(postgres, how, writers, tables)
        # It did lose what was shown, positions and rows together.
        assert tables.positions()[1] < before[1]
        assert tables.rows("SELECT id FROM instances") == []

        new = await stack.enter_async_context(reading(settings))
        for reader in (old, new):
            assert await statuses(reader, *reads, *writes) == {503}
            with pytest.raises(ReadModelUnavailable):
                await reader.model.event_request(instance, uuid.UUID(int=5))
            with pytest.raises(ReadModelUnavailable):
                await reader.positions.rejection(3, 7)
            assert not reader.positions.ready
        async with running(settings):
            for reader in (old, new):
                found = await eventually(lambda reader=reader: statuses(reader, reads[0]), {503}.__ne__)  # type: ignore[misc]
                assert found == {200}
                assert await statuses(reader, *reads) == {200}
                assert await reader.model.event_request(instance, uuid.UUID(int=5)) == ("digest", 1)
                assert await reader.positions.rejection(3, 7)
