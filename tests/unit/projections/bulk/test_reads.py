"""The pages of an operation, with filters that are searched for: only what passes them is ever acted on."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from projections.bulk.reads import Reads
from projections.memory import MemoryDatabase, MemoryStore
from projections.memory_queries import MemoryQueries
from projections.queries import instance_filters
from projections.queries.bulks import BulkRow
from projections.queries.instance_filters import InstanceFilters
from projections.read_rows import RowPosition
from schemas import events
from tests.happened import CREATED, WORKFLOW, at, next_batch, started

IDS = [UUID(int=1000 + number) for number in range(6)]


async def pages(filters: InstanceFilters, limit: int) -> list[UUID]:
    """What is found step by step, of six instances of which the odd ones have failed."""
    database = MemoryDatabase()
    store = MemoryStore(database)
    happened: list[tuple[UUID, Any]] = [(WORKFLOW, CREATED)]
    for number, id in enumerate(IDS):
        happened.append((id, replace(started(number), variables={"merchant": "acme"})))
        if number % 2:
            ended = events.InstanceEnded(at=at(number + 0.5), workflow_id=str(WORKFLOW), error="boom")
            happened.append((id, ended))
    batch, after = await next_batch(store, happened, 0, None)
    await store.write(batch)
    await store.note_caught_up({0: after.next_offset}, 1)
    reads, found = Reads(MemoryQueries(database)), list[UUID]()
    bulk = BulkRow(
        id=UUID(int=9),
        partition=0,
        action="abort",
        filter=Raw(msgspec.json.encode(filters)),
        expected=None,
        created_at=at(100),
        updated_at=at(100),
    )
    place: RowPosition | None = bulk.position
    while place is not None:
        page = await reads.next_page(bulk, place, limit)
        found += [one.id for one in page.places]
        place = page.behind
    return found


async def test_only_what_passes_the_filters_and_what_the_action_fits_to() -> None:
    assert await pages(InstanceFilters(running=True), 2) == [IDS[4], IDS[2], IDS[0]]
    assert await pages(InstanceFilters(), 2) == [IDS[4], IDS[2], IDS[0]]


@pytest.mark.parametrize("looked_at", [1, 2, 2000])
async def test_a_search_that_stops_on_its_way_goes_on_and_brings_nothing_else(
    monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    monkeypatch.setattr(instance_filters, "MAX_LOOKED_AT", looked_at)
    filters = InstanceFilters(states=("running",), created_before=at(3))
    assert await pages(filters, 1) == [IDS[2], IDS[0]]
    assert await pages(InstanceFilters(error="boom"), 1) == []
    # The row at which the looking stops comes along, whether or not it passes the filters.
    assert await pages(InstanceFilters(key="acme", running=True), 1) == [IDS[4], IDS[2], IDS[0]]
    assert await pages(InstanceFilters(key="acme", workflow_ids=(UUID(int=77),)), 2) == []


@pytest.mark.parametrize("begin", [None, 5])
async def test_it_begins_with_what_was_there_though_a_clock_was_ahead(begin: int | None) -> None:
    """The operation begins at 3 by the clock of its partition."""
    store = MemoryStore(database := MemoryDatabase())
    happened: list[tuple[UUID, Any]] = [(WORKFLOW, CREATED), *((id, started(number)) for number, id in enumerate(IDS))]
    begin_at = None if begin is None else at(begin)
    asked = events.BulkStarted(at=at(3), action="abort", filter=Raw(b"{}"), begin_at=begin_at)
    batch, _ = await next_batch(store, [*happened, (UUID(int=9), asked)], 0, None)
    await store.write(batch)
    await store.note_caught_up({0: 0}, 1)
    reads = Reads(MemoryQueries(database))
    ((bulk,), *_) = await reads.running([0])
    page = await reads.next_page(bulk, None, 9)
    assert [place.id for place in page.places] == IDS[: begin or 3][::-1]
    advanced = events.BulkAdvanced(at=at(6), page=0, instances=[str(IDS[2])], created_at=at(2), sent=1)
    batch, _ = await next_batch(store, [(UUID(int=9), advanced)], 0, None)
    await store.write(batch)
    ((bulk,), *_) = await reads.running([0])
    assert [place.id for place in (await reads.next_page(bulk, None, 9)).places] == [IDS[1], IDS[0]]


@pytest.mark.parametrize("filter", [b'{"label":"eu"}', b'{"state":["running"],"label":"eu"}', b'{"state":["asleep"]}'])
async def test_an_operation_with_a_filter_of_a_newer_build_acts_on_nothing(filter: bytes) -> None:
    """Without what this build does not know, it would act on far more than was meant."""
    bulk = BulkRow(
        id=UUID(int=9),
        partition=0,
        action="abort",
        filter=Raw(filter),
        expected=None,
        created_at=at(100),
        updated_at=at(100),
    )
    with pytest.raises(msgspec.MsgspecError):
        await Reads(MemoryQueries(MemoryDatabase())).next_page(bulk, None, 9)
