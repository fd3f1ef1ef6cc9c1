"""Migrations on a real Postgres."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql
from psycopg.conninfo import make_conninfo

from projections.errors import MigrationChanged, SchemaTooNew, WrongEncoding
from projections.migrate import migrate, shipped
from schemas.settings import ProjectionsSettings
from tests.integration.projection_world import Tables


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
