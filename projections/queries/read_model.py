"""Rows and pages of the read model.

Single rows go through coalescing loaders on connections of their own, since every request needs one and latency counts.
Lists and histories use a small pool, so that a client that lists everything does not slow the others down.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from weakref import WeakSet

from msgspec import Raw
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from projections.database import FAULTS, Connection, Row, Session, configure, conninfo
from projections.names import folded
from projections.queries.caught_up import wait_caught_up
from projections.queries.errors import ReadModelUnavailable
from projections.queries.leases import Leases
from projections.queries.loader import DEADLINE_SECONDS, Loader
from projections.queries.rows import (
    ActivityRow,
    InstanceRow,
    OccurrenceRow,
    Position,
    StageHistoryRow,
    StageRow,
    StartedRow,
    TriggerRow,
    WorkflowRow,
)
from projections.sql import statement
from schemas.settings import PostgresSettings

MAX_LIST_CONNECTIONS: Final = 4
"""More would let lists take Postgres away from single rows and from the projections."""
LIST_TIMEOUT_SECONDS: Final = 5.0
"""Deadline of one page, and of waiting for a connection; without it slow lists would pile up."""
CHUNK_ROWS: Final = 200
"""Rows of a streamed list that are in memory at once."""
OCCURRENCES_CHUNK_ROWS: Final = 20
"""Likewise for occurrences, whose messages are often large."""
MAX_NUMBER: Final = 2**31 - 1
"""Largest stage number that the tables hold; Postgres refuses to compare with a larger one."""


class ReadModel:
    """The API's view of workflows, instances and triggers.

    Every method raises `ReadModelUnavailable` while Postgres is away.
    """

    def __init__(self, settings: PostgresSettings):
        self._settings = settings
        self._sessions = [
            Session(settings, f"api {name}", statement_timeout_seconds=DEADLINE_SECONDS, admit=wait_caught_up)
            for name in ("workflows", "instances", "triggers")
        ]
        self._workflows: Loader[UUID, WorkflowRow] = Loader(self._fetch_workflows)
        self._leased_workflows: Leases[UUID, WorkflowRow] = Leases(self._workflows.load)
        self._instances: Loader[UUID, InstanceRow] = Loader(self._fetch_instances)
        self._triggers: Loader[UUID, TriggerRow] = Loader(self._fetch_triggers)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo(settings, "api lists"),
            min_size=0,
            max_size=MAX_LIST_CONNECTIONS,
            timeout=LIST_TIMEOUT_SECONDS,
            # Planned for the values of each call: which index is best depends on the filters.
            kwargs={"autocommit": True, "prepare_threshold": None},
            configure=self._configure,
            check=AsyncConnectionPool.check_connection,
            open=False,
        )
        self._admitted: WeakSet[Connection] = WeakSet()

    async def open(self) -> None:
        """Connect, if Postgres is there; otherwise later, by itself."""
        await self._pool.open()
        await asyncio.gather(*map(_connect, self._sessions))

    async def close(self) -> None:
        """Close all connections; callers in flight get `ReadModelUnavailable`."""
        await self._workflows.close()
        await self._instances.close()
        await self._triggers.close()
        for session in self._sessions:
            await session.close()
        await self._pool.close()

    @property
    def ready(self) -> bool:
        """Whether the last look-ups reached Postgres. Triggers are looked up too rarely to tell."""
        return all(session.connected for session in self._sessions[:2])

    async def workflow(self, id: UUID) -> WorkflowRow | None:
        """A workflow, also a deleted one."""
        return await self._workflows.load(id)

    async def leased_workflow(self, id: UUID) -> WorkflowRow | None:
        """A workflow, also a deleted one, as it was at most `LEASE_SECONDS` ago."""
        return await self._leased_workflows.get(id)

    async def instance(self, id: UUID) -> InstanceRow | None:
        """An instance with its workflow and stages."""
        return await self._instances.load(id)

    async def trigger(self, id: UUID) -> TriggerRow | None:
        """A trigger, also a deleted one."""
        return await self._triggers.load(id)

    async def event_request(self, instance_id: UUID, key: UUID) -> str | None:
        """Digest of the request that sent an event with this key to an instance; None if none did."""
        rows = await self._list("event_request", (instance_id, key))
        return rows[0][0] if rows else None

    async def history(self, id: UUID) -> list[StageHistoryRow] | None:
        """The started stages of an instance, in order; None for an unknown instance."""
        rows = await self._list("history", (id,))
        if not rows:
            return None
        return [StageHistoryRow(n, name, _raw(given), *rest) for n, name, given, *rest in rows if n is not None]

    async def activities(self, id: UUID, number: int) -> list[ActivityRow] | None:
        """The activities of a stage, in order; None for a stage that did not start."""
        if not 0 <= number <= MAX_NUMBER:
            return None
        rows = await self._list("activities", (id, number))
        if not rows:
            return None
        return [
            ActivityRow(index, name, _raw(given), None if output is None else _raw(output), *rest)
            for index, name, given, output, *rest in rows
            if index is not None
        ]

    async def workflows_page(
        self, *, after: Position | None = None, before: Position | None = None, limit: int
    ) -> list[WorkflowRow]:
        """Workflows that are not deleted, newest first.

        Args:
            after: only those that stand behind this position.
            before: only the last `limit` that stand in front of this one; not together with `after`.
            limit: most rows of the page.
        """
        rows = await self._list("workflows_page", _page(after, before, limit))
        return [_workflow(row) for row in rows]

    async def instances_page(
        self,
        workflow_id: UUID | None = None,
        running: bool = False,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit: int,
    ) -> list[InstanceRow]:
        """Instances, newest first.

        Args:
            workflow_id: only those of this workflow.
            running: only those that have not ended.
            after: only those that stand behind this position.
            before: only the last `limit` that stand in front of this one; not together with `after`.
            limit: most rows of the page.
        """
        parameters = {"workflow_id": workflow_id, "running": running, **_page(after, before, limit)}
        return [_instance(row) for row in await self._list("instances_page", parameters)]

    async def workflows(self) -> AsyncIterator[list[WorkflowRow]]:
        """All workflows that are not deleted, newest first, in chunks."""
        after: Position | None = None
        while rows := await self.workflows_page(after=after, limit=CHUNK_ROWS):
            yield rows
            after = rows[-1].position

    async def instances(
        self, workflow_id: UUID | None = None, running: bool = False
    ) -> AsyncIterator[list[InstanceRow]]:
        """All instances that pass the filters of `instances_page`, newest first, in chunks."""
        after: Position | None = None
        while rows := await self.instances_page(workflow_id, running, after=after, limit=CHUNK_ROWS):
            yield rows
            after = rows[-1].position

    async def triggers_page(
        self, name: str = "", *, after: Position | None = None, before: Position | None = None, limit: int
    ) -> list[TriggerRow]:
        """Triggers that are not deleted, newest first.

        Args:
            name: only those whose name contains it, ignoring case.
            after: only those that stand behind this position.
            before: only the last `limit` that stand in front of this one; not together with `after`.
            limit: most rows of the page.
        """
        parameters = {"folded_name": folded(name), **_page(after, before, limit)}
        return [_trigger(row) for row in await self._list("triggers_page", parameters)]

    async def occurrences_page(
        self, trigger_id: UUID, *, after: Position | None = None, before: Position | None = None, limit: int
    ) -> list[OccurrenceRow]:
        """Occurrences of a trigger, also of a deleted one, newest first; none for an unknown one.

        Args:
            trigger_id: the trigger.
            after: only those that stand behind this position.
            before: only the last `limit` that stand in front of this one; not together with `after`.
            limit: most rows of the page.
        """
        parameters = {"trigger_id": trigger_id, **_page(after, before, limit)}
        return [_occurrence(row) for row in await self._list("occurrences_page", parameters)]

    async def triggers(self, name: str = "") -> AsyncIterator[list[TriggerRow]]:
        """All triggers that pass the filter of `triggers_page`, newest first, in chunks."""
        after: Position | None = None
        while rows := await self.triggers_page(name, after=after, limit=CHUNK_ROWS):
            yield rows
            after = rows[-1].position

    async def occurrences(self, trigger_id: UUID) -> AsyncIterator[list[OccurrenceRow]]:
        """All occurrences of a trigger, newest first, in chunks."""
        after: Position | None = None
        while rows := await self.occurrences_page(trigger_id, after=after, limit=OCCURRENCES_CHUNK_ROWS):
            yield rows
            after = rows[-1].position

    async def _fetch_workflows(self, ids: list[UUID]) -> dict[UUID, WorkflowRow]:
        rows = await self._sessions[0].execute(statement("workflows"), (ids,))
        return {row[0]: _workflow(row) for row in rows}

    async def _fetch_instances(self, ids: list[UUID]) -> dict[UUID, InstanceRow]:
        rows = await self._sessions[1].execute(statement("instances"), (ids,))
        return {row[0]: _instance(row) for row in rows}

    async def _fetch_triggers(self, ids: list[UUID]) -> dict[UUID, TriggerRow]:
        rows = await self._sessions[2].execute(statement("triggers"), (ids,))
        return {row[0]: _trigger(row) for row in rows}

    async def _list(self, name: str, parameters: Sequence[Any] | dict[str, Any]) -> list[Row]:
        with _unavailable():
            async with self._pool.connection() as connection:
                # Not when the pool makes it: the pool would pause for longer and longer after a refusal.
                if connection not in self._admitted:
                    await wait_caught_up(connection)
                    self._admitted.add(connection)
                cursor = await connection.execute(statement(name), parameters, binary=True)
                return await cursor.fetchall()

    async def _configure(self, connection: Connection) -> None:
        timeout = {"statement_timeout": f"{LIST_TIMEOUT_SECONDS * 1000:.0f}ms"}
        await configure(connection, self._settings.database_schema, timeout)


async def _connect(session: Session) -> None:
    with contextlib.suppress(*FAULTS):
        await session.connect()


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (*FAULTS, PoolTimeout, PoolClosed) as fault:
        raise ReadModelUnavailable(f"the read model can't be read: {fault}") from fault


def _page(after: Position | None, before: Position | None, limit: int) -> dict[str, Any]:
    if after and before:
        raise ValueError("a page is either after or before a position")
    created_at: datetime | None
    id: UUID | None
    created_at, id = after or before or (None, None)
    return {"created_at": created_at, "id": id, "limit": limit, "backwards": before is not None}


def _workflow(row: Sequence[Any]) -> WorkflowRow:
    id, name, definition, *rest = row
    return WorkflowRow(id, name, _raw(definition), *rest)


def _instance(row: Row) -> InstanceRow:
    id, workflow_id, created_at, updated_at, terminated_at, error, request = row[:7]
    workflow = _workflow((workflow_id, *row[7:13]))
    numbers, started, terminated_ats, errors = row[13:]
    stages = [] if numbers is None else list(map(StageRow, numbers, started, terminated_ats, errors))
    return InstanceRow(id, workflow_id, created_at, updated_at, terminated_at, error, workflow, stages, request)


def _trigger(row: Row) -> TriggerRow:
    id, name, event, version, workflow_id, filter, vars, *rest = row
    return TriggerRow(id, name, event, version, workflow_id, filter, None if vars is None else _raw(vars), *rest)


def _occurrence(row: Row) -> OccurrenceRow:
    id, trigger_id, date, instance_id, event, error = row[:6]
    instance = None if row[6] is None else StartedRow(*row[6:])
    return OccurrenceRow(id, trigger_id, date, instance_id, _raw(event), error, instance)


def _raw(json: str) -> Raw:
    return Raw(json.encode())
