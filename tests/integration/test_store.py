"""The read model on Postgres: the contract that it shares with the one in memory."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from psycopg import sql

from projections import rows
from projections.counting import CountKey, Counts
from projections.errors import StoreAway
from projections.migrate import migrate
from projections.ports import Store
from projections.postgres_connection import PostgresConnection
from projections.store import PostgresStore
from schemas.settings import ProjectionsSettings
from tests.integration.projection_world import Tables
from tests.retention_contract import RetentionContract
from tests.store_contract import TABLES, Retained, StoreContract, Subject

ROWS: dict[str, type[msgspec.Struct]] = {
    "workflows": rows.Workflow,
    "instances": rows.Instance,
    "stages": rows.Stage,
    "activities": rows.Activity,
    "triggers": rows.Trigger,
    "occurrences": rows.Occurrence,
    "rejections": rows.Rejection,
    "event_requests": rows.EventRequest,
    "bulks": rows.Bulk,
    "bulk_outcomes": rows.BulkOutcome,
    "instance_keys": rows.InstanceKey,
    "past_stages": rows.PastStage,
    "past_activities": rows.PastActivity,
}

COUNTS = """
    SELECT what, stage, CASE WHEN hour < 0 THEN hour ELSE hour / {hours} * {hours} END AS begins, workflow_id, bucket,
        sum(count)::bigint
    FROM (
        SELECT what, stage, hour, workflow_id, bucket, count FROM counts
        UNION ALL
        SELECT what, stage, hour, workflow_id, number - 1, b.count
        FROM past_counts, unnest(counts) WITH ORDINALITY b (count, number) WHERE step = {step}
    ) c
    GROUP BY what, stage, begins, workflow_id, bucket HAVING sum(count) <> 0
"""


class Postgres:
    """`store_contract.Subject` on Postgres."""

    def __init__(self, settings: ProjectionsSettings):
        self._postgres_store = PostgresStore(settings)
        self.store: Store = self._postgres_store
        self._tables = Tables(settings)
        self._listener = psycopg.connect(settings.database_url, autocommit=True)
        self._listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(settings.database_schema)))
        self._announced: list[str] = []

    def announced(self) -> list[str]:
        # Whatever was committed before this is told with its answer.
        self._listener.execute("SELECT 1")
        self._announced += [told.payload for told in self._listener.notifies(timeout=0)]
        return self._announced

    def rows(self) -> dict[str, set[tuple[Any, ...]]]:
        return {table: self._rows(table) for table in TABLES}

    def _rows(self, table: str) -> set[tuple[Any, ...]]:
        columns = ", ".join(f'"{name}"' for name in ROWS[table].__struct_fields__)
        found = self._tables.rows(f"SELECT {columns} FROM {table}")  # noqa: S608
        return {tuple(str(value) if isinstance(value, UUID) else value for value in row) for row in found}

    def counts(self, step: int = 1) -> Counts:
        found = self._tables.rows(COUNTS.format(hours=max(step, 1), step=step))
        return Counts({CountKey(what, stage, hour, str(id), bucket): n for what, stage, hour, id, bucket, n in found})

    def retention(self) -> Retained:
        requests = self._tables.rows("SELECT id::text, request FROM deleted_instances")
        ended_before = self._tables.rows("SELECT outcome, ended_before FROM retention")
        restored = self._tables.rows("SELECT id::text FROM instances WHERE restored")
        return Retained(dict(requests), dict(ended_before), {id for (id,) in restored})

    def cut(self) -> None:
        # By its own number: other tests' projections may be connected to the same server.
        connection = self._postgres_store._session._connection
        assert isinstance(connection, PostgresConnection)
        self._tables.rows(f"SELECT pg_terminate_backend({connection.info.backend_pid})")

    def restart(self) -> None:
        # What is noted belongs to the start of the server that it was noted in.
        self._tables.rows("UPDATE caught_up SET server_started_at = server_started_at - interval '1 second'")
        self.cut()

    def close(self) -> None:
        self._listener.close()
        self._tables.drop()


async def test_a_table_that_is_being_restored_is_waited_for(database_url: str, database_schema: str) -> None:
    """`pg_restore` makes keys behind the rows."""
    settings = ProjectionsSettings(database_url=database_url, database_schema=database_schema)
    migrate(settings)
    tables, store = Tables(settings), PostgresStore(settings)
    try:
        await store.positions([0])
        tables.rows("ALTER TABLE caught_up DROP CONSTRAINT caught_up_pkey")
        with pytest.raises(StoreAway):
            await store.note_caught_up({0: 0}, 1)
    finally:
        await store.close()
        tables.drop()


@pytest.fixture
async def subject(database_url: str, database_schema: str) -> AsyncIterator[Subject]:
    settings = ProjectionsSettings(database_url=database_url, database_schema=database_schema)
    migrate(settings)
    postgres = Postgres(settings)
    yield postgres
    await postgres.store.close()
    postgres.close()


class TestPostgres(StoreContract):
    """See `tests.store_contract`."""


class TestRetention(RetentionContract):
    """See `tests.retention_contract`."""
