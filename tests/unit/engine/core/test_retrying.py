"""An instance that has failed or was aborted runs once more: what is done again, with which keys; what is refused."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.decisions import ActivityDone, Due
from engine.core.duplicates import DEFAULT_BOUNDS, Bounds
from engine.core.effects import CallActivity, Token, Wake
from engine.core.errors import IllegalTransition, Rejected
from engine.core.instance import Instance, evolve
from engine.core.retries import Failure
from engine.core.shard import Input
from schemas import events as ev
from schemas import rejections
from schemas.commands import AbortInstance, ResumeActivity, SendEvent
from schemas.ended_activities import EndedActivity
from tests.retryable import retry_of
from tests.unit.engine.core.histories import DELAY, NOW, SECOND, UPDATE, WAIT, restored, run
from tests.unit.engine.core.histories import Live as LiveShard

REFUSED = Failure("no such ledger", 400, "VALIDATION")
TAKEN = Failure("taken", 400, "CONFLICT")
OTHER_BODY = Failure("invalid idempotency hash when using idempotency key 'i:0:0'", 400, "VALIDATION")
AWAY = Failure("HTTP 503", 503)
FROM_WALLET: dict[str, Any] = {
    "send": {
        "source": {"wallet": {"name": "alice"}},
        "destination": {"account": {"id": "users:1", "ledger": "default"}},
        "amount": {"amount": 100, "asset": "EUR/2"},
    }
}
"""GetWallet, a debit on another ledger, a transaction."""
WALLET = {"cursor": {"data": [{"id": "w-1", "ledger": "wallets-002", "metadata": {}}]}}


class Live(LiveShard):
    """One instance on a shard, second by second."""

    def __init__(self, *stages: dict[str, Any], bounds: Bounds = DEFAULT_BOUNDS, **more: Any):
        super().__init__(bounds)
        self.now = NOW
        self.put(run(*stages, **more))

    def put(self, given: Input) -> list[Any]:
        self.now += SECOND
        before = len(self.log)
        self.give("i", given, self.now)
        return [event for _, event in self.log[before:]]

    @property
    def last(self) -> Any:
        return self.log[-1][1]

    @property
    def state(self) -> Instance:
        state = self.shard.instance("i")
        assert state is not None
        return state

    @property
    def call(self) -> CallActivity:
        effect = self.shard.effect("i")
        assert isinstance(effect, CallActivity)
        return effect

    def done(self, output: Any = None) -> list[Any]:
        return self.put(ActivityDone(self.call.token, output=output))

    def fail(self, failure: Failure = REFUSED) -> list[Any]:
        return self.put(ActivityDone(self.call.token, failure=failure))

    def retry(self, **more: Any) -> list[Any]:
        return self.put(retry_of(self.log, "i", **more))

    def refused(self, given: Input) -> str:
        with pytest.raises(Rejected) as rejected:
            self.put(given)
        return rejected.value.code


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


# What is done again


def test_an_instance_goes_on_from_the_stage_that_failed() -> None:
    live = Live({"noop": {}}, UPDATE, WAIT)
    assert names(live.fail()) == ["ActivityEnded", "StageEnded", "InstanceEnded"]
    events = live.retry(by="anna", reason="the ledger exists now")
    assert names(events) == ["InstanceRetried", "StageStarted", "ActivityStarted"]
    retried, stage, _ = events
    assert (retried.stage, retried.retries, retried.version, retried.by) == (1, 1, len(live.log) - 2, "anna")
    assert (retried.reason, stage.number) == ("the ledger exists now", 1)
    assert names(live.done()) == ["ActivityEnded", "StageEnded", "StageStarted"]
    assert live.state.version == len(live.log), "versions have no gap"


def test_what_was_done_is_not_done_again() -> None:
    live = Live(FROM_WALLET)
    live.done(WALLET)
    debit = live.call
    live.done()
    assert (live.call.name, debit.name) == ("CreateTransaction", "DebitWallet")
    first = live.call
    live.fail()
    events = live.retry()
    assert names(events) == ["InstanceRetried", "StageStarted", "ActivityStarted"]
    assert [activity.name for activity in events[0].kept] == ["ListWallets", "DebitWallet"]
    assert (events[2].index, events[2].name, events[2].input) == (2, "CreateTransaction", first.input)
    assert live.call.token != first.token
    assert names(live.done()) == ["ActivityEnded", "StageEnded", "InstanceEnded"]
    assert live.last.error is None


def test_money_is_not_debited_again_in_a_third_pass() -> None:
    live = Live(FROM_WALLET)
    live.done(WALLET)
    live.done()
    for _ in range(2):
        live.fail()
        live.retry()
    assert live.call.name == "CreateTransaction"
    assert [activity.name for activity in live.state.activities] == ["ListWallets", "DebitWallet", "CreateTransaction"]


@pytest.mark.parametrize(
    ("failures", "keys"),
    [
        ([REFUSED], ["i:0:0", "i:0:0:1"]),
        ([REFUSED, REFUSED], ["i:0:0", "i:0:0:1", "i:0:0:2"]),
        ([TAKEN], ["i:0:0", "i:0:0"]),
        ([OTHER_BODY], ["i:0:0", "i:0:0"]),
        ([REFUSED, OTHER_BODY, REFUSED], ["i:0:0", "i:0:0:1", "i:0:0:1", "i:0:0:1"]),
        ([None], ["i:0:0", "i:0:0"]),
        ([None, REFUSED], ["i:0:0"] * 3),
        ([REFUSED, None], ["i:0:0", "i:0:0:1", "i:0:0:1"]),
        ([REFUSED, TAKEN, REFUSED], ["i:0:0", "i:0:0:1", "i:0:0:1", "i:0:0:1"]),
    ],
    ids=[
        "refused",
        "refused twice",
        "conflict",
        "key used with another body",
        "refused, then key used with another body",
        "aborted",
        "aborted, then refused",
        "refused, then aborted",
        "all",
    ],
)
def test_a_call_has_a_new_key_only_if_nothing_can_have_come_of_the_old_one(
    failures: list[Failure | None], keys: list[str]
) -> None:
    live = Live(UPDATE)
    seen = [live.call.idempotency_key]
    for failure in failures:
        if failure is None:
            live.put(AbortInstance())
        else:
            live.fail(failure)
        live.retry()
        seen.append(live.call.idempotency_key)
    assert seen == keys


def test_a_refusal_after_another_attempt_keeps_the_key() -> None:
    live = Live(UPDATE)
    live.fail(AWAY)
    live.fail()
    live.retry()
    assert live.call.idempotency_key == "i:0:0", "the first attempt may have been carried out late"
    assert (live.call.token.attempt, live.call.not_before) == (1, None)


def test_a_pause_that_was_aborted_keeps_the_key() -> None:
    live = Live(UPDATE, max_attempts=1)
    live.fail(AWAY)
    live.put(AbortInstance())
    live.retry()
    assert live.call.idempotency_key == "i:0:0"
    live.fail()
    live.retry()
    assert live.call.idempotency_key == "i:0:0"


def test_activities_behind_the_one_that_failed_have_keys_of_their_own() -> None:
    live = Live(FROM_WALLET)
    live.done(WALLET)
    live.fail()
    live.retry()
    assert live.call.idempotency_key == "i:0:1:1"
    live.done()
    assert live.call.idempotency_key == "i:0:2"


def test_an_answer_that_could_not_be_used_is_asked_for_again() -> None:
    live = Live(FROM_WALLET)
    events = live.done({"cursor": {"data": []}})
    assert events[-1].error == "wallet not found"
    live.retry()
    assert (live.call.name, live.call.token.index) == ("ListWallets", 0)
    live.done(WALLET)
    assert live.call.name == "DebitWallet"


def test_a_call_that_has_returned_is_not_repeated_when_the_engine_gave_up_behind_it() -> None:
    live = Live(FROM_WALLET)
    live.done(WALLET)
    decision = live.shard.fail("i", ActivityDone(live.call.token, output={"n": 1}), NOW, "too large")
    for event in decision.events:
        live.shard.replay("i", [event], len(live.log))
        live.log.append(("i", event))
    assert names(list(decision.events)) == ["ActivityEnded", "StageEnded", "InstanceEnded"]
    events = live.retry()
    assert [activity.name for activity in events[0].kept] == ["ListWallets", "DebitWallet"]
    assert live.call.name == "CreateTransaction"


def test_a_payment_that_had_been_ingested_before_is_kept_as_such() -> None:
    payment = {"send": {"source": {"payment": {"id": "p"}}, "destination": {"account": {"id": "a", "ledger": "l"}}}}
    live = Live(payment)
    live.done({"data": {"initialAmount": 100, "asset": "EUR/2"}})
    live.fail(TAKEN)
    assert live.call.token.index == 2
    live.fail()
    events = live.retry()
    assert [activity.code for activity in events[0].kept] == [None, "CONFLICT"]
    assert live.call.idempotency_key == "i:0:2:1"


def test_what_never_started_starts_and_what_can_not_be_resolved_ends_again() -> None:
    live = Live({"delay": {"duration": "${none}"}})
    assert names(live.retry()) == ["InstanceRetried", "StageStarted", "StageEnded", "InstanceEnded"]
    assert names(live.retry()) == ["InstanceRetried", "StageStarted", "StageEnded", "InstanceEnded"]
    assert live.last.error


def test_an_abort_between_two_stages_loses_none() -> None:
    live = Live(*[{"noop": {}}] * 100, WAIT)
    live.put(AbortInstance())
    events = live.retry()
    assert (events[0].stage, events[1].number, events[1].name) == (100, 100, "RunWaitEvent")


# Delays and events


def test_a_delay_begins_again_and_the_timer_of_the_pass_before_does_not_end_it() -> None:
    live = Live(DELAY)
    old = live.shard.effect("i")
    live.put(AbortInstance())
    live.retry()
    new = live.shard.effect("i")
    assert isinstance(old, Wake)
    assert isinstance(new, Wake)
    assert new.at == live.now + timedelta(seconds=60)
    assert live.put(Due(old.token)) == []
    assert names(live.put(Due(new.token))) == ["StageEnded", "InstanceEnded"]


def test_events_that_came_early_count_in_the_next_pass() -> None:
    live = Live(UPDATE, WAIT, WAIT)
    live.put(SendEvent(name="go"))
    assert live.fail()[-1].arrived == [1]
    live.retry()
    assert names(live.done()) == ["ActivityEnded", "StageEnded", "StageStarted", "StageEnded", "StageStarted"]
    assert live.state.stage == 2


def test_an_aborted_stage_waits_for_its_event_again() -> None:
    live = Live(WAIT, WAIT)
    live.put(SendEvent(name="go"))
    live.put(AbortInstance())
    assert live.retry()[0].stage == 1
    assert names(live.put(SendEvent(name="go"))) == ["EventReceived", "StageEnded", "InstanceEnded"]


def test_a_request_of_an_earlier_pass_is_known() -> None:
    live = Live(WAIT, WAIT)
    live.put(AbortInstance(request_key="a", request_digest="d"))
    live.retry(requests=[("k", "e"), ("a", "d")], request_key="r", request_digest="f")
    assert live.put(SendEvent(name="go", request_key="k", request_digest="e")) == []
    assert live.put(AbortInstance(request_key="a", request_digest="d")) == [], "it has ended the pass before"
    assert live.put(retry_of(live.log, "i", request_key="r", request_digest="f")) == []
    assert live.refused(retry_of(live.log, "i", request_key="r", request_digest="x")) == rejections.CONFLICT


def test_too_many_requests_to_be_told_are_known_by_the_read_model_alone() -> None:
    live = Live(WAIT, WAIT)
    live.put(AbortInstance())
    live.retry(earlier_requests=150, request_key="r", request_digest="f")
    assert live.put(retry_of(live.log, "i", request_key="r", request_digest="f", seen_requests=0)) == []
    event = SendEvent(name="x", request_key="k", request_digest="e", seen_requests=149)
    assert live.refused(event) == rejections.RETRY
    assert names(live.put(replace(event, seen_requests=150))) == ["EventReceived"]


def test_a_request_that_a_retry_has_brought_along_is_not_carried_out_again_when_it_is_forgotten() -> None:
    """They are in the order of their keys: the first one that is forgotten may have come last."""
    live = Live(WAIT, WAIT)
    live.put(AbortInstance())
    live.retry(requests=[(f"k{number:02}", "e") for number in range(100)])
    late = SendEvent(name="x", request_key="k00", request_digest="e", seen_requests=99)
    assert live.put(late) == []
    live.put(SendEvent(name="x", request_key="new", request_digest="e", seen_requests=100))
    assert live.refused(late) == rejections.RETRY, "when the API looked for it, 99 others had come"
    assert live.put(SendEvent(name="x", request_key="new", request_digest="e", seen_requests=100)) == []
    after = SendEvent(name="x", request_key="after", request_digest="e", seen_requests=100)
    assert names(live.put(after)) == ["EventReceived"]


def test_an_abort_that_came_after_the_end_does_not_end_the_next_pass() -> None:
    """Its sender was answered that the instance has ended. A repetition gets the same answer."""
    late = AbortInstance(request_key="a", request_digest="d", seen_requests=0)
    live = Live(UPDATE)
    live.fail()
    looked = retry_of(live.log, "i")
    assert live.refused(late) == rejections.ENDED
    assert live.refused(late) == rejections.ENDED
    retried, *_ = live.put(looked)
    assert retried.requests == [("a", "d")], "it came behind what the retry has seen"
    assert live.put(late) == []
    live.fail()
    live.retry()
    assert live.put(late) == []
    assert [one.put(late) for one in (live, restored_live(live))] == [[], []]
    assert live.refused(replace(late, request_digest="e")) == rejections.CONFLICT
    assert names(live.put(replace(late, request_key="b", seen_requests=1)))[-1] == "InstanceEnded"


def restored_live(live: Live) -> Live:
    """The same on a shard that has read the log."""
    other = Live(UPDATE)
    other.shard, other.log, other.now = live.restored(), list(live.log), live.now
    return other


def test_a_retry_is_refused_when_nobody_can_tell_which_aborts_came_too_late() -> None:
    live = Live(UPDATE, bounds=Bounds(max_late_aborts=1))
    live.fail()
    looked = retry_of(live.log, "i")
    assert live.refused(AbortInstance(request_key="a", request_digest="d")) == rejections.ENDED
    live.give("other", run(UPDATE))
    live.give("other", AbortInstance())
    with pytest.raises(Rejected):
        live.give("other", AbortInstance(request_key="a", request_digest="d"))
    assert live.refused(looked) == rejections.RETRY
    live.retry()
    assert live.put(AbortInstance(request_key="a", request_digest="d")) == []


def test_pauses_of_two_passes_never_have_one_time() -> None:
    live = Live(UPDATE, max_attempts=1)
    (first,) = live.fail(AWAY)
    live.now -= SECOND
    live.put(AbortInstance())
    live.now -= SECOND
    events = live.retry()
    assert events[0].at > first.at
    live.now -= SECOND
    (second,) = live.fail(AWAY)
    assert second.at > first.at
    assert live.refused(ResumeActivity(stage=0, index=0, paused_at=first.at)) == rejections.OTHER_PAUSE


# What is refused


def test_an_instance_that_runs_is_not_retried() -> None:
    live = Live(UPDATE)
    assert live.refused(retry_of(live.log, "i")) == rejections.NOT_RETRYABLE


@pytest.mark.parametrize("settled", [False, True])
def test_of_two_retries_that_saw_the_same_end_one_counts(settled: bool) -> None:
    live = Live(UPDATE)
    live.fail()
    first, second = (retry_of(live.log, "i") for _ in range(2))
    live.put(first)
    live.fail()
    if settled:
        live.shard.settle()
    assert live.refused(second) == rejections.NOT_RETRYABLE, "it would do again what the first has done"
    live.put(retry_of(live.log, "i"))
    assert live.state.retries == 2


def test_a_retry_that_comes_again_does_nothing_though_it_was_built_on_the_next_end() -> None:
    """Its first request was carried out after the API had looked for it, and before it looked at the end."""
    live = Live(UPDATE)
    live.fail()
    live.retry(request_key="r", request_digest="f", seen_requests=0)
    live.fail()
    again = retry_of(live.log, "i", request_key="r", request_digest="f", seen_requests=0)
    assert live.put(again) == []
    assert live.refused(replace(again, request_digest="x")) == rejections.CONFLICT
    unknown = replace(again, requests=[], earlier_requests=101)
    assert live.refused(unknown) == rejections.RETRY, "it may be one of those that are not told"
    assert names(live.put(replace(unknown, seen_requests=101)))[0] == "InstanceRetried"


def test_a_retry_from_long_ago_is_refused_when_the_engine_can_not_tell() -> None:
    live = Live(UPDATE, bounds=Bounds(max_retried=1))
    live.fail()
    old = retry_of(live.log, "i")
    live.put(old)
    live.fail()
    for key in "ab":
        live.give(key, run({"delay": {"duration": "${none}"}}))
        live.give(key, retry_of(live.log, key))
    assert live.refused(old) == rejections.RETRY
    assert names(live.retry())[0] == "InstanceRetried", "one that has seen it all is fine"


@pytest.mark.parametrize(
    "change",
    [
        {"activities": [EndedActivity(name="DebitWallet", input={})]},
        {"activities": [EndedActivity(name="ListWallets", input={}, error="x")] * 2},
        {"activities": [EndedActivity(name="ListWallets", input={}, output=WALLET)] * 2},
        {"stage": 1},
    ],
    ids=["another one", "behind a failure", "twice", "no such stage"],
)
def test_activities_that_are_not_those_of_the_stage_are_refused(change: dict[str, Any]) -> None:
    live = Live(FROM_WALLET)
    live.done(WALLET)
    live.fail()
    assert live.refused(replace(retry_of(live.log, "i"), **change)) == rejections.NOT_RETRYABLE


def test_a_stage_without_activities_has_none() -> None:
    live = Live(DELAY)
    live.put(AbortInstance())
    command = replace(retry_of(live.log, "i"), activities=[EndedActivity(name="ListWallets", input={})])
    assert live.refused(command) == rejections.NOT_RETRYABLE


def test_a_retry_does_not_follow_while_the_instance_runs() -> None:
    live = Live(UPDATE)
    state = live.state
    live.fail()
    retried = live.retry()[0]
    for event in (retried, replace(retried, version=9)):
        with pytest.raises(IllegalTransition):
            evolve(state, event, "i")
    with pytest.raises(IllegalTransition, match="no stage 2"):
        evolve(None, replace(retried, stage=2), "i")


def test_the_key_of_the_run_is_known_in_each_pass() -> None:
    keyed = run(UPDATE, request_digest="d", seen_offset=0)
    live = Live(UPDATE, request_digest="d")
    for _ in range(2):
        live.fail()
        assert live.put(keyed) == []
        live.retry()
        assert live.put(keyed) == []
    assert live.refused(replace(keyed, request_digest="x")) == rejections.CONFLICT


# Late results


def test_the_late_result_of_the_pass_before_is_recorded_and_ends_nothing() -> None:
    live = Live(UPDATE)
    old = live.call.token
    live.put(AbortInstance())
    live.retry()
    new = live.call.token
    assert (old, new) == (Token("call", 0, 0, 1), Token("call", 0, 0, 1, retries=1))
    (late,) = live.put(ActivityDone(old, output={"n": 1}))
    assert late == ev.LateResultRecorded(at=live.now, stage=0, index=0, attempt=1, output={"n": 1})
    assert live.call.token == new
    live.done()
    assert live.put(ActivityDone(old)) == [], "a call comes back once"


def test_a_late_result_that_can_not_be_written_down_does_not_end_the_pass_that_runs() -> None:
    live = Live(UPDATE)
    old = ActivityDone(live.call.token, output="large")
    live.put(AbortInstance())
    live.retry()
    (late,) = live.shard.fail("i", old, live.now, "too large").events
    assert late == ev.LateResultRecorded(at=live.now, stage=0, index=0, attempt=1, error="too large")
    assert live.shard.fail("i", old, live.now, "too large", bare=True).events == ()
    assert names(list(live.shard.fail("i", ActivityDone(live.call.token), live.now, "x", bare=True).events)) == [
        "ActivityEnded",
        "StageEnded",
        "InstanceEnded",
    ]


@pytest.mark.parametrize("aborted", [False, True])
def test_late_results_of_passes_before_are_recorded_after_the_end_of_the_next(aborted: bool) -> None:
    live = Live(UPDATE)
    tokens = []
    for _ in range(2):
        tokens.append(live.call.token)
        live.put(AbortInstance())
        live.retry()
    tokens.append(live.call.token)
    if aborted:
        live.put(AbortInstance())
    else:
        live.fail()
        tokens.pop()
    for token in tokens:
        (late,) = live.put(ActivityDone(token))
        assert late.retries == token.retries
        assert live.put(ActivityDone(token)) == []
    assert live.retry()[0].version == len(live.log) - 2, "versions have no gap"


def test_the_version_goes_on_though_the_read_model_lags() -> None:
    live = Live(UPDATE)
    token = live.call.token
    live.put(AbortInstance())
    seen = retry_of(live.log, "i")
    live.put(ActivityDone(token))
    retried, *_ = live.put(seen)
    assert retried.version == seen.version + 2


# The state


def test_a_restore_comes_to_the_same_at_every_step() -> None:
    live = Live(FROM_WALLET, request_digest="d", bounds=Bounds(max_retried=1))
    steps: list[Any] = [
        lambda: live.done(WALLET),
        lambda: live.fail(),
        lambda: live.retry(),
        lambda: live.put(AbortInstance()),
        lambda: live.retry(),
        lambda: live.done(),
        lambda: live.fail(AWAY),
        lambda: live.put(ActivityDone(Token("call", 0, 1, 1, retries=1))),
    ]
    for step in steps:
        step()
        assert restored(live.log, live.bounds).contents() == live.shard.contents()
        assert live.restored().effect("i") == live.shard.effect("i")


def test_an_instance_that_was_never_retried_needs_few_bytes_more() -> None:
    live = Live(WAIT)
    live.shard.settle()
    state = live.shard._instances.get("i")
    assert state is not None
    assert state.endswith(b"0,null,0]"), "a million of them are in memory"
