"""Brings the read model's schema up to date: `migrations/*.sql` in the order of their names, one transaction each.

Forward only. Table `migrations` remembers what was applied and with which text, so that an edited migration is noticed.
"""

import hashlib
from importlib.resources import files
from typing import Any, Final

import psycopg
from psycopg import sql

from projections.database import LIFT_LIMITS, SERVER_PROCESS, conninfo
from projections.errors import MigrationChanged, NoSession, SchemaTooNew, WrongEncoding
from schemas.settings import PostgresSettings

LOCK_TIMEOUT_SECONDS: Final = 60
"""How long to wait for another migration of the same schema, and for tables in use. Without it a migration that meets a
long transaction would wait for ever, and block all that comes after it."""

ENCODING: Final = "UTF8"
"""What a database must have. In another one, events with a character that it lacks would be left out of the read model,
though their instances run and pay."""

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
        connection.execute(LIFT_LIMITS)
        connection.execute("SET statement_timeout = 0")  # a migration takes as long as tables are large
        connection.execute(sql.SQL("SET lock_timeout = {}").format(f"{LOCK_TIMEOUT_SECONDS}s"))
        # Held until the connection closes.
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"migrate {settings.database_schema}",))
        _enter_schema(connection, settings.database_schema)
        missing = _missing(connection, migrations)
        for name in missing:
            with connection.transaction():
                connection.execute(migrations[name])
                connection.execute(
                    "INSERT INTO migrations (name, sha256) VALUES (%s, %s)", (name, _digest(migrations[name]))
                )
        return missing


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
    if unknown := sorted(applied.keys() - migrations.keys()):
        raise SchemaTooNew(f"the schema has {', '.join(unknown)}, which this build does not know: run a newer build")
    for name, digest in applied.items():
        if digest != _digest(migrations[name]):
            raise MigrationChanged(f"{name} differs from what was applied: restore it and add a new migration")
    return [name for name in migrations if name not in applied]


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
