"""`orchestration verify` on a real Kafka and a real Postgres."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Final

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from deploy.cli import main
from deploy.embedded.ports import HOST
from projections.rebuild import rebuild
from projections.store import PostgresStore
from projections.verification import verify
from projections.verification.read_model import PostgresSnapshot
from projections.verification.skipped import Skipped
from projections.verification.tables import TABLES
from schemas import events
from schemas.settings import KafkaSettings, ProjectionsSettings, environment_of
from tests.happened import CREATED, LISTENS, WORKFLOW, at, fired, run, started
from tests.integration.projection_world import Log, Tables, prepared, until
from tests.integration.test_projections import caught_up, running
from tests.reserved_ports import reserved_port

PARTITIONS: Final = 4
INSTANCE: Final = uuid.UUID(int=77)


@pytest.fixture
async def settings(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, database_schema: str
) -> AsyncIterator[ProjectionsSettings]:
    names = (kafka_bootstrap_servers, database_url, topic_prefix, database_schema)
    async with prepared(
        *names, partitions=PARTITIONS, max_batch_events=7, rejections_retention_seconds=10**9
    ) as settings:
        yield settings


@pytest.fixture
def tables(settings: ProjectionsSettings) -> Tables:
    return Tables(settings)


@pytest.fixture
async def log(settings: ProjectionsSettings) -> AsyncIterator[Log]:
    """Something of everything in the log."""
    async with Log(settings) as log:
        for partition in range(PARTITIONS):
            await log.claim(partition)
        await log.append(0, WORKFLOW, CREATED, cause=0)
        for n in range(1, 21):
            await log.append(n % PARTITIONS, uuid.uuid4(), *run(n), cause=n)
        call = events.ActivityStarted(at=at(2), stage=0, index=0, name="GetWallet", input={"n": 10**30})
        failed = events.ActivityFailed(at=at(3), stage=0, index=0, attempt=1, error="x\0", retry_at=at(4.000001))
        stage = events.StageStarted(workflow_id="w", at=at(1), number=0, name="RunSend", input={"text": "ü\u2028"})
        sent = events.EventReceived(at=at(3), name="x", request_key=str(uuid.UUID(int=5)), request_digest="d")
        await log.append(1, INSTANCE, started(), stage, call, failed, sent, cause=30)
        await log.append(1, INSTANCE, events.CommandRejected(at=at(9), code="ENDED", message="has ended"), cause=31)
        await log.append(2, uuid.UUID(int=78), LISTENS, fired(uuid.UUID(int=79), 1), cause=40)
        yield log


async def command(settings: KafkaSettings, *arguments: str) -> Result:
    """Run the command as a user does. It has an event loop of its own, so it gets a thread of its own."""
    return await asyncio.to_thread(CliRunner(env=environment_of(settings)).invoke, main, ["verify", *arguments])


async def test_equal_under_traffic(settings: ProjectionsSettings, log: Log, tables: Tables) -> None:
    stop, count = asyncio.Event(), 0

    async def write() -> None:
        nonlocal count
        while not stop.is_set():
            count += 1
            await log.append(count % PARTITIONS, uuid.uuid4(), *run(count), cause=100 + count)

    async with running(settings):
        writing = asyncio.create_task(write())
        ends: list[int] = []
        await until(lambda: tables.rows("SELECT id FROM instances LIMIT 1"))
        for max_bytes in (2**28, 2**28, 5000):
            await until(lambda before=count: count > before + 20)  # type: ignore[misc]
            report = await verify(settings, max_bytes=max_bytes)
            assert report.equal, list(report.lines())
            ends.append(sum(report.positions.values()))
        stop.set()
        await writing
    assert ends == sorted(set(ends))


DAMAGES: Final = {
    "workflows": "UPDATE workflows SET definition = definition || ' '",
    "instances": "UPDATE instances SET updated_at = updated_at + interval '1 microsecond' WHERE terminated_at IS NULL",
    "stages": "DELETE FROM stages WHERE ctid = (SELECT max(ctid) FROM stages)",
    "activities": "UPDATE activities SET next_execution = NULL",
    "event_requests": "UPDATE event_requests SET request = 'e'",
    "triggers": "UPDATE triggers SET vars = NULL",
    "occurrences": "UPDATE occurrences SET id = gen_random_uuid()",
    "rejections": "DELETE FROM rejections",
    "positions": "UPDATE positions SET cause = cause + 1 WHERE partition = 1",
}


async def test_each_difference_is_found_in_each_table(settings: ProjectionsSettings, log: Log, tables: Tables) -> None:
    async with running(settings):
        await until(lambda: caught_up(log, tables))
    equal = await command(settings)
    assert (equal.exit_code, equal.stdout.splitlines()[0].split(":")[0]) == (0, "equal"), equal.output
    for table, damage in DAMAGES.items():
        tables.rows(f"CREATE TABLE whole AS TABLE {table}")
        tables.rows(damage)
        report = await verify(settings)
        found = {difference.table for difference in report.differences}
        assert found == {table}, list(report.lines())
        assert len(report.differences) == (2 if table == "occurrences" else 1)
        tables.rows(f"DELETE FROM {table}")  # noqa: S608
        tables.rows(f"INSERT INTO {table} TABLE whole")
        tables.rows("DROP TABLE whole")
    store = PostgresStore(settings)
    await store.merge_counts()
    await store.close()
    tables.rows("UPDATE past_counts SET counts[1] = counts[1] + 1 WHERE what = 'started'")
    lines = list((await verify(settings)).lines())
    place = f"counts, what started, day 2026-03-01, bucket 0, workflow {WORKFLOW}:"
    assert lines[lines.index(place) + 1] == "  count: the log says 21, Postgres says 22"
    tables.rows(DAMAGES["instances"])
    different = await command(settings)
    assert different.exit_code == 1
    assert different.stdout.splitlines()[:2] == [
        f"instances, id {INSTANCE}:",
        "  updated_at: the log says 2026-03-01T10:00:03+00:00, Postgres says 2026-03-01T10:00:03.000001+00:00",
    ]


async def test_a_rebuild_in_the_middle_is_noticed(
    settings: ProjectionsSettings, log: Log, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings):
        await until(lambda: caught_up(log, tables))
    rows, rebuilding = PostgresSnapshot.rows, list[asyncio.Task[None]]()

    async def rebuilt(self: PostgresSnapshot, table: str, skipped: Skipped) -> AsyncIterator[object]:
        if not rebuilding:
            relation = tables.rows("SELECT 'positions'::regclass::oid")
            # It ends when this snapshot does, since it drops the tables that are looked at.
            rebuilding.append(asyncio.create_task(rebuild(settings)))
            await until(lambda: tables.rows("SELECT 'positions'::regclass::oid") != relation)
        async for some in rows(self, table, skipped):
            yield some

    monkeypatch.setattr(PostgresSnapshot, "rows", rebuilt)
    report = await verify(settings)
    assert report.equal, list(report.lines())
    await rebuilding[0]


async def test_what_cannot_be_looked_at_has_a_status_of_its_own(settings: ProjectionsSettings) -> None:
    port = reserved_port()
    postgres = f"postgresql://postgres@{HOST}:{port}/postgres"
    for changed, message in (
        (replace(settings, topic_prefix="nothing."), "topic nothing.events does not exist"),
        (replace(settings, database_schema="nothing"), "schema nothing has no read model of this build: run"),
        (replace(settings, database_url=postgres), "connection failed"),
        (replace(settings, kafka_bootstrap_servers=f"{HOST}:{port}"), f"none of {HOST}:{port} answers"),
    ):
        result = await command(changed)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert result.stderr.startswith(f"Error: {message}"), result.stderr


def test_columns_are_those_of_the_tables(settings: ProjectionsSettings, tables: Tables) -> None:
    """A column that a migration adds must not be forgotten."""
    found = tables.rows(
        "SELECT table_name, array_agg(column_name::text ORDER BY column_name) FROM information_schema.columns"  # noqa: S608
        f" WHERE table_schema = '{settings.database_schema}'"
        # When a rejection came is not told by the log, nor what was deleted.
        " AND (table_name, column_name) NOT IN (('rejections', 'stored_at'), ('instances', 'restored'))"
        " GROUP BY table_name"
    )
    others = ("migrations", "positions", "caught_up", "counts", "past_counts", "retention")
    assert {name: columns for name, columns in found if name not in others} == {
        table.name: sorted(table.columns) for table in TABLES.values()
    }
