"""`orchestration doctor` on a real Kafka and a real Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner, Result
from msgspec import Struct
from msgspec.structs import replace
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy.cli import main
from deploy.doctor import postgres
from deploy.embedded.ports import HOST
from deploy.embedded.postgres import SETTINGS, EmbeddedPostgres
from projections.database import connect
from projections.migrate import migrate
from schemas.settings import PostgresSettings, ProjectionsSettings, environment_of, variable
from tests.chaos.disk import SmallDisk, can_mount
from tests.integration.installation import Installation
from tests.integration.waiting import eventually
from tests.reserved_ports import reserved_port


async def run(settings: Struct, **more: str) -> Result:
    """Run the command as a user does. It has an event loop of its own, so it gets a thread of its own."""
    environment = {**environment_of(settings), **{variable(name): value for name, value in more.items()}}
    return await asyncio.to_thread(CliRunner(env=environment).invoke, main, ["doctor"])


def surprises(result: Result) -> list[str]:
    """Warnings, but for a broker of its own and no authorization: a test is not production."""
    warnings = [line for line in result.stdout.splitlines() if line.startswith("warning")]
    return [line for line in warnings if "one replica" not in line and "AUTH_ENABLED" not in line]


async def test_an_installation_that_works(installation: Installation) -> None:
    assert installation.sandbox is not None
    looks = partial(run, installation.settings, stack_url=installation.sandbox.url)
    # What the tests before have begun comes to rest.
    result = await eventually(looks, lambda result: not surprises(result))
    lines = result.stdout.splitlines()
    assert result.exit_code == 1, result.output
    assert [line for line in lines if line.startswith("wrong")] == []
    prefix = installation.settings.topic_prefix
    for about in (
        "brokers: all 1 answer",
        f"group {prefix}orchestration-engine: 1 members, stable",
        f"transactional ids {prefix}orchestration-publisher-…: may be used",
        f"schema {installation.settings.database_schema}: all ",
        f"topic {prefix}commands: ",  # how many wait depends on the tests before
        "read model: ",
        "clock: ",
        f"stack {installation.sandbox.url}: answers",
    ):
        assert any(line.startswith(f"ok       {about}") for line in lines), (about, result.stdout)


async def test_what_is_missing_or_away_is_said(installation: Installation) -> None:
    port = reserved_port()
    nothing = replace(installation.settings, topic_prefix="nothing.", database_schema="nothing")
    result = await run(nothing)
    assert result.exit_code == 2
    assert "wrong    topic nothing.events: does not exist → run `orchestration topics create`" in result.stdout
    assert "wrong    schema nothing: has no read model → run `orchestration migrate`" in result.stdout
    away = ProjectionsSettings(
        kafka_bootstrap_servers=f"{HOST}:{port}", database_url=f"postgresql://postgres@{HOST}:{port}/postgres"
    )
    result = await run(away, stack_url=f"http://{HOST}:{port}")
    assert result.exit_code == 2
    assert f"wrong    Kafka at {HOST}:{port}: can't be reached: " in result.stdout
    assert "wrong    Postgres: can't be asked: " in result.stdout
    assert f"wrong    stack http://{HOST}:{port}: can't be reached: " in result.stdout


async def test_a_postgres_that_lets_nobody_write_is_told_from_what_the_doctor_asks_for(database_url: str) -> None:
    for value, expected in (("off", False), ("on", True)):
        url = make_conninfo(database_url, options=f"-c default_transaction_read_only={value}")
        facts = await postgres.look(PostgresSettings(database_url=url))
        assert facts.read_only is expected


async def test_a_standby_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "wal_level", "replica")
    server = EmbeddedPostgres(tmp_path)
    try:
        settings = PostgresSettings(database_url=await asyncio.to_thread(server.start))
        await asyncio.to_thread(migrate, settings)
        await asyncio.to_thread(server.stop)
        (tmp_path / "data" / "standby.signal").touch()
        await asyncio.to_thread(server.start)
        facts = await postgres.look(settings)
    finally:
        await asyncio.to_thread(server.kill)
    assert facts.standby
    assert facts.applied
    assert facts.readable is None


@pytest.mark.skipif(not can_mount(), reason="only root can make a small disk, and only on Linux")
async def test_a_full_disk_is_told(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "disk", 128 * 1024 * 1024)
    disk.mount()
    server = EmbeddedPostgres(tmp_path / "disk" / "postgres")
    try:
        settings = PostgresSettings(database_url=await asyncio.to_thread(server.start))
        assert (await postgres.look(settings)).no_room is None
        disk.fill()
        assert "No space left on device" in str((await postgres.look(settings)).no_room)
        disk.free()
        assert (await postgres.look(settings)).no_room is None
    finally:
        await asyncio.to_thread(server.kill)
        disk.unmount()


async def test_the_question_about_room_writes_a_file_and_no_more(database_url: str) -> None:
    """Also where nobody may make a small disk: a limit of such files is reached, which is not a full disk."""
    url = make_conninfo(database_url, options="-c temp_file_limit=500kB")
    connection = await connect(PostgresSettings(database_url=url), "test", statement_timeout_seconds=10)
    await connection.execute(postgres.LITTLE_MEMORY)
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
        await connection.execute(postgres.SPILL)
    await connection.close()
    assert (await postgres.look(PostgresSettings(database_url=url))).no_room is None


async def test_what_holds_up_postgres_is_seen(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT 1")
        facts = await postgres.look(PostgresSettings(database_url=database_url))
    assert facts.growing.open_seconds > 0
    assert facts.growing.oldest_id > 0
    assert facts.growing.unread_wal == {}


async def test_limits_of_the_user_or_the_database_are_told(database_url: str) -> None:
    assert (await postgres.look(PostgresSettings(database_url=database_url))).limits == {}
    url = make_conninfo(database_url, options="-c lock_timeout=2s -c statement_timeout=3s -c idle_session_timeout=1min")
    facts = await postgres.look(PostgresSettings(database_url=url))
    assert facts.limits == {"lock_timeout": 2000, "idle_session_timeout": 60_000}


async def test_connections_are_counted_by_the_limit_of_the_database(database_url: str) -> None:
    async with new_database(database_url, limit=5) as url:
        assert (await postgres.look(PostgresSettings(database_url=url))).free_connections == 4
    async with new_database(database_url, limit=-1) as url:
        assert (await postgres.look(PostgresSettings(database_url=url))).free_connections > 4


@asynccontextmanager
async def new_database(url: str, *, limit: int) -> AsyncIterator[str]:
    """A database that takes so many connections; its URL."""
    name = f"t{uuid4().hex[:12]}"

    def command(text: str, **parts: Any) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL(text).format(name=sql.Identifier(name), **parts))

    await asyncio.to_thread(command, "CREATE DATABASE {name} CONNECTION LIMIT {limit}", limit=sql.Literal(limit))
    try:
        yield make_conninfo(url, dbname=name)
    finally:
        await asyncio.to_thread(command, "DROP DATABASE {name} WITH (FORCE)")
