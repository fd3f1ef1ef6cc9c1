"""The read model as it is compared: rows and positions of one moment. In Postgres, and a twin in memory."""

import copy
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import psycopg
from psycopg import IsolationLevel, sql

from projections import memory_counts
from projections.counting import HOURS_PER_DAY, CountKey, Counts
from projections.database import FAULTS, LIFT_LIMITS, connect
from projections.errors import StoreAway
from projections.memory import OF_INSTANCES, MemoryDatabase, Tables
from projections.postgres_connection import PostgresConnection
from projections.rows import ReadPosition
from projections.sql import statement
from projections.verification.counted import in_steps
from projections.verification.errors import CannotVerify, ReadModelMoved
from projections.verification.skipped import NOTHING, Retained, Skipped
from projections.verification.tables import DELETED, TABLES, Values
from schemas.settings import PostgresSettings

STATEMENT_TIMEOUT_SECONDS: Final = 60.0
"""Deadline of one statement, on the server: of the rows of one round trip."""
FETCHED: Final = 200
"""Rows in one round trip. A row may have a megabyte, and all of them are in memory at once."""


WITHOUT_OLD: Final = " WHERE NOT EXISTS (SELECT FROM instances i WHERE i.id = t.instance_id AND ({}))"
MAY_BE_DELETED: Final = " UNION SELECT id, request FROM instances WHERE request IS NOT NULL AND (restored OR {})"
"""What comes behind the statement that reads a table, when instances may be deleted: their rows are left out, and the
requests are added that will be kept of them."""


class Look(NamedTuple):
    """The read model of one moment, without its rows."""

    at: datetime
    """When that was, by the clock of the database."""
    positions: dict[int, ReadPosition]
    """How far each partition was."""
    retained: Retained
    """What is known of instances that were deleted."""


class Snapshot(Protocol):
    """The read model of one moment."""

    @property
    def at(self) -> datetime:
        """When that was, by the clock of the database."""

    @property
    def positions(self) -> dict[int, ReadPosition]:
        """How far each partition was."""

    async def retained(self) -> Retained:
        """What is known of instances that were deleted; raises as `rows` does."""

    def rows(self, table: str, skipped: Skipped = NOTHING) -> AsyncIterator[Sequence[Values]]:
        """All rows of a table, in no order, some at a time.

        Args:
            table: its name.
            skipped: what belongs to these instances is left out, if they have ended long ago. The instances are not. To
                those that were deleted belong those that may be.

        Raises:
            ReadModelMoved: a rebuild has replaced it.
            StoreAway: the database is away.
        """

    async def counts(self) -> dict[int, Counts]:
        """All counts, in hours (1) and in days (24), as `counted.in_steps` has them; raises as `rows` does.

        Hours that are long past may be missing.
        """


class ReadModel(Protocol):
    """A read model that others go on writing."""

    async def now(self) -> Look:
        """What it is like now.

        Raises:
            CannotVerify: there is no read model.
            StoreAway: the database is away.
        """

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """What it is at the beginning of the block.

        Raises:
            CannotVerify: there is no read model.
            StoreAway: the database is away.
        """


class PostgresReadModel:
    """`ReadModel` in Postgres. It only reads.

    Args:
        settings: where it is.
    """

    def __init__(self, settings: PostgresSettings):
        self._settings = settings

    async def now(self) -> Look:
        """See `ReadModel.now`."""
        async with self.snapshot() as snapshot:
            return Look(snapshot.at, snapshot.positions, await snapshot.retained())

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["PostgresSnapshot"]:
        """See `ReadModel.snapshot`."""
        try:
            connection = await connect(self._settings, "verify", statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS)
            async with connection:
                await connection.execute(LIFT_LIMITS)
                await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
                await connection.set_read_only(True)
                async with connection.transaction():
                    yield await _opened(connection)
        except psycopg.errors.UndefinedTable as error:
            name = self._settings.database_schema
            raise CannotVerify(f"schema {name} has no read model of this build: run `orchestration migrate`") from error
        except FAULTS as error:
            raise StoreAway(str(error) or type(error).__name__) from error


async def _opened(connection: PostgresConnection) -> "PostgresSnapshot":
    # The snapshot is taken by the first statement.
    cursor = await connection.execute(
        "SELECT now(), 'positions'::regclass::oid, partition, next_offset, epoch, cause, topic_id"
        " FROM (SELECT 1) one LEFT JOIN positions ON true"
    )
    rows = await cursor.fetchall()
    at, relation = rows[0][:2]
    positions = {row[2]: ReadPosition(*row[3:]) for row in rows if row[2] is not None}
    return PostgresSnapshot(connection, at, positions, relation)


class PostgresSnapshot:
    """`Snapshot` in a transaction of Postgres.

    Args:
        connection: in a transaction that reads from one snapshot.
        at: when it was taken.
        positions: what they were.
        relation: the table that they were in.
    """

    def __init__(self, connection: PostgresConnection, at: datetime, positions: dict[int, ReadPosition], relation: int):
        self._connection, self._at, self._positions = connection, at, positions
        self._relation = relation

    @property
    def at(self) -> datetime:
        """See `Snapshot.at`."""
        return self._at

    @property
    def positions(self) -> dict[int, ReadPosition]:
        """See `Snapshot.positions`."""
        return self._positions

    async def retained(self) -> Retained:
        """See `Snapshot.retained`."""
        before = await (await self._connection.execute("SELECT outcome, ended_before FROM retention")).fetchall()
        restored = await (await self._connection.execute("SELECT id::text FROM instances WHERE restored")).fetchall()
        await self._check_relation()
        return Retained(dict(before), frozenset(id for (id,) in restored))

    async def rows(self, table: str, skipped: Skipped = NOTHING) -> AsyncIterator[Sequence[Values]]:
        """See `Snapshot.rows`."""
        columns = sql.SQL(", ").join(map(sql.Identifier, TABLES[table].columns))
        query = sql.SQL("SELECT {} FROM {} t").format(columns, sql.Identifier(table))
        if skipped.ended_before:
            old = sql.SQL(" OR ").join(
                sql.SQL("state = {} AND terminated_at < {}").format(outcome, before)
                for outcome, before in skipped.ended_before.items()
            )
            more = WITHOUT_OLD if table in OF_INSTANCES else MAY_BE_DELETED if table == DELETED else ""
            query += sql.SQL(more).format(old)
            if table == "event_requests":  # those of some stay when they are deleted
                query += sql.SQL(" AND EXISTS (SELECT FROM instances i WHERE i.id = t.instance_id)")
        # On the server, so that they are not all in memory at once.
        async with self._connection.cursor(name=f"verify_{table}", binary=True) as cursor:
            await cursor.execute(query)
            while rows := await cursor.fetchmany(FETCHED):
                yield [tuple(str(v) if isinstance(v, UUID) else v for v in row) for row in rows]
        await self._check_relation()

    async def counts(self) -> dict[int, Counts]:
        """See `Snapshot.counts`."""
        found = await (await self._connection.execute(statement("counts_by_step"))).fetchall()
        await self._check_relation()
        counts = {1: Counts(), HOURS_PER_DAY: Counts()}
        for step, *key, count in found:
            counts[step][CountKey(*key)] = count
        return counts

    async def _check_relation(self) -> None:
        # A rebuild gives the name of the schema to tables that this snapshot sees nothing in.
        found = await (await self._connection.execute("SELECT 'positions'::regclass::oid")).fetchall()
        if found != [(self._relation,)]:
            raise ReadModelMoved("the read model was rebuilt while it was looked at; try again")


class MemoryReadModel:
    """`ReadModel` in memory.

    Args:
        database: that others write.
    """

    def __init__(self, database: MemoryDatabase):
        self._database = database

    async def now(self) -> Look:
        """See `ReadModel.now`."""
        tables = self._database.tables
        retained = Retained(dict(tables.retention), frozenset(tables.restored))
        return Look(self._database.now(), dict(tables.positions), retained)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["MemorySnapshot"]:
        """See `ReadModel.snapshot`."""
        yield MemorySnapshot(copy.deepcopy(self._database.tables), self._database.now())


class MemorySnapshot:
    """`Snapshot` in memory.

    Args:
        tables: as they were.
        at: when that was.
    """

    def __init__(self, tables: Tables, at: datetime):
        self._tables, self._at = tables, at

    @property
    def at(self) -> datetime:
        """See `Snapshot.at`."""
        return self._at

    @property
    def positions(self) -> dict[int, ReadPosition]:
        """See `Snapshot.positions`."""
        return self._tables.positions

    async def retained(self) -> Retained:
        """See `Snapshot.retained`."""
        return Retained(self._tables.retention, frozenset(self._tables.restored))

    async def rows(self, table: str, skipped: Skipped = NOTHING) -> AsyncIterator[Sequence[Values]]:
        """See `Snapshot.rows`."""
        if table == DELETED:
            may_be = (
                (id, row.request)
                for id, row in self._tables.instances.items()
                if row.request is not None
                and (id in self._tables.restored or skipped.is_old(row.state, row.terminated_at))
            )
            yield [*{*self._tables.deleted_instances.items(), *may_be}]
            return
        rows = getattr(self._tables, table).values()
        if table in OF_INSTANCES:
            old = {id for id, row in self._tables.instances.items() if skipped.is_old(row.state, row.terminated_at)}
            rows = [row for row in rows if row.instance_id not in old]
            if skipped.ended_before and table == "event_requests":
                rows = [row for row in rows if row.instance_id in self._tables.instances]
        yield list(map(TABLES[table].values, rows))

    async def counts(self) -> dict[int, Counts]:
        """See `Snapshot.counts`."""
        counts, past = self._tables.counts, self._tables.past_counts
        return {step: in_steps(memory_counts.in_steps(counts, past, step), step) for step in (1, HOURS_PER_DAY)}
