"""Rows and pages of the read model.

Single rows go through coalescing loaders on connections of their own, since every request needs one and latency counts.
Lists and histories use a small pool, so that a client that lists everything does not slow the others down.
"""

import asyncio
import contextlib
import select
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol, TypeVar
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
    Slice,
    StageHistoryRow,
    StageRow,
    StartedRow,
    TriggerRow,
    WorkflowRow,
)
from projections.sql import page, statement
from schemas.settings import PostgresSettings

MAX_LIST_CONNECTIONS: Final = 4
"""More would let lists take Postgres away from single rows and from the projections."""
LIST_TIMEOUT_SECONDS: Final = 5.0
"""Deadline of one page, and of waiting for a connection; without it slow lists would pile up."""
CHUNK_ROWS: Final = 200
"""Most rows of a streamed list that are read at once."""
MAX_PAGE_BYTES: Final = 2 * 1024 * 1024
"""A page ends with the row that reaches this, and so does what is read at once of a streamed list. Without it a few
hundred runs of a large workflow would take the process's memory, and each client that reads slowly holds its page."""
MAX_NUMBER: Final = 2**31 - 1
"""Largest stage number that the tables hold; Postgres refuses to compare with a larger one."""


class _Placed(Protocol):
    @property
    def position(self) -> Position: ...


T = TypeVar("T")
P = TypeVar("P", bound=_Placed)


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
            check=_check,
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
        rows = await self._list(statement("event_request"), (instance_id, key))
        return rows[0][0] if rows else None

    async def history(self, id: UUID, after: int = -1) -> Slice[StageHistoryRow] | None:
        """The started stages of an instance, in order; None for an unknown instance.

        Args:
            id: the instance.
            after: only those behind this number.
        """
        rows = await self._list(statement("history"), {"id": id, "after": after, "max_bytes": MAX_PAGE_BYTES})
        return _part(_stage_history, rows) if rows else None

    async def activities(self, id: UUID, number: int, after: int = -1) -> Slice[ActivityRow] | None:
        """The activities of a stage, in order; None for a stage that did not start.

        Args:
            id: the instance.
            number: of the stage.
            after: only those behind this index.
        """
        if not 0 <= number <= MAX_NUMBER:
            return None
        parameters = {"id": id, "number": number, "after": after, "max_bytes": MAX_PAGE_BYTES}
        rows = await self._list(statement("activities"), parameters)
        return _part(_activity, rows) if rows else None

    async def workflows_page(
        self, *, after: Position | None = None, before: Position | None = None, limit: int
    ) -> Slice[WorkflowRow]:
        """Workflows that are not deleted, newest first. Fewer than `limit` when they are large (`MAX_PAGE_BYTES`).

        Args:
            after: only those that stand behind this position.
            before: only the last `limit` that stand in front of this one; not together with `after`.
            limit: most rows of the page.
        """
        return await self._page("workflows_page", _workflow, _page(after, before, limit))

    async def instances_page(
        self,
        workflow_id: UUID | None = None,
        running: bool = False,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit: int,
    ) -> Slice[InstanceRow]:
        """Instances, newest first. Fewer than `limit` when they are large (`MAX_PAGE_BYTES`).

        Args:
            workflow_id: only those of this workflow.
            running: only those that have not ended.
            after: only those that stand behind this position.
            before: only the last `limit` that stand in front of this one; not together with `after`.
            limit: most rows of the page.
        """
        parameters = {"workflow_id": workflow_id, "running": running, **_page(after, before, limit)}
        return await self._page("instances_page", _instance, parameters)

    def workflows(self) -> AsyncIterator[Slice[WorkflowRow]]:
        """All workflows that are not deleted, newest first, in chunks."""
        return _all(self.workflows_page)

    def instances(self, workflow_id: UUID | None = None, running: bool = False) -> AsyncIterator[Slice[InstanceRow]]:
        """All instances that pass the filters of `instances_page`, newest first, in chunks."""
        return _all(partial(self.instances_page, workflow_id, running))

    async def triggers_page(
        self, name: str = "", *, after: Position | None = None, before: Position | None = None, limit: int
    ) -> Slice[TriggerRow]:
        """Triggers that are not deleted, newest first. Fewer than `limit` when they are large (`MAX_PAGE_BYTES`).

        Args:
            name: only those whose name contains it, ignoring case.
            after: only those that stand behind this position.
            before: only the last `limit` that stand in front of this one; not together with `after`.
            limit: most rows of the page.
        """
        parameters = {"folded_name": folded(name), **_page(after, before, limit)}
        return await self._page("triggers_page", _trigger, parameters)

    async def occurrences_page(
        self, trigger_id: UUID, *, after: Position | None = None, before: Position | None = None, limit: int
    ) -> Slice[OccurrenceRow]:
        """Occurrences of a trigger, also of a deleted one, newest first; none for an unknown one.

        They are fewer than `limit` when they are large (`MAX_PAGE_BYTES`).

        Args:
            trigger_id: the trigger.
            after: only those that stand behind this position.
            before: only the last `limit` that stand in front of this one; not together with `after`.
            limit: most rows of the page.
        """
        parameters = {"trigger_id": trigger_id, **_page(after, before, limit)}
        return await self._page("occurrences_page", _occurrence, parameters)

    def triggers(self, name: str = "", max_rows: int | None = None) -> AsyncIterator[Slice[TriggerRow]]:
        """The triggers that pass the filter of `triggers_page`, newest first, in chunks.

        Args:
            name: as in `triggers_page`.
            max_rows: only the first ones; None for all.
        """
        return _all(partial(self.triggers_page, name), max_rows)

    def occurrences(self, trigger_id: UUID) -> AsyncIterator[Slice[OccurrenceRow]]:
        """All occurrences of a trigger, newest first, in chunks."""
        return _all(partial(self.occurrences_page, trigger_id))

    async def _fetch_workflows(self, ids: list[UUID]) -> dict[UUID, WorkflowRow]:
        rows = await self._sessions[0].execute(statement("workflows"), (ids,))
        return {row[0]: _workflow(row) for row in rows}

    async def _fetch_instances(self, ids: list[UUID]) -> dict[UUID, InstanceRow]:
        rows = await self._sessions[1].execute(statement("instances"), (ids,))
        return {row[0]: _instance(row) for row in rows}

    async def _fetch_triggers(self, ids: list[UUID]) -> dict[UUID, TriggerRow]:
        rows = await self._sessions[2].execute(statement("triggers"), (ids,))
        return {row[0]: _trigger(row) for row in rows}

    async def _page(self, name: str, make: Callable[[Row], T], parameters: dict[str, Any]) -> Slice[T]:
        backwards = parameters["backwards"]
        rows = await self._list(page(name, backwards), {**parameters, "max_bytes": MAX_PAGE_BYTES})
        found = _part(make, rows[: parameters["limit"]])
        return Slice(found.rows[::-1], found.more) if backwards else found

    async def _list(self, query: bytes, parameters: Sequence[Any] | dict[str, Any]) -> list[Row]:
        with _unavailable():
            async with self._pool.connection() as connection:
                # Not when the pool makes it: the pool would pause for longer and longer after a refusal.
                if connection not in self._admitted:
                    await wait_caught_up(connection)
                    self._admitted.add(connection)
                cursor = await connection.execute(query, parameters, binary=True)
                return await cursor.fetchall()

    async def _configure(self, connection: Connection) -> None:
        timeout = {"statement_timeout": f"{LIST_TIMEOUT_SECONDS * 1000:.0f}ms"}
        await configure(connection, self._settings.database_schema, timeout)


async def _connect(session: Session) -> None:
    with contextlib.suppress(*FAULTS):
        await session.connect()


async def _check(connection: Connection) -> None:
    """Raise when an idle connection has been cut, which leaves something to be read from it; else there is nothing.

    Asking the server each time would cost a list a tenth of its time.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)


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


def _part(make: Callable[[Row], T], rows: list[Row]) -> Slice[T]:
    """The rows of a statement whose last column says whether one more follows."""
    if not rows or rows[0][0] is None:
        return Slice([])
    return Slice([make(row) for row in rows], rows[-1][-1] is True)


class _Fetch(Protocol[P]):
    """Reads a page."""

    async def __call__(self, *, after: Position | None = None, limit: int) -> Slice[P]: ...


async def _all(fetch: _Fetch[P], max_rows: int | None = None) -> AsyncIterator[Slice[P]]:
    """A list page by page, up to its end or to so many rows."""
    left = sys.maxsize if max_rows is None else max_rows
    after: Position | None = None
    while True:
        found = await fetch(after=after, limit=min(left, CHUNK_ROWS))
        left -= len(found.rows)
        page = [Slice(found.rows, found.more and left > 0)]
        after = found.rows[-1].position if page[0].more else None
        del found  # nothing here holds the rows while they are on their way to a slow client
        yield page.pop()
        if after is None:
            return


def _workflow(row: Sequence[Any]) -> WorkflowRow:
    id, name, definition, *rest = row[:7]
    return WorkflowRow(id, name, _raw(definition), *rest)


def _instance(row: Row) -> InstanceRow:
    id, workflow_id, created_at, updated_at, terminated_at, error, request = row[:7]
    workflow = _workflow((workflow_id, *row[7:13]))
    numbers, started, terminated_ats, errors = row[13:17]
    stages = [] if numbers is None else list(map(StageRow, numbers, started, terminated_ats, errors))
    return InstanceRow(id, workflow_id, created_at, updated_at, terminated_at, error, workflow, stages, request)


def _stage_history(row: Row) -> StageHistoryRow:
    number, name, given, *rest = row[:6]
    return StageHistoryRow(number, name, _raw(given), *rest)


def _activity(row: Row) -> ActivityRow:
    index, name, given, output, *rest = row[:10]
    return ActivityRow(index, name, _raw(given), None if output is None else _raw(output), *rest)


def _trigger(row: Row) -> TriggerRow:
    id, name, event, version, workflow_id, filter, vars, *rest = row[:10]
    return TriggerRow(id, name, event, version, workflow_id, filter, None if vars is None else _raw(vars), *rest)


def _occurrence(row: Row) -> OccurrenceRow:
    id, trigger_id, date, instance_id, event, error = row[:6]
    instance = None if row[6] is None else StartedRow(*row[6:12])
    return OccurrenceRow(id, trigger_id, date, instance_id, _raw(event), error, instance)


def _raw(json: str) -> Raw:
    return Raw(json.encode())
