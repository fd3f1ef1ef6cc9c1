"""Our connection to Postgres does what psycopg's does, whatever comes over its socket, and whenever."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
import uvloop
from psycopg.conninfo import make_conninfo

from deploy.embedded.ports import HOST
from projections import prepared
from projections.database import connect
from projections.errors import NoSession
from projections.postgres_connection import PostgresConnection
from schemas.settings import PostgresSettings
from tests.read_model_contract.subjects import DEADLINE_SECONDS, until

ACTIVE = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"
GONE = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
Run = Callable[[Coroutine[Any, Any, None]], None]


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


async def test_all_characters_are_taken_whatever_the_environment_says(
    settings: PostgresSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    connection = await connect(settings, "ours", statement_timeout_seconds=30)
    try:
        row = await (await connection.execute("SELECT %s || '5'", ["€"])).fetchone()
    finally:
        await connection.close()
    assert row == ("€5",)


async def test_values_and_transactions_are_the_same_whatever_the_user_or_the_database_has_set(
    settings: PostgresSettings,
) -> None:
    """As by `ALTER ROLE … SET`, also in what is asked before our parameters are set."""
    theirs = (
        "-c datestyle=German -c timezone=America/St_Johns -c extra_float_digits=-15"
        " -c default_transaction_isolation=serializable"
    )
    url = make_conninfo(settings.database_url, options=theirs)
    connection = await connect(PostgresSettings(database_url=url), "ours", statement_timeout_seconds=30)
    try:
        query = b"SELECT to_timestamp(0), 1234567.125::float8, current_setting('transaction_isolation')"
        row = await (await connection.execute(query)).fetchone()
    finally:
        await connection.close()
    assert row == (datetime(1970, 1, 1, tzinfo=UTC), 1234567.125, "read committed")


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


async def test_a_statement_is_prepared_once_for_each_types_of_its_parameters(connection: PostgresConnection) -> None:
    known = b"SELECT count(*) FROM pg_prepared_statements"
    ((before,),) = await connection.fetch(known, ())
    for values in ((1, 2), (3, 4), (100_000, 5), (None, 6), (7, None)):
        assert await connection.fetch(b"SELECT $1::bigint, $2::int", values) == [values]
    ((after,),) = await connection.fetch(known, ())
    assert after - before == 4
    when, ids = datetime(2026, 3, 1, tzinfo=UTC), [UUID(int=1), UUID(int=2)]
    row = (when, ids, "x\N{SNOWMAN}", None, True, [None, "y"])
    query = b"SELECT $1::timestamptz, $2::uuid[], $3::text, $4::text, $5::bool, $6::text[]"
    assert await connection.fetch(query, row) == [row]
    assert await connection.fetch(b"SELECT WHERE false", ()) == []
    assert await connection.fetch(b"SET LOCAL jit = off", ()) == []


async def test_the_server_keeps_a_bounded_number_of_statements(
    connection: PostgresConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "MAX_STATEMENTS", 3)
    for number in (1, 2, 3, 1, 4, 1, 2, 3):
        assert await connection.fetch(b"SELECT %d" % number, ()) == [(number,)]
    known = await connection.fetch(b"SELECT statement FROM pg_prepared_statements", ())
    assert {text for (text,) in known} >= {"SELECT 2", "SELECT 3"}
    assert len(known) == 3


async def test_a_prepared_statement_that_fails_can_be_run_again(connection: PostgresConnection) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable):
            await connection.fetch(b"SELECT * FROM nowhere", ())
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.fetch(b"SELECT 1 / $1::int", (0,))
        assert await connection.fetch(b"SELECT 1 / $1::int", (1,)) == [(1,)]
    assert not connection.closed


async def test_whoever_is_canceled_ends_a_prepared_statement_and_the_connection(
    connection: PostgresConnection, other: PostgresConnection
) -> None:
    pid = await value(connection, "SELECT pg_backend_pid()")
    statement = asyncio.create_task(connection.fetch(b"SELECT pg_sleep(1000)", ()))
    await until_true(other, ACTIVE, pid)
    statement.cancel()
    with pytest.raises(asyncio.CancelledError):
        await statement
    with pytest.raises(psycopg.OperationalError):
        await connection.fetch(b"SELECT 1", ())
    await until_true(other, GONE, pid)


@pytest.mark.parametrize("is_used", [False, True])
async def test_a_connection_that_the_server_ends_is_noticed_by_a_prepared_statement(
    connection: PostgresConnection, other: PostgresConnection, is_used: bool
) -> None:
    pid = await value(connection, "SELECT pg_backend_pid()")
    await connection.fetch(b"SELECT 1", ())
    statement = asyncio.create_task(connection.fetch(b"SELECT pg_sleep(1000)", ())) if is_used else None
    if is_used:
        await until_true(other, ACTIVE, pid)
    await value(other, "SELECT pg_terminate_backend(%s)", pid)
    await until_true(other, GONE, pid)
    with pytest.raises(psycopg.OperationalError):
        await (statement or connection.fetch(b"SELECT 1", ()))
    assert connection.closed


class Relay:
    """A way to Postgres over TCP, for one connection. Over a Unix socket nobody learns that the other end is gone.

    Args:
        url: of Postgres.
        last_words: what follows what Postgres sends at the end.
    """

    def __init__(self, url: str, last_words: bytes = b""):
        self._url = url
        self._last_words = last_words
        self._parameters = psycopg.conninfo.conninfo_to_dict(url)
        self._server: asyncio.Server | None = None
        self.ended = asyncio.Event()

    async def settings(self) -> PostgresSettings:
        """Begin to listen; returns how to connect."""
        self._server = await asyncio.start_server(self._relay, HOST)
        port = self._server.sockets[0].getsockname()[1]
        return PostgresSettings(database_url=make_conninfo(self._url, host=HOST, hostaddr=None, port=port))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._server is not None
        self._server.close()
        host, port = str(self._parameters["host"]), str(self._parameters.get("port", 5432))
        if host.startswith("/"):
            answers, server = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            answers, server = await asyncio.open_connection(host, int(port))
        asking = asyncio.create_task(self._ask(reader, server))
        while answer := await answers.read(65536):
            writer.write(answer)
        writer.write(self._last_words)
        asking.cancel()
        await asyncio.wait({asking})
        for end in (writer, server):
            end.close()
            await end.wait_closed()
        self.ended.set()

    async def _ask(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while asked := await reader.read(65536):
            server.write(asked)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_over_tcp_a_connection_that_was_ended_while_idle_is_noticed_by_the_next_statement(
    database_url: str, run: Run
) -> None:
    """What is sent to an end that is gone is answered by a reset, behind which there is still something to read."""

    async def scenario() -> None:
        relay = Relay(database_url)
        connection = await connect(await relay.settings(), "ours", statement_timeout_seconds=30)
        other = await connect(PostgresSettings(database_url=database_url), "other", statement_timeout_seconds=30)
        pid = await value(connection, "SELECT pg_backend_pid()")
        await connection.fetch(b"SELECT 1", ())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await value(other, "SELECT pg_terminate_backend(%s)", pid)
            await relay.ended.wait()
            with pytest.raises(psycopg.OperationalError):
                await connection.fetch(b"SELECT 1", ())
        assert connection.closed
        await other.close()

    run(scenario())


async def test_a_pooler_that_says_more_does_not_hide_why_a_connection_ended(
    database_url: str, other: PostgresConnection
) -> None:
    text = b"SFATAL\0C08P01\0Mserver conn crashed?\0\0"
    relay = Relay(database_url, b"E" + (len(text) + 4).to_bytes(4) + text)
    connection = await connect(await relay.settings(), "ours", statement_timeout_seconds=30)
    pid = await value(connection, "SELECT pg_backend_pid()")
    statement = asyncio.create_task(connection.fetch(b"SELECT pg_sleep(1000)", ()))
    await until_true(other, ACTIVE, pid)
    await value(other, "SELECT pg_terminate_backend(%s)", pid)
    with pytest.raises(psycopg.errors.AdminShutdown):
        await statement
    assert connection.closed


async def until_true(connection: PostgresConnection, query: str, pid: object) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await value(connection, query, pid) is not True:  # noqa: ASYNC110 - Postgres tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("damage", "query"), [(b"PREPARE ours_2 AS SELECT 1", b"SELECT 2"), (b"DEALLOCATE ours_1", b"SELECT 1")]
)
async def test_a_session_with_statements_of_others_is_told_from_other_faults(
    connection: PostgresConnection, damage: bytes, query: bytes
) -> None:
    assert await connection.fetch(b"SELECT 1", ()) == [(1,)]
    await connection.execute(damage)
    with pytest.raises(NoSession, match="pool_mode=session"):
        await connection.fetch(query, ())


async def test_two_connections_never_share_a_process_of_the_server(
    settings: PostgresSettings, connection: PostgresConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pooled(conninfo: str, **options: object) -> PostgresConnection:
        """What a pooler does that lends a process for each transaction."""
        shared = PostgresConnection(connection.pgconn)
        await shared.set_autocommit(True)
        return shared

    with monkeypatch.context() as patched:
        patched.setattr(PostgresConnection, "connect", pooled)
        with pytest.raises(NoSession, match="pool_mode=session"):
            await connect(settings, "second", statement_timeout_seconds=30)
    assert connection.closed
    await (await connect(settings, "third", statement_timeout_seconds=30)).close()
