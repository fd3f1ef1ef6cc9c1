"""What must hold for those who wait: for a position, a rejection, an end, or for the database."""

import asyncio
import uuid

import pytest

from projections.queries import positions
from projections.queries.errors import ReadModelUnavailable
from projections.read_rows import (
    Rejection,
)
from schemas import events, rejections
from tests.happened import CREATED, WORKFLOW, at, run, started
from tests.read_model_contract.subjects import DEADLINE_SECONDS, Subject, soon, until


class WaitingContract:
    """See the module."""

    async def test_waiting_for_a_cause(self, subject: Subject) -> None:
        early = asyncio.create_task(subject.positions.wait_cause(1, 8, soon()))
        late = asyncio.create_task(subject.positions.wait_cause(1, 9, soon()))
        elsewhere = asyncio.create_task(subject.positions.wait_cause(2, 8, soon()))
        await asyncio.sleep(0)
        written = await subject.write((uuid.uuid4(), started()), partition=1, cause=8)
        await early
        assert subject.positions.seen_offset(1) == written.next_offset
        assert subject.positions.seen_offset(2) == 0
        assert (subject.positions.seen_cause(1), subject.positions.seen_cause(2)) == (written.cause, -1)
        assert not late.done()
        assert not elsewhere.done()
        await subject.positions.wait_cause(1, 7, soon(-1))  # passed long ago
        await subject.write((uuid.uuid4(), started()), partition=1, cause=10)
        await late
        elsewhere.cancel()
        with pytest.raises(TimeoutError):
            await subject.positions.wait_cause(1, 11, soon(0.01))

    async def test_a_lost_notification_is_made_up_for(self, subject: Subject) -> None:
        id = uuid.uuid4()
        ends = asyncio.create_task(subject.positions.wait_ended(id, soon(2 * DEADLINE_SECONDS)))
        passes = asyncio.create_task(subject.positions.wait_cause(0, 5, soon(2 * DEADLINE_SECONDS)))
        await subject.write((WORKFLOW, CREATED), *((id, event) for event in run()), cause=5, announce=False)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await passes
            assert await ends

    async def test_waiting_for_an_end(self, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(positions, "POLL_SECONDS", 10 * DEADLINE_SECONDS)  # so an announcement has to tell
        id = uuid.uuid4()
        await subject.write((id, started()), cause=1)
        assert not await subject.positions.wait_ended(id, soon(0.05))
        ends = asyncio.create_task(subject.positions.wait_ended(id, soon()))
        await until(lambda: subject.positions._waiting)
        await subject.write((id, events.InstanceEnded(workflow_id="w", at=at(1))), cause=2)
        assert await ends
        assert await subject.positions.wait_ended(id, soon())  # an end in the past

    async def test_rejections(self, subject: Subject) -> None:
        rejected = events.CommandRejected(at=at(0), code=rejections.ENDED, message="has ended\0")
        await subject.write((uuid.uuid4(), rejected), partition=3, cause=12)
        await subject.write((uuid.uuid4(), events.CommandSkipped(at=at(0))), partition=3, cause=13)
        expected = [Rejection(rejections.ENDED, "has ended\ufffd"), None, None]
        asked = [(3, 12), (3, 13), (2, 12)]
        assert await asyncio.gather(*(subject.positions.rejection(*key) for key in asked)) == expected

    async def test_cut_connections_come_back(self, subject: Subject) -> None:
        await subject.write((WORKFLOW, CREATED))
        assert await subject.model.workflow(WORKFLOW)
        assert await subject.model.workflows_page(limit=1)
        subject.cut()
        assert await subject.model.workflow(WORKFLOW)
        assert await subject.model.workflows_page(limit=1)
        await subject.write((uuid.uuid4(), started()), cause=3)
        await subject.positions.wait_cause(0, 3, soon())
        await until(lambda: subject.positions.ready and subject.model.ready)

    async def test_positions_are_known_before_anything_happens(self, subject: Subject) -> None:
        written = await subject.write((uuid.uuid4(), started()), cause=6)
        new = subject.new_positions()
        await new.open()
        assert new.ready
        assert new.loaded
        assert new.seen_offset(0) == written.next_offset
        await new.wait_cause(0, 6, soon(-1))
        await new.close()

    async def test_nothing_is_read_after_a_start_before_it_has_caught_up(self, subject: Subject) -> None:
        await subject.write((WORKFLOW, CREATED), cause=3)
        await subject.positions.wait_cause(0, 3, soon())
        subject.restart()
        refused = await asyncio.gather(
            subject.model.workflow(WORKFLOW),
            subject.model.workflows_page(limit=1),
            subject.positions.rejection(0, 3),
            return_exceptions=True,
        )
        assert [type(answer) for answer in refused] == [ReadModelUnavailable] * 3
        subject.catch_up()
        assert await subject.model.workflow(WORKFLOW)
        assert (await subject.model.workflows_page(limit=1)).rows
        await until(lambda: subject.positions.ready)
