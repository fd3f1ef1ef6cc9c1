"""The API's queries on a real Postgres: rows, pages, and waiting for the projections."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any

import msgspec
import pytest

from projections.migrate import migrate
from projections.queries.errors import ReadModelUnavailable
from projections.queries.positions import POLL_SECONDS, ReadPositions
from projections.queries.read_model import CHUNK_ROWS, ReadModel
from projections.queries.rows import ActivityRow, Rejection, RowPosition, Slice, StageRow
from schemas import events, rejections
from schemas.settings import ProjectionsSettings
from tests.integration.projection_world import (
    CREATED,
    DEADLINE_SECONDS,
    WORKFLOW,
    Tables,
    Writer,
    at,
    run,
    started,
    until,
)

NOBODY = uuid.UUID(int=99)
BIG = 10**30


@pytest.fixture
async def settings(database_url: str, database_schema: str) -> AsyncIterator[ProjectionsSettings]:
    settings = ProjectionsSettings(database_url=database_url, database_schema=database_schema)
    migrate(settings)
    Tables(settings).catch_up()
    yield settings
    Tables(settings).drop()


@pytest.fixture
async def writer(settings: ProjectionsSettings) -> AsyncIterator[Writer]:
    writer = Writer(settings)
    yield writer
    await writer.store.close()


@pytest.fixture
async def model(settings: ProjectionsSettings) -> AsyncIterator[ReadModel]:
    model = ReadModel(settings)
    await model.open()
    yield model
    await model.close()


@pytest.fixture
async def positions(settings: ProjectionsSettings) -> AsyncIterator[ReadPositions]:
    positions = ReadPositions(settings)
    await positions.open()
    yield positions
    await positions.close()


def soon(seconds: float = DEADLINE_SECONDS) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_a_workflow_is_shown_as_it_was_created(writer: Writer, model: ReadModel) -> None:
    stages: list[dict[str, Any]] = [{"send": {"amount": {"amount": BIG, "asset": "EUR/2"}, "x": "\0"}}, {"noop": None}]
    await writer.write((WORKFLOW, events.WorkflowCreated(at=at(0.25), name="pay\0out", stages=stages)))
    row = await model.workflow(WORKFLOW)
    assert row is not None
    assert (row.id, row.name, row.deleted_at) == (WORKFLOW, "pay\ufffdout", None)
    assert bytes(row.stages) == msgspec.json.encode(stages)
    assert row.created_at == row.updated_at == at(0.25)
    assert row.created_at.tzinfo is UTC
    assert await model.workflow(NOBODY) is None

    await writer.write((WORKFLOW, events.WorkflowDeleted(at=at(1))))
    row = await model.workflow(WORKFLOW)
    assert row is not None
    assert (row.created_at, row.updated_at, row.deleted_at) == (at(0.25), at(1), at(1))


async def test_an_instance_moves_with_its_events(writer: Writer, model: ReadModel) -> None:
    id = uuid.uuid4()
    await writer.write((WORKFLOW, CREATED), (id, started(1)))
    row = await model.instance(id)
    assert row is not None
    assert (row.workflow_id, row.workflow.name, row.stages) == (WORKFLOW, "payout", [])
    assert (row.created_at, row.updated_at, row.terminated_at, row.error) == (at(1), at(1), None, None)

    stage = events.StageStarted(workflow_id="w", at=at(2), number=0, name="RunNoop", input={})
    await writer.write((id, stage), (id, events.StageEnded(workflow_id="w", at=at(3), number=0)))
    second = events.StageStarted(workflow_id="w", at=at(3), number=1, name="RunWaitEvent", input={"event": "go"})
    await writer.write((id, second))
    await writer.write((id, events.EventReceived(at=at(4), name="other")))
    row = await model.instance(id)
    assert row is not None
    assert row.updated_at == at(4)
    assert row.stages == [StageRow(0, at(2), at(3)), StageRow(1, at(3))]

    await writer.write((id, events.StageEnded(workflow_id="w", at=at(5), number=1, error="canceled")))
    await writer.write((id, events.InstanceEnded(workflow_id="w", at=at(6), error="canceled")))
    row = await model.instance(id)
    assert row is not None
    assert row.stages[1] == StageRow(1, at(3), at(5), "canceled")
    assert (row.updated_at, row.terminated_at, row.error) == (at(6), at(6), "canceled")
    assert await model.instance(NOBODY) is None


async def test_history_of_stages(writer: Writer, model: ReadModel) -> None:
    id = uuid.uuid4()
    assert await model.history(id) is None
    await writer.write((WORKFLOW, CREATED), (id, started()))
    assert await model.history(id) == Slice([])
    await writer.write(
        (id, events.StageStarted(workflow_id="w", at=at(1), number=0, name="RunSend", input={"amount": BIG}))
    )
    history = await model.history(id)
    assert history is not None
    assert [(s.number, s.name, bytes(s.input), s.terminated_at) for s in history.rows] == [
        (0, "RunSend", b'{"amount":%d}' % BIG, None)
    ]


async def test_history_of_activities(writer: Writer, model: ReadModel) -> None:
    id = uuid.uuid4()
    await writer.write((WORKFLOW, CREATED), (id, started()))
    for number in (0, -1, 2**31, 2**100):
        assert await model.activities(id, number) is None
    await writer.write((id, events.StageStarted(workflow_id="w", at=at(1), number=0, name="RunSend", input={})))
    assert await model.activities(id, 0) == Slice([])

    await writer.write((id, events.ActivityStarted(at=at(2), stage=0, index=0, name="GetWallet", input={"id": "w"})))

    async def shown() -> ActivityRow:
        found = await model.activities(id, 0)
        assert found is not None
        (row,) = found.rows
        assert (row.index, row.name, bytes(row.input), row.started_at) == (0, "GetWallet", b'{"id":"w"}', at(2))
        return row

    row = await shown()
    assert (row.attempt, row.next_execution, row.last_failure, row.output) == (1, at(2), None, None)
    await writer.write(
        (id, events.ActivityFailed(at=at(3), stage=0, index=0, attempt=1, error="HTTP 502", retry_at=at(4)))
    )
    row = await shown()
    assert (row.attempt, row.next_execution, row.last_failure, row.terminated_at) == (2, at(4), "HTTP 502", None)
    await writer.write((id, events.ActivityEnded(at=at(5), stage=0, index=0, attempt=2, output={"data": BIG})))
    row = await shown()
    assert (row.attempt, row.next_execution, row.last_failure, row.terminated_at) == (2, None, "HTTP 502", at(5))
    assert row.output is not None
    assert bytes(row.output) == b'{"data":%d}' % BIG


async def test_pages_are_newest_first_and_neither_skip_nor_repeat(writer: Writer, model: ReadModel) -> None:
    other = uuid.UUID(int=2)
    await writer.write((WORKFLOW, CREATED), (other, CREATED))
    # Pairs of the same instant, so that the id decides between them; every third one runs.
    ids = [uuid.uuid4() for _ in range(12)]
    for n, id in enumerate(ids):
        happened = [started(n // 2, other if n % 4 == 0 else WORKFLOW), events.InstanceEnded(workflow_id="w", at=at(n))]
        await writer.write(*((id, event) for event in (happened[:1] if n % 3 == 0 else happened)))
    ordered = sorted(range(12), key=lambda n: (n // 2, ids[n]), reverse=True)

    for workflow_id in (None, WORKFLOW, other, NOBODY):
        for running in (False, True):
            expected = [
                ids[n]
                for n in ordered
                if (workflow_id is None or workflow_id == (other if n % 4 == 0 else WORKFLOW))
                and (not running or n % 3 == 0)
            ]
            seen: list[uuid.UUID] = []
            after: RowPosition | None = None
            while rows := (await model.instances_page(workflow_id, running, after=after, limit=2)).rows:
                if after is not None:
                    previous = await model.instances_page(workflow_id, running, before=rows[0].position, limit=2)
                    assert [row.id for row in previous.rows] == seen[-2:]
                seen += [row.id for row in rows]
                after = rows[-1].position
            assert seen == expected
            streamed = [row.id async for part in model.instances(workflow_id, running) for row in part.rows]
            assert streamed == expected


async def test_workflow_pages_leave_deleted_ones_out(writer: Writer, model: ReadModel) -> None:
    ids = [uuid.UUID(int=n) for n in range(1, 6)]
    await writer.write(*((id, CREATED) for id in ids), (ids[2], events.WorkflowDeleted(at=at(1))))
    left = [ids[n] for n in (4, 3, 1, 0)]
    assert [row.id async for part in model.workflows() for row in part.rows] == left
    page = await model.workflows_page(limit=2)
    assert ([row.id for row in page.rows], page.more) == (left[:2], True)
    page = await model.workflows_page(after=page.rows[-1].position, limit=2)
    assert ([row.id for row in page.rows], page.more) == (left[2:], False)
    page = await model.workflows_page(before=page.rows[-1].position, limit=2)
    assert ([row.id for row in page.rows], page.more) == ([left[1], left[2]], True)


async def test_lists_are_streamed_in_chunks(writer: Writer, model: ReadModel) -> None:
    await writer.write((WORKFLOW, CREATED))
    await writer.write(*((uuid.uuid4(), started(n)) for n in range(CHUNK_ROWS + 1)))
    assert [len(part.rows) async for part in model.instances()] == [CHUNK_ROWS, 1]


async def test_an_absent_postgres_is_told_quickly(settings: ProjectionsSettings) -> None:
    away = msgspec.structs.replace(settings, database_url="postgresql://postgres@127.0.0.1:1/postgres")
    model = ReadModel(away)
    positions = ReadPositions(away)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await model.open()
        await positions.open()
        assert not model.ready
        assert not positions.ready
        with pytest.raises(ReadModelUnavailable):
            await model.workflow(WORKFLOW)
        with pytest.raises(ReadModelUnavailable):
            await positions.rejection(0, 1)
        with pytest.raises(TimeoutError):
            await positions.wait_cause(0, 1, soon(0.01))
        await model.close()
        await positions.close()


async def test_a_schema_that_is_not_migrated_is_unavailable(settings: ProjectionsSettings, model: ReadModel) -> None:
    Tables(settings).drop()
    with pytest.raises(ReadModelUnavailable):
        await model.workflow(WORKFLOW)
    with pytest.raises(ReadModelUnavailable):
        await model.workflows_page(limit=1)
    migrate(settings)
    with pytest.raises(ReadModelUnavailable):  # what is in the log is not in there yet
        await model.workflow(WORKFLOW)
    Tables(settings).catch_up()
    assert await model.workflow(WORKFLOW) is None


async def test_cut_connections_come_back(
    settings: ProjectionsSettings, writer: Writer, model: ReadModel, positions: ReadPositions
) -> None:
    await writer.write((WORKFLOW, CREATED))
    assert await model.workflow(WORKFLOW)
    assert await model.workflows_page(limit=1)
    assert Tables(settings).cut_connections("api%") >= 4
    assert await model.workflow(WORKFLOW)
    assert await model.workflows_page(limit=1)
    await writer.write((uuid.uuid4(), started()), cause=3)
    await positions.wait_cause(0, 3, soon())
    await until(lambda: positions.ready)
    assert model.ready


async def test_waiting_for_a_cause(writer: Writer, positions: ReadPositions) -> None:
    early = asyncio.create_task(positions.wait_cause(1, 8, soon()))
    late = asyncio.create_task(positions.wait_cause(1, 9, soon()))
    elsewhere = asyncio.create_task(positions.wait_cause(2, 8, soon()))
    await asyncio.sleep(0)
    written = await writer.write((uuid.uuid4(), started()), partition=1, cause=8)
    await early
    assert positions.seen_offset(1) == written.next_offset
    assert positions.seen_offset(2) == 0
    assert (positions.seen_cause(1), positions.seen_cause(2)) == (written.cause, -1)
    assert not late.done()
    assert not elsewhere.done()
    await positions.wait_cause(1, 7, soon(-1))  # passed long ago
    await writer.write((uuid.uuid4(), started()), partition=1, cause=10)
    await late
    elsewhere.cancel()
    with pytest.raises(TimeoutError):
        await positions.wait_cause(1, 11, soon(0.01))


async def test_a_lost_notification_is_made_up_for(writer: Writer, positions: ReadPositions) -> None:
    id = uuid.uuid4()
    ends = asyncio.create_task(positions.wait_ended(id, soon()))
    passes = asyncio.create_task(positions.wait_cause(0, 5, soon()))
    await writer.write((WORKFLOW, CREATED), *((id, event) for event in run()), cause=5, announce=False)
    async with asyncio.timeout(POLL_SECONDS * 4):
        await passes
        assert await ends


async def test_waiting_for_an_end(writer: Writer, positions: ReadPositions) -> None:
    id = uuid.uuid4()
    await writer.write((id, started()), cause=1)
    assert not await positions.wait_ended(id, soon(0.05))
    ends = asyncio.create_task(positions.wait_ended(id, soon()))
    await asyncio.sleep(0.05)
    await writer.write((id, events.InstanceEnded(workflow_id="w", at=at(1))), cause=2)
    # The announcement tells, well before anything is polled.
    async with asyncio.timeout(POLL_SECONDS / 2):
        assert await ends
        assert await positions.wait_ended(id, soon())  # an end in the past


async def test_positions_are_known_before_anything_happens(settings: ProjectionsSettings, writer: Writer) -> None:
    written = await writer.write((uuid.uuid4(), started()), cause=6)
    positions = ReadPositions(settings)
    await positions.open()
    assert positions.ready
    assert positions.seen_offset(0) == written.next_offset
    await positions.wait_cause(0, 6, soon(-1))
    await positions.close()


async def test_rejections(writer: Writer, positions: ReadPositions) -> None:
    rejected = events.CommandRejected(at=at(0), code=rejections.ENDED, message="has ended\0")
    await writer.write((uuid.uuid4(), rejected), partition=3, cause=12)
    await writer.write((uuid.uuid4(), events.CommandSkipped(at=at(0))), partition=3, cause=13)
    expected = [Rejection(rejections.ENDED, "has ended\ufffd"), None, None]
    asked = [(3, 12), (3, 13), (2, 12)]
    assert await asyncio.gather(*(positions.rejection(*key) for key in asked)) == expected
