"""Connections to Postgres: what all of ours have in common, and a session that reconnects by itself.

psycopg's messages may hold parts of rows; they go to the log, never to a client of the API.
"""

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from projections.deadlines import Deadline
from projections.errors import NoSession
from projections.ports import Connection, Database, Listener, Row
from projections.postgres_connection import PostgresConnection
from schemas.settings import PostgresSettings, SettingsError, variable

CONNECT_TIMEOUT_SECONDS: Final = 3
"""Without it a connection attempt to a host that drops packets would wait for minutes."""

NETWORK: Final = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""libpq's parameters for all our connections. Without them a server that vanished would hold up its users for hours."""

SESSION: Final = {
    "timezone": "UTC",
    "datestyle": "ISO",  # psycopg reads no other
    "extra_float_digits": "1",
    # Projectors write into the same rows. With another one, they would end each other's transactions all the time.
    "default_transaction_isolation": "read committed",
    "jit": "off",
}
"""Session parameters of all our connections, whatever the user, the database or the environment have."""

PARSED_ONCE: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
}
"""Session parameters for connections that only run prepared statements over primary keys. Without them a plan that was
made while the tables were empty reads whole tables once they have grown."""

LIFT_LIMITS: Final = sql.SQL(
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('lock_timeout', 'transaction_timeout',"
    " 'idle_in_transaction_session_timeout', 'idle_session_timeout')"
)
"""For connections that have a long transaction, or hold a lock while others work: limits that the user or the database
has by default would end them in the middle. Which of them there are depends on the version."""

SERVER_PROCESS: Final = sql.SQL(
    "SELECT pid, extract(epoch FROM backend_start) FROM pg_stat_activity WHERE pid = pg_backend_pid()"
)
"""Which process of the server answers; its number alone comes again, as after a restart in a container. The time is a
number, since this is asked before our parameters are set: psycopg reads times in the style ISO alone."""
_SESSIONS: Final = weakref.WeakValueDictionary[Row, PostgresConnection]()
"""Our connections, by the process of the server that answered when they were made."""

NO_CONNECTION: Final = (
    "Postgres does not answer, or none is free (see its max_connections, or the pool size of a connection pooler)"
)
"""What it may be when no connection comes. A server without a free one mostly says so itself, a pooler lets us wait."""

FAULTS: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidColumnReference,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InsufficientPrivilege,
    OSError,
    TimeoutError,
)
"""Postgres is away, too slow, in trouble or not migrated yet: trying again may help. What is not supported is a
statement that was prepared before a migration changed the type of a column; a new connection prepares it again. A right
that was taken away may be given back. A column reference is invalid while a backup is restored: `ON CONFLICT` misses a
key, which comes last."""


def conninfo(settings: PostgresSettings, name: str) -> str:
    """The connection string with our deadlines. What the URL itself sets is kept.

    Raises:
        SettingsError: the setting is not a connection string. libpq's own text may repeat the password.
    """
    try:
        given = psycopg.conninfo.conninfo_to_dict(settings.database_url)
    except psycopg.ProgrammingError:
        raise SettingsError(f"setting {variable('database_url')} is not a libpq URL or key-value string") from None
    # The encoding also where the environment or the user has another one, which lacks characters.
    ours: dict[str, Any] = {**NETWORK, "application_name": f"orchestration {name}", "client_encoding": "UTF8"}
    return make_conninfo(settings.database_url, **{key: value for key, value in ours.items() if key not in given})


async def _claim_session(connection: PostgresConnection) -> None:
    """Make sure that the server's process is for this connection alone.

    A pooler that lends the same one for each transaction mixes up prepared statements, notifications and parameters:
    with another schema in the same database, even tables. It is not noticed if others took the process away meanwhile.
    """
    (process,) = await (await connection.execute(SERVER_PROCESS)).fetchall()
    other = _SESSIONS.get(process)
    if other is not None and not other.closed:
        raise NoSession
    _SESSIONS[process] = connection


async def configure(connection: PostgresConnection, schema: str, parameters: Mapping[str, str]) -> None:
    """Set the session's schema and parameters in one round trip."""
    await connection.execute(setting({"search_path": f'"{schema}"', **SESSION, **parameters}))


def setting(parameters: Mapping[str, str]) -> sql.Composed:
    """A statement that sets parameters of a session."""
    calls = [sql.SQL("set_config({}, {}, false)").format(name, value) for name, value in parameters.items()]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls))


async def connect(
    settings: PostgresSettings,
    name: str,
    *,
    statement_timeout_seconds: float,
    parameters: Mapping[str, str] | None = None,
) -> PostgresConnection:
    """Open an autocommit connection to the read model's schema.

    Args:
        settings: where Postgres is.
        name: what the connection is for; shown in `pg_stat_activity`.
        statement_timeout_seconds: the server ends a statement after this long.
        parameters: more session parameters.

    Raises:
        psycopg.OperationalError: Postgres is away.
        NoSession: a pooler gives the connection no session of its own.
    """
    connection = await PostgresConnection.connect(conninfo(settings, name), autocommit=True)
    try:
        await _claim_session(connection)  # before parameters are set, which others would get
        timeout = {"statement_timeout": f"{statement_timeout_seconds * 1000:.0f}ms"}
        await configure(connection, settings.database_schema, {**timeout, **(parameters or {})})
    except BaseException:
        await connection.close()
        raise
    return connection


class Postgres:
    """`ports.Database` on Postgres.

    Args:
        settings: where it is, and which schema holds the read model.
    """

    def __init__(self, settings: PostgresSettings):
        self._settings = settings

    async def connect(
        self, name: str, *, statement_timeout_seconds: float, parameters: Mapping[str, str] | None = None
    ) -> Connection:
        """See `ports.Database.connect`."""
        return await connect(
            self._settings, name, statement_timeout_seconds=statement_timeout_seconds, parameters=parameters
        )

    async def listen(self, name: str) -> Listener:
        """See `ports.Database.listen`."""
        connection = await connect(self._settings, name, statement_timeout_seconds=CONNECT_TIMEOUT_SECONDS)
        try:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._settings.database_schema)))
        except BaseException:
            await connection.close()
            raise
        return connection


class Session:
    """One connection for prepared statements, opened when needed and again after a fault. One statement at a time.

    Args:
        database: where to connect to.
        name: what the connection is for.
        statement_timeout_seconds: deadline of one statement, on the server and, a little later, here.
        parameters: more session parameters.
        admit: called with each new connection, before it is used; raises when it must not be used.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        statement_timeout_seconds: float,
        parameters: dict[str, str] | None = None,
        admit: Callable[[Connection], Awaitable[None]] | None = None,
    ):
        self._database = database
        self._name = name
        self._timeout_seconds = statement_timeout_seconds
        self._deadline = Deadline(statement_timeout_seconds + 1)
        """The server's own one comes first, unless the server or the network is gone."""
        self._parameters = {**PARSED_ONCE, **(parameters or {})}
        self._admit = admit
        self._turns = asyncio.Lock()
        self._connection: Connection | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether the connection was good when it was last used."""
        return self._connection is not None and not self._connection.closed

    async def execute(self, query: bytes, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run a statement with parameters `$1`, … and fetch its rows, in binary format. A fault closes the connection.

        Raises:
            one of `FAULTS`: the outcome is unknown.
        """
        async with self._turns:
            connection = self._connection
            if connection is None:
                connection = await self.connect()
            try:
                with self._deadline:
                    return await connection.fetch(query, parameters)
            except (*FAULTS, asyncio.CancelledError):
                await self._drop()
                raise

    async def connect(self) -> Connection:
        """Connect now, unless connected.

        Raises:
            one of `FAULTS`: Postgres is away, or has no connection left.
        """
        if self._closed:
            raise psycopg.InterfaceError(f"session {self._name!r} is closed")
        if self._connection is None:
            seconds = CONNECT_TIMEOUT_SECONDS + 1
            try:
                async with asyncio.timeout(seconds) as deadline:
                    self._connection = await self._new_connection()
            except TimeoutError as error:
                if not deadline.expired():
                    raise
                raise TimeoutError(f"no connection within {seconds:g} s: {NO_CONNECTION}") from error
        return self._connection

    async def close(self) -> None:
        """Close for good."""
        self._closed = True
        self._deadline.close()
        await self._drop()

    async def _new_connection(self) -> Connection:
        connection = await self._database.connect(
            self._name, statement_timeout_seconds=self._timeout_seconds, parameters=self._parameters
        )
        if self._admit is not None:
            try:
                await self._admit(connection)
            except BaseException:
                await connection.close()
                raise
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()
