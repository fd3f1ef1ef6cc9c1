"""Rows and pages of the read model.

Single rows go through coalescing loaders on connections of their own, since every request needs one and latency counts.
Lists and histories share a few other connections, so that a client that lists everything does not slow the others down.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeVar
from uuid import UUID

from msgspec.structs import replace

from projections.database import FAULTS, Postgres, Session
from projections.names import folded
from projections.ports import Database, Row
from projections.queries import pages
from projections.queries.bulks import BulkColumns, BulkRow
from projections.queries.caught_up import wait_caught_up
from projections.queries.columns import (
    ActivityColumns,
    InstanceColumns,
    OccurrenceColumns,
    StageColumns,
    TriggerColumns,
    WorkflowColumns,
)
from projections.queries.connections import Connections
from projections.queries.instance_filters import EVERY_INSTANCE, InstanceFilters, instances_query
from projections.queries.leases import Leases
from projections.queries.loader import DEADLINE_SECONDS, Loader
from projections.queries.pages import Columns, PageQuery, page_query, sliced
from projections.queries.retryable import retryable_query, retryable_row
from projections.queries.searching import instances_slice
from projections.queries.sharing import SharedReads
from projections.queries.small_instances import MAX_INSTANCES, small_instances, small_instances_query
from projections.queries.stats import StatsRow, Window, stats_query, stats_row
from projections.read_rows import (
    BEFORE_ALL,
    LIVE,
    ActivityRow,
    DeletedInstance,
    HistoryPlace,
    InstanceRow,
    KnownRequests,
    OccurrenceRow,
    RetryableRow,
    RowPosition,
    Slice,
    StageHistoryRow,
    TriggerRow,
    WorkflowRow,
)
from projections.sql import statement
from schemas.settings import PostgresSettings

CHUNK_ROWS: Final = 200
"""Most rows of a streamed list that are read at once; more would keep the event loop busy for longer."""
FIRST_ROWS: Final = MAX_INSTANCES
"""Of those that are read first: most lists are short, and then they are read as small pages are."""
MAX_NUMBER: Final = 2**31 - 1
"""Largest stage number that the tables hold. Asked for a larger one, Postgres would refuse, which is not an outage."""


class _Placed(Protocol):
    @property
    def position(self) -> RowPosition: ...


T = TypeVar("T", covariant=True)
P = TypeVar("P", bound=_Placed)
Single = TypeVar("Single", WorkflowRow, TriggerRow)


class _Identified(Columns[T], Protocol[T]):
    @property
    def id(self) -> UUID: ...


class _Keyed(NamedTuple):
    """An instance that is looked for among those that are deleted, too."""

    id: UUID


class ReadModel:
    """The API's view of workflows, instances and triggers.

    Every method raises `ReadModelUnavailable` while Postgres is away.

    Args:
        settings: where the read model is.
        database: where it is, instead of on Postgres.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        database: Database | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        database = database or Postgres(settings)
        self._workflow_session = _session(database, "workflows")
        self._instance_session = _session(database, "instances")
        self._trigger_session = _session(database, "triggers")
        self._workflows: Loader[UUID, WorkflowRow] = Loader(self._fetch_workflows)
        self._leased_workflows: Leases[UUID, WorkflowRow] = Leases(self._workflows.load, clock)
        self._instances: Loader[UUID | _Keyed, InstanceRow | DeletedInstance] = Loader(self._fetch_instances)
        self._triggers: Loader[UUID, TriggerRow] = Loader(self._fetch_triggers)
        self._lists, self._shared = Connections(database, "api lists"), SharedReads()

    async def open(self) -> None:
        """Connect, if Postgres is there; otherwise later, by itself."""
        await asyncio.gather(
            _connect(self._workflow_session), _connect(self._instance_session), _connect(self._trigger_session)
        )

    async def close(self) -> None:
        """Close all connections; callers in flight get `ReadModelUnavailable`."""
        await self._workflows.close()
        await self._instances.close()
        await self._triggers.close()
        await self._workflow_session.close()
        await self._instance_session.close()
        await self._trigger_session.close()
        await self._lists.close()

    @property
    def ready(self) -> bool:
        """Whether the last look-ups reached Postgres. Triggers are looked up too rarely to tell."""
        return self._workflow_session.connected and self._instance_session.connected

    async def workflow(self, id: UUID) -> WorkflowRow | None:
        """A workflow, also a deleted one."""
        return await self._workflows.load(id)

    async def leased_workflow(self, id: UUID) -> WorkflowRow | None:
        """A workflow, also a deleted one, as it was at most `LEASE_SECONDS` ago."""
        return await self._leased_workflows.get(id)

    async def instance(self, id: UUID) -> InstanceRow | None:
        """An instance with its workflow and stages."""
        found = await self._instances.load(id)
        return None if isinstance(found, DeletedInstance) else found

    async def keyed_instance(self, id: UUID) -> InstanceRow | DeletedInstance | None:
        """The instance that a request with a key has started; None if it was not sent before."""
        return await self._instances.load(_Keyed(id))

    async def trigger(self, id: UUID) -> TriggerRow | None:
        """A trigger, also a deleted one."""
        return await self._triggers.load(id)

    async def bulk(self, id: UUID) -> BulkRow | None:
        """A bulk operation."""
        rows = await self._lists.execute(statement("bulks"), ([id],))
        return next((BulkColumns(*row).row() for row in rows), None)

    async def bulks_page(
        self, *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
    ) -> Slice[BulkRow]:
        """Bulk operations, newest first. Fewer than `limit` when they are large (`MAX_PAGE_BYTES`).

        Args:
            after: only those behind this position.
            before: only the last `limit` in front of this position; not together with `after`.
            limit: most rows of the page.
        """
        return await self._page(partial(sliced, BulkColumns), page_query("bulks_page", after, before, limit))

    async def event_request(self, instance_id: UUID, key: UUID) -> KnownRequests:
        """What is known of a request with this key to an instance, and how many with any key there were."""
        rows = await self._lists.execute(statement("event_request"), (instance_id, key))
        return KnownRequests(*rows[0])

    async def history(self, id: UUID, after: HistoryPlace = BEFORE_ALL) -> Slice[StageHistoryRow] | None:
        """The started stages of an instance in all its passes, in order; None for an unknown instance.

        Args:
            id: the instance.
            after: only those behind this place.
        """
        return await self._history("history", StageColumns, id, *after)

    async def activities(self, id: UUID, number: int, after: HistoryPlace = BEFORE_ALL) -> Slice[ActivityRow] | None:
        """The activities of a stage in all passes, in order; None for a stage that did not start.

        Args:
            id: the instance.
            number: of the stage.
            after: only those behind this place.
        """
        if not 0 <= number <= MAX_NUMBER:
            return None
        return await self._history("activities", ActivityColumns, id, number, *after)

    async def retryable(self, id: UUID, partition: int) -> RetryableRow | None:
        """What a retry of an instance goes on with; None for an unknown instance.

        Args:
            id: the instance.
            partition: that of its events.
        """
        return retryable_row(id, await self._lists.execute(*retryable_query(id, partition)))

    async def workflows_page(
        self, *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
    ) -> Slice[WorkflowRow]:
        """Workflows that are not deleted, newest first. Fewer than `limit` when they are large (`MAX_PAGE_BYTES`).

        Args:
            after: only those behind this position.
            before: only the last `limit` in front of this position; not together with `after`.
            limit: most rows of the page.
        """
        return await self._page(partial(sliced, WorkflowColumns), page_query("workflows_page", after, before, limit))

    async def instances_page(
        self,
        filters: InstanceFilters = EVERY_INSTANCE,
        *,
        after: RowPosition | None = None,
        before: RowPosition | None = None,
        limit: int,
    ) -> Slice[InstanceRow]:
        """Instances, newest first. Fewer than `limit` when they are large (`MAX_PAGE_BYTES`).

        Args:
            filters: only those that pass them. What is rare may be found in several steps: see `Slice.reached`.
            after: only those behind this position.
            before: only the last `limit` in front of this position; not together with `after`.
            limit: most rows of the page.
        """
        small = small_instances_query(filters, after, before, limit)
        if small is not None:
            found = await self._read(small, partial(small_instances, small.limit))
            if found is not None:
                return found
        query = instances_query(filters, after, before, limit)
        return await self._page(instances_slice, query)

    def workflows(self) -> AsyncIterator[Slice[WorkflowRow]]:
        """All workflows that are not deleted, newest first, in chunks."""
        return _all(self.workflows_page)

    def instances(self, filters: InstanceFilters = EVERY_INSTANCE) -> AsyncIterator[Slice[InstanceRow]]:
        """All instances that pass the filters, newest first, in chunks."""
        return _all(partial(self.instances_page, filters))

    async def triggers_page(
        self, name: str = "", *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
    ) -> Slice[TriggerRow]:
        """Triggers that are not deleted, newest first. Fewer than `limit` when they are large (`MAX_PAGE_BYTES`).

        Args:
            name: only those whose name contains it, ignoring case.
            after: only those behind this position.
            before: only the last `limit` in front of this position; not together with `after`.
            limit: most rows of the page.
        """
        query = page_query("triggers_page", after, before, limit, folded_name=folded(name) or None)
        return await self._page(partial(sliced, TriggerColumns), query)

    async def occurrences_page(
        self, trigger_id: UUID, *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
    ) -> Slice[OccurrenceRow]:
        """Occurrences of a trigger, also of a deleted one, newest first; empty for an unknown one.

        They are fewer than `limit` when they are large (`MAX_PAGE_BYTES`).

        Args:
            trigger_id: the trigger.
            after: only those behind this position.
            before: only the last `limit` in front of this position; not together with `after`.
            limit: most rows of the page.
        """
        query = page_query("occurrences_page", after, before, limit, trigger_id=trigger_id)
        return await self._page(partial(sliced, OccurrenceColumns), query)

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

    async def stats(self, window: Window, workflow_id: UUID | None = None) -> StatsRow:
        """What statistics are made of.

        Args:
            window: the hours in which something happened.
            workflow_id: only this workflow.
        """
        query, parameters = stats_query(window, workflow_id)

        async def read() -> StatsRow:
            return stats_row(await self._lists.execute(query, parameters))

        return await self._shared.get((query, *parameters), read)

    async def _fetch_workflows(self, ids: list[UUID]) -> dict[UUID, WorkflowRow | Exception]:
        rows = await self._workflow_session.execute(statement("workflows"), (ids,))
        return _by_id(WorkflowColumns, rows)

    async def _fetch_instances(
        self, keys: list[UUID | _Keyed]
    ) -> dict[UUID | _Keyed, InstanceRow | DeletedInstance | Exception]:
        keyed = [key for key in keys if isinstance(key, _Keyed)]
        ids = [key.id if isinstance(key, _Keyed) else key for key in keys]
        rows = await self._instance_session.execute(statement("keyed_instances" if keyed else "instances"), (ids,))
        found: dict[UUID | _Keyed, InstanceRow | DeletedInstance | Exception] = {}
        for columns in (InstanceColumns(*row) for row in rows):
            if columns.is_deleted:
                found[_Keyed(columns.id)] = DeletedInstance(columns.id, columns.request or "")
            else:
                found[columns.id] = found[_Keyed(columns.id)] = _row_of(columns)
        return found

    async def _fetch_triggers(self, ids: list[UUID]) -> dict[UUID, TriggerRow | Exception]:
        rows = await self._trigger_session.execute(statement("triggers"), (ids,))
        return _by_id(TriggerColumns, rows)

    async def _page(self, slice: Callable[[list[Row]], Slice[T]], query: PageQuery) -> Slice[T]:
        found = await self._read(query, lambda rows: slice(rows[: query.limit]))
        assert found is not None  # noqa: S101 - for the type checker
        return found

    async def _read(self, query: PageQuery, slice: Callable[[list[Row]], Slice[T] | None]) -> Slice[T] | None:
        async def read() -> Slice[T] | None:
            found = slice(await self._lists.execute(query.statement, query.parameters))
            return replace(found, rows=found.rows[::-1]) if found is not None and query.backwards else found

        asked = (tuple(value) if isinstance(value, list) else value for value in query.parameters)
        return await self._shared.get((query.statement, *asked), read)

    async def _history(self, name: str, columns: Callable[..., Columns[T]], *parameters: object) -> Slice[T] | None:
        async def read() -> Slice[T] | None:
            rows = await self._lists.execute(statement(name), (*parameters, pages.MAX_PAGE_BYTES, LIVE))
            return sliced(columns, rows) if rows else None

        return await self._shared.get((name, *parameters), read)


def _session(database: Database, name: str) -> Session:
    return Session(database, f"api {name}", statement_timeout_seconds=DEADLINE_SECONDS, admit=wait_caught_up)


async def _connect(session: Session) -> None:
    with contextlib.suppress(*FAULTS):
        await session.connect()


def _by_id(columns: Callable[..., _Identified[Single]], rows: list[Row]) -> dict[UUID, Single | Exception]:
    return {row.id: _row_of(row) for row in (columns(*some) for some in rows)}


def _row_of(columns: Columns[T]) -> T | Exception:
    """A row, or why it can't be read, such as what a newer build has written. Those that are read with it go on."""
    try:
        return columns.row()
    except Exception as error:
        return error


class _Fetch(Protocol[P]):
    """Reads a page."""

    async def __call__(self, *, after: RowPosition | None = None, limit: int) -> Slice[P]: ...


async def _all(fetch: _Fetch[P], max_rows: int | None = None) -> AsyncIterator[Slice[P]]:
    """A list page by page, up to its end or to `max_rows`. Only the last may be empty: it is read on for the others."""
    left = sys.maxsize if max_rows is None else max_rows
    after: RowPosition | None = None
    while True:
        found = await fetch(after=after, limit=min(left, CHUNK_ROWS, FIRST_ROWS if after is None else left))
        left -= len(found.rows)
        page = [Slice(found.rows, found.more and left > 0, found.reached)]
        after = (found.reached or found.rows[-1].position) if page[0].more else None
        del found  # nothing here holds the rows while they are on their way to a slow client
        if page[0].rows or after is None:
            yield page.pop()
        if after is None:
            return
