"""The read model of a `Backend`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from api.ports import (
    BEFORE_ALL,
    ActivityRow,
    BulkRow,
    DeletedInstance,
    HistoryPlace,
    InstanceFilters,
    InstanceRow,
    KnownRequests,
    OccurrenceRow,
    RetryableRow,
    RowPosition,
    Slice,
    StageHistoryRow,
    StatsRow,
    TriggerRow,
    Window,
    WorkflowRow,
)
from projections.states import state_of
from tests.unit.api.fakes.backend import PARTITION, FakeConnection


class FakeReadModel(FakeConnection):
    async def workflow(self, workflow_id: UUID, /) -> WorkflowRow | None:
        self.backend.check()
        return self.backend.workflow_rows.get(workflow_id)

    async def leased_workflow(self, workflow_id: UUID, /) -> WorkflowRow | None:
        return await self.workflow(workflow_id)

    async def instance(self, instance_id: UUID, /) -> InstanceRow | None:
        self.backend.check()
        self.backend.calls.append("instance")
        return self.backend.instance_rows.get(instance_id)

    async def keyed_instance(self, instance_id: UUID, /) -> InstanceRow | DeletedInstance | None:
        request = self.backend.deleted_instances.get(instance_id)
        return await self.instance(instance_id) or (request and DeletedInstance(instance_id, request)) or None

    async def event_request(self, instance_id: UUID, key: UUID, /) -> KnownRequests:
        self.backend.check()
        requests = self.backend.event_requests
        return KnownRequests(requests.get((instance_id, key)), sum(id == instance_id for id, _ in requests))

    async def retryable(self, instance_id: UUID, partition: int, /) -> RetryableRow | None:
        self.backend.check()
        assert partition == PARTITION
        self.backend.on_retryable()
        return self.backend.retryable.get(instance_id)

    async def history(self, instance_id: UUID, /, after: HistoryPlace = BEFORE_ALL) -> Slice[StageHistoryRow] | None:
        self.backend.check()
        rows = self.backend.histories.get(instance_id)
        return None if rows is None else self._part([row for row in rows if row.place > after])

    async def activities(
        self, instance_id: UUID, stage: int, /, after: HistoryPlace = BEFORE_ALL
    ) -> Slice[ActivityRow] | None:
        self.backend.check()
        rows = self.backend.activity_rows.get((instance_id, stage))
        return None if rows is None else self._part([row for row in rows if row.place > after])

    def _part(self, rows: list[Any]) -> Slice[Any]:
        self.backend.calls.append("page")
        return Slice(rows[: self.backend.page_rows], len(rows) > self.backend.page_rows)

    async def workflows(self) -> AsyncIterator[Slice[WorkflowRow]]:
        rows = [row for row in self.backend.workflow_rows.values() if row.deleted_at is None]
        async for page in self._pages(rows):
            yield page

    async def instances(self, filters: InstanceFilters, /) -> AsyncIterator[Slice[InstanceRow]]:
        wanted, running = filters.workflow_ids, filters.running
        rows = [
            row
            for row in self.backend.instance_rows.values()
            if (not wanted or row.workflow_id in wanted)
            and not (running and row.terminated_at is not None)
            and (not filters.states or state_of(row) in filters.states)
        ]
        async for page in self._pages(rows):
            yield page

    async def trigger(self, trigger_id: UUID, /) -> TriggerRow | None:
        self.backend.check()
        return self.backend.trigger_rows.get(trigger_id)

    async def triggers(self, name: str, max_rows: int | None, /) -> AsyncIterator[Slice[TriggerRow]]:
        rows = [
            row
            for row in self.backend.trigger_rows.values()
            if row.deleted_at is None and name.casefold() in row.name.casefold()
        ][:max_rows]
        async for page in self._pages(rows):
            yield page

    async def occurrences(self, trigger_id: UUID, /) -> AsyncIterator[Slice[OccurrenceRow]]:
        async for page in self._pages([row for row in self.backend.occurrence_rows if row.trigger_id == trigger_id]):
            yield page

    async def bulk(self, bulk_id: UUID, /) -> BulkRow | None:
        self.backend.check()
        return self.backend.bulk_rows.get(bulk_id)

    async def bulks_page(self, **place: Any) -> Slice[BulkRow]:
        return await _page(self._pages(list(self.backend.bulk_rows.values())), **place)

    async def workflows_page(self, **place: Any) -> Slice[WorkflowRow]:
        return await _page(self.workflows(), **place)

    async def instances_page(self, filters: InstanceFilters, /, **place: Any) -> Slice[InstanceRow]:
        return await _page(self.instances(filters), **place)

    async def triggers_page(self, name: str, /, **place: Any) -> Slice[TriggerRow]:
        return await _page(self.triggers(name, None), **place)

    async def occurrences_page(self, trigger_id: UUID, /, **place: Any) -> Slice[OccurrenceRow]:
        return await _page(self.occurrences(trigger_id), **place)

    async def stats(self, window: Window, workflow_id: UUID | None, /) -> StatsRow:
        self.backend.check()
        self.backend.asked_stats.append((window, workflow_id))
        return self.backend.stats_row

    async def _pages(self, rows: list[Any]) -> AsyncIterator[Slice[Any]]:
        self.backend.check()
        if not rows:
            yield Slice([])
        for start in range(0, len(rows), self.backend.page_rows):
            self.backend.check()
            self.backend.calls.append("page")
            await asyncio.sleep(0)  # a query lets other tasks run
            end = start + self.backend.page_rows
            yield Slice(rows[start:end], end < len(rows))


async def _page(
    chunks: AsyncIterator[Slice[Any]],
    *,
    after: RowPosition | None = None,
    before: RowPosition | None = None,
    limit: int,
) -> Slice[Any]:
    rows = sorted([row async for part in chunks for row in part.rows], key=lambda row: row.position, reverse=True)
    if before is not None:
        rows = [row for row in rows if row.position > before]
        return Slice(rows[-limit:], len(rows) > limit)
    rows = [row for row in rows if after is None or row.position < after]
    return Slice(rows[:limit], len(rows) > limit)
