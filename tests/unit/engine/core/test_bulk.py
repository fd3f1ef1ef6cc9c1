"""Bulk operations: pages that the log fixes, and commands that act once however often and late they come."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec import Raw

from engine.core import bulk
from engine.core.bulk import MAX_PAGES, MAX_RUNNING, evolve
from engine.core.decisions import ActivityDone
from engine.core.effects import Token
from engine.core.errors import IllegalTransition
from engine.core.retries import Failure
from engine.core.shard import Input, Shard
from engine.core.snapshots import Loader
from engine.turn import Turn
from schemas import events as ev
from schemas import rejections
from schemas.commands import (
    AbortInstance,
    AdvanceBulk,
    Command,
    EndBulk,
    PassOverInstance,
    ResumeActivity,
    RunWorkflow,
    StartBulk,
    StopBulk,
)
from schemas.records import RecordCodec
from tests.definitions import definition
from tests.ports.log import StoredRecord

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
CODEC = RecordCodec()
WAIT: dict[str, Any] = {"wait_event": {"event": "go"}}
UPDATE: dict[str, Any] = {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}
CALL = Token("call", 0, 0, 1)


def id_of(number: int) -> str:
    return str(UUID(int=number))


BULK, OTHER = id_of(1000), id_of(1001)
A, B, C = id_of(1), id_of(2), id_of(3)


@pytest.mark.parametrize("ahead", [-1, 0, 1])
def test_it_begins_behind_the_newest_instance_that_was_there(ahead: int) -> None:
    """Clocks of other partitions may be ahead. Whom they have started must not be passed over by an abort of all."""
    newest = NOW + timedelta(seconds=ahead)
    start = StartBulk(action="abort", filter=Raw(b"{}"), newest_at=newest)
    (started,) = bulk.decide(None, start, NOW)
    assert isinstance(started, ev.BulkStarted)
    assert started.begin_at == (None if ahead < 0 else newest + timedelta(microseconds=1))


class Owner:
    """Takes turns, and keeps the events that they leave."""

    def __init__(self) -> None:
        self.shard = Shard(max_attempts=1)
        self.log: list[tuple[str, Any]] = []

    def give(self, *given: tuple[str, Command]) -> list[str]:
        """Decide commands; what became of each event, in words."""
        turn = Turn(self.shard, CODEC, 7, len(self.log), NOW)
        for offset, (key, command) in enumerate(given, 100):
            turn.command(offset, key, command)
        return self._commit(turn)

    def input(self, key: str, given: Input) -> list[str]:
        turn = Turn(self.shard, CODEC, 7, len(self.log), NOW)
        turn.input(key, given)
        return self._commit(turn)

    def _commit(self, turn: Turn) -> list[str]:
        self.shard.settle()
        events = [CODEC.decode_event(StoredRecord(0, r.key, r.value, r.headers)) for r in turn.records]
        self.log += [(event.aggregate_id, event.event) for event in events]
        return [_shown(event.event) for event in events]

    def run(self, *ids: str, stage: dict[str, Any] = WAIT) -> None:
        command = RunWorkflow(workflow_id=id_of(9), stages=definition([stage]), variables={})
        self.give(*((id, command) for id in ids))

    def restored(self) -> Shard:
        """What the next owner begins with, from the log."""
        shard = Shard(max_attempts=1)
        for offset, (key, event) in enumerate(self.log):
            shard.replay(key, (event,), offset)
        return shard

    def loaded(self) -> Shard:
        """What the next owner begins with, from a snapshot."""
        self.shard.rebase()
        cut = self.shard.cut()
        loader = Loader(shard := Shard(max_attempts=1))
        for key, value in cut.entries():
            loader.put(key, value)
        cut.close(written=False)
        for _ in loader.finish(cut.summary):
            pass
        return shard


def _shown(event: Any) -> str:
    return event.code if isinstance(event, ev.CommandRejected) else type(event).__name__


def start(**more: Any) -> StartBulk:
    return StartBulk(action="abort", filter=Raw(b'{"all":true}'), **more)


def advance(page: int, *instances: str) -> AdvanceBulk:
    return AdvanceBulk(page=page, instances=list(instances), created_at=NOW)


def abort(page: int, bulk_id: str = BULK) -> AbortInstance:
    return AbortInstance(bulk_id=bulk_id, bulk_page=page)


def pass_over(page: int) -> PassOverInstance:
    return PassOverInstance(bulk_id=BULK, bulk_page=page, code="OTHER_PAUSE", message="not paused")


# The operation


def test_an_operation_goes_on_page_by_page_and_ends() -> None:
    owner = Owner()
    assert owner.give((BULK, start(by="ann", reason="wrong batch", expected=3))) == ["BulkStarted"]
    assert owner.give((BULK, advance(0, A, B))) == ["BulkAdvanced"]
    assert owner.give((BULK, advance(1, C))) == ["BulkAdvanced"]
    assert [event.sent for _, event in owner.log if isinstance(event, ev.BulkAdvanced)] == [2, 3]
    assert owner.give((BULK, EndBulk(pages=2, lost=1))) == ["BulkEnded"]
    assert owner.log[0][1].by == "ann"
    assert owner.give((BULK, advance(2, A)), (BULK, StopBulk()), (BULK, EndBulk(pages=2))) == ["CommandSkipped"] * 3


def test_the_first_page_of_a_number_counts() -> None:
    owner = Owner()
    owner.give((BULK, start()), (BULK, advance(0, A)))
    assert owner.give((BULK, advance(0, B)), (BULK, advance(0, A)), (BULK, advance(2, C))) == ["CommandSkipped"] * 3
    assert owner.give((BULK, EndBulk(pages=0))) == ["CommandSkipped"], "it has a page that its sender does not know"


def test_a_stopped_operation_has_no_further_page_and_ends() -> None:
    owner = Owner()
    owner.give((BULK, start()), (BULK, advance(0, A)))
    assert owner.give((BULK, StopBulk(by="bob"))) == ["BulkStopped"]
    assert owner.give((BULK, StopBulk()), (BULK, advance(1, B))) == ["CommandSkipped"] * 2
    assert owner.give((BULK, EndBulk(pages=1))) == ["BulkEnded"]


def test_a_start_that_comes_again_starts_nothing_also_after_the_end() -> None:
    owner = Owner()
    owner.give((BULK, start(request_digest="a")))
    assert owner.give((BULK, start(request_digest="a"))) == ["CommandSkipped"]
    assert owner.give((BULK, start(request_digest="b"))) == [rejections.CONFLICT]
    owner.give((BULK, EndBulk(pages=0)))
    assert owner.give((BULK, start(request_digest="a"))) == ["CommandSkipped"]
    assert owner.give((BULK, start(request_digest="b"))) == [rejections.CONFLICT]


def test_only_so_many_run_at_once() -> None:
    owner = Owner()
    for number in range(MAX_RUNNING):
        assert owner.give((id_of(number + 2000), start())) == ["BulkStarted"]
    assert owner.give((BULK, start())) == [rejections.TOO_MANY]
    owner.give((id_of(2000), EndBulk(pages=0)))
    assert owner.give((BULK, start())) == ["BulkStarted"]


@pytest.mark.parametrize(
    "events",
    [
        [ev.BulkAdvanced(at=NOW, page=0, instances=[A], created_at=NOW, sent=1)],
        [ev.BulkStarted(at=NOW, action="abort", filter=Raw(b"{}")), ev.BulkStarted(at=NOW, action="", filter=Raw())],
        [
            ev.BulkStarted(at=NOW, action="abort", filter=Raw(b"{}")),
            ev.BulkAdvanced(at=NOW, page=1, instances=[A], created_at=NOW, sent=1),
        ],
    ],
    ids=["not started", "started twice", "a page is missing"],
)
def test_events_that_do_not_follow_are_refused(events: Sequence[ev.BulkEvent]) -> None:
    *before, wrong = events
    state = None
    for event in before:
        state = evolve(state, event, BULK)
    with pytest.raises(IllegalTransition):
        evolve(state, wrong, BULK)


# What it sends


def test_a_command_of_a_page_acts_once() -> None:
    owner = Owner()
    owner.run(A, B)
    owner.give((A, abort(0)))
    assert owner.log[-1][1].bulk_id == BULK
    assert owner.give((A, abort(0))) == ["CommandSkipped"]
    assert owner.give((B, abort(0)))[-1] == "InstanceEnded"


def test_a_rejected_command_is_not_decided_again() -> None:
    """The instance may be running again when it comes a second time: a person has retried it since."""
    owner = Owner()
    assert owner.give((A, abort(0))) == [rejections.ENDED]
    assert (owner.log[-1][1].bulk_id, owner.log[-1][1].bulk_page) == (BULK, 0)
    owner.run(A)
    assert owner.give((A, abort(0))) == ["CommandSkipped"]
    assert owner.log[-1][1] == ev.CommandSkipped(at=NOW)


def test_commands_of_earlier_pages_do_nothing_any_more() -> None:
    owner = Owner()
    owner.run(A, B, C)
    assert owner.give((A, abort(4)))[-1] == "InstanceEnded"
    assert owner.give((B, abort(3))) == ["CommandSkipped"], "all of page 3 was decided before page 4 began"
    assert owner.give((B, abort(4, OTHER)))[-1] == "InstanceEnded", "another operation has pages of its own"
    assert owner.give((C, abort(5)))[-1] == "InstanceEnded"


def test_what_has_no_command_is_passed_over_once_and_whichever_comes_first_counts() -> None:
    owner = Owner()
    owner.run(A, B)
    assert owner.give((A, pass_over(0)), (A, abort(0))) == ["OTHER_PAUSE", "CommandSkipped"]
    assert owner.give((B, abort(0)), (B, pass_over(0)))[-2:] == ["InstanceEnded", "CommandSkipped"]


def test_a_resume_that_comes_too_late_is_rejected_once_so_that_it_is_counted() -> None:
    owner = Owner()
    owner.run(A, stage=UPDATE)
    assert owner.input(A, ActivityDone(CALL, failure=Failure("503", 503))) == ["ActivityPaused"]
    instance = owner.shard.instance(A)
    assert instance is not None
    paused_at = instance.activities[0].paused_at
    assert paused_at is not None

    def resume(bulk_id: str) -> ResumeActivity:
        return ResumeActivity(stage=0, index=0, paused_at=paused_at, bulk_id=bulk_id)

    assert owner.give((A, resume(BULK))) == ["ActivityResumed"]
    assert owner.give((A, resume(OTHER))) == [rejections.NOTHING_TO_DO]
    assert owner.give((A, resume(BULK)), (A, resume(OTHER))) == ["CommandSkipped"] * 2


def test_an_instance_that_was_set_aside_is_counted_once_too() -> None:
    owner = Owner()
    owner.shard.set_aside(A, "damaged")
    assert owner.give((A, abort(0)), (A, abort(0))) == [rejections.SET_ASIDE, "CommandSkipped"]


def test_the_next_owner_knows_the_same() -> None:
    owner = Owner()
    owner.give((BULK, start(request_digest="a")), (BULK, advance(0, A, B)), (OTHER, start()))
    owner.give((OTHER, StopBulk()), (OTHER, EndBulk(pages=0)))
    owner.run(A, B)
    owner.give((A, abort(0)), (C, abort(0)), (B, abort(2, OTHER)))
    for shard in (owner.restored(), owner.loaded()):
        assert shard.contents() == owner.shard.contents()
        for key, command in ((A, abort(0)), (C, abort(0)), (B, abort(1, OTHER)), (BULK, advance(0, C))):
            assert shard.decide(key, command, NOW + timedelta(days=1)).events == (), key


def test_the_pages_of_only_so_many_operations_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_PAGES >= 1000
    monkeypatch.setattr(bulk, "MAX_PAGES", 2)
    owner = Owner()
    for number in (5000, 5001, 5002):
        owner.give((A, abort(0, id_of(number))))
    assert owner.give((A, abort(0, id_of(5001)))) == ["CommandSkipped"]
    assert owner.give((A, abort(0, id_of(5000)))) == [rejections.ENDED], "it was forgotten"
