"""What must hold of the lists of workflows and instances."""

import itertools
import uuid
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from projections.queries import instance_filters, pages, small_instances
from projections.queries.connections import Connections
from projections.queries.instance_filters import InstanceFilters
from projections.queries.pages import page_query
from projections.queries.read_model import CHUNK_ROWS, FIRST_ROWS
from projections.queries.small_instances import STAGE_BYTES
from projections.read_rows import (
    InstanceRow,
    RowPosition,
    Slice,
)
from projections.sql import page_of
from schemas import events
from tests.happened import CREATED, WORKFLOW, at, started
from tests.read_model_contract.subjects import NOBODY, Subject


class ListsContract:
    """See the module."""

    async def test_pages_are_newest_first_and_neither_skip_nor_repeat(self, subject: Subject) -> None:
        other = uuid.UUID(int=2)
        await subject.write((WORKFLOW, CREATED), (other, CREATED))
        # Pairs of the same instant, so that the id decides between them; every third one runs.
        ids = [uuid.uuid4() for _ in range(12)]
        for n, id in enumerate(ids):
            happened = [
                started(n // 2, other if n % 4 == 0 else WORKFLOW),
                events.InstanceEnded(workflow_id="w", at=at(n)),
            ]
            await subject.write(*((id, event) for event in (happened[:1] if n % 3 == 0 else happened)))
        ordered = sorted(range(12), key=lambda n: (n // 2, ids[n]), reverse=True)

        for wanted in (None, WORKFLOW, other, NOBODY):
            for running in (False, True):
                expected = [
                    ids[n]
                    for n in ordered
                    if (wanted is None or wanted == (other if n % 4 == 0 else WORKFLOW)) and (not running or n % 3 == 0)
                ]
                filters = InstanceFilters(workflow_ids=() if wanted is None else (wanted,), running=running)
                seen: list[uuid.UUID] = []
                after: RowPosition | None = None
                while rows := (await subject.model.instances_page(filters, after=after, limit=2)).rows:
                    if after is not None:
                        previous = await subject.model.instances_page(filters, before=rows[0].position, limit=2)
                        assert [row.id for row in previous.rows] == seen[-2:]
                    seen += [row.id for row in rows]
                    after = rows[-1].position
                assert seen == expected
                streamed = [row.id async for part in subject.model.instances(filters) for row in part.rows]
                assert streamed == expected

    async def test_instances_whose_workflow_is_not_there_yet_end_no_list(self, subject: Subject) -> None:
        """The workflow may be in a partition that is not as far: a trigger of another one starts instances of it."""
        await subject.write((WORKFLOW, CREATED))
        ids = [uuid.UUID(int=100 + n) for n in range(9)]
        there = [ids[n] for n in (6, 4, 1, 0)]
        await subject.write(*((id, started(n, WORKFLOW if id in there else NOBODY)) for n, id in enumerate(ids)))
        for filters in (InstanceFilters(), InstanceFilters(running=True), InstanceFilters(states=("running",))):
            for limit in (1, 2, 4, 9):
                place: dict[str, Any] = {}
                seen: list[uuid.UUID] = []
                more = True
                while more:
                    found = await subject.model.instances_page(filters, **place, limit=limit)
                    seen += [row.id for row in found.rows]
                    more = found.more
                    place = {"after": found.reached or found.rows[-1].position} if more else {}
                assert seen == there, (filters, limit)
                place, seen, more = {"before": RowPosition(at(0), uuid.UUID(int=0))}, [], True
                while more:
                    found = await subject.model.instances_page(filters, **place, limit=limit)
                    seen = [row.id for row in found.rows] + seen
                    more = found.more
                    place = {"before": found.reached or found.rows[0].position} if more else {}
                assert seen == there, (filters, limit)
            streamed = [row.id async for part in subject.model.instances(filters) for row in part.rows]
            assert streamed == there
        await subject.write(*((uuid.uuid4(), started(20, NOBODY)) for _ in range(FIRST_ROWS + CHUNK_ROWS)))
        parts = [[row.id for row in part.rows] async for part in subject.model.instances()]
        assert parts == [there], "a part without rows"

    async def test_workflow_pages_leave_deleted_ones_out(self, subject: Subject) -> None:
        ids = [uuid.UUID(int=n) for n in range(1, 6)]
        await subject.write(*((id, CREATED) for id in ids), (ids[2], events.WorkflowDeleted(at=at(1))))
        left = [ids[n] for n in (4, 3, 1, 0)]
        assert [row.id async for part in subject.model.workflows() for row in part.rows] == left
        page = await subject.model.workflows_page(limit=2)
        assert ([row.id for row in page.rows], page.more) == (left[:2], True)
        page = await subject.model.workflows_page(after=page.rows[-1].position, limit=2)
        assert ([row.id for row in page.rows], page.more) == (left[2:], False)
        page = await subject.model.workflows_page(before=page.rows[-1].position, limit=2)
        assert ([row.id for row in page.rows], page.more) == ([left[1], left[2]], True)

    async def test_a_page_of_small_instances_tells_whether_it_is_preceded(self, subject: Subject) -> None:
        other = uuid.UUID(int=2)
        await subject.write((WORKFLOW, CREATED), (other, events.WorkflowCreated(at=at(1), name="o", stages=[])))
        first, second, third = (uuid.UUID(int=100 + n) for n in range(3))  # the newest one comes first
        await subject.write((third, started(1)), (second, started(2)), (first, started(3, other)))
        await subject.write((second, events.InstanceEnded(workflow_id="w", at=at(9))))
        cases: list[tuple[InstanceFilters, dict[str, Any], list[uuid.UUID], bool | None]] = [
            (InstanceFilters(), {}, [first, second, third], None),
            (InstanceFilters(), {"after": RowPosition(at(3), first)}, [second, third], True),
            (InstanceFilters(), {"after": RowPosition(at(4), first)}, [first, second, third], False),
            (InstanceFilters(), {"before": RowPosition(at(1), third)}, [first, second], True),
            (InstanceFilters(), {"before": RowPosition(at(0), third)}, [first, second, third], False),
            (InstanceFilters(workflow_ids=(WORKFLOW,)), {"after": RowPosition(at(3), first)}, [second, third], False),
            (InstanceFilters(workflow_ids=(other,)), {"before": RowPosition(at(2), second)}, [first], False),
            (InstanceFilters(running=True), {"after": RowPosition(at(2), second)}, [third], True),
            (InstanceFilters(running=True), {"before": RowPosition(at(2), second)}, [first], True),
            (InstanceFilters(), {"after": RowPosition(at(1), third)}, [], None),
        ]
        for filters, place, ids, preceded in cases:
            page = await subject.model.instances_page(filters, **place, limit=9)
            assert ([row.id for row in page.rows], page.preceded) == (ids, preceded), (filters, place)

    async def test_lists_are_streamed_in_chunks(self, subject: Subject) -> None:
        await subject.write((WORKFLOW, CREATED))
        await subject.write(*((uuid.uuid4(), started(n)) for n in range(FIRST_ROWS + CHUNK_ROWS + 1)))
        assert [len(part.rows) async for part in subject.model.instances()] == [FIRST_ROWS, CHUNK_ROWS, 1]

    @pytest.mark.parametrize(
        ("max_page_bytes", "are_small"), [(2**21, True), (2 * STAGE_BYTES * 9, False), (2 * STAGE_BYTES * 100, False)]
    )
    async def test_small_instances_are_shown_as_others_are(
        self, subject: Subject, monkeypatch: pytest.MonkeyPatch, max_page_bytes: int, are_small: bool
    ) -> None:
        """The second bound has too little room for all their stages, the third one for the variables of one of them."""
        other = uuid.UUID(int=2)
        await subject.write((WORKFLOW, CREATED), (other, events.WorkflowCreated(at=at(1), name="o", stages=[])))
        for n in range(6):
            id = uuid.UUID(int=100 + n)
            await subject.write(
                (id, started(n // 2, other if n == 4 else WORKFLOW, text="x" * 20_000 if n == 2 else "")),
                *((id, events.StageStarted(workflow_id="w", at=at(k), number=k, name="A", input={})) for k in range(n)),
                *((id, events.StageEnded(workflow_id="w", at=at(k), number=k, error="no")) for k in range(n - 1)),
                *([(id, events.InstanceEnded(workflow_id="w", at=at(9), error="no"))] if n % 2 else []),
            )
        filters = [InstanceFilters(), InstanceFilters(workflow_ids=(WORKFLOW,)), InstanceFilters(running=True)]

        async def shown() -> list[Slice[InstanceRow]]:
            middle = RowPosition(at(1), uuid.UUID(int=103))
            places: list[dict[str, Any]] = [{}, {"after": middle}, {"before": middle}]
            chosen = itertools.product(filters, places, (1, 5, 6))
            return [await subject.model.instances_page(some, **place, limit=n) for some, place, n in chosen]

        with monkeypatch.context() as patched:
            patched.setattr(small_instances, "MAX_INSTANCES", 0)
            expected = await shown()
        read: list[str] = []
        execute = Connections.execute

        async def noted(self: Connections, query: bytes, parameters: Any) -> list[Any]:
            read.append((page_of(query) or ("",))[0])
            return await execute(self, query, parameters)

        monkeypatch.setattr(Connections, "execute", noted)
        monkeypatch.setattr(pages, "MAX_PAGE_BYTES", max_page_bytes)
        if not are_small:
            # What is read instead has the bound of before.
            query = partial(page_query, max_bytes=2**21)
            monkeypatch.setattr(instance_filters, "page_query", query)
        assert [replace(one, preceded=None) for one in await shown()] == expected
        assert len(expected[2].rows[0].stages) == 5
        assert ("instances_page" in read) is not are_small
        assert "small_instances_page" in read
