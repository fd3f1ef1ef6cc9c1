"""The attempt limit of activities: they are paused, resumed by a person, and tried again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core import decisions
from engine.core.decisions import ActivityDone, Input
from engine.core.duplicates import DEFAULT_BOUNDS
from engine.core.effects import CallActivity, effect
from engine.core.errors import IllegalTransition, Rejected
from engine.core.instance import Attempt, Instance, evolve
from engine.core.retries import Failure
from engine.core.shard import Shard
from engine.core.snapshots import Loader
from schemas import events as ev
from schemas import rejections
from schemas.commands import AbortInstance, ResumeActivity, RunWorkflow, SendEvent
from tests.definitions import definition

T = datetime(2026, 3, 1, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)
UPDATE: dict[str, Any] = {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}
WAIT: dict[str, Any] = {"wait_event": {"event": "approved"}}
POOR = Failure("account @poor has insufficient funds", 400, "INSUFFICIENT_FUND")
FINAL = Failure("no", 400, "VALIDATION")


class Live:
    """An instance, which lives second by second."""

    def __init__(self, *stages: dict[str, Any], limit: int | None = 2, default: int | None = None):
        self.now, self.default = T, default
        self.state: Instance | None = None
        run = RunWorkflow(workflow_id="w", stages=definition(stages or (UPDATE,)), variables={}, max_attempts=limit)
        self.give(run)

    def give(self, given: Input) -> list[ev.InstanceEvent]:
        self.now += SECOND
        events = decisions.decide(self.state, given, self.now, "i", max_attempts=self.default)
        for event in events:
            self.state = evolve(self.state, event, "i")
        return list(events)

    @property
    def call(self) -> CallActivity:
        pending = effect(self.state)
        assert isinstance(pending, CallActivity)
        return pending

    def fail(self, times: int = 1) -> ev.ActivityFailed | ev.ActivityPaused:
        for _ in range(times):
            (last,) = self.give(ActivityDone(self.call.token, failure=POOR))
        assert isinstance(last, ev.ActivityFailed | ev.ActivityPaused)
        return last

    def resume(self, paused_at: datetime, **more: Any) -> list[ev.InstanceEvent]:
        return self.give(ResumeActivity(stage=0, index=0, paused_at=paused_at, **more))

    def refused(self, given: ResumeActivity) -> str:
        with pytest.raises(Rejected) as rejected:
            self.give(given)
        return rejected.value.code


def paused(times: int = 2) -> tuple[Live, datetime]:
    live = Live(limit=times)
    event = live.fail(times)
    assert isinstance(event, ev.ActivityPaused)
    return live, event.at


def test_the_last_attempt_of_the_budget_pauses_the_activity() -> None:
    live = Live(limit=3)
    assert [type(live.fail()) for _ in range(2)] == [ev.ActivityFailed, ev.ActivityFailed]
    event = live.fail()
    assert event == ev.ActivityPaused(
        at=live.now,
        stage=0,
        index=0,
        attempt=3,
        max_attempts=3,
        name="AddAccountMetadata",
        error=POOR.error,
        code="INSUFFICIENT_FUND",
    )
    assert effect(live.state) is None, "no timer, no call"
    assert live.state is not None
    assert live.state.running
    assert live.state.paused


@pytest.mark.parametrize(
    ("own", "default", "attempts"), [(None, None, None), (None, 2, 2), (1, 2, 1), (3, 2, 3), (1, None, 1)]
)
def test_the_workflow_says_the_limit_and_else_the_engine(
    own: int | None, default: int | None, attempts: int | None
) -> None:
    live = Live(limit=own, default=default)
    if attempts is None:
        assert isinstance(live.fail(50), ev.ActivityFailed)
        return
    if attempts > 1:
        assert isinstance(live.fail(attempts - 1), ev.ActivityFailed)
    event = live.fail()
    assert isinstance(event, ev.ActivityPaused)
    assert event.max_attempts == attempts


def test_a_final_failure_of_the_last_attempt_ends_the_instance() -> None:
    live = Live(limit=1)
    events = live.give(ActivityDone(live.call.token, failure=FINAL))
    assert [type(event) for event in events] == [ev.ActivityEnded, ev.StageEnded, ev.InstanceEnded]


def test_a_resume_gives_a_new_budget_with_the_same_idempotency_key() -> None:
    live = Live(limit=2)
    key, before = live.call.idempotency_key, live.call.token
    at = live.fail(2).at
    assert live.resume(at, by="anna") == [ev.ActivityResumed(at=live.now, stage=0, index=0, by="anna")]
    again = live.call
    assert (again.token.attempt, again.idempotency_key, again.not_before) == (1, key, None), "at once"
    assert again.token != before
    assert isinstance(live.fail(), ev.ActivityFailed), "the budget is a new one"
    assert isinstance(live.fail(), ev.ActivityPaused)


def test_each_activity_has_a_budget_of_its_own() -> None:
    live = Live(UPDATE, UPDATE, limit=2)
    live.fail()
    live.give(ActivityDone(live.call.token))
    assert isinstance(live.fail(), ev.ActivityFailed)


def test_a_resume_that_comes_again_changes_nothing() -> None:
    live, at = paused()
    live.resume(at)
    assert live.resume(at) == [], "it is running again"
    live.fail()
    assert live.resume(at) == [], "and is tried again"
    later = live.fail().at
    assert live.refused(ResumeActivity(stage=0, index=0, paused_at=at)) == rejections.OTHER_PAUSE
    assert live.resume(later) != []
    assert live.refused(ResumeActivity(stage=0, index=0, paused_at=at)) == rejections.OTHER_PAUSE


def test_two_pauses_never_have_the_same_time() -> None:
    """If they had, the repetition of a resume could end the second one."""
    live, at = paused(1)
    live.resume(at)
    live.now = at - 5 * SECOND  # the clock was set back, and the log's time stands still
    event = live.fail()
    assert isinstance(event, ev.ActivityPaused)
    assert event.at > at
    assert live.refused(ResumeActivity(stage=0, index=0, paused_at=at)) == rejections.OTHER_PAUSE


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"paused_at": T}, rejections.OTHER_PAUSE),
        ({"index": 1}, rejections.NO_ACTIVITY),
        ({"stage": 1}, rejections.NO_ACTIVITY),
        ({"stage": 7}, rejections.NO_ACTIVITY),
    ],
)
def test_what_can_not_be_resumed(given: dict[str, Any], code: str) -> None:
    live, at = paused()
    assert live.refused(replace(ResumeActivity(stage=0, index=0, paused_at=at), **given)) == code
    assert live.state is not None
    assert live.state.paused


def test_nothing_is_resumed_that_was_not_paused() -> None:
    live = Live(limit=2)
    assert live.refused(ResumeActivity(stage=0, index=0, paused_at=live.now)) == rejections.OTHER_PAUSE


def test_a_stage_that_has_ended_is_not_resumed() -> None:
    live = Live(UPDATE, WAIT, limit=1)
    at = live.fail().at
    live.resume(at)
    live.give(ActivityDone(live.call.token))
    assert live.refused(ResumeActivity(stage=0, index=0, paused_at=at)) == rejections.ENDED


def test_a_resume_with_an_idempotency_key_is_known_again() -> None:
    live, at = paused()
    keyed = ResumeActivity(stage=0, index=0, paused_at=at, request_key="k", request_digest="d")
    assert len(live.give(keyed)) == 1
    live.fail(2)
    assert live.give(keyed) == [], "also in the next pause"
    assert live.refused(replace(keyed, request_digest="other")) == rejections.CONFLICT


def test_an_abort_ends_a_paused_instance_and_no_result_is_waited_for() -> None:
    live, _ = paused()
    events = live.give(AbortInstance())
    assert [type(event) for event in events] == [ev.ActivityEnded, ev.StageEnded, ev.InstanceEnded]
    assert all(getattr(event, "error", None) == ev.CANCELED for event in events)
    assert live.state is not None
    assert live.state.canceled is None, "no call was on its way"


def test_the_late_result_of_an_attempt_before_changes_nothing() -> None:
    live = Live(limit=1)
    old = live.call.token
    live.resume(live.fail().at)
    (late,) = live.give(ActivityDone(old, output={"data": 1}))
    assert late == ev.LateResultRecorded(at=live.now, stage=0, index=0, attempt=1, output={"data": 1})
    assert live.call.token != old, "it is still tried"
    current = live.call.token
    live.give(AbortInstance())
    assert live.state is not None
    assert live.state.canceled == Attempt(0, 0, 1, 1) == decisions.attempt_of(current) != decisions.attempt_of(old)


def test_a_paused_activity_takes_no_result() -> None:
    live = Live(limit=1)
    token = live.call.token
    live.fail()
    (late,) = live.give(ActivityDone(token, output={"data": 1}))
    assert isinstance(late, ev.LateResultRecorded)


def test_events_that_do_not_follow() -> None:
    live, at = paused(1)
    resumed = ev.ActivityResumed(at=T, stage=0, index=0)
    again = ev.ActivityPaused(at=at, stage=0, index=0, attempt=1, max_attempts=1, name="x", error="e")
    failed = ev.ActivityFailed(at=T, stage=0, index=0, attempt=1, error="e", retry_at=T)
    for event in (again, failed):
        with pytest.raises(IllegalTransition):
            evolve(live.state, event, "i")
    running = evolve(live.state, resumed, "i")
    with pytest.raises(IllegalTransition):
        evolve(running, resumed, "i")
    with pytest.raises(IllegalTransition):
        evolve(running, again, "i")


def test_a_partition_counts_what_is_paused_also_after_a_restore() -> None:
    shard = Shard(DEFAULT_BOUNDS, 1)
    run = RunWorkflow(workflow_id="w", stages=definition([UPDATE]), variables={})
    log: list[tuple[str, ev.Event]] = []

    def give(key: str, given: Input) -> None:
        events = shard.decide(key, given, T).events
        shard.replay(key, events, len(log))
        log.extend((key, event) for event in events)
        shard.settle()

    for key in ("a", "b", "c"):
        give(key, run)
        call = shard.effect(key)
        assert call is not None
        give(key, ActivityDone(call.token, failure=POOR))
    assert shard.paused == 3
    assert not list(shard._instances.restless_ids()), "a restore has nothing to start"
    give("a", AbortInstance())
    give("b", ResumeActivity(stage=0, index=0, paused_at=T))
    give("c", SendEvent(name="else"))
    assert shard.paused == 1
    replayed = Shard()
    for offset, (key, event) in enumerate(log):
        replayed.replay(key, [event], offset)
    replayed.settle()
    cut, other = shard.cut(), Shard()
    loader = Loader(other)
    for entry in cut.entries():
        loader.put(*entry)
    for _ in loader.finish(cut.summary):
        pass
    for one in (replayed, other):
        assert one.paused == 1
        assert one.contents() == shard.contents()
        assert [one.effect(key) for key in "abc"] == [shard.effect(key) for key in "abc"]
