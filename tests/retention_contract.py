"""What must hold of `projections.ports.Store` when instances that ended long ago are deleted, whoever implements it.

`tests/integration/test_store.py` runs it on Postgres, `tests/unit/projections/test_memory.py` on the one in memory.
"""

import asyncio
import itertools
import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from projections.counting import NOW
from projections.memory import MemoryDatabase, MemoryStore
from projections.ports import Store
from projections.queries import retryable
from projections.queries.instance_filters import EVERY_INSTANCE, InstanceFilters
from projections.queries.retryable import retry_command
from projections.read_rows import DeletedInstance, KnownRequests, RowPosition
from projections.rows import Advance, Instance
from projections.states import ENDED
from schemas import events
from schemas.ended_activities import KeptActivity
from schemas.resources import InstanceState
from tests import happened
from tests.counted import counted_again
from tests.read_model_contract import Subject as Reads
from tests.store_contract import (
    START,
    Subject,
    batch_of,
    id,
    retry,
    retrying_batches,
    rows_of,
    sensible_batches,
    started,
)

FIRST: Final = RowPosition(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))
"""In front of all instances."""
OF_INSTANCES: Final = ("stages", "activities", "past_stages", "past_activities", "event_requests", "instance_keys")
DAY: Final = timedelta(days=1)


async def no_log() -> dict[int, int]:
    """Where a log ends that has no partition."""
    return {}


async def delete_all(
    store: Store, outcome: InstanceState, before: datetime, limit: int = 7, age: timedelta = DAY
) -> int:
    """Delete what can be deleted, some at a time; how many instances that were."""
    total, behind = 0, FIRST
    while True:
        done = await store.delete_ended(outcome, before, age, behind, limit)
        assert done is not None
        total += done.deleted
        if done.reached is None:
            return total
        assert done.reached > behind
        behind = done.reached


def ended(at: datetime, **more: Any) -> events.InstanceEnded:
    return events.InstanceEnded(at=at, workflow_id=id(1), **more)


def ids_of(subject: Subject) -> set[str]:
    return {row[0] for row in subject.rows()["instances"]}


class RetentionContract:
    """See the module."""

    async def write(self, subject: Subject, *happened: tuple[str, Any]) -> None:
        """Write a batch behind those before it."""
        position = (await subject.store.positions([0]))[0].next_offset
        await subject.store.write(batch_of(*happened, advance=Advance(0, position, position + 1, 1, 1)))

    @pytest.mark.parametrize("seed", range(2))
    async def test_what_is_left_is_what_is_left_in_memory(self, subject: Subject, seed: int) -> None:
        chance, model = random.Random(seed), MemoryDatabase()
        other = MemoryStore(model)
        for store in (other, subject.store):
            await store.positions([0])
        total, at = 0, START
        for number, batch in enumerate([*sensible_batches(seed, 60)], start=1):
            at = max([at, *(row.updated_at for row in batch.instances.values())])
            await other.write(batch)
            await subject.store.write(batch)
            if number % 10 == 0:
                outcome = chance.choice(ENDED)
                before = START + (at - START) * chance.random()
                counts = [await delete_all(store, outcome, before) for store in (other, subject.store)]
                assert counts[0] == counts[1]
                total += counts[0]
        assert total > 10
        assert subject.rows() == rows_of(model)
        assert subject.counts() == model.tables.counts
        assert subject.retention().ended_before == model.tables.retention

    @pytest.mark.parametrize("seed", range(2))
    async def test_a_retry_that_comes_late_leaves_what_it_leaves_in_memory(self, subject: Subject, seed: int) -> None:
        model = MemoryDatabase()
        other = MemoryStore(model)
        for store in (other, subject.store):
            await store.positions([0])
        restored: set[str] = set()
        for number, batch in enumerate(retrying_batches(seed, 60)):
            await other.write(batch)
            await subject.store.write(batch)
            assert subject.retention().restored == set(model.tables.restored)
            restored |= model.tables.restored.keys()
            if number % 4 == 0:
                for store in (other, subject.store):
                    for outcome in ENDED:
                        await delete_all(store, outcome, START + DAY)
        assert restored
        rows, wanted = subject.rows(), rows_of(model)
        for table, some in rows.items():
            assert some == wanted[table], f"{table}: {some - wanted[table]} is there instead of {wanted[table] - some}"
        assert subject.counts() == model.tables.counts

    async def test_all_that_belongs_to_an_instance_goes_with_it(self, subject: Subject) -> None:
        for number in (10, 11):
            call: dict[str, Any] = {"at": START, "stage": 0, "index": 0}
            stage: dict[str, Any] = {"at": START, "workflow_id": id(1), "number": 0}
            await self.write(
                subject,
                (id(number), started(order=f"A-{number}")),
                (id(number), events.StageStarted(**stage, name="RunSend", input={})),
                (id(number), events.ActivityStarted(**call, name="Void", input={})),
                (id(number), events.ActivityEnded(**call, attempt=1, error="no")),
                (id(number), events.StageEnded(**stage, error="no")),
                (id(number), ended(START, error="no", request_key=id(7), request_digest="d")),
            )
            await self.write(
                subject, (id(number), retry()), (id(number), events.ActivityStarted(**call, name="A", input={}))
            )
            await self.write(subject, (id(number), events.StageStarted(**stage, name="RunSend", input={})))
            await self.write(subject, (id(number), ended(START + number * DAY, error="no")))
        before, counts = subject.rows(), subject.counts()
        assert all(len({row[0] for row in before[table]}) == 2 or table == "instance_keys" for table in OF_INSTANCES)
        assert await delete_all(subject.store, "failed", START + 11 * DAY) == 1
        rows = subject.rows()
        for table in ("instances", *OF_INSTANCES):
            assert rows[table] == {row for row in before[table] if id(10) not in row}, table
            assert rows[table], table
        assert rows.keys() == before.keys()
        # What happened stays counted, and what holds now is what the lists show.
        (changed,) = (counts - subject.counts()).keys()
        assert (changed.what, changed.hour) == ("failed", NOW)
        now = {key: n for key, n in subject.counts().items() if key.hour == NOW}
        again = counted_again((Instance(*row) for row in rows["instances"]), [])
        assert now == {key: n for key, n in again.items() if key.hour == NOW}

    async def test_nothing_else_goes(self, subject: Subject) -> None:
        await self.write(subject, *((id(n), started(START + timedelta(seconds=n))) for n in range(10, 16)))
        for n, error in ((10, None), (11, "no"), (12, events.CANCELED), (13, None)):
            await self.write(subject, (id(n), ended(START + timedelta(hours=n), error=error)))
        assert await delete_all(subject.store, "succeeded", START + timedelta(hours=13)) == 1
        assert ids_of(subject) == {id(n) for n in range(11, 16)}, "one ended at that time, two run"
        assert await delete_all(subject.store, "aborted", START + 2 * DAY) == 1
        assert await delete_all(subject.store, "failed", START) == 0
        assert ids_of(subject) == {id(n) for n in (11, 13, 14, 15)}

    async def test_what_is_not_old_by_the_clock_of_the_database_stays(self, subject: Subject) -> None:
        now, age = datetime.now(UTC), 30 * DAY
        for n, at in ((10, now - age + timedelta(minutes=1)), (11, now - age - timedelta(minutes=1))):
            await self.write(subject, (id(n), started(at)), (id(n), ended(at)))
        assert await delete_all(subject.store, "succeeded", now + 1000 * DAY, age=age) == 1
        assert ids_of(subject) == {id(10)}
        (ended_before,) = subject.retention().ended_before.values()
        assert ended_before < now

    async def test_so_many_are_looked_at(self, subject: Subject) -> None:
        """Whether or not they have ended long ago: what is between is not looked at again."""
        times: Sequence[int] = [5, 1, 4, 2, 3, 1]
        for n, hours in enumerate(times, start=10):
            await self.write(
                subject, (id(n), started(START + timedelta(seconds=n))), (id(n), ended(START + hours * DAY))
            )
        behind, seen = FIRST, []
        for step in itertools.count():
            done = await subject.store.delete_ended("succeeded", START + 3 * DAY, DAY, behind, 2)
            assert done is not None
            seen.append(done.deleted)
            if done.reached is None:
                break
            behind = done.reached
            assert behind == RowPosition(START + timedelta(seconds=11 + 2 * step), UUID(id(11 + 2 * step)))
        assert seen == [1, 1, 1, 0]
        assert ids_of(subject) == {id(10), id(12), id(14)}

    async def test_requests_that_started_them_are_kept(self, subject: Subject) -> None:
        keyed = msgspec.structs.replace(started(), request_digest="digest")
        await self.write(subject, (id(10), keyed), (id(11), started()), (id(12), keyed))
        await self.write(subject, (id(10), ended(START)), (id(11), ended(START)), (id(12), ended(START + DAY)))
        assert await delete_all(subject.store, "succeeded", START + DAY) == 2
        assert subject.retention().requests == {id(10): "digest"}

    async def test_up_to_when_they_were_deleted_is_known_and_goes_forwards(self, subject: Subject) -> None:
        assert subject.retention().ended_before == {}
        await delete_all(subject.store, "succeeded", START)
        await delete_all(subject.store, "failed", START + DAY)
        await delete_all(subject.store, "succeeded", START - DAY)
        assert subject.retention().ended_before == {"succeeded": START, "failed": START + DAY}

    async def test_one_that_is_retried_on_its_way_out_shows_again(self, subject: Subject) -> None:
        """With all that the retry says of it. It counts where it is, and as started once."""
        await self.write(subject, (id(10), started(order="A-1")), (id(10), ended(START, error="no")))
        assert await delete_all(subject.store, "failed", START + DAY) == 1
        then = START + 2 * DAY
        stage: dict[str, Any] = {"at": then, "workflow_id": id(1), "number": 1}
        again = msgspec.structs.replace(retry(stage=1, at=then), variables={"order": "A-1"}, run_digest="digest")
        await self.write(subject, (id(10), again), (id(10), events.StageStarted(**stage, name="RunNoop", input={})))
        (row,) = (Instance(*values) for values in subject.rows()["instances"])
        assert row == Instance(
            id(10),
            then,
            id(1),
            then,
            request="digest",
            variables='{"order":"A-1"}',
            state="running",
            retries=1,
            keys=1,
        )
        assert {values[:2] for values in subject.rows()["instance_keys"]} == {(id(10), "a-1")}
        assert {values[:2] for values in subject.rows()["stages"]} == {(id(10), 1)}
        assert subject.retention().restored == {id(10)}
        await self.write(subject, (id(10), events.StageEnded(**stage)), (id(10), ended(then)))
        counts = subject.counts()
        assert {(key.what, key.stage): n for key, n in counts.items() if key.workflow_id == id(1)} == {
            ("started", -1): 1,
            ("failed", -1): 1,
            ("succeeded", -1): 1,  # in its hour; now it is another key of the same name
            ("succeeded", 1): 1,
        }
        assert counts[next(key for key in counts if key.hour == NOW and key.what == "succeeded")] == 1
        # Once more it goes like all others.
        assert await delete_all(subject.store, "succeeded", then + DAY) == 1
        assert subject.retention().restored == set()
        assert subject.retention().requests == {id(10): "digest"}

    async def test_a_retry_of_one_that_is_there_restores_nothing(self, subject: Subject) -> None:
        await self.write(subject, (id(10), started(order="A-1")), (id(10), ended(START, error="no")))
        await self.write(subject, (id(10), retry(at=START + DAY)))
        (row,) = (Instance(*values) for values in subject.rows()["instances"])
        assert (row.created_at, row.variables, row.state) == (START, '{"order":"A-1"}', "running")
        assert subject.retention().restored == set()


def request(number: int) -> dict[str, Any]:
    """The fields by which a request with a key is known."""
    return {"request_key": id(number), "request_digest": f"d{number}"}


class ReadsContract:
    """What readers see of instances that are deleted, whichever `projections.ports.Database` it is on.

    `tests/integration/test_queries.py` runs it on Postgres, `tests/unit/projections/test_memory_queries.py` on the one
    in memory.
    """

    async def test_what_is_deleted_is_like_what_never_was(self, subject: Reads) -> None:
        gone, left, trigger = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        await subject.write((happened.WORKFLOW, happened.CREATED), (trigger, happened.fired(uuid.uuid4(), 1, gone)))
        for instance, digest in ((gone, "digest"), (left, None)):
            first = msgspec.structs.replace(happened.started(order="A-1"), request_digest=digest)
            failed = events.InstanceEnded(workflow_id="w", at=happened.at(1 if digest else 99), error="no")
            await subject.write(*((instance, event) for event in (first, *happened.run()[1:3], failed)))
        model = subject.model
        assert {row.id for row in [await model.keyed_instance(id) for id in (gone, left)] if row} == {gone, left}
        assert await model.keyed_instance(uuid.uuid4()) is None
        assert await delete_all(subject.store, "failed", happened.at(2)) == 1
        assert await model.instance(gone) is None
        assert await model.history(gone) is None
        assert await model.activities(gone, 0) is None
        assert await model.retryable(gone, 0) is None
        assert (await subject.followed.read([gone, left])).keys() == {left}
        for filters in (EVERY_INSTANCE, InstanceFilters(key="a-1"), InstanceFilters(states=("failed",), error="n")):
            assert [row.id for row in (await model.instances_page(filters, limit=9)).rows] == [left]
        assert (await model.instances_page(InstanceFilters(key=str(gone)), limit=9)).rows == []
        (occurrence,) = (await model.occurrences_page(trigger, limit=9)).rows
        assert (occurrence.workflow_instance_id, occurrence.instance) == (gone, None)
        # With a key both are known, also when others look for them at the same time.
        shown = [await model.instance(left), None]
        keyed = [shown[0], DeletedInstance(gone, "digest"), None]
        looks = [model.keyed_instance(id) for id in (left, gone, uuid.uuid4())]
        looked = await asyncio.gather(*looks, model.instance(left), model.instance(gone))
        assert looked == [*keyed, *shown]

    @pytest.mark.parametrize("is_deleted", [False, True])
    async def test_who_is_retried_again_knows_what_was_done(self, subject: Reads, is_deleted: bool) -> None:
        """Also if it was deleted while the first retry was on its way: nothing is done twice."""
        one = uuid.uuid4()
        call: dict[str, Any] = {"at": happened.at(1), "stage": 1, "index": 0}
        stage: dict[str, Any] = {"workflow_id": str(happened.WORKFLOW), "at": happened.at(1), "number": 1}
        request: dict[str, Any] = {"request_key": id(7), "request_digest": "d"}
        failed = events.InstanceEnded(workflow_id="w", at=happened.at(1), error="no")
        await subject.write((happened.WORKFLOW, happened.CREATED), (one, happened.started(order="A-1")))
        await subject.write(
            (one, events.StageStarted(**stage, name="RunSend", input={})),
            (one, events.ActivityStarted(**call, name="Pay", input={"n": 1}, key_number=2, key_used=True)),
            (one, events.ActivityEnded(**call, attempt=1, output={"id": "p"})),
            (one, events.EventReceived(at=happened.at(1), name="approved", **request)),
            (one, events.StageEnded(**stage, error="no")),
            (one, failed),
        )
        before = await subject.model.retryable(one, 0)
        assert before is not None
        if is_deleted:
            assert await delete_all(subject.store, "failed", happened.at(2)) == 1
        retried = replace(
            retry(stage=1, at=happened.at(3)),
            workflow_id=str(happened.WORKFLOW),
            variables={"order": "A-1"},
            kept=[KeptActivity(name="Pay", input={"n": 1}, output={"id": "p"}, key_number=2)],
            requests=before.requests,
        )
        later = {**stage, "at": happened.at(3)}
        await subject.write((one, retried), (one, events.StageStarted(**later, name="RunSend", input={})))
        await subject.write((one, events.StageEnded(**later, error="no")), (one, replace(failed, at=happened.at(4))))
        after = await subject.model.retryable(one, 0)
        assert after is not None
        assert after.activities == before.activities
        assert after.requests == before.requests == [(id(7), "d")]
        assert (await subject.model.event_request(one, UUID(id(7)))).digest == "d"

    async def test_requests_that_a_retry_does_not_tell_are_known_when_the_instance_shows_again(
        self, subject: Reads, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else the engine, which counts them, would wait for ever for a read model that knows as many."""
        monkeypatch.setattr(retryable, "MAX_REQUESTS", 2)
        many, few, succeeded = (uuid.uuid4() for _ in range(3))
        await subject.write((happened.WORKFLOW, happened.CREATED))
        for one, count in ((many, 3), (few, 2), (succeeded, 3)):
            keys = [events.EventReceived(at=happened.at(1), name="x", **request(n)) for n in range(count)]
            error = None if one is succeeded else "no"
            ending = events.InstanceEnded(workflow_id="w", at=happened.at(1), error=error)
            await subject.write(*((one, event) for event in (happened.started(order="A-1"), *keys, ending)))
        for outcome in ("failed", "succeeded"):
            await delete_all(subject.store, outcome, happened.at(2))
        known = {one: (await subject.model.event_request(one, UUID(id(0)))).total for one in (many, few, succeeded)}
        assert known == {many: 3, few: 0, succeeded: 0}
        retried = replace(retry(at=happened.at(3)), workflow_id=str(happened.WORKFLOW), earlier_requests=3)
        await subject.write((many, retried), (many, events.EventReceived(at=happened.at(3), name="x", **request(7))))
        assert await subject.model.event_request(many, UUID(id(1))) == KnownRequests("d1", 4)
        await subject.write((many, events.InstanceEnded(workflow_id="w", at=happened.at(4), error="no")))
        found = await subject.model.retryable(many, 0)
        assert found is not None
        assert retry_command(found).earlier_requests == 4

    @pytest.mark.parametrize(
        "filters",
        [EVERY_INSTANCE, InstanceFilters(states=ENDED), InstanceFilters(key="a-1"), InstanceFilters(error="no")],
        ids=["all", "states", "key", "error"],
    )
    async def test_a_cursor_goes_on_behind_a_row_that_is_gone(self, subject: Reads, filters: InstanceFilters) -> None:
        await subject.write((happened.WORKFLOW, happened.CREATED))
        ids = [uuid.uuid4() for _ in range(12)]
        for n, one in enumerate(ids):
            # Every third one ends later, so it stays.
            failed = events.InstanceEnded(workflow_id="w", at=happened.at(99 if n % 3 == 0 else n), error="no")
            await subject.write((one, happened.started(n, order="A-1")), (one, failed))
        page = await subject.model.instances_page(filters, limit=4)
        assert [row.id for row in page.rows] == ids[:7:-1]
        here = page.rows[-1].position
        assert await delete_all(subject.store, "failed", happened.at(50), limit=3) == 8
        assert await subject.model.instance(here.id) is None
        behind = await subject.model.instances_page(filters, after=here, limit=2)
        assert ([row.id for row in behind.rows], behind.more) == ([ids[6], ids[3]], True)
        front = await subject.model.instances_page(filters, before=here, limit=2)
        assert ([row.id for row in front.rows], front.more) == ([ids[9]], False)
        last = await subject.model.instances_page(filters, after=behind.rows[-1].position, limit=2)
        assert ([row.id for row in last.rows], last.more) == ([ids[0]], False)
