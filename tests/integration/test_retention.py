"""Instances that ended long ago are deleted: the projections' process on a real Kafka and a real Postgres."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from projections import retention
from projections.database import PARSED_ONCE, Postgres
from projections.metrics import Metrics
from projections.migrate import migrate
from projections.ports import Connection
from projections.postgres_connection import PostgresConnection
from projections.queries.positions import ReadPositions
from projections.queries.read_model import ReadModel
from projections.queries.retryable import MAX_REQUESTS
from projections.rebuild import rebuild
from projections.retention import FIRST, Retention
from projections.sql import statement
from projections.store import PostgresStore
from projections.verification import verify
from schemas import events
from schemas.settings import ProjectionsSettings
from tests.happened import CREATED, START, WORKFLOW, at, run, started
from tests.integration.projection_world import Log, Tables, Writer, planning, prepared, until
from tests.integration.test_pages import below
from tests.integration.test_projections import caught_up, running
from tests.integration.waiting import DEADLINE_SECONDS
from tests.retention_contract import OF_INSTANCES, no_log
from tests.store_contract import retry

PARTITIONS = 2
DAYS = 30
LATER = START + timedelta(days=DAYS, hours=1)
"""When what ended with the beginning has to go."""


@pytest.fixture
async def settings(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, database_schema: str
) -> AsyncIterator[ProjectionsSettings]:
    names = (kafka_bootstrap_servers, database_url, topic_prefix, database_schema)
    days: dict[str, Any] = {f"retention_{outcome}_days": DAYS for outcome in ("succeeded", "failed")}
    async with prepared(*names, partitions=PARTITIONS, **days) as settings:
        yield settings


@pytest.fixture
def tables(settings: ProjectionsSettings) -> Tables:
    return Tables(settings)


def ended(seconds: float = 0, error: str | None = None, **variables: str) -> list[Any]:
    """The events of an instance that is found by its variables, and has ended."""
    first, *stage, end = run(seconds)
    return [replace(first, variables=variables), *stage, replace(end, error=error)]


def clock(at: datetime) -> Any:
    return at.timestamp


def of(tables: Tables, table: str) -> set[uuid.UUID]:
    column = "id" if table == "instances" else "instance_id"
    return {id for (id,) in tables.rows(f"SELECT {column} FROM {table}")}  # noqa: S608


async def test_what_ended_long_ago_goes_while_everything_runs(
    settings: ProjectionsSettings,
    tables: Tables,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "projections.retention")
    monkeypatch.setattr(retention, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(retention, "FIRST_LIMIT", 3)
    gone = {uuid.uuid4(): ended(n, "no" if n % 2 else None, order=f"A-{n}") for n in range(20)}
    kept = {
        uuid.uuid4(): ended(0, events.CANCELED),  # no setting
        uuid.uuid4(): ended(timedelta(hours=2).total_seconds()),  # too young
        uuid.uuid4(): [started(order="A-1")],  # runs
    }
    async with Log(settings) as log:
        await log.append(0, WORKFLOW, CREATED, cause=0)
        for n, (id, happened) in enumerate([*gone.items(), *kept.items()]):
            await log.append(n % PARTITIONS, id, *happened, cause=n + 1)
        async with running(settings, clock(LATER)) as process:
            await until(lambda: process.count("deleted_instances_total", outcome="failed") == 10)
            await until(lambda: process.count("deleted_instances_total", outcome="succeeded") == 10)
            # Everything goes on.
            new = uuid.uuid4()
            await log.append(0, new, *run(99), cause=90)
            await until(lambda: caught_up(log, tables))
    assert of(tables, "instances") == {*kept, new}
    for table in OF_INSTANCES:
        assert of(tables, table) <= {*kept, new}, table
    until_when = f"{LATER - timedelta(days=DAYS):%Y-%m-%d %H:%M}"
    assert f"10 instances that had failed before {until_when} UTC are deleted" in caplog.text
    report = await verify(settings)
    assert report.equal, list(report.lines())
    tables.rows("DELETE FROM instances WHERE created_at = (SELECT max(created_at) FROM instances)")
    assert not (await verify(settings)).equal


async def test_a_rebuild_brings_nothing_back_unless_it_is_kept_for_ever(
    settings: ProjectionsSettings, tables: Tables
) -> None:
    old, young, late = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    keyed = [replace(ended()[0], request_digest="digest"), *ended()[1:]]
    async with Log(settings) as log:
        await log.append(0, WORKFLOW, CREATED, cause=0)
        await log.append(0, old, *keyed, cause=1)
        await log.append(0, young, *ended(timedelta(hours=2).total_seconds()), cause=2)
        # Its retry is long behind its end: to delete it before that is read would hide it.
        await log.append(0, late, *ended(0, "no"), cause=3)
        await log.append(0, late, retry(at=LATER), cause=4)
        async with running(replace(settings, retention_succeeded_days=None, retention_failed_days=None)):
            await until(lambda: caught_up(log, tables))
    await rebuild(settings, clock=clock(LATER))
    assert of(tables, "instances") == {young, late}
    assert tables.rows("SELECT * FROM deleted_instances") == [(old, "digest")]
    assert tables.rows("SELECT id FROM instances WHERE restored") == []
    report = await verify(settings)
    assert report.equal, list(report.lines())
    tables.rows("DELETE FROM deleted_instances")
    (difference,) = (await verify(settings)).differences
    assert list(difference.lines()) == [f"deleted_instances, id {old}: the row is missing in Postgres"]
    await rebuild(replace(settings, retention_succeeded_days=None))
    assert of(tables, "instances") == {old, young, late}
    assert tables.rows("SELECT * FROM deleted_instances") == []
    assert (await verify(settings)).equal


async def test_verify_finds_nothing_whatever_part_of_a_sweep_is_done(
    settings: ProjectionsSettings, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_LIMIT", 1)
    monkeypatch.setattr(retention, "FIRST_LIMIT", 1)
    store, left = PostgresStore(settings, "retention"), list[int]()

    async def look(seconds: float) -> None:
        left.append(len(of(tables, "instances")))
        report = await verify(settings)
        assert report.equal, list(report.lines())

    async with Log(settings) as log:
        await log.append(0, WORKFLOW, CREATED, cause=0)
        for n in range(6):
            begin, *rest = ended(n, "no" if n % 2 else None)
            keyed = replace(begin, request_digest=None if n == 3 else f"digest {n}")
            await log.append(n % PARTITIONS, uuid.uuid4(), keyed, *rest, cause=n + 1)
        async with running(replace(settings, retention_succeeded_days=None, retention_failed_days=None)):
            await until(lambda: caught_up(log, tables))
            days: dict[Any, int] = {"succeeded": DAYS, "failed": DAYS}
            sweeping = Retention(store, days, Metrics(CollectorRegistry()), no_log, clock(LATER), look)
            assert await sweeping.sweep()
    await store.close()
    assert set(left) >= {5, 4, 3, 2, 1, 0}


class World:
    """A read model without a log."""

    def __init__(self, settings: ProjectionsSettings):
        self.settings, self.tables = settings, Tables(settings)
        self.writer = Writer(settings)
        self.store = PostgresStore(settings, "retention")
        self.old = [uuid.UUID(int=100 + n) for n in range(6)]
        self.young = uuid.UUID(int=200)

    async def delete(self, limit: int = 10) -> Any:
        return await self.store.delete_ended("failed", LATER, timedelta(days=1), FIRST, limit)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """Another connection, in a transaction."""
        connection = await Postgres(self.settings).connect("test", statement_timeout_seconds=20.0)
        try:
            await connection.fetch(b"BEGIN", ())
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def deleting(self) -> AsyncIterator[Connection]:
        """While a deletion of all old instances is not committed."""
        async with self.connected() as connection:
            parameters = ("failed", LATER, *FIRST, 100, 86400, MAX_REQUESTS)
            ((deleted, *_),) = await connection.fetch(statement("delete_ended"), parameters)
            assert deleted == len(self.old)
            yield connection


@pytest.fixture
async def world(database_url: str, database_schema: str) -> AsyncIterator[World]:
    settings = ProjectionsSettings(database_url=database_url, database_schema=database_schema)
    migrate(settings)
    world = World(settings)
    await world.writer.write((WORKFLOW, CREATED))
    for n, id in enumerate(world.old):
        await world.writer.write(*((id, event) for event in ended(n, "no", order="A-1")))
    await world.writer.write(*((world.young, event) for event in run(40 * 86400)))
    world.tables.catch_up()
    yield world
    await world.store.close()
    await world.writer.store.close()
    world.tables.drop()


async def test_readers_and_projectors_do_not_wait_for_a_batch(world: World) -> None:
    """Readers see the state of before or after it, never a part."""
    model, positions = ReadModel(world.settings), ReadPositions(world.settings)
    await model.open()
    async with world.deleting() as connection:
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert len((await model.instances_page(limit=9)).rows) == 7
            assert await model.history(world.old[0]) is not None
            new = uuid.uuid4()
            await world.writer.write(*((new, event) for event in run(99)))
            assert await model.instance(new) is not None
            assert await world.delete() is None, "one process at a time"
        await connection.fetch(b"COMMIT", ())
    assert {row.id for row in (await model.instances_page(limit=9)).rows} == {world.young, new}
    done = await world.delete()
    assert (done.deleted, done.reached) == (0, None)
    await positions.close()
    await model.close()


@pytest.mark.parametrize("commits", [True, False])
async def test_a_retry_waits_for_a_deletion_under_way_and_shows_the_instance(world: World, commits: bool) -> None:
    id, when = world.old[2], at(50 * 86400)
    stage = events.StageStarted(workflow_id="w", at=when, number=0, name="RunNoop", input={})
    async with world.deleting() as connection:
        writing = asyncio.create_task(world.writer.write((id, retry(at=when)), (id, stage)))
        await until(
            lambda: world.tables.rows(
                "SELECT 1 FROM pg_stat_activity"
                " WHERE application_name = 'orchestration projections' AND wait_event_type = 'Lock'"
            )
        )
        await connection.fetch(b"COMMIT" if commits else b"ROLLBACK", ())
        await writing
    shown = world.tables.rows("SELECT id, created_at, retries, restored FROM instances WHERE state = 'running'")
    assert shown == ([(id, when, 1, True)] if commits else [(id, at(2), 1, None)])
    assert id in of(world.tables, "stages")


async def test_an_instance_that_is_retried_in_this_moment_is_left_alone(world: World) -> None:
    async with world.connected() as connection:
        await connection.fetch(
            b"UPDATE instances SET state = 'running', terminated_at = NULL WHERE id = $1", (world.old[2],)
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            done = await world.delete()
        assert done.deleted == 5
        await connection.fetch(b"COMMIT", ())
    assert of(world.tables, "instances") == {world.old[2], world.young}
    assert of(world.tables, "stages") == {world.old[2], world.young}
    assert of(world.tables, "instance_keys") == {world.old[2]}


async def test_whoever_is_cut_off_between_batches_leaves_whole_instances(world: World) -> None:
    cut = asyncio.Event()

    async def never(seconds: float) -> None:
        cut.set()
        await asyncio.Event().wait()

    def new(sleep: Any) -> Retention:
        made = Retention(world.store, {"failed": DAYS}, Metrics(CollectorRegistry()), no_log, clock(LATER), sleep)
        made._limit = 2
        return made

    sweeping = asyncio.create_task(new(never).sweep())
    await cut.wait()
    sweeping.cancel()
    left = {*world.old[2:], world.young}
    assert of(world.tables, "instances") == of(world.tables, "stages") == left

    async def at_once(seconds: float) -> None:
        assert seconds > 0

    assert await new(at_once).sweep()
    assert of(world.tables, "instances") == of(world.tables, "stages") == {world.young}


async def test_nothing_is_deleted_before_the_read_model_has_caught_up(world: World) -> None:
    world.tables.rows("DELETE FROM caught_up")
    sweeps = Retention(world.store, {"failed": DAYS}, Metrics(CollectorRegistry()), no_log, clock(LATER))
    assert not await sweeps.sweep()
    assert {*world.old} <= of(world.tables, "instances")
    world.tables.catch_up()
    assert await sweeps.sweep()
    assert of(world.tables, "instances") == {world.young}


FILL = """
    INSERT INTO instances (id, workflow_id, created_at, updated_at, terminated_at, state)
        SELECT gen_random_uuid(), gen_random_uuid(), now(), now(), now(), 'succeeded' FROM generate_series(1, 2000) n;
    INSERT INTO instance_keys SELECT n, created_at, id FROM instances, generate_series(1, 3) n;
    INSERT INTO stages SELECT id, 0, '', '', now() FROM instances;
    INSERT INTO activities SELECT id, 0, 0, '', '', NULL, 1, now() FROM instances;
    ANALYZE;
"""
STATISTICS = {"new tables": "SELECT 1", "empty tables": "ANALYZE", "rows": FILL}


@pytest.fixture(params=STATISTICS, ids=str)
async def planner(
    request: pytest.FixtureRequest, database_url: str, database_schema: str
) -> AsyncIterator[PostgresConnection]:
    """A connection that plans as those of the projections do."""
    settings = ProjectionsSettings(database_url=database_url, database_schema=database_schema)
    migrate(settings)
    async with planning(settings, STATISTICS[request.param], PARSED_ONCE) as connection:
        yield connection
    Tables(settings).drop()


async def test_the_next_ones_and_all_that_is_theirs_are_found_by_indexes(planner: PostgresConnection) -> None:
    cursor = await planner.execute(b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + statement("delete_ended"))
    (((explained,),),) = await cursor.fetchall()
    nodes = list(below(explained["Plan"]))
    assert all("Index Cond" in node for node in nodes if "Scan" in node["Node Type"] and "Relation Name" in node)
    scans = {node["Relation Name"]: node for node in nodes if "Scan" in node["Node Type"] and "Relation Name" in node}
    (looks,) = (node for node in nodes if node.get("Index Name") == "instances_in_state")
    assert "ROW(created_at, id)" in looks["Index Cond"]
    assert "created_at <" in looks["Index Cond"]
    assert not [node for node in nodes if node["Node Type"] in ("Seq Scan", "Hash Join", "Bitmap Heap Scan")]
    for table in OF_INSTANCES:
        index = "keys_of_instance" if table == "instance_keys" else f"{table}_pkey"
        assert scans[table]["Index Name"] == index
        assert "instance_id = ANY" in scans[table]["Index Cond"]


async def test_who_looks_for_what_is_deleted_reads_nothing_where_nothing_was(planner: PostgresConnection) -> None:
    explain = b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement("keyed_instances").replace(
        b"$1", b"'{00000000-0000-0000-0000-000000000000}'"
    )
    looks = []
    for _ in range(2):
        (((explained,),),) = await (await planner.execute(explain)).fetchall()
        nodes = [node for node in below(explained["Plan"]) if node.get("Relation Name") == "deleted_instances"]
        looks.append([node["Actual Loops"] for node in nodes])
        await planner.execute("INSERT INTO retention VALUES ('failed', now()) ON CONFLICT DO NOTHING")
    assert looks == [[0], [1]]
