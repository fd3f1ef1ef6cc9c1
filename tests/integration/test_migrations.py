"""Migrations on a real Postgres."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql
from psycopg.conninfo import make_conninfo

from projections.errors import MigrationChanged, RebuildInProgress, SchemaTooNew, TablesInUse, WrongEncoding
from projections.migrate import migrate, shipped
from schemas.settings import ProjectionsSettings
from tests.integration.projection_world import Tables
from tests.integration.waiting import DEADLINE_SECONDS, eventually


@pytest.fixture
def settings(database_url: str, database_schema: str) -> Iterator[ProjectionsSettings]:
    settings = ProjectionsSettings(database_url=database_url, database_schema=database_schema)
    yield settings
    Tables(settings).drop()


def test_a_fresh_schema_gets_all_migrations_once(settings: ProjectionsSettings) -> None:
    assert migrate(settings) == list(shipped())
    assert migrate(settings) == []
    applied = Tables(settings).rows("SELECT name FROM migrations ORDER BY name")
    assert [name for (name,) in applied] == list(shipped())


def test_a_database_that_writes_times_in_another_way_is_migrated(settings: ProjectionsSettings) -> None:
    theirs = replace(settings, database_url=make_conninfo(settings.database_url, options="-c datestyle=German"))
    assert migrate(theirs) == list(shipped())


def test_names_are_numbered_without_gaps() -> None:
    assert [name[:4] for name in shipped()] == [f"{n:04}" for n in range(1, len(shipped()) + 1)]


def test_step_by_step_is_the_same_as_at_once(settings: ProjectionsSettings) -> None:
    steps = {**shipped(), "9001_later.sql": b"ALTER TABLE workflows ADD COLUMN later text"}
    names = list(steps)
    for n in range(len(names)):
        assert migrate(settings, {name: steps[name] for name in names[: n + 1]}) == [names[n]]
    columns = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = '{}'"
    indexes = "SELECT indexname, replace(indexdef, schemaname, '') FROM pg_indexes WHERE schemaname = '{}'"
    shapes = [sorted(Tables(settings).rows(q.format(settings.database_schema))) for q in (columns, indexes)]
    Tables(settings).drop()
    assert migrate(settings, steps) == names
    assert shapes == [sorted(Tables(settings).rows(q.format(settings.database_schema))) for q in (columns, indexes)]


def test_concurrent_calls_take_turns(settings: ProjectionsSettings) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(settings), range(4)))
    assert sorted(applied) == [[], [], [], list(shipped())]


@pytest.mark.parametrize("limit", ["statement_timeout", "transaction_timeout"])
def test_a_migration_may_take_longer_than_the_database_lets_others(settings: ProjectionsSettings, limit: str) -> None:
    migrate(settings)
    limited = replace(settings, database_url=make_conninfo(settings.database_url, options=f"-c {limit}=200"))
    assert migrate(limited, {**shipped(), "9001_long.sql": b"SELECT pg_sleep(0.4)"}) == ["9001_long.sql"]


@contextmanager
def using_instances(settings: ProjectionsSettings) -> Iterator[None]:
    """A transaction of another program that has read a table."""
    with psycopg.connect(settings.database_url, application_name="backup") as connection:
        connection.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(settings.database_schema, "instances")))
        yield


@pytest.fixture
def later(settings: ProjectionsSettings) -> Callable[[], list[str]]:
    """Applies one migration more than there are, which needs a table for itself."""
    migrate(settings)
    return lambda: migrate(settings, {**shipped(), "9001_later.sql": b"ALTER TABLE instances ADD COLUMN later text"})


async def test_nobody_waits_behind_a_migration_that_a_long_transaction_holds_up(
    settings: ProjectionsSettings,
    later: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("projections.migrate.TOLD_SECONDS", 0.0)

    async def waits() -> bool:
        return "9001_later.sql waits" in caplog.text and "(backup)" in caplog.text

    with using_instances(settings):
        migrating = asyncio.create_task(asyncio.to_thread(later))
        await eventually(waits)
        Tables(settings).rows("SET statement_timeout = 1000; SELECT count(*) FROM instances")
        assert not migrating.done()
    assert await migrating == ["9001_later.sql"]


async def test_a_migration_that_meets_a_long_transaction_is_tried_again(
    settings: ProjectionsSettings,
    later: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("projections.migrate.LOCK_TIMEOUT_SECONDS", 1)
    monkeypatch.setattr("projections.migrate._wait_for_users", lambda *given: None)

    async def is_tried_again() -> bool:
        return "LockNotAvailable" in caplog.text

    with using_instances(settings):
        migrating = asyncio.create_task(asyncio.to_thread(later))
        await eventually(is_tried_again)
    assert await migrating == ["9001_later.sql"]


def test_a_migration_that_waits_for_very_long_says_for_whom(
    settings: ProjectionsSettings, later: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.migrate.MAX_WAIT_SECONDS", 0.0)
    with using_instances(settings), pytest.raises(TablesInUse, match=r"9001_later\.sql .*\(backup\)"):
        later()
    assert later() == ["9001_later.sql"]


def test_a_migration_waits_for_another_for_as_long_as_it_takes(
    settings: ProjectionsSettings, later: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.migrate.LOCK_TIMEOUT_SECONDS", 1)
    long = {**shipped(), "9001_later.sql": b"ALTER TABLE instances ADD COLUMN later text; SELECT pg_sleep(3)"}
    with ThreadPoolExecutor(2) as pool:
        applied = [pool.submit(migrate, settings, long) for _ in range(2)]
        assert sorted(each.result(DEADLINE_SECONDS) for each in applied) == [[], ["9001_later.sql"]]


def test_nothing_is_migrated_during_a_rebuild(settings: ProjectionsSettings, later: Callable[[], list[str]]) -> None:
    with psycopg.connect(settings.database_url, autocommit=True) as rebuilding:
        lock = f"rebuild {settings.database_schema}"
        rebuilding.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (lock,))
        with pytest.raises(RebuildInProgress):
            later()
        assert migrate(settings) == []
    assert later() == ["9001_later.sql"]


def test_a_changed_migration_is_refused(settings: ProjectionsSettings) -> None:
    migrate(settings)
    name = next(iter(shipped()))
    with pytest.raises(MigrationChanged, match=name):
        migrate(settings, {**shipped(), name: b"SELECT 1", "9001_later.sql": b"CREATE TABLE later ()"})
    assert Tables(settings).rows("SELECT to_regclass('later')") == [(None,)]


def test_a_schema_of_a_newer_build_is_refused(settings: ProjectionsSettings) -> None:
    migrate(settings, {**shipped(), "9001_later.sql": b"SELECT 1"})
    with pytest.raises(SchemaTooNew, match=r"9001_later\.sql"):
        migrate(settings)


def test_a_failing_migration_leaves_nothing(settings: ProjectionsSettings) -> None:
    broken = {**shipped(), "9001_broken.sql": b"CREATE TABLE later (); SELECT 1/0"}
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(settings, broken)
    assert Tables(settings).rows("SELECT to_regclass('later')") == [(None,)]
    assert migrate(settings, {**shipped(), "9001_broken.sql": b"CREATE TABLE later ()"}) == ["9001_broken.sql"]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_lacks_characters_is_refused(settings: ProjectionsSettings, encoding: str) -> None:
    name = sql.Identifier(f"t{uuid4().hex[:12]}")
    made = sql.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' TEMPLATE template0").format(name, encoding)
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(made)
        try:
            url = make_conninfo(settings.database_url, dbname=name.as_string()[1:-1])
            with pytest.raises(WrongEncoding, match=encoding):
                migrate(replace(settings, database_url=url))
            with psycopg.connect(url) as other:
                schemas = other.execute(
                    "SELECT nspname FROM pg_namespace WHERE nspname = %s", (settings.database_schema,)
                )
                assert schemas.fetchall() == []
        finally:
            connection.execute(sql.SQL("DROP DATABASE {}").format(name))
