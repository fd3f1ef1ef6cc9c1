"""What must hold of instances and workflows as the API reads them."""

import random
import uuid
from collections.abc import Callable
from datetime import UTC
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from projections import counting, store
from projections.counting import HOURS_PER_DAY, bucket_of, by_day, hour_of
from projections.memory import MemoryDatabase, MemoryStore
from projections.memory_queries import MemoryQueries
from projections.queries import stats
from projections.queries.bulks import running as running_bulks
from projections.queries.instance_filters import InstanceFilters
from projections.queries.positions import ReadPositions
from projections.queries.read_model import ReadModel
from projections.queries.retryable import MAX_REQUESTS
from projections.queries.stats import Happened, OldestRow, StatsRow, Window
from projections.read_rows import (
    EndedStageRow,
    HistoryPlace,
    Retryable,
    StageRow,
    WaitingRow,
)
from projections.sql import statement
from schemas import events
from schemas.settings import ProjectionsSettings
from tests.happened import CREATED, WORKFLOW, at, run, started
from tests.read_model_contract.subjects import BIG, NOBODY, Subject, failing
from tests.store_contract import random_batches


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


class InstancesContract:
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
        nobody = await subject.model.stats(window, uuid.UUID(int=0))
        assert (nobody.states, nobody.steps, nobody.stages, nobody.workflows, nobody.oldest) == ({}, {}, {}, [], [])
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
