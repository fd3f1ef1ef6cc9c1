"""What must hold of the API's queries, whichever `projections.ports.Database` they run on.

`tests/integration/test_queries.py` runs it on Postgres, `tests/unit/projections/test_memory_queries.py` on the read
model in memory.
"""

import asyncio
import itertools
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol

import msgspec
import pytest
from msgspec.structs import replace

from projections import counting, store
from projections.counting import HOURS_PER_DAY, bucket_of, by_day, hour_of
from projections.memory import MemoryDatabase, MemoryStore
from projections.memory_queries import MemoryQueries
from projections.ports import Store
from projections.queries import instance_filters, pages, read_model, small_instances, stats
from projections.queries.bulks import running as running_bulks
from projections.queries.connections import Connections
from projections.queries.errors import ReadModelUnavailable
from projections.queries.followed import FollowedInstances
from projections.queries.instance_filters import InstanceFilters
from projections.queries.pages import page_query
from projections.queries.positions import POLL_SECONDS, ReadPositions
from projections.queries.read_model import CHUNK_ROWS, FIRST_ROWS, ReadModel
from projections.queries.retryable import MAX_REQUESTS
from projections.queries.rows import (
    LIVE,
    ActivityRow,
    EndedStageRow,
    HistoryPlace,
    InstanceRow,
    OccurrenceRow,
    Pause,
    Rejection,
    Retryable,
    RowPosition,
    Slice,
    StageRow,
    StartedRow,
    TriggerRow,
    WaitingRow,
)
from projections.queries.small_instances import STAGE_BYTES
from projections.queries.stats import Happened, OldestRow, StatsRow, Window
from projections.rows import ReadPosition
from projections.sql import page_of, statement
from schemas import events, rejections
from schemas.ended_activities import KeptActivity
from schemas.settings import ProjectionsSettings
from tests.definitions import definition
from tests.happened import CREATED, LISTENS, WORKFLOW, at, fired, next_batch, run, started
from tests.store_contract import random_batches

DEADLINE_SECONDS: Final = 20.0
NOBODY: Final = uuid.UUID(int=99)
TRIGGER: Final = uuid.UUID(int=7)
BIG: Final = 10**30
NAMES: Final = ["Payouts", "refunds", "100% of \\payments_", "STRASSE", "Ärger", ""]


class Subject(Protocol):
    """The queries under test, opened, on a read model that has caught up; and what only tests do to it."""

    store: Store
    model: ReadModel
    positions: ReadPositions
    followed: FollowedInstances

    def new_positions(self) -> ReadPositions:
        """Those of another process, not opened."""

    def lose_announcements(self, lost: bool) -> None:
        """Whether what is announced from now on reaches nobody."""

    def cut(self) -> None:
        """Cut all connections, of those that listen too."""

    def restart(self) -> None:
        """Start the database again. It has not caught up since."""

    def catch_up(self) -> None:
        """Let readers in."""

    async def write(
        self, *happened: tuple[uuid.UUID, Any], partition: int = 0, cause: int | None = None, announce: bool = True
    ) -> ReadPosition:
        """Put events into the read model, as one batch; where the partition is now.

        Args:
            happened: the ids of the aggregates, with events.
            partition: of the events.
            cause: the offset of their command.
            announce: whether the notification reaches anybody.
        """
        batch, after = await next_batch(self.store, happened, partition, cause)
        self.lose_announcements(not announce)
        await self.store.write(batch)
        self.lose_announcements(False)
        return after


def soon(seconds: float = DEADLINE_SECONDS) -> float:
    return asyncio.get_running_loop().time() + seconds


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not holds():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.01)


def listens(name: str, seconds: float = 0) -> events.TriggerCreated:
    return events.TriggerCreated(at=at(seconds), name=name, event="X", workflow_id=str(WORKFLOW))


def failing(seconds: float, stage: int, key_number: int = 0) -> list[Any]:
    """The events of an instance that fails in this stage, its second one in the first pass."""
    call: dict[str, Any] = {"stage": stage, "index": 1}
    first = [
        events.StageStarted(workflow_id="w", at=at(seconds), number=0, name="RunNoop", input={}),
        events.StageEnded(workflow_id="w", at=at(seconds), number=0),
    ]
    kept = [
        events.ActivityStarted(at=at(seconds + 1), stage=stage, index=0, name="ListWallets", input={}),
        events.ActivityEnded(at=at(seconds + 1), stage=stage, index=0, attempt=1, output={"n": BIG}),
    ]
    started = events.StageStarted(workflow_id="w", at=at(seconds + 1), number=stage, name="RunSend", input={})
    key: dict[str, Any] = {"key_number": key_number, "key_used": bool(key_number)}
    failed = [
        events.ActivityStarted(**call, at=at(seconds + 2), name="DebitWallet", input={"id": "w"}, **key),
        events.ActivityFailed(**call, at=at(seconds + 3), attempt=1, error="HTTP 503", retry_at=at(seconds + 4)),
        events.ActivityEnded(**call, at=at(seconds + 4), attempt=2, error="no", code="VALIDATION"),
        events.StageEnded(workflow_id="w", at=at(seconds + 4), number=stage, error="no"),
        events.InstanceEnded(workflow_id="w", at=at(seconds + 5), error="no", arrived=[2]),
    ]
    return [*first, started, *kept, *failed] if seconds < 10 else [started, *failed]


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


async def everything(model: ReadModel, positions: ReadPositions, seed: int) -> dict[str, Any]:
    """What the queries answer about the things of `random_batches`, with limits by a seed."""
    chance = random.Random(seed)
    ids = [uuid.UUID(int=number) for number in range(1, 5)]
    found: dict[str, Any] = {}
    for id in ids:
        found[f"workflow {id}"] = await model.workflow(id)
        found[f"instance {id}"] = await model.instance(id)
        found[f"trigger {id}"] = await model.trigger(id)
        found[f"request {id}"] = await model.event_request(id, uuid.UUID(int=7))
        found[f"bulk {id}"] = await model.bulk(id)
        found[f"history {id}"] = await model.history(id, HistoryPlace(chance.choice((-1, 0))))
        found[f"activities {id}"] = [await model.activities(id, number) for number in (0, 1, 2)]
        found[f"retryable {id}"] = await model.retryable(id, 0)
        found[f"occurrences {id}"] = [page async for page in model.occurrences(id)]
        found[f"ended {id}"] = await positions._ended.load(id)
    pages: dict[str, Callable[..., Any]] = {
        "workflows": model.workflows_page,
        "instances": model.instances_page,
        "running": lambda **place: model.instances_page(InstanceFilters(running=True), **place),
        "instances of one": lambda **place: model.instances_page(InstanceFilters(workflow_ids=(ids[0],)), **place),
        "triggers": model.triggers_page,
        "bulks": model.bulks_page,
        "triggers called t": lambda **place: model.triggers_page("t", **place),
        "occurrences": lambda **place: model.occurrences_page(ids[0], **place),
    }
    for name, page in pages.items():
        limit = chance.randint(1, 3)
        first = found[f"{name}, first"] = await page(limit=limit)
        if first.rows:
            found[f"{name}, next"] = await page(after=first.rows[-1].position, limit=limit)
            found[f"{name}, before"] = await page(before=first.rows[-1].position, limit=limit)
    bulks = running_bulks(await model._lists.execute(statement("running_bulks"), ([0],)))
    found["running bulks"] = sorted(bulks.rows, key=lambda row: row.position), bulks.offsets, bulks.causes
    found["rejections"] = [await positions.rejection(0, cause) for cause in range(21)]
    return found


class ReadModelContract:
    """See the module."""

    async def test_a_workflow_is_shown_as_it_was_created(self, subject: Subject) -> None:
        stages: list[dict[str, Any]] = [
            {"send": {"amount": {"amount": BIG, "asset": "EUR/2"}, "x": "\0"}},
            {"noop": None},
        ]
        await subject.write((WORKFLOW, events.WorkflowCreated(at=at(0.25), name="pay\0out", stages=stages)))
        row = await subject.model.workflow(WORKFLOW)
        assert row is not None
        assert (row.id, row.name, row.deleted_at) == (WORKFLOW, "pay\ufffdout", None)
        assert bytes(row.stages) == msgspec.json.encode(stages)
        assert row.created_at == row.updated_at == at(0.25)
        assert row.created_at.tzinfo is UTC
        assert await subject.model.workflow(NOBODY) is None

        await subject.write((WORKFLOW, events.WorkflowDeleted(at=at(1))))
        row = await subject.model.workflow(WORKFLOW)
        assert row is not None
        assert (row.created_at, row.updated_at, row.deleted_at) == (at(0.25), at(1), at(1))

    async def test_an_instance_moves_with_its_events(self, subject: Subject) -> None:
        id = uuid.uuid4()
        await subject.write((WORKFLOW, CREATED), (id, started(1)))
        row = await subject.model.instance(id)
        assert row is not None
        assert (row.workflow_id, row.workflow.name, row.stages) == (WORKFLOW, "payout", [])
        assert (row.created_at, row.updated_at, row.terminated_at, row.error) == (at(1), at(1), None, None)

        stage = events.StageStarted(workflow_id="w", at=at(2), number=0, name="RunNoop", input={})
        await subject.write((id, stage), (id, events.StageEnded(workflow_id=str(WORKFLOW), at=at(3), number=0)))
        second = events.StageStarted(workflow_id="w", at=at(3), number=1, name="RunWaitEvent", input={"event": "go"})
        await subject.write((id, second))
        await subject.write((id, events.EventReceived(at=at(4), name="other")))
        row = await subject.model.instance(id)
        assert row is not None
        assert row.updated_at == at(4)
        assert row.stages == [StageRow(0, at(2), at(3)), StageRow(1, at(3))]

        await subject.write((id, events.StageEnded(workflow_id=str(WORKFLOW), at=at(5), number=1, error="canceled")))
        await subject.write((id, events.InstanceEnded(workflow_id="w", at=at(6), error="canceled")))
        row = await subject.model.instance(id)
        assert row is not None
        assert row.stages[1] == StageRow(1, at(3), at(5), "canceled")
        assert (row.updated_at, row.terminated_at, row.error) == (at(6), at(6), "canceled")
        assert await subject.model.instance(NOBODY) is None

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

    async def test_what_a_retry_goes_on_with(self, subject: Subject) -> None:
        id, key = uuid.uuid4(), uuid.uuid4()
        assert await subject.model.retryable(id, 0) is None
        await subject.write((WORKFLOW, CREATED), (id, started()))
        running = await subject.model.retryable(id, 0)
        assert running is not None
        assert (running.retryable, running.stage, running.activities, running.requests) == (None, None, [], [])
        received = events.EventReceived(at=at(1), name="go", request_key=str(key), request_digest="d")
        await subject.write((id, received), *((id, event) for event in failing(1, 1, key_number=2)))
        found = await subject.model.retryable(id, 0)
        assert found is not None
        assert (found.workflow_id, bytes(found.stages)) == (WORKFLOW, msgspec.json.encode(CREATED.stages))
        assert (found.terminated_at, found.error, found.retries) == (at(6), "no", 0)
        assert found.retryable == Retryable(1, [2])
        assert found.stage == EndedStageRow(1, at(5), "no")
        wallets, debit = found.activities
        assert (wallets.name, wallets.output, wallets.ended, wallets.key_number) == (
            "ListWallets",
            f'{{"n":{BIG}}}',
            True,
            0,
        )
        assert (debit.index, debit.input, debit.error, debit.code) == (1, '{"id":"w"}', "no", "VALIDATION")
        assert (debit.last_failure, debit.key_number, debit.key_used) == ("HTTP 503", 2, True)
        assert (found.requests, found.earlier_requests) == ([(str(key), "d")], 0)
        positions = await subject.store.positions([0])
        assert found.next_offset == positions[0].next_offset
        other = await subject.model.retryable(id, 7)
        assert other is not None
        assert other.next_offset == 0

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

    async def test_of_too_many_requests_a_retry_tells_only_how_many_there_were(self, subject: Subject) -> None:
        id, keys = uuid.uuid4(), [uuid.UUID(int=n) for n in range(MAX_REQUESTS + 1)]
        await subject.write((WORKFLOW, CREATED), (id, started()))
        for count, some in ((MAX_REQUESTS, keys[1:]), (MAX_REQUESTS + 1, keys[:1])):
            sent = [events.EventReceived(at=at(1), name="go", request_key=str(key), request_digest="d") for key in some]
            await subject.write(*((id, event) for event in sent))
            assert await subject.model.event_request(id, uuid.uuid4()) == (None, count)
            assert await subject.model.event_request(id, some[0]) == ("d", count)
            found = await subject.model.retryable(id, 0)
            assert found is not None
            assert (len(found.requests), found.earlier_requests) in ((count, 0), (0, MAX_REQUESTS + 1))

    async def test_what_an_instance_waits_for_is_current(self, subject: Subject) -> None:
        id, trigger, occurrence = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        begin = replace(
            started(),
            variables={"order": "A-\0"},
            trigger_id=str(trigger),
            occurrence_id=str(occurrence),
            max_attempts=3,
        )
        await subject.write((WORKFLOW, replace(CREATED, max_attempts=7)), (id, begin))
        stage: dict[str, Any] = {"workflow_id": str(WORKFLOW)}
        call: dict[str, Any] = {"stage": 2, "index": 0}
        happened: list[tuple[Any, WaitingRow | None]] = [
            (
                events.StageStarted(**stage, at=at(1), number=0, name="RunWaitEvent", input={"event": "paid"}),
                WaitingRow("event", at(1), "paid"),
            ),
            (events.EventReceived(at=at(2), name="else"), WaitingRow("event", at(1), "paid")),
            (events.StageEnded(**stage, at=at(3), number=0), None),
            (
                events.StageStarted(**stage, at=at(3), number=1, name="RunDelay", input={}, wait_until=at(9)),
                WaitingRow("delay", at(3), until=at(9)),
            ),
            (events.StageEnded(**stage, at=at(4), number=1), None),
            (events.StageStarted(**stage, at=at(4), number=2, name="RunSend", input={}), None),
            (events.ActivityStarted(**call, at=at(4), name="Void", input={}), None),
            (
                events.ActivityFailed(**call, at=at(5), attempt=1, error="503", retry_at=at(6)),
                WaitingRow("retry", at(5), "Void", at(6), 2),
            ),
            (events.ActivityEnded(**call, at=at(7), attempt=2), None),
            (events.StageEnded(**stage, at=at(7), number=2), None),
            (events.InstanceEnded(**stage, at=at(7)), None),
        ]
        for event, expected in happened:
            await subject.write((id, event))
            row = await subject.model.instance(id)
            assert row is not None
            assert row.waiting == expected, event
            (listed,) = (await subject.model.instances_page(limit=1)).rows
            assert listed == row
        assert row is not None
        assert row.variables is not None
        assert bytes(row.variables) == b'{"order":"A-\\u0000"}'
        assert (row.trigger_id, row.occurrence_id, row.workflow.max_attempts) == (trigger, occurrence, 7)

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

    async def test_statistics(self, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
        other, waits, paid = uuid.UUID(int=2), uuid.UUID(int=20), uuid.UUID(int=21)
        await subject.write((WORKFLOW, CREATED), (other, msgspec.structs.replace(CREATED, name='pay"out')))
        for seconds in (0, 1, 3599, 3600):
            await subject.write(*((uuid.uuid4(), event) for event in run(seconds)[:1]))
            id = uuid.uuid4()
            for event in run(seconds):
                await subject.write((id, event))
        stage: dict[str, Any] = {"workflow_id": str(other), "number": 0}
        await subject.write(
            *((id, started(seconds, other)) for id, seconds in ((waits, 5), (paid, 4))),
            (waits, events.StageStarted(**stage, at=at(6), name="RunWaitEvent", input={"event": "paid"})),
            (paid, events.StageStarted(**stage, at=at(6), name="RunNoop", input={})),
            (paid, events.StageEnded(**stage, at=at(6), error="no")),
            (paid, events.InstanceEnded(workflow_id=str(other), at=at(8), error="no")),
        )
        first = hour_of(at(0))
        window = Window(first, first + 2, 1)
        ran, whole = {bucket_of(at(0), at(0.1)): 1}, {bucket_of(at(0), at(0.3)): 1}

        found = await subject.model.stats(window)
        assert found.states == {"running": 4, "waiting": 1, "succeeded": 4, "failed": 1}
        assert found.steps == {
            0: Happened(8, {"succeeded": dict.fromkeys(whole, 3), "failed": {bucket_of(at(4), at(8)): 1}}),
            1: Happened(2, {"succeeded": whole}),
        }
        assert found.stages == {}
        assert [(row.id, row.name, row.states) for row in found.workflows] == [
            (WORKFLOW, "payout", {"running": 4, "succeeded": 4}),
            (other, 'pay"out', {"waiting": 1, "failed": 1}),
        ]
        assert found.workflows_in_all == 2
        (running, waiting) = found.oldest
        assert (running.state, running.workflow_id, running.created_at) == ("running", WORKFLOW, at(0))
        assert waiting == OldestRow("waiting", waits, other, at(5), WaitingRow("event", at(6), "paid"))

        one = await subject.model.stats(Window(first, first + 48, 24), WORKFLOW)
        assert one.states == {"running": 4, "succeeded": 4}
        assert one.steps == {0: Happened(8, {"succeeded": dict.fromkeys(whole, 4)})}
        assert one.stages == {0: {0: Happened(0, {"succeeded": dict.fromkeys(ran, 4)})}}
        assert [row.id for row in one.workflows] == [WORKFLOW]
        assert [row.state for row in one.oldest] == ["running"]
        later = await subject.model.stats(Window(first + 1, first + 2, 1))
        assert (later.steps, later.states) == ({0: Happened(2, {"succeeded": whole})}, found.states)
        asked = [
            (some, of) for some in (window, Window(by_day(first), by_day(first) + 48, 24)) for of in (None, WORKFLOW)
        ]
        before = [await subject.model.stats(*some) for some in asked]
        for module in (store, counting):
            monkeypatch.setattr(module, "KEPT_DAYS", first // HOURS_PER_DAY)
        await subject.store.merge_counts()
        await subject.write((uuid.uuid4(), started(7)))
        for some, row in zip(asked, before, strict=True):
            row.steps[0].started += 1
            row.states["running"] += 1
            row.workflows[0].states["running"] += 1
            assert await subject.model.stats(*some) == row
        nothing = await subject.model.stats(window, NOBODY)
        assert nothing == StatsRow({}, {}, {}, [], 0, [])
        monkeypatch.setattr(stats, "MAX_WORKFLOWS", 1)
        cut = await subject.model.stats(window)
        assert ([row.id for row in cut.workflows], cut.workflows_in_all) == ([WORKFLOW], 2)

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
        assert await shown() == expected
        assert len(expected[2].rows[0].stages) == 5
        assert ("instances_page" in read) is not are_small
        assert "small_instances_page" in read

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
        ends = asyncio.create_task(subject.positions.wait_ended(id, soon()))
        passes = asyncio.create_task(subject.positions.wait_cause(0, 5, soon()))
        await subject.write((WORKFLOW, CREATED), *((id, event) for event in run()), cause=5, announce=False)
        async with asyncio.timeout(POLL_SECONDS * 4):
            await passes
            assert await ends

    async def test_waiting_for_an_end(self, subject: Subject) -> None:
        id = uuid.uuid4()
        await subject.write((id, started()), cause=1)
        assert not await subject.positions.wait_ended(id, soon(0.05))
        ends = asyncio.create_task(subject.positions.wait_ended(id, soon()))
        await asyncio.sleep(0.05)
        await subject.write((id, events.InstanceEnded(workflow_id="w", at=at(1))), cause=2)
        # The announcement tells, well before anything is polled.
        async with asyncio.timeout(POLL_SECONDS / 2):
            assert await ends
            assert await subject.positions.wait_ended(id, soon())  # an end in the past

    async def test_rejections(self, subject: Subject) -> None:
        rejected = events.CommandRejected(at=at(0), code=rejections.ENDED, message="has ended\0")
        await subject.write((uuid.uuid4(), rejected), partition=3, cause=12)
        await subject.write((uuid.uuid4(), events.CommandSkipped(at=at(0))), partition=3, cause=13)
        expected = [Rejection(rejections.ENDED, "has ended\ufffd"), None, None]
        asked = [(3, 12), (3, 13), (2, 12)]
        assert await asyncio.gather(*(subject.positions.rejection(*key) for key in asked)) == expected

    async def test_a_trigger_is_shown_as_it_was_created(self, subject: Subject) -> None:
        await subject.write((TRIGGER, msgspec.structs.replace(LISTENS, name="pay\0out", request_digest="digest")))
        row = await subject.model.trigger(TRIGGER)
        assert row is not None
        assert row.vars is not None
        assert bytes(row.vars) == b'{"a":"1"}'
        assert msgspec.structs.replace(row, vars=None) == TriggerRow(
            id=TRIGGER,
            name="pay\ufffdout",
            event="X",
            version="v2",
            workflow_id=WORKFLOW,
            filter="true",
            vars=None,
            created_at=at(0),
            request="digest",
        )
        bare = uuid.uuid4()
        await subject.write((bare, listens("")), (TRIGGER, events.TriggerDeleted(at=at(1))))
        row = await subject.model.trigger(bare)
        assert row is not None
        assert (row.version, row.filter, row.vars, row.deleted_at, row.request) == (None, None, None, None, None)
        row = await subject.model.trigger(TRIGGER)
        assert row is not None
        assert (row.deleted_at, row.name) == (at(1), "pay\ufffdout")
        assert await subject.model.trigger(NOBODY) is None

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("", [5, 4, 3, 2, 1, 0]),
            ("pay", [2, 0]),
            ("PAYOUTS", [0]),
            ("%", [2]),
            ("_", [2]),
            ("\\", [2]),
            ("0% OF \\pay", [2]),
            ("straße", [3]),
            ("ÄRG", [4]),
            ("payouts ", []),
            ("pay\0", []),
            ("'; DROP TABLE triggers", []),
        ],
    )
    async def test_names_are_searched_without_letter_case(self, subject: Subject, name: str, found: list[int]) -> None:
        ids = [uuid.uuid4() for _ in NAMES]
        await subject.write(*((id, listens(text, n)) for n, (id, text) in enumerate(zip(ids, NAMES, strict=True))))
        await subject.write((TRIGGER, listens("pay deleted")), (TRIGGER, events.TriggerDeleted(at=at(1))))
        assert [ids.index(row.id) async for part in subject.model.triggers(name) for row in part.rows] == found

    async def test_trigger_pages_are_newest_first_and_neither_skip_nor_repeat(self, subject: Subject) -> None:
        # Pairs of the same instant, so that the id decides between them; every third one has another name.
        ids = [uuid.uuid4() for _ in range(12)]
        await subject.write(*((id, listens("B" if n % 3 else "a", n // 2)) for n, id in enumerate(ids)))
        await subject.write((ids[4], events.TriggerDeleted(at=at(20))))
        ordered = sorted(range(12), key=lambda n: (n // 2, ids[n]), reverse=True)
        for name in ("", "b"):
            expected = [ids[n] for n in ordered if n != 4 and (n % 3 or not name)]
            seen: list[uuid.UUID] = []
            after: RowPosition | None = None
            while rows := (await subject.model.triggers_page(name, after=after, limit=2)).rows:
                if after is not None:
                    previous = await subject.model.triggers_page(name, before=rows[0].position, limit=2)
                    assert [row.id for row in previous.rows] == seen[-2:]
                seen += [row.id for row in rows]
                after = rows[-1].position
            assert seen == expected

    async def test_an_occurrence_is_shown_with_its_instance_as_it_is_now(self, subject: Subject) -> None:
        first, second, instance = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        occurrence = fired(first, 1, instance)
        misfired = events.TriggerFailed(
            at=at(2), occurrence_id=str(second), event={"type": "X"}, source="l/0", offset=2, error="a: bo\0om"
        )
        await subject.write((TRIGGER, occurrence), (TRIGGER, misfired))

        async def shown() -> list[OccurrenceRow]:
            assert await subject.model.occurrences_page(NOBODY, limit=9) == Slice([])
            return (await subject.model.occurrences_page(TRIGGER, limit=9)).rows

        failed, behind = await shown()
        assert (failed.id, failed.trigger_id, failed.date) == (second, TRIGGER, at(2))
        assert (failed.workflow_instance_id, failed.instance, failed.error) == (None, None, "a: bo\ufffdom")
        assert (behind.id, behind.date, behind.workflow_instance_id) == (first, at(1), instance)
        assert (behind.instance, behind.error) == (None, None)
        assert bytes(behind.event) == msgspec.json.encode(occurrence.event)

        await subject.write((WORKFLOW, CREATED), (instance, started(3)))
        assert (await shown())[1].instance == StartedRow(instance, WORKFLOW, at(3), at(3))
        await subject.write((instance, events.InstanceEnded(workflow_id="w", at=at(4), error="canceled")))
        assert (await shown())[1].instance == StartedRow(instance, WORKFLOW, at(3), at(4), at(4), "canceled")
        await subject.write((TRIGGER, events.TriggerDeleted(at=at(5))))
        assert len(await shown()) == 2

    async def test_occurrence_pages_and_streams(self, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(read_model, "CHUNK_ROWS", 3)
        ids = [uuid.uuid4() for _ in range(7)]
        await subject.write(*((TRIGGER, fired(id, n // 2)) for n, id in enumerate(ids)), (NOBODY, fired(uuid.uuid4())))
        expected = [ids[n] for n in sorted(range(7), key=lambda n: (n // 2, ids[n]), reverse=True)]
        assert [[row.id for row in part.rows] async for part in subject.model.occurrences(TRIGGER)] == [
            expected[:3],
            expected[3:6],
            expected[6:],
        ]
        page = await subject.model.occurrences_page(TRIGGER, limit=2)
        page = await subject.model.occurrences_page(TRIGGER, after=page.rows[-1].position, limit=2)
        assert [row.id for row in page.rows] == expected[2:4]
        page = await subject.model.occurrences_page(TRIGGER, before=page.rows[-1].position, limit=2)
        assert [row.id for row in page.rows] == expected[1:3]

    async def test_cut_connections_come_back(self, subject: Subject) -> None:
        await subject.write((WORKFLOW, CREATED))
        assert await subject.model.workflow(WORKFLOW)
        assert await subject.model.workflows_page(limit=1)
        subject.cut()
        assert await subject.model.workflow(WORKFLOW)
        assert await subject.model.workflows_page(limit=1)
        await subject.write((uuid.uuid4(), started()), cause=3)
        await subject.positions.wait_cause(0, 3, soon())
        await until(lambda: subject.positions.ready)
        assert subject.model.ready

    async def test_positions_are_known_before_anything_happens(self, subject: Subject) -> None:
        written = await subject.write((uuid.uuid4(), started()), cause=6)
        positions = subject.new_positions()
        await positions.open()
        assert positions.ready
        assert positions.loaded
        assert positions.seen_offset(0) == written.next_offset
        await positions.wait_cause(0, 6, soon(-1))
        await positions.close()

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

    @pytest.mark.parametrize("seed", range(3))
    async def test_any_events_are_shown_as_they_are_in_memory(self, subject: Subject, seed: int) -> None:
        database = MemoryDatabase()
        store, queries = MemoryStore(database), MemoryQueries(database)
        model, positions = (
            ReadModel(ProjectionsSettings(), queries),
            ReadPositions(ProjectionsSettings(), queries),
        )
        database.caught_up, database.partitions = {0}, 1
        await positions.open()
        for some in (store, subject.store):
            await some.positions([0])
        met: set[str] = set()
        for number, batch in enumerate(random_batches(seed, 60)):
            for some in (store, subject.store):
                await some.write(batch)
            if number % 10 == 0:
                shown = await everything(subject.model, subject.positions, number)
                assert shown == await everything(model, positions, number)
                met |= {name.partition(" ")[0] for name, answer in shown.items() if answer}
        assert met == {name.partition(" ")[0] for name in shown}
        await model.close()
        await positions.close()
