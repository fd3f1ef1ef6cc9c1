"""What must hold of the histories of instances."""

import uuid
from datetime import datetime
from typing import Any

from projections.read_rows import (
    LIVE,
    ActivityRow,
    Pause,
    Slice,
    WaitingRow,
)
from schemas import events
from schemas.ended_activities import KeptActivity
from tests.definitions import definition
from tests.happened import CREATED, WORKFLOW, at, started
from tests.read_model_contract.subjects import BIG, Subject, failing


def retried(retries: int, when: datetime) -> events.InstanceRetried:
    return events.InstanceRetried(
        at=when,
        workflow_id=str(WORKFLOW),
        stages=definition([{"noop": None}] * 3),
        variables={},
        version=9,
        retries=retries,
        stage=1,
        kept=[KeptActivity(name="ListWallets", input={})],
    )


class HistoriesContract:
    """See the module."""

    async def test_history_of_stages(self, subject: Subject) -> None:
        id = uuid.uuid4()
        assert await subject.model.history(id) is None
        await subject.write((WORKFLOW, CREATED), (id, started()))
        assert await subject.model.history(id) == Slice([])
        await subject.write(
            (id, events.StageStarted(workflow_id="w", at=at(1), number=0, name="RunSend", input={"amount": BIG}))
        )
        history = await subject.model.history(id)
        assert history is not None
        assert [(s.number, s.name, bytes(s.input), s.terminated_at) for s in history.rows] == [
            (0, "RunSend", b'{"amount":%d}' % BIG, None)
        ]

    async def test_history_of_activities(self, subject: Subject) -> None:
        id = uuid.uuid4()
        await subject.write((WORKFLOW, CREATED), (id, started()))
        for number in (0, -1, 2**31, 2**100):
            assert await subject.model.activities(id, number) is None
        await subject.write((id, events.StageStarted(workflow_id="w", at=at(1), number=0, name="RunSend", input={})))
        assert await subject.model.activities(id, 0) == Slice([])

        await subject.write(
            (id, events.ActivityStarted(at=at(2), stage=0, index=0, name="GetWallet", input={"id": "w"}))
        )

        async def shown() -> ActivityRow:
            found = await subject.model.activities(id, 0)
            assert found is not None
            (row,) = found.rows
            assert (row.index, row.name, bytes(row.input), row.started_at) == (0, "GetWallet", b'{"id":"w"}', at(2))
            return row

        row = await shown()
        assert (row.attempt, row.next_execution, row.last_failure, row.output) == (1, at(2), None, None)
        await subject.write(
            (id, events.ActivityFailed(at=at(3), stage=0, index=0, attempt=1, error="HTTP 502", retry_at=at(4)))
        )
        row = await shown()
        assert (row.attempt, row.next_execution, row.last_failure, row.terminated_at) == (2, at(4), "HTTP 502", None)
        await subject.write((id, events.ActivityEnded(at=at(5), stage=0, index=0, attempt=2, output={"data": BIG})))
        row = await shown()
        assert (row.attempt, row.next_execution, row.last_failure, row.terminated_at) == (2, None, "HTTP 502", at(5))
        assert row.output is not None
        assert bytes(row.output) == b'{"data":%d}' % BIG

    async def test_a_history_has_all_passes_in_order(self, subject: Subject) -> None:
        id = uuid.uuid4()
        await subject.write((WORKFLOW, CREATED), (id, started()), *((id, event) for event in failing(1, 1)))
        await subject.write((id, retried(1, at(10))), *((id, event) for event in failing(11, 1, key_number=1)))
        await subject.write((id, retried(2, at(20))), (id, failing(20, 1)[0]))
        row = await subject.model.instance(id)
        assert row is not None
        assert (row.retries, row.terminated_at, row.error) == (2, None, None)
        assert [(stage.number, stage.started_at) for stage in row.stages] == [(0, at(1)), (1, at(21))]
        history = await subject.model.history(id)
        assert history is not None
        assert [(s.number, s.started_at, s.error, s.retries) for s in history.rows] == [
            (0, at(1), None, LIVE),
            (1, at(2), "no", 0),
            (1, at(12), "no", 1),
            (1, at(21), None, LIVE),
        ]
        for number, shown in enumerate(history.rows, 1):
            assert await subject.model.history(id, shown.place) == Slice(history.rows[number:])
        found = await subject.model.activities(id, 1)
        assert found is not None
        assert [(a.index, a.name, a.error, a.last_failure_type, a.retries) for a in found.rows] == [
            (0, "ListWallets", None, None, LIVE),
            (1, "DebitWallet", "no", "VALIDATION", 0),
            (1, "DebitWallet", "no", "VALIDATION", 1),
        ]
        for number, activity in enumerate(found.rows, 1):
            assert await subject.model.activities(id, 1, activity.place) == Slice(found.rows[number:])
        assert await subject.model.activities(id, 2) is None

    async def test_a_pause_shows_in_the_stage_until_it_is_over(self, subject: Subject) -> None:
        id = uuid.uuid4()
        call: dict[str, Any] = {"stage": 0, "index": 0}
        paused = events.ActivityPaused(
            **call, at=at(3), attempt=2, max_attempts=2, name="Void", error="po\0or", code="NO_FUNDS"
        )
        await subject.write(
            (WORKFLOW, CREATED),
            (id, started()),
            (id, events.StageStarted(workflow_id="w", at=at(1), number=0, name="RunSend", input={})),
            (id, events.ActivityStarted(**call, at=at(2), name="Void", input={})),
        )
        await subject.write((id, paused))

        async def shown() -> ActivityRow:
            found = await subject.model.activities(id, 0)
            assert found is not None
            return found.rows[0]

        row = await shown()
        assert (row.paused_at, row.max_attempts, row.last_failure_type) == (at(3), 2, "NO_FUNDS")
        assert (row.attempt, row.next_execution, row.last_failure) == (2, None, "po\ufffdor")
        instance = await subject.model.instance(id)
        (listed,) = (await subject.model.instances_page(limit=1)).rows
        assert instance == listed
        assert instance is not None
        assert instance.waiting == WaitingRow(
            "resume", at(3), "Void", attempt=2, pause=Pause(0, 0, 2, "po\ufffdor", "NO_FUNDS")
        )
        key = uuid.uuid4()
        await subject.write(
            (id, events.ActivityResumed(**call, at=at(4), by="anna", request_key=str(key), request_digest="d"))
        )
        row = await shown()
        assert (row.paused_at, row.max_attempts, row.last_failure_type) == (None, None, None)
        assert (row.attempt, row.next_execution, row.last_failure) == (1, at(4), "po\ufffdor")
        instance = await subject.model.instance(id)
        assert instance is not None
        assert instance.waiting is None
        assert await subject.model.event_request(id, key) == ("d", 1)
