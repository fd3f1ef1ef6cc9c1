"""Our connection to Postgres does what psycopg's does, whatever comes over its socket, and whenever."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from projections.database import connect
from projections.postgres_connection import PostgresConnection
from schemas.settings import PostgresSettings
from tests.read_model_contract import until

ACTIVE = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"
GONE = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"


@pytest.fixture
async def settings(database_url: str) -> PostgresSettings:
    return PostgresSettings(database_url=database_url)


@pytest.fixture
async def connection(settings: PostgresSettings) -> AsyncIterator[PostgresConnection]:
    connection = await connect(settings, "ours", statement_timeout_seconds=30)
    yield connection
    await connection.close()


@pytest.fixture
async def other(settings: PostgresSettings) -> AsyncIterator[PostgresConnection]:
    connection = await connect(settings, "other", statement_timeout_seconds=30)
    yield connection
    await connection.close()


async def value(connection: PostgresConnection, query: str, *parameters: object) -> object:
    row = await (await connection.execute(query.encode(), parameters)).fetchone()
    assert row is not None
    return row[0]


async def test_statements_follow_each_other(connection: PostgresConnection) -> None:
    assert [await value(connection, f"SELECT {n}") for n in range(100)] == list(range(100))


async def test_what_does_not_fit_into_the_socket_arrives_both_ways(connection: PostgresConnection) -> None:
    for length in (10, 20_000_000, 10):
        text = "x" * length
        row = await (await connection.execute("SELECT %s || 'y'", [text])).fetchone()
        assert row == (text + "y",)


async def test_an_error_of_a_statement_leaves_the_connection_as_it_is(connection: PostgresConnection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        await value(connection, "SELECT 1/0")
    assert await value(connection, "SELECT 2") == 2


async def test_whoever_is_canceled_ends_the_statement_and_the_connection(
    connection: PostgresConnection, other: PostgresConnection
) -> None:
    pid = await value(connection, "SELECT pg_backend_pid()")
    statement = asyncio.create_task(value(connection, "SELECT pg_sleep(1000)"))
    await until_true(other, ACTIVE, pid)
    statement.cancel()
    with pytest.raises(asyncio.CancelledError):
        await statement
    assert connection.closed
    with pytest.raises(psycopg.OperationalError):
        await value(connection, "SELECT 1")
    await until_true(other, GONE, pid)


@pytest.mark.parametrize("is_used", [False, True])
async def test_a_connection_that_the_server_ends_is_noticed_at_the_next_statement(
    connection: PostgresConnection, other: PostgresConnection, is_used: bool
) -> None:
    pid = await value(connection, "SELECT pg_backend_pid()")
    statement = asyncio.create_task(value(connection, "SELECT pg_sleep(1000)")) if is_used else None
    if is_used:
        await until_true(other, ACTIVE, pid)
    await value(other, "SELECT pg_terminate_backend(%s)", pid)
    await until_true(other, GONE, pid)
    with pytest.raises(psycopg.OperationalError):
        await (statement or value(connection, "SELECT 1"))
    assert connection.closed


async def test_a_socket_that_nobody_waits_for_is_not_watched(
    connection: PostgresConnection, other: PostgresConnection
) -> None:
    """It would wake the event loop all the time."""
    await connection.execute(b"LISTEN somebody")
    assert connection._watched is not None
    await other.execute(b"NOTIFY somebody, 'a'")
    await until(lambda: connection._watched is None)
    assert await value(connection, "SELECT 1") == 1
    assert [notification.payload async for notification in connection.notifies(timeout=0)] == ["a"]


async def test_notifications_are_heard_between_statements(
    connection: PostgresConnection, other: PostgresConnection
) -> None:
    await connection.execute(b"LISTEN somebody")
    heard = asyncio.ensure_future(anext(aiter(connection.notifies())))
    await other.execute(b"NOTIFY somebody, 'b'")
    assert (await heard).payload == "b"


async def test_a_statement_that_waits_does_not_keep_others_waiting(
    connection: PostgresConnection, other: PostgresConnection
) -> None:
    await connection.execute(b"SELECT pg_advisory_lock(7)")
    waiting = asyncio.create_task(value(other, "SELECT pg_advisory_lock(7) IS NULL"))
    for n in range(10):
        assert await value(connection, f"SELECT {n}") == n
    assert not waiting.done()
    await connection.execute(b"SELECT pg_advisory_unlock(7)")
    await waiting


async def until_true(connection: PostgresConnection, query: str, pid: object) -> None:
    async with asyncio.timeout(20):
        while await value(connection, query, pid) is not True:  # noqa: ASYNC110 - Postgres tells nobody
            await asyncio.sleep(0.01)
