"""What must hold of `projections.ports.Store`, whoever implements it.

`tests/integration/test_store.py` runs it on Postgres, `tests/unit/projections/test_memory.py` on the one in memory.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

import msgspec
import pytest
from msgspec import Raw

from projections.counting import (
    BOUNDS,
    HOURS_PER_DAY,
    INSTANCE,
    KEPT_DAYS,
    NOW,
    STARTED,
    CountKey,
    Counts,
    by_day,
    hour_of,
)
from projections.errors import BatchRefused, PositionConflict, StoreAway
from projections.fold import Batch
from projections.keys import MAX_KEYS
from projections.memory import MemoryDatabase, MemoryStore
from projections.ports import Store
from projections.rows import Advance, Instance, PastStage, ReadPosition, Stage
from projections.states import STATES
from schemas import events, rejections
from schemas.ended_activities import KeptActivity
from schemas.idempotency import id_for_key
from schemas.records import Recorded
from schemas.resources import InstanceState
from tests.counted import counted_again
from tests.definitions import definition

START: Final = datetime(2026, 3, 1, 10, tzinfo=UTC)
MAX_EVENTS: Final = 6
"""In a batch. With more, few batches would change what an earlier one made."""


class Subject(Protocol):
    """A store under test, and what only tests do to it."""

    store: Store

    def announced(self) -> list[str]:
        """The announcements so far."""

    def rows(self) -> dict[str, set[tuple[Any, ...]]]:
        """The rows of all tables of things, by table, in the order of the fields of `projections.rows`."""

    def counts(self, step: int = 1) -> Counts:
        """The counts, those that are 0 left out.

        Args:
            step: in hours (1) or days (24); 0: only those of table `counts`.
        """

    def retention(self) -> "Retained":
        """What is known of instances that were deleted."""

    def cut(self) -> None:
        """Cut the store's connection."""

    def restart(self) -> None:
        """Start the database again."""


class Retained(NamedTuple):
    """What is known of instances that were deleted."""

    requests: dict[str, str]
    """Digests of the requests that started them, by id."""
    ended_before: dict[InstanceState, datetime]
    """Up to when they may have been deleted, by outcome."""
    restored: set[str]
    """Those that were retried all the same."""


def id(number: int) -> str:
    return str(UUID(int=number))


def batch_of(*happened: tuple[str, Any], advance: Advance | None = None, cause: int | None = None) -> Batch:
    batch = Batch()
    for key, event in happened:
        batch.add(0, Recorded(key, 1, event, 0, cause))
    batch.advances = [advance] if advance else []
    return batch


def started(at: datetime = START, **variables: str) -> events.InstanceStarted:
    return events.InstanceStarted(at=at, workflow_id=id(1), stages=definition([{"noop": None}]), variables=variables)


AUTHORS: Final[Sequence[dict[str, str]]] = (
    {},
    {"by": "anna"},
    {"reason": "two\nlines"},
    {"by": "b\0b", "reason": "because"},
)


def random_event(chance: random.Random, at: datetime) -> tuple[str, Any]:
    """An event about one of few things, whether or not it makes sense: mostly it does not."""
    key, number, one = id(chance.randint(1, 3)), chance.randint(0, 1), chance.random() < 0.5
    error = "failed" if chance.random() < 0.3 else None
    who: dict[str, Any] = AUTHORS[at.second % len(AUTHORS)]
    stage: dict[str, Any] = {"at": at, "workflow_id": id(1)}
    activity: dict[str, Any] = {"at": at, "stage": number, "index": 0}
    occurred: dict[str, Any] = {"at": at, "occurrence_id": id(chance.randint(90, 99)), "event": {}, "source": "s"}
    happened = chance.choice(
        [
            # A second start of an instance comes at the time of the first: a key has the time that its event tells.
            started(START + timedelta(seconds=int(key[-1])), order=f"A-{number}", of="\0 "),
            events.InstanceEnded(
                **stage, error=error, request_key=id(6) if one else None, request_digest=f"d{number}", **who
            ),
            events.StageStarted(**stage, number=number, name="RunNoop", input={"n": 10**30}),
            events.StageStarted(**stage, number=number, name="RunWaitEvent", input={"event": "a\0"}),
            events.StageStarted(**stage, number=number, name="RunDelay", input={}, wait_until=at),
            events.StageEnded(**stage, number=number, error=error),
            events.ActivityStarted(**activity, name="Void", input={"id": key, "data": {"account": "users:1"}}),
            events.ActivityFailed(**activity, attempt=chance.randint(1, 3), error="503", retry_at=at),
            events.ActivityPaused(**activity, attempt=3, max_attempts=3, name="Void", error="503", code=error),
            events.ActivityResumed(**activity, request_key=id(8) if one else None, request_digest=f"d{number}", **who),
            events.ActivityEnded(
                **activity, attempt=2, error=error, output={"data": [{"txid": number}]} if one else None
            ),
            events.EventReceived(
                at=at, name="x", request_key=id(7) if one else None, request_digest=f"d{number}", **who
            ),
            events.WorkflowCreated(
                at=at, name=f"n\0{number}", stages=[{"noop": None}], max_attempts=3 if one else None, **who
            ),
            events.WorkflowDeleted(at=at, **who),
            events.TriggerCreated(
                at=at, name="T", event="X", workflow_id=id(1), vars={"a": "1"} if one else None, **who
            ),
            events.TriggerDeleted(at=at, **who),
            events.TriggerFailed(**occurred, offset=1, error="no link"),
            events.TriggerFired(
                **occurred, offset=1, workflow_id=id(1), instance_id=id(2), stages=Raw(b"[]"), variables={}
            ),
            events.CommandRejected(at=at, code=rejections.ENDED, message=f"has ended {number}"),
            events.CommandRejected(
                at=at, code=rejections.ENDED, message="", request_key=id(9), request_digest=f"d{number}"
            ),
            events.SubmissionRejected(
                at=at, code=rejections.ENDED, error="", type="SubmitAbort", idempotency_key=f"k{number}"
            ),
        ]
    )
    return key, happened


def random_bulk_event(chance: random.Random, at: datetime) -> tuple[str, Any]:
    """An event of one of few bulk operations, or of what they have sent, whether or not it makes sense."""
    number, by = chance.randint(0, 1), "ann\0" if chance.random() < 0.5 else None
    of_bulk: dict[str, Any] = {"bulk_id": id(chance.randint(1, 2)), "bulk_page": number}
    happened = chance.choice(
        [
            events.BulkStarted(at=at, action="abort", filter=Raw(b"{}"), expected=7 if number else None, by=by),
            events.BulkAdvanced(at=at, page=number, instances=[id(5), id(6)], created_at=at, sent=2, lost=number),
            events.BulkStopped(at=at, by=by, reason="too many"),
            events.BulkEnded(at=at, lost=number),
            events.CommandRejected(at=at, code=rejections.ENDED, message="", **of_bulk),
            events.InstanceEnded(at=at, workflow_id=id(1), error="canceled", **of_bulk),
            events.ActivityResumed(at=at, stage=0, index=0, **of_bulk),
        ]
    )
    return id(chance.randint(1, 3)), happened


def random_retry(chance: random.Random, at: datetime) -> list[tuple[str, Any]]:
    """The beginning of a pass, which may go on in the next batch."""
    key, number, kept = id(chance.randint(1, 3)), chance.randint(0, 1), chance.randint(0, 1)
    stage: dict[str, Any] = {"at": at, "workflow_id": id(1), "number": number}
    activity: dict[str, Any] = {"at": at, "stage": number, "index": kept}
    retried = retry(stage=number, kept=kept, at=at, retries=chance.randint(1, 10**6))
    happened = [
        retried,
        events.StageStarted(**stage, name="RunSend", input={"again": True}),
        events.ActivityStarted(**activity, name="Again", input={}, key_number=1, key_used=True),
        events.ActivityEnded(**activity, attempt=1, error="refused", code="VALIDATION"),
        events.StageEnded(**stage, error="refused"),
        events.InstanceEnded(at=at, workflow_id=id(1), error="refused", arrived=[1]),
    ]
    return [(key, event) for event in happened[: chance.randint(1, len(happened))]]


def retry(*, stage: int = 0, kept: int = 0, at: datetime = START, retries: int = 1) -> events.InstanceRetried:
    return events.InstanceRetried(
        at=at,
        workflow_id=id(1),
        stages=definition([{"noop": None}] * 3),
        variables={},
        version=9,
        retries=retries,
        stage=stage,
        kept=[KeptActivity(name="Void", input={})] * kept,
    )


def random_batches(seed: int, count: int) -> Iterator[Batch]:
    """Batches of partition 0, one behind the other."""
    chance, of_bulks, at, offset = random.Random(seed), random.Random(-seed), START, 0
    for _ in range(count):
        happened = []
        for _ in range(chance.randint(1, MAX_EVENTS)):
            at += timedelta(seconds=chance.randint(0, 5))
            happened.append(random_event(chance, at))
            if of_bulks.random() < 0.4:
                happened.append(random_bulk_event(of_bulks, at))
        after = offset + len(happened)
        cause = chance.randint(1, 20)
        yield batch_of(*happened, advance=Advance(0, offset, after, 1, max(offset, cause)), cause=cause)
        offset = after


def retrying_batches(seed: int, count: int) -> Iterator[Batch]:
    """Batches of partition 0 that begin with a retry, or go on behind one."""
    chance, at = random.Random(seed), START
    ids = [id(number) for number in range(1, 4)]
    beginning = [(key, started()) for key in ids]
    yield batch_of(
        *beginning, (ids[0], events.WorkflowCreated(at=at, name="", stages=[])), advance=Advance(0, 0, 4, 1, 0)
    )
    for offset in range(4, 4 + count):
        at += timedelta(seconds=chance.randint(0, 5))
        happened = random_retry(chance, at) if chance.random() < 0.5 else []
        for _ in range(MAX_EVENTS):
            key, event = random_event(chance, at)
            if key not in dict(happened[:1]) and not isinstance(event, events.InstanceStarted):
                happened.append((key, event))
        yield batch_of(*happened, advance=Advance(0, offset, offset + 1, 1, offset), cause=chance.randint(1, 20))


class StoreContract:
    """See the module."""

    async def test_positions_begin_at_the_start_of_the_log(self, subject: Subject) -> None:
        assert await subject.store.positions([0, 5]) == {0: ReadPosition(), 5: ReadPosition(0, -1, -1)}
        assert await subject.store.positions([]) == {}
        assert subject.store.connected

    async def test_a_batch_counts_whole_or_not_at_all(self, subject: Subject) -> None:
        store = subject.store
        await store.positions([0, 1])

        def batch(number: int, *advances: Advance) -> Batch:
            batch = batch_of((id(number), started()))
            batch.advances = list(advances)
            return batch

        await store.write(batch(1, Advance(0, 0, 5, 1, 2)))
        for advances in (
            [Advance(0, 0, 5, 1, 2)],
            [Advance(1, 0, 3, 1, 1), Advance(0, 4, 6, 1, 3)],
            [Advance(7, 0, 1, 1, 1)],
        ):
            with pytest.raises(PositionConflict):
                await store.write(batch(2, *advances))
        assert await store.positions([0, 1]) == {0: ReadPosition(5, 1, 2), 1: ReadPosition()}
        assert len(subject.rows()["instances"]) == 1
        assert len(subject.announced()) == 1
        await store.write(batch(2, Advance(1, 0, 3, 1, 1), Advance(0, 5, 6, 1, 3)))
        assert await store.positions([0, 1]) == {0: ReadPosition(6, 1, 3), 1: ReadPosition(3, 1, 1)}

    async def test_whether_it_has_come_to_offsets(self, subject: Subject) -> None:
        store = subject.store
        await store.positions([0, 1])
        await store.write(batch_of((id(1), started()), advance=Advance(0, 0, 5, 1, 2)))
        for ends in ({}, {0: 5}, {0: 4, 1: 0}, {7: 0}):
            assert await store.has_passed(ends), ends
        for ends in ({0: 6}, {0: 5, 1: 1}, {7: 1}):
            assert not await store.has_passed(ends), ends

    async def test_a_topic_is_noted_where_none_is_known(self, subject: Subject) -> None:
        store = subject.store
        await store.positions([0, 1, 2])
        await store.note_topic("first", [0, 7])
        await store.note_topic("second", [0, 1])
        await store.write(batch_of((id(1), started()), advance=Advance(0, 0, 5, 1, 2)))
        assert await store.positions([0, 1, 2]) == {
            0: ReadPosition(5, 1, 2, "first"),
            1: ReadPosition(topic_id="second"),
            2: ReadPosition(),
        }

    async def test_what_cannot_be_held_is_refused_and_changes_nothing(self, subject: Subject) -> None:
        await subject.store.positions([0])
        with pytest.raises(BatchRefused):
            await subject.store.write(
                batch_of((id(1), started()), ("no-uuid", started()), advance=Advance(0, 0, 2, 1, 1))
            )
        assert await subject.store.positions([0]) == {0: ReadPosition()}
        assert subject.rows()["instances"] == set()
        assert subject.announced() == []

    @pytest.mark.parametrize("seed", range(3))
    async def test_any_events_leave_the_rows_that_they_leave_in_memory(self, subject: Subject, seed: int) -> None:
        model = MemoryDatabase()
        other = MemoryStore(model)
        await other.positions([0])
        await subject.store.positions([0])
        announced: list[str] = []
        model.listeners.append(announced.append)
        for batch in random_batches(seed, 60):
            await other.write(batch)
            await subject.store.write(batch)
        rows = subject.rows()
        assert rows == rows_of(model)
        assert all(some for table, some in rows.items() if not table.startswith("past_"))
        assert await subject.store.positions([0]) == model.tables.positions
        assert subject.announced() == announced
        assert subject.counts() == model.tables.counts

    @pytest.mark.parametrize("seed", range(2))
    async def test_retries_leave_the_rows_that_they_leave_in_memory(self, subject: Subject, seed: int) -> None:
        model = MemoryDatabase()
        other = MemoryStore(model)
        for store in (other, subject.store):
            await store.positions([0])
        for batch in retrying_batches(seed, 80):
            await other.write(batch)
            await subject.store.write(batch)
        rows, wanted = subject.rows(), rows_of(model)
        for table, some in rows.items():
            assert some == wanted[table], f"{table}: {some - wanted[table]} is there instead of {wanted[table] - some}"
        assert rows["past_stages"]
        assert rows["past_activities"]
        assert subject.counts() == model.tables.counts

    async def test_a_request_that_came_too_late_is_kept_with_its_instance(self, subject: Subject) -> None:
        await subject.store.positions([0])
        late = events.CommandRejected(
            at=START, code=rejections.ENDED, message="", request_key=id(9), request_digest="d"
        )
        submitted = events.SubmissionRejected(
            at=START, code=rejections.ENDED, error="", type="SubmitAbort", idempotency_key="k"
        )
        ended = events.InstanceEnded(at=START, workflow_id=id(1), error="canceled")
        first = [(id(1), started()), (id(1), ended), (id(2), started()), (id(2), ended), (id(2), late)]
        await subject.store.write(batch_of(*first, advance=Advance(0, 0, 5, 1, 5), cause=4))
        second = [(id(1), late), (id(1), late), (id(2), submitted), (id(3), late), (id(3), submitted)]
        await subject.store.write(batch_of(*second, advance=Advance(0, 5, 10, 1, 10), cause=9))
        # Also where it starts, or goes on, in the same batch.
        third = [(id(4), submitted), (id(4), started()), (id(1), submitted), (id(1), retry())]
        await subject.store.write(batch_of(*third, advance=Advance(0, 10, 14, 1, 14), cause=13))
        found = {(request[0], request[1]) for request in subject.rows()["event_requests"]}
        ours = {(id(number), str(id_for_key("abort", id(number), "k"))) for number in (1, 2)}
        assert found == {(id(1), id(9)), (id(2), id(9)), *ours}

    @pytest.mark.parametrize("seed", range(2))
    async def test_counts_are_those_of_the_rows(self, subject: Subject, seed: int) -> None:
        await subject.store.positions([0])
        seen: set[CountKey] = set()
        for number, batch in enumerate(sensible_batches(seed, 60), start=1):
            await subject.store.write(batch)
            if number % 5 == 0:
                self.check_counts(subject)
                seen |= subject.counts().keys()
        assert {key.what for key in seen} == {STARTED, *STATES}
        assert {key.stage for key in seen} == {INSTANCE, 0, 1}

    def check_counts(self, subject: Subject) -> None:
        """Compare the counts with the rows."""
        rows = subject.rows()
        stages: list[Stage | PastStage] = [
            *(Stage(*row) for row in rows["stages"]),
            *(PastStage(*row) for row in rows["past_stages"]),
        ]
        assert subject.counts() == counted_again((Instance(*row) for row in rows["instances"]), stages)

    async def test_durations_fall_into_the_same_buckets_everywhere(self, subject: Subject) -> None:
        await subject.store.positions([0])
        for n, took in enumerate([0, 1, 999, 1000, 1001, *BOUNDS[1::9], BOUNDS[-1] - 1, BOUNDS[-1], 10**14]):
            end = events.InstanceEnded(at=START + timedelta(microseconds=took), workflow_id=id(1))
            await subject.store.write(batch_of((id(n + 10), started()), advance=Advance(0, 2 * n, 2 * n + 1, 1, 1)))
            await subject.store.write(batch_of((id(n + 10), end), advance=Advance(0, 2 * n + 1, 2 * n + 2, 1, 1)))
        self.check_counts(subject)

    async def test_counts_of_hours_that_are_over_are_kept_by_hour_and_day(self, subject: Subject) -> None:
        await subject.store.positions([0])
        this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        today = this_hour.replace(hour=0)
        starts = [today - timedelta(days=days, hours=hours) for days in (7, 8, 9, 10) for hours in (0, 1, 5, 5.5)]
        ids = [id(n) for n in range(10, 10 + len(starts) + 2)]
        happened: list[tuple[str, Any]] = []
        for n, (one, at) in enumerate(zip(ids, [*starts, this_hour - timedelta(hours=2), this_hour], strict=True)):
            end = events.InstanceEnded(at=at + n * timedelta(minutes=1), workflow_id=id(1))
            happened += [(one, started(at)), (one, end)]
        await subject.store.write(batch_of(*happened, advance=Advance(0, 0, 5, 1, 1)))
        assert subject.counts(HOURS_PER_DAY) == in_days(subject.counts())
        await self.check_merged(subject, hour_of(this_hour))
        # What changes in hours that are over counts at once, and is moved as well.
        later = events.InstanceEnded(at=this_hour - timedelta(hours=3), workflow_id=id(1), error="no")
        changes = [(one, later) for one in (ids[0], ids[-3], ids[-2])]
        await subject.store.write(batch_of(*changes, advance=Advance(0, 5, 6, 1, 2)))
        rows = [Instance(*row) for row in subject.rows()["instances"]]
        assert subject.counts(HOURS_PER_DAY) == in_days(counted_again(rows, []))
        await self.check_merged(subject, hour_of(this_hour))

    async def check_merged(self, subject: Subject, this_hour: int) -> None:
        """Merge counts; those of days stay, and those of hours that are told apart."""
        kept = by_day(this_hour) - KEPT_DAYS * HOURS_PER_DAY
        days = subject.counts(HOURS_PER_DAY)
        hours = {key: n for key, n in subject.counts().items() if not 0 <= key.hour < kept}
        assert min(key.hour for key in subject.counts(0) if key.hour != NOW) < kept
        assert await subject.store.merge_counts() is False
        assert all(key.hour == NOW or key.hour >= this_hour - 1 for key in subject.counts(0))
        assert subject.counts(HOURS_PER_DAY) == days
        assert subject.counts() == hours

    async def test_acts_are_added_and_the_first_and_the_last_stay(self, subject: Subject) -> None:
        await subject.store.positions([0])
        await subject.store.write(batch_of((id(1), started()), advance=Advance(0, 0, 1, 1, 1)))
        sent = [events.EventReceived(at=START, name=f"e{number}", by="anna") for number in range(150)]
        for first, last in ((0, 1), (1, 40), (40, 130), (130, 150)):
            happened = [(id(1), event) for event in sent[first:last]]
            await subject.store.write(batch_of(*happened, advance=Advance(0, first + 1, last + 1, 1, last + 1)))
        (values,) = subject.rows()["instances"]
        names = [msgspec.json.decode(line)["name"] for line in (Instance(*values).acts or "").split("\n")]
        assert names == ["e0", *(f"e{number}" for number in range(51, 150))]

    async def test_an_instance_has_the_first_keys_of_its_events_however_they_are_cut_into_batches(
        self, subject: Subject
    ) -> None:
        await subject.store.positions([0])
        sent = [events.EventReceived(at=START, name=f"event {number // 2}") for number in range(2 * MAX_KEYS)]
        happened: list[Any] = [started(order="A"), *sent]
        offset = 0
        for count in (1, 1, 7, MAX_KEYS, len(happened)):
            some, happened = happened[:count], happened[count:]
            batch = batch_of(*((id(1), event) for event in some), advance=Advance(0, offset, offset + count, 1, 1))
            await subject.store.write(batch)
            offset += count
        # Each name came twice, and counts twice.
        expected = {"a", *(f"event {number // 2}" for number in range(MAX_KEYS - 1))}
        assert {row[1] for row in subject.rows()["instance_keys"]} == expected
        assert {(row[0], row[2]) for row in subject.rows()["instance_keys"]} == {(id(1), START)}

    async def test_partitions_catch_up_once_and_again_after_a_start(self, subject: Subject) -> None:
        store = subject.store
        await store.positions([0, 1])
        await store.write(batch_of((id(1), started()), advance=Advance(0, 0, 5, 1, 1)))
        assert await store.not_caught_up([0, 1]) == {0, 1}
        assert await store.note_caught_up({0: 6, 1: 1}, 2) == set()
        assert await store.note_caught_up({0: 5, 1: 1}, 2) == {0}
        assert await store.not_caught_up([0, 1]) == {1}
        subject.restart()
        with pytest.raises(StoreAway):
            await store.positions([0])
        assert not store.connected
        assert await store.not_caught_up([0, 1]) == {0, 1}

    async def test_a_partition_was_added_that_not_all_know_of(self, subject: Subject) -> None:
        """Who notes it may know the old number; then those count that were there before."""
        store = subject.store
        await store.positions([0, 1, 2])
        for partition in range(3):
            happened = (id(partition + 1), started())
            await store.write(batch_of(happened, advance=Advance(partition, 0, 1, 1, 1)))
        assert not await store.all_caught_up()
        assert await store.note_caught_up({0: 1}, 2) == {0}
        assert not await store.all_caught_up()
        assert await store.note_caught_up({2: 1}, 2) == {2}
        assert not await store.all_caught_up(), "partition 1 is missing"
        assert await store.note_caught_up({1: 1}, 2) == {1}
        assert await store.all_caught_up()
        assert await store.note_caught_up({1: 1}, 4) == {1}
        assert not await store.all_caught_up(), "there is another one"

    async def test_old_rejections_are_pruned(self, subject: Subject) -> None:
        """By the time of their events, and by their time in here: clocks of engines may be wrong."""
        old, coming = datetime.now(UTC) - timedelta(hours=2), datetime.now(UTC) + timedelta(hours=2)
        await subject.store.positions([0])
        for cause, at in ((1, old), (2, coming)):
            rejected = events.CommandRejected(at=at, code=rejections.ENDED, message="x")
            await subject.store.write(
                batch_of((id(1), rejected), advance=Advance(0, cause - 1, cause, 1, cause), cause=cause)
            )
        assert await subject.store.prune_rejections(3600) is False
        assert {row[:2] for row in subject.rows()["rejections"]} == {(0, 1), (0, 2)}, "their senders have to read them"
        assert await subject.store.prune_rejections(0) is False
        assert {row[:2] for row in subject.rows()["rejections"]} == {(0, 2)}

    async def test_a_connection_that_was_cut_is_told_once(self, subject: Subject) -> None:
        await subject.store.positions([0])
        subject.cut()
        with pytest.raises(StoreAway):
            await subject.store.positions([0])
        assert not subject.store.connected
        assert await subject.store.positions([0]) == {0: ReadPosition()}
        assert subject.store.connected


def sensible_batches(seed: int, count: int) -> Iterator[Batch]:
    """Batches in which instances live as they do: each with two stages, of all kinds, and with all ends."""
    chance, at = random.Random(seed), START

    def now() -> datetime:
        return at

    lives: list[Iterator[tuple[str, Any]]] = []
    born = itertools.count(10)
    for offset in range(count):
        happened: list[tuple[str, Any]] = []
        for _ in range(chance.randint(1, 2 * MAX_EVENTS)):
            at += timedelta(seconds=chance.choice([0, 0.003, 7, 2000]))
            if not lives or chance.random() < 0.2:
                lives.append(life(next(born), chance, now))
            one = chance.choice(lives)
            if (event := next(one, None)) is None:
                lives.remove(one)
            else:
                happened.append(event)
        yield batch_of(*happened, advance=Advance(0, offset, offset + 1, 1, 1), cause=offset)


def life(number: int, chance: random.Random, now: Callable[[], datetime]) -> Iterator[tuple[str, Any]]:
    """The events of an instance."""
    key, workflow = id(number), id(chance.randint(1, 2))
    aborted = chance.random() < 0.2
    yield key, msgspec.structs.replace(started(now()), workflow_id=workflow)
    error: str | None = None
    for stage in range(2):
        about: dict[str, Any] = {"workflow_id": workflow, "number": stage}
        kind = chance.choice(["RunNoop", "RunWaitEvent", "RunDelay", "RunSend"])
        until = now() if kind == "RunDelay" else None
        yield key, events.StageStarted(at=now(), name=kind, input={"event": "e"}, wait_until=until, **about)
        if kind == "RunSend":
            call: dict[str, Any] = {"stage": stage, "index": 0}
            yield key, events.ActivityStarted(at=now(), name="Void", input={}, **call)
            yield key, events.ActivityFailed(at=now(), attempt=1, error="503", retry_at=now(), **call)
            yield key, events.ActivityPaused(at=now(), attempt=2, max_attempts=2, name="Void", error="503", **call)
            yield key, events.ActivityResumed(at=now(), **call)
            yield key, events.ActivityEnded(at=now(), attempt=1, **call)
        error = "canceled" if aborted else "refused" if chance.random() < 0.2 else None
        yield key, events.StageEnded(at=now(), error=error, **about)
        if error is not None:
            break
    yield key, events.InstanceEnded(at=now(), workflow_id=workflow, error=error)


def in_days(counts: Counts) -> Counts:
    """The same counts, hours added up to days."""
    days: Counts = Counts()
    for key, count in counts.items():
        days[key._replace(hour=by_day(key.hour))] += count
    return Counts({key: count for key, count in days.items() if count})


TABLES: Final = (
    "workflows",
    "instances",
    "stages",
    "activities",
    "triggers",
    "occurrences",
    "rejections",
    "event_requests",
    "bulks",
    "bulk_outcomes",
    "instance_keys",
    "past_stages",
    "past_activities",
)


def rows_of(database: MemoryDatabase) -> dict[str, set[tuple[Any, ...]]]:
    """As `Subject.rows`."""
    return {
        name: {
            tuple(getattr(row, field) for field in row.__struct_fields__)
            for row in getattr(database.tables, name).values()
        }
        for name in TABLES
    }
