"""What Postgres tells of itself and of the read model, and what of it is wrong."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import psycopg
from msgspec import Struct
from psycopg import sql

from deploy.doctor.findings import Finding, ok, warning, wrong
from projections.database import connect
from projections.migrate import ENCODING, Migrations
from projections.ports import Row
from projections.postgres_connection import PostgresConnection
from projections.rows import ReadPosition
from projections.sql import statement
from schemas.settings import PostgresSettings, variable

STATEMENT_TIMEOUT_SECONDS: Final = 10.0
"""Deadline of one question. A database that hangs is one of the things to be found."""
TESTED_VERSION: Final = 18
OLDEST_VERSION: Final = 12
CLOCK_WARNING_SECONDS: Final = 1.0
CLOCK_WRONG_SECONDS: Final = 60.0
"""How far clocks may differ: timers ring by the clock of the engines, rejections are deleted by that of Postgres."""
SPARE_CONNECTIONS: Final = 10
LIMITS: Final = {
    "lock_timeout": 10_000,
    "transaction_timeout": 10_000,
    "idle_in_transaction_session_timeout": 10_000,
    "idle_session_timeout": 600_000,
}
"""What of Postgres ends our transactions and sessions, in ms; less than this is too short for us. `statement_timeout`
is not among them: each of our connections sets its own."""
MANY_IDS: Final = 1_000_000_000
"""Transactions since the oldest one that a row still names. Autovacuum keeps them below 200 million unless something
stops it, and Postgres takes no more writes at 2,147 million."""
LONG_SECONDS: Final = 3600.0
"""Longest transaction that is nothing to worry about. Of what is changed meanwhile, no old version goes away: what each
batch changes is read more and more slowly."""
MUCH_WAL_BYTES: Final = 1024**3
"""How much a slot that nobody reads may keep. It grows until the disk is full, and Postgres ends."""
SPILL: Final = b"SELECT count(*) FROM generate_series(1, 100000)"
MAKE_ROOM: Final = "make room on its disk: see *When the disk of Postgres is full* in docs/operations.md"
FULL: Final = "No space left on device"
"""In what Postgres answers to a new connection when its disk has been full for some minutes."""
LITTLE_MEMORY: Final = b"SET work_mem = '64kB'"
"""A question whose rows don't fit into memory: Postgres writes 1 MB into a file beside the tables and deletes it again.
It needs no rights, and changes nothing that stays. A small write would not show that the disk is full: it goes into
memory, and into a log that has its room already."""
RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
USAGE: Final = "USAGE on the schema"
UNSEEN: Final = frozenset({USAGE, "SELECT on migrations"})
"""Without these rights nobody can tell which migrations are applied."""


class Growing(NamedTuple):
    """What grows until Postgres stops."""

    oldest_id: int
    """How many transactions have begun since the oldest one that a row of any database still names."""
    open_seconds: float
    """How long the oldest transaction has been open that the user may see. One that was only prepared counts, too."""
    unread_wal: dict[str, int]
    """Slots of replication that nobody reads now, with the bytes that are kept for each."""


class PostgresFacts(Struct, frozen=True):
    """What it tells."""

    version: int
    """The major version."""
    user: str
    clock_offset_seconds: float
    """How far its clock is ahead of ours, as far as that is certain."""
    standby: bool
    read_only: bool
    """Whether transactions of new connections may only read."""
    fsync: bool
    encoding: str
    """Of the database."""
    limits: dict[str, int]
    """Those of `LIMITS` that new connections have, by their names, in ms."""
    free_connections: int
    """How many more we may have, by the limits of the server, of the user and of the database."""
    may_create: bool
    """Whether the user may create schemas."""
    schema_exists: bool
    lacking: list[str]
    """Rights on tables that the user lacks, such as `INSERT on stages`."""
    applied: dict[str, str]
    """Migrations by name, with the hash of their text."""
    positions: dict[int, ReadPosition]
    readable: bool | None
    """Whether readers are let in; None without a read model, and on a standby."""
    growing: Growing
    no_room: str | None
    """Why Postgres can't write a file of 1 MB; None if it can."""


async def look(settings: PostgresSettings) -> PostgresFacts:
    """Ask Postgres about itself. Nothing is changed.

    Raises:
        NoSession: a pooler gives connections no session of their own.
        psycopg.Error: it is away, or refuses.
    """
    parameters = {"default_transaction_read_only": "on"}
    async with (
        # Another connection, beside which a pooler that mixes up sessions shows.
        await connect(settings, "doctor", statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS),
        await connect(
            settings, "doctor", statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS, parameters=parameters
        ) as connection,
    ):
        before = time.time()
        cursor = await connection.execute(
            "WITH held AS (SELECT usename, datname FROM pg_stat_activity WHERE backend_type = 'client backend')"
            " SELECT current_setting('server_version_num')::int / 10000, current_user,"
            " extract(epoch FROM clock_timestamp())::float8, pg_is_in_recovery(),"
            # Not the value of this session, which sets it itself.
            " (SELECT reset_val::bool FROM pg_settings WHERE name = 'default_transaction_read_only'),"
            " current_setting('fsync')::bool, current_setting('server_encoding'),"
            " (SELECT coalesce(jsonb_object_agg(name, reset_val::bigint), '{}') FROM pg_settings"
            " WHERE name = ANY(%s) AND reset_val <> '0'),"
            " least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
            " - (SELECT count(*) FROM held),"
            " (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)"
            " - (SELECT count(*) FROM held WHERE usename = current_user),"
            " (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())"
            " - (SELECT count(*) FROM held WHERE datname = current_database())),"
            " has_database_privilege(current_database(), 'CREATE'),"
            " to_regnamespace(quote_ident(%s)) IS NOT NULL,"
            " coalesce(has_schema_privilege(to_regnamespace(quote_ident(%s)), 'USAGE'), true)",
            (list(LIMITS), settings.database_schema, settings.database_schema),
        )
        (
            (version, user, clock, standby, read_only, fsync, encoding, limits, free, may_create, exists, may_use),
        ) = await cursor.fetchall()
        offset = certain_offset(clock, before, time.time())
        tables = await _tables(connection, settings.database_schema) if may_use else {}
        return PostgresFacts(
            version=version,
            user=user,
            clock_offset_seconds=offset,
            standby=standby,
            read_only=read_only,
            fsync=fsync,
            encoding=encoding,
            limits=limits,
            free_connections=free + 1,  # that of the other connection
            may_create=may_create,
            schema_exists=exists,
            lacking=([] if may_use else [USAGE])
            + [f"{right} on {table}" for table, rights in tables.items() for right in RIGHTS if right not in rights],
            applied=dict(await _rows(connection, tables, "migrations", "SELECT name, sha256 FROM migrations")),
            positions={
                partition: ReadPosition(*rest)
                for partition, *rest in await _rows(
                    connection,
                    tables,
                    "positions",
                    "SELECT partition, next_offset, epoch, cause, topic_id FROM positions",
                )
            },
            # A standby has nothing in unlogged tables, and refuses to read them.
            readable=None if standby else await _readable(connection, tables),
            growing=await _growth(connection),
            no_room=await _no_room(connection),
        )


async def _growth(connection: PostgresConnection) -> Growing:
    cursor = await connection.execute(
        "SELECT (SELECT max(greatest(age(datfrozenxid), mxid_age(datminmxid))) FROM pg_database),"
        " (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(since)), 0)::float8 FROM"
        " (SELECT xact_start FROM pg_stat_activity WHERE backend_type = 'client backend'"
        " UNION ALL SELECT prepared FROM pg_prepared_xacts) AS transactions (since)),"
        " (SELECT coalesce(jsonb_object_agg(slot_name, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()"
        " THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)::bigint), '{}')"
        " FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL)"
    )
    (row,) = await cursor.fetchall()
    return Growing(*row)


async def _no_room(connection: PostgresConnection) -> str | None:
    # Not before the other questions, whose answers would not fit into memory, either.
    await connection.execute(LITTLE_MEMORY)
    try:
        await connection.execute(SPILL)
    except (psycopg.errors.ConfigurationLimitExceeded, psycopg.errors.QueryCanceled):
        return None  # temp_file_limit, or it takes too long: that says nothing about the disk
    except psycopg.errors.Error as error:
        if connection.closed:
            raise
        return error.diag.message_primary or str(error)
    return None


async def _tables(connection: PostgresConnection, schema: str) -> dict[str, set[str]]:
    """The tables of a schema, with what the user may do."""
    cursor = await connection.execute(
        "SELECT c.relname, array(SELECT r FROM unnest(%s::text[]) r WHERE has_table_privilege(c.oid, r))"
        " FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace(quote_ident(%s)) ORDER BY 1",
        (list(RIGHTS), schema),
    )
    return {name: set(rights) for name, rights in await cursor.fetchall()}


async def _rows(connection: PostgresConnection, tables: Mapping[str, set[str]], table: str, query: str) -> list[Row]:
    if "SELECT" not in tables.get(table, ()):
        return []
    return await (await connection.execute(sql.SQL(query))).fetchall()


async def _readable(connection: PostgresConnection, tables: Mapping[str, set[str]]) -> bool | None:
    if "SELECT" not in tables.get("caught_up", ()):
        return None
    ((caught_up,),) = await (await connection.execute(statement("all_caught_up"))).fetchall()
    return bool(caught_up)


def server(facts: PostgresFacts) -> Iterator[Finding]:
    """Version, clock, connections."""
    if facts.standby:
        yield wrong(
            "Postgres", "is a standby, which can only be read", f"set {variable('database_url')} to the primary"
        )
    elif facts.version < OLDEST_VERSION:
        yield wrong("Postgres", f"is version {facts.version}", f"use {TESTED_VERSION}, which is tested")
    else:
        yield ok("Postgres", f"version {facts.version}, user {facts.user}")
    if facts.read_only and not facts.standby:
        text = "lets nobody write: default_transaction_read_only is on"
        remedy = "turn it off; hosted databases turn it on themselves when their disk is nearly full: make room first"
        yield wrong("Postgres", text, remedy)
    if facts.no_room is not None:
        text = f"can't write 1 MB beside its tables: {facts.no_room}"
        yield wrong("Postgres", text, MAKE_ROOM)
    yield from _grows(facts.growing)
    if not facts.fsync:
        remedy = "turn it on, or be ready to rebuild the read model after a crash of the machine"
        yield warning("Postgres", "fsync is off: a crash can damage the database", remedy)
    if facts.encoding != ENCODING:
        text = f"the database's encoding is {facts.encoding}: events with characters that it lacks are left out"
        remedy = f"create a database with ENCODING '{ENCODING}' from template0, and build the read model in it"
        yield wrong("Postgres", text, f"{remedy} (*Backup and rebuild* in docs/operations.md)")
    for name, milliseconds in sorted(facts.limits.items()):
        if milliseconds < LIMITS[name]:
            text = f"{name} is {milliseconds} ms: our {_ended_by(name)} are ended by it"
            remedy = f"ALTER ROLE {facts.user} SET {name} = 0 (or the database, or the server, where it is set)"
            yield warning("Postgres", text, remedy)
    if facts.free_connections < SPARE_CONNECTIONS:
        text = f"{facts.free_connections} connections are free"
        yield warning(
            "Postgres",
            text,
            "raise max_connections or the limit of the user or database (an API takes up to 10 for each worker),"
            " or find out who holds so many",
        )
    yield _clock(facts.clock_offset_seconds)


def _grows(growing: Growing) -> Iterator[Finding]:
    for slot, kept in sorted(growing.unread_wal.items()):
        if kept > MUCH_WAL_BYTES:
            text = f"keeps {kept / 1024**3:.1f} GB of its log for slot {slot}, which nobody reads: that fills the disk"
            yield warning("Postgres", text, f"let its reader run, or SELECT pg_drop_replication_slot('{slot}')")
    if growing.open_seconds > LONG_SECONDS:
        text = f"a transaction has been open for {growing.open_seconds / 3600:.1f} hours, so dead rows stay and pile up"
        yield warning("Postgres", text, "find it in pg_stat_activity (xact_start) or pg_prepared_xacts, and end it")
    if growing.oldest_id > MANY_IDS:
        text = (
            f"{growing.oldest_id / 1e6:,.0f} million transactions have begun since the oldest that rows name;"
            " at 2,147 million nothing can be written"
        )
        remedy = (
            "end what holds up autovacuum (old transactions, slots), then VACUUM the databases with the highest age"
        )
        yield warning("Postgres", text, f"{remedy} of datfrozenxid or datminmxid")


def _ended_by(limit: str) -> str:
    return "connections that wait for news" if limit == "idle_session_timeout" else "transactions"


def certain_offset(clock: float, before: float, after: float) -> float:
    """How far a clock is ahead of ours for certain, that was read somewhere between two looks at ours.

    An answer that takes its time says nothing about the clock.
    """
    return min(clock - before, 0.0) or max(clock - after, 0.0)


def _clock(offset: float) -> Finding:
    side = "ahead of" if offset > 0 else "behind"
    text = f"the clock of Postgres is {abs(offset):.2f} s {side} the clock of this machine"
    if abs(offset) >= CLOCK_WRONG_SECONDS:
        return wrong("clock", text, "let NTP set all clocks: timers would ring at a wrong time")
    if abs(offset) >= CLOCK_WARNING_SECONDS:
        return warning("clock", text, "let NTP set all clocks")
    return ok("clock", text)


def schema(name: str, facts: PostgresFacts, shipped: Migrations) -> Iterator[Finding]:
    """Rights, migrations, and whether the read model can be read."""
    about = f"schema {name}"
    if facts.applied:
        yield from _migrations(about, facts.applied, shipped)
    elif not UNSEEN & set(facts.lacking):
        yield wrong(about, "has no read model", "run `orchestration migrate`")
    if facts.lacking:
        user = f"user {facts.user} lacks {', '.join(facts.lacking)}"
        yield wrong(about, user, "let the user own the schema, or grant them")
    if not facts.may_create:
        text = f"user {facts.user} may not create schemas, so `migrate` and `rebuild` fail"
        yield warning(about, text, "GRANT CREATE ON DATABASE, or run these two as another user")
    if facts.readable is False:
        text = "reads wait: the projections have not caught up since Postgres started"
        yield warning(about, text, "wait, if projections run and reach Kafka; see OrchestrationReadsWait")


def _migrations(about: str, applied: Mapping[str, str], shipped: Migrations) -> Iterator[Finding]:
    missing = [migration for migration in shipped if migration not in applied]
    unknown = sorted(applied.keys() - shipped.keys())
    changed = [
        migration
        for migration, text in shipped.items()
        if applied.get(migration, "") not in ("", hashlib.sha256(text).hexdigest())
    ]
    if unknown:
        yield wrong(about, f"has {', '.join(unknown)}, which this build does not know", "run a newer build")
    if changed:
        yield wrong(about, f"{', '.join(changed)} differ from what was applied", "run a build that was not changed")
    if missing:
        yield wrong(about, f"lacks {', '.join(missing)}", "run `orchestration migrate`")
    if not unknown and not changed and not missing:
        yield ok(about, f"all {len(shipped)} migrations are applied")
