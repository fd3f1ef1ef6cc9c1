"""Brings the read model's schema up to date: `migrations/*.sql` in the order of their names, one transaction each.

Forward only. Table `migrations` remembers what was applied and with which text, so that an edited migration is noticed.

A migration needs tables for itself for a moment. While it waits for one, readers who come later wait behind it. So it
first waits, without any lock, until those have ended that use the tables now (a backup, `orchestration verify`).
"""

import hashlib
import logging
import time
from collections.abc import Set
from importlib.resources import files
from typing import Any, Final

import psycopg
from psycopg import sql

from projections.database import LIFT_LIMITS, SERVER_PROCESS, SESSION, conninfo, setting
from projections.errors import MigrationChanged, NoSession, RebuildInProgress, SchemaTooNew, TablesInUse, WrongEncoding
from schemas.settings import PostgresSettings

logger = logging.getLogger(__name__)

LOCK_TIMEOUT_SECONDS: Final = 5
"""How long a migration waits for a table that somebody uses who came after the look: longer than what our processes do
takes. All who come later wait behind it, so clients are answered 503 for as long."""
LOOK_SECONDS: Final = 0.2
"""Pause between two looks at who uses the tables."""
TOLD_SECONDS: Final = 10.0
"""After how long it is told whom a migration waits for."""
MAX_WAIT_SECONDS: Final = 3600.0
"""How long the transactions of other programs may hold a migration up. Without it, a forgotten one would for ever."""

ENCODING: Final = "UTF8"
"""What a database must have. In another one, events with a character that it lacks would be left out of the read model,
though their instances run and pay."""

_IN_USE: Final = """
SELECT virtualtransaction, coalesce(
    'process ' || pid || ' (' || coalesce(nullif(application_name, ''), usename) || ')', 'a prepared transaction'
)
FROM pg_locks JOIN pg_class ON pg_class.oid = relation LEFT JOIN pg_stat_activity USING (pid)
WHERE locktype = 'relation' AND granted AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (pid IS NULL OR pid <> pg_backend_pid() AND usesysid IS NOT NULL)
ORDER BY xact_start NULLS LAST
"""
"""Transactions that use a table of the schema. Without those of autovacuum, which gives way."""

CLAIM_REBUILD: Final = "SELECT pg_try_advisory_lock(hashtextextended('rebuild ' || %s::text, 0))"
"""Keeps rebuilds of a schema out; whether that worked. Held until the connection closes."""

Migrations = dict[str, bytes]


def shipped() -> Migrations:
    """The migrations of this build by name, in their order."""
    folder = files("projections.migrations")
    found = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".sql")}
    return dict(sorted(found.items()))


def migrate(settings: PostgresSettings, migrations: Migrations | None = None) -> list[str]:
    """Create the schema if it is missing and apply the migrations that it lacks. Concurrent calls take turns.

    Args:
        settings: where Postgres is, and the schema's name.
        migrations: other migrations than the shipped ones.

    Returns:
        The names of those applied now.

    Raises:
        MigrationChanged: an applied migration has another text now. Nothing was applied.
        SchemaTooNew: the schema has a migration that is not among them. Nothing was applied.
        WrongEncoding: the database does not hold all characters. Nothing was applied.
        RebuildInProgress: a rebuild is under way, which would put a schema in the place that lacks what is applied now.
            Nothing was applied.
        TablesInUse: transactions of other programs have used the tables for very long. Those before were applied.
        NoSession: a pooler gives connections no session of their own, so nothing here would be locked.
        psycopg.Error: Postgres is away, or refused.
    """
    migrations = shipped() if migrations is None else migrations
    given = conninfo(settings, "migrate")
    with psycopg.connect(given, autocommit=True) as connection:
        with psycopg.connect(given, autocommit=True) as other:
            if connection.execute(SERVER_PROCESS).fetchone() == other.execute(SERVER_PROCESS).fetchone():
                raise NoSession
        if (encoding := connection.info.parameter_status("server_encoding")) != ENCODING:
            raise WrongEncoding(
                f"the database's encoding is {encoding}: create one with ENCODING '{ENCODING}', from template0"
            )
        connection.execute(setting(SESSION))
        connection.execute(LIFT_LIMITS)
        connection.execute("SET statement_timeout = 0")  # a migration takes as long as tables are large
        # Held until the connection closes.
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"migrate {settings.database_schema}",))
        connection.execute(sql.SQL("SET lock_timeout = {}").format(f"{LOCK_TIMEOUT_SECONDS}s"))
        _enter_schema(connection, settings.database_schema)
        missing = _missing(connection, migrations)
        if missing:
            _keep_rebuilds_out(connection, settings.database_schema)
        for name in missing:
            _apply(connection, settings.database_schema, name, migrations[name])
        return missing


def _keep_rebuilds_out(connection: psycopg.Connection[tuple[Any, ...]], schema: str) -> None:
    ((is_held,),) = connection.execute(CLAIM_REBUILD, (schema,)).fetchall()
    if not is_held:
        raise RebuildInProgress("a rebuild of this schema is under way: wait for it, or end it, before you migrate")


def _apply(connection: psycopg.Connection[tuple[Any, ...]], schema: str, name: str, text: bytes) -> None:
    until = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        _wait_for_users(connection, schema, name, until)
        try:
            with connection.transaction():
                connection.execute(text)
                connection.execute("INSERT INTO migrations (name, sha256) VALUES (%s, %s)", (name, _digest(text)))
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if time.monotonic() > until:
                raise TablesInUse from error
            logger.warning("%s is tried again, since others use its tables: %s", name, type(error).__name__)


def _wait_for_users(connection: psycopg.Connection[tuple[Any, ...]], schema: str, name: str, until: float) -> None:
    """Wait until all transactions have ended that use tables of the schema now."""
    tell_at = time.monotonic() + TOLD_SECONDS
    users = _users(connection, schema)
    while users:
        first = next(iter(users.values()))
        if time.monotonic() > until:
            raise TablesInUse(f"{name} needs tables that others use: {first}. End it, and migrate again")
        if time.monotonic() > tell_at:
            logger.warning("%s waits until others have ended that use its tables: %s", name, first)
            tell_at = until
        time.sleep(LOOK_SECONDS)
        users = {id: who for id, who in _users(connection, schema).items() if id in users}


def _users(connection: psycopg.Connection[tuple[Any, ...]], schema: str) -> dict[str, str]:
    return dict(connection.execute(_IN_USE, (schema,)).fetchall())


def _enter_schema(connection: psycopg.Connection[tuple[Any, ...]], schema: str) -> None:
    # CREATE … IF NOT EXISTS asks for the right to create even when there is nothing to do.
    if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchall():
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", (schema,))
    ((table,),) = connection.execute("SELECT to_regclass('migrations')").fetchall()
    if table is None:
        connection.execute(
            "CREATE TABLE migrations (name text PRIMARY KEY, sha256 text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )


def _missing(connection: psycopg.Connection[tuple[Any, ...]], migrations: Migrations) -> list[str]:
    applied = dict(connection.execute("SELECT name, sha256 FROM migrations").fetchall())
    check_known(applied.keys(), migrations)
    for name, digest in applied.items():
        if digest != _digest(migrations[name]):
            raise MigrationChanged(f"{name} differs from what was applied: restore it and add a new migration")
    return [name for name in migrations if name not in applied]


def check_known(applied: Set[str], migrations: Migrations) -> None:
    """Check that this build knows all migrations that were applied to a schema.

    Raises:
        SchemaTooNew: it does not.
    """
    if unknown := sorted(applied - migrations.keys()):
        raise SchemaTooNew(f"the schema has {', '.join(unknown)}, which this build does not know: run a newer build")


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
