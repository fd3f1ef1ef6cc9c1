"""The decisions of an instance, as tables: state and input on the left, events and effect that follow on the right."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.core.decisions import ActivityDone, Due, Input
from engine.core.effects import CallActivity, GoOn, Token, Wake, bounded, effect
from engine.core.errors import IllegalTransition, Rejected
from engine.core.instance import MAX_REQUESTS, Instance, evolve
from engine.core.retries import Failure, backoff
from engine.core.stages import MAX_STAGES_PER_DECISION, taker
from schemas import events as ev
from schemas import rejections
from schemas.commands import AbortInstance, RunWorkflow, SendEvent
from schemas.definition import resolve_stage
from tests.definitions import definition
from tests.unit.engine.core.deciding import decide

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
NOOP: dict[str, Any] = {"noop": {}}
WAIT: dict[str, Any] = {"wait_event": {"event": "approved"}}
UPDATE: dict[str, Any] = {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}


def run(*stages: dict[str, Any], request_digest: str | None = None, **variables: str) -> RunWorkflow:
    return RunWorkflow(workflow_id="w", stages=definition(stages), variables=variables, request_digest=request_digest)


def play(*inputs: Input, seconds: float = 1.0) -> tuple[Sequence[ev.InstanceEvent], Instance | None]:
    """Decide inputs one after another, a second apart; the events of the last one, and the state."""
    state: Instance | None = None
    events: Sequence[ev.InstanceEvent] = []
    now = NOW
    for given in inputs:
        progress = decide(state, given, now, "i")
        state, events, now = progress.state, progress.events, now + timedelta(seconds=seconds)
    return events, state


def shape(events: Sequence[ev.InstanceEvent]) -> list[str]:
    """Events as short words: `StageEnded 0`, `StageEnded 0 boom`."""
    words = []
    for event in events:
        number = getattr(event, "number", getattr(event, "stage", None))
        error = getattr(event, "error", None)
        words.append(" ".join(str(part) for part in (type(event).__name__, number, error) if part is not None))
    return words


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([], ["InstanceStarted", "InstanceEnded"]),
        ([NOOP], ["InstanceStarted", "StageStarted 0", "StageEnded 0", "InstanceEnded"]),
        ([{"noop": None}], ["InstanceStarted", "StageStarted 0", "StageEnded 0", "InstanceEnded"]),
        ([WAIT], ["InstanceStarted", "StageStarted 0"]),
        ([{"delay": {"duration": "1s"}}], ["InstanceStarted", "StageStarted 0"]),
        ([{"delay": {"duration": "-1s"}}], ["InstanceStarted", "StageStarted 0", "StageEnded 0", "InstanceEnded"]),
        (
            [{"delay": {"until": "2020-01-01T00:00:00Z"}}],
            ["InstanceStarted", "StageStarted 0", "StageEnded 0", "InstanceEnded"],
        ),
        ([NOOP, WAIT, NOOP], ["InstanceStarted", "StageStarted 0", "StageEnded 0", "StageStarted 1"]),
        ([UPDATE], ["InstanceStarted", "StageStarted 0", "ActivityStarted 0"]),
    ],
)
def test_run(stages: list[dict[str, Any]], expected: list[str]) -> None:
    events, _ = play(run(*stages))
    assert shape(events) == expected


def test_a_stage_that_cannot_be_resolved_is_shown_and_ends_the_instance() -> None:
    events, state = play(run({"wait_event": {"event": "${name}"}}, NOOP))
    started, ended, instance_ended = events[1:]
    assert isinstance(started, ev.StageStarted)
    assert started.input == {"event": "${name}"}
    assert isinstance(ended, ev.StageEnded)
    assert isinstance(instance_ended, ev.InstanceEnded)
    assert ended.error is not None
    assert "event" in ended.error
    assert instance_ended.error == ended.error
    assert state is not None
    assert effect(state) is None


def test_no_money_moves_when_a_variable_is_missing() -> None:
    to = {"account": {"id": "merchant-${merchantId}"}}
    send = {"source": {"account": {"id": "world"}}, "destination": to, "amount": {"amount": 5, "asset": "EUR/2"}}
    events, state = play(run({"send": send}, NOOP, merchantID="7"))
    error = 'variable "merchantId" is not given'
    assert shape(events) == ["InstanceStarted", "StageStarted 0", f"StageEnded 0 {error}", f"InstanceEnded {error}"]
    assert effect(state) is None


MIXED: dict[str, Any] = {"wait_event": {"event": "paid-${order}"}}


def test_an_event_passes_over_a_stage_whose_name_can_not_be_resolved() -> None:
    events, state = play(run(WAIT, MIXED, {"wait_event": {"event": "paid-"}}), SendEvent(name="paid-"))
    assert shape(events) == ["EventReceived 2"]
    assert state is not None


def started_by_an_older_build(stage: dict[str, Any], name: str) -> Instance:
    """An instance in a stage that this build can't resolve."""
    started = evolve(
        None, ev.InstanceStarted(at=NOW, workflow_id="w", stages=definition([stage, NOOP]), variables={}), "i"
    )
    return evolve(started, ev.StageStarted(at=NOW, workflow_id="w", number=0, name=name, input={}), "i")


def test_a_running_stage_that_can_not_be_resolved_any_more_fails() -> None:
    state = started_by_an_older_build(MIXED, "RunWaitEvent")
    error = 'variable "order" is not given'
    decided = decide(state, SendEvent(name="paid-"), NOW, "i")
    assert shape(decided.events) == ["EventReceived", f"StageEnded 0 {error}", f"InstanceEnded {error}"]


def test_a_running_call_ends_before_its_stage_that_can_not_be_resolved_any_more() -> None:
    update = {"update": {"account": {"id": "users-${n}", "metadata": {}}}}
    state = started_by_an_older_build(update, "RunUpdate")
    state = evolve(state, ev.ActivityStarted(at=NOW, stage=0, index=0, name="AddAccountMetadata", input={}), "i")
    assert shape(decide(state, SendEvent(name="x"), NOW, "i").events) == ["EventReceived"]
    decided = decide(state, ActivityDone(Token("call", 0, 0, 1)), NOW, "i")
    error = 'variable "n" is not given'
    assert shape(decided.events) == ["ActivityEnded 0", f"StageEnded 0 {error}", f"InstanceEnded {error}"]


def test_variables_reach_the_stage() -> None:
    events, _ = play(run({"wait_event": {"event": "paid-${order}"}}, order="A-1"))
    started = events[1]
    assert isinstance(started, ev.StageStarted)
    assert started.input == {"event": "paid-A-1"}


def test_a_delay_waits_until_its_time_and_not_shorter() -> None:
    _, state = play(run({"delay": {"duration": "1500ms"}}))
    pending = effect(state)
    assert pending == Wake(Token("wake", 0), NOW + timedelta(seconds=1.5))
    assert shape(decide(state, SendEvent(name="x"), NOW + timedelta(seconds=1), "i").events) == ["EventReceived"]
    late = decide(state, Due(pending.token), NOW + timedelta(seconds=1.5), "i")
    assert shape(late.events) == ["StageEnded 0", "InstanceEnded"]


def test_delays_and_retries_follow_the_clock_and_events_keep_their_order() -> None:
    clock, second = NOW - timedelta(days=1), timedelta(seconds=1)
    state = decide(None, run({"delay": {"duration": "1s"}}, UPDATE), NOW, "i", clock).state
    delay = effect(state)
    assert delay == Wake(Token("wake", 0), clock + second)
    started = decide(state, Due(delay.token), NOW, "i", clock)  # it rang, and then the clock was set back
    assert shape(started.events) == ["StageEnded 0", "StageStarted 1", "ActivityStarted 1"]
    failed = decide(started.state, ActivityDone(Token("call", 1, 0, 1), failure=Failure("x", 500)), NOW, "i", clock)
    retry = effect(failed.state)
    assert isinstance(retry, CallActivity)
    assert retry.not_before == clock + second
    assert {event.at for event in (*started.events, *failed.events)} == {NOW}


def test_a_wait_is_never_longer_than_the_whole_of_it() -> None:
    state = decide(None, run({"delay": {"duration": "1500ns"}}), NOW, "i").state
    assert state is not None
    wait, long_ago = timedelta(microseconds=2), NOW - timedelta(days=1)
    assert bounded(effect(state), state, long_ago) == Wake(Token("wake", 0), long_ago + wait)
    assert bounded(effect(state), state, NOW + wait) == Wake(Token("wake", 0), NOW + wait)
    until = decide(None, run({"delay": {"until": "2026-03-01T11:00:00Z"}}), NOW, "i").state
    assert until is not None
    assert bounded(effect(until), until, long_ago) == effect(until)


def test_nanoseconds_round_up() -> None:
    _, state = play(run({"delay": {"duration": "1500ns"}}))
    assert effect(state) == Wake(Token("wake", 0), NOW + timedelta(microseconds=2))


EVENT = SendEvent(name="approved")
OTHER = SendEvent(name="other")


@pytest.mark.parametrize(
    ("stages", "inputs", "expected"),
    [
        ([WAIT], [EVENT], ["EventReceived 0", "StageEnded 0", "InstanceEnded"]),
        ([WAIT], [OTHER], ["EventReceived"]),
        # an event that comes before its stage is kept for it
        ([{"wait_event": {"event": "other"}}, WAIT], [EVENT], ["EventReceived 1"]),
        (
            [{"wait_event": {"event": "other"}}, WAIT],
            [EVENT, OTHER],
            ["EventReceived 0", "StageEnded 0", "StageStarted 1", "StageEnded 1", "InstanceEnded"],
        ),
        # one event ends one stage
        ([WAIT, WAIT], [EVENT], ["EventReceived 0", "StageEnded 0", "StageStarted 1"]),
        ([WAIT, WAIT], [EVENT, EVENT], ["EventReceived 1", "StageEnded 1", "InstanceEnded"]),
        # two early ones go to two stages, a third to none
        ([{"wait_event": {"event": "x"}}, WAIT, WAIT], [EVENT, EVENT], ["EventReceived 2"]),
        ([{"wait_event": {"event": "x"}}, WAIT, WAIT], [EVENT, EVENT, EVENT], ["EventReceived"]),
        # a burst of others does not swallow the right one
        ([WAIT], [*[OTHER] * 50, EVENT], ["EventReceived 0", "StageEnded 0", "InstanceEnded"]),
        # a name that can't be resolved takes none
        ([WAIT, {"wait_event": {"event": "${no}"}}], [SendEvent(name="")], ["EventReceived"]),
    ],
)
def test_events(stages: list[dict[str, Any]], inputs: list[Input], expected: list[str]) -> None:
    events, _ = play(run(*stages), *inputs)
    assert shape(events) == expected


def test_a_repeated_event_changes_nothing() -> None:
    keyed = SendEvent(name="approved", request_key="k", request_digest="a")
    events, state = play(run(WAIT, WAIT), keyed, keyed)
    assert shape(events) == []
    with pytest.raises(Rejected) as rejected:
        decide(state, SendEvent(name="approved", request_key="k", request_digest="b"), NOW, "i")
    assert rejected.value.code == rejections.CONFLICT
    other = decide(state, SendEvent(name="approved", request_key="l", request_digest="a"), NOW, "i")
    assert shape(other.events) == ["EventReceived 1", "StageEnded 1", "InstanceEnded"]


def test_requests_that_are_remembered_are_bounded() -> None:
    _, state = play(
        run(WAIT), *[SendEvent(name="x", request_key=str(n), request_digest="a") for n in range(3 * MAX_REQUESTS)]
    )
    assert state is not None
    assert len(state.requests) == MAX_REQUESTS
    assert state.earlier_requests == 2 * MAX_REQUESTS


def test_a_request_that_may_be_forgotten_is_refused() -> None:
    sent = [SendEvent(name="x", request_key=str(n), request_digest="a") for n in range(MAX_REQUESTS + 5)]
    _, state = play(run(WAIT), *sent)

    def outcome(seen: int | None, key: str = "new") -> str | list[str]:
        event = SendEvent(name="x", request_key=key, request_digest="a", seen_requests=seen)
        try:
            return shape(decide(state, event, NOW, "i").events)
        except Rejected as rejected:
            return rejected.code

    assert outcome(4) == outcome(0, "0") == rejections.RETRY, "it may be one of the five that are forgotten"
    assert outcome(5) == outcome(None) == ["EventReceived"]
    assert outcome(0, "5") == [], "it is one of those that are known"


def test_no_request_has_its_effect_twice_however_late_it_comes_again() -> None:
    """Clients look for a request before they send it; what they find out may be old when it arrives."""
    chance = random.Random(3)
    _, state = play(run(WAIT))
    done: list[str] = []
    looked: list[SendEvent] = []
    refused = 0
    for number in range(6 * MAX_REQUESTS):
        key = str(number) if chance.random() < 0.7 or not looked else chance.choice(looked).request_key
        if key not in done[: (seen := chance.randint(max(0, len(done) - 2 * MAX_REQUESTS), len(done)))]:
            looked.append(SendEvent(name="x", request_key=key, request_digest="a", seen_requests=seen))
        command = chance.choice(looked[-300:])
        try:
            events = decide(state, command, NOW, "i").events
        except Rejected:
            refused += 1
            continue
        for event in events:
            state = evolve(state, event, "i")
            done.append(command.request_key or "")
        assert command.request_key in done
    assert len(done) == len(set(done)) > 1.5 * MAX_REQUESTS
    assert refused


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([WAIT], ["StageEnded 0 canceled", "InstanceEnded canceled"]),
        ([{"delay": {"duration": "1h"}}, NOOP], ["StageEnded 0 canceled", "InstanceEnded canceled"]),
        ([UPDATE], ["ActivityEnded 0 canceled", "StageEnded 0 canceled", "InstanceEnded canceled"]),
    ],
)
def test_abort_ends_everything(stages: list[dict[str, Any]], expected: list[str]) -> None:
    events, state = play(run(*stages), AbortInstance())
    assert shape(events) == expected
    assert effect(state) is None


@pytest.mark.parametrize("command", [EVENT, AbortInstance()])
@pytest.mark.parametrize("stages", [[NOOP], [WAIT]])
def test_commands_to_an_ended_instance_are_rejected(command: Input, stages: list[dict[str, Any]]) -> None:
    _, state = play(run(*stages)) if stages == [NOOP] else play(run(*stages), AbortInstance())
    for known in (state, None):
        with pytest.raises(Rejected) as rejected:
            decide(known, command, NOW, "i")
        assert rejected.value.code == rejections.ENDED


def test_running_twice() -> None:
    _, state = play(run(WAIT, request_digest="a"))
    assert decide(state, run(WAIT, request_digest="a"), NOW, "i").events == ()
    with pytest.raises(Rejected) as rejected:
        decide(state, run(WAIT, request_digest="b"), NOW, "i")
    assert rejected.value.code == rejections.CONFLICT


TOKEN = Token("call", 0, 0, 1)


def test_an_activity_is_called_and_its_success_ends_the_stage() -> None:
    _, state = play(run(UPDATE, NOOP))
    pending = effect(state)
    assert isinstance(pending, CallActivity)
    assert (pending.token, pending.idempotency_key, pending.not_before) == (TOKEN, "i:0:0", None)
    done = decide(state, ActivityDone(TOKEN), NOW, "i")
    assert shape(done.events) == ["ActivityEnded 0", "StageEnded 0", "StageStarted 1", "StageEnded 1", "InstanceEnded"]


def test_a_failure_is_retried_with_the_same_key_for_as_long_as_it_takes() -> None:
    _, state = play(run(UPDATE))
    now, delays = NOW, []
    for attempt in range(1, 11):
        failed = decide(state, ActivityDone(Token("call", 0, 0, attempt), failure=Failure("HTTP 502", 502)), now, "i")
        assert shape(failed.events) == ["ActivityFailed 0 HTTP 502"]
        state, pending = failed.state, effect(failed.state)
        assert isinstance(pending, CallActivity)
        assert pending.token == Token("call", 0, 0, attempt + 1)
        assert pending.idempotency_key == "i:0:0"
        assert pending.not_before is not None
        delays.append((pending.not_before - now).total_seconds())
    assert delays == [1, 2, 4, 8, 16, 32, 64, 100, 100, 100]


@pytest.mark.parametrize("code", ["VALIDATION", "CONFLICT", "NO_SCRIPT", "COMPILATION_FAILED"])
def test_a_final_failure_ends_the_instance(code: str) -> None:
    _, state = play(run(UPDATE, NOOP))
    done = decide(state, ActivityDone(TOKEN, failure=Failure("no", 400, code)), NOW, "i")
    assert shape(done.events) == ["ActivityEnded 0 no", "StageEnded 0 no", "InstanceEnded no"]


@pytest.mark.parametrize("code", ["INSUFFICIENT_FUND", "INTERNAL", None])
def test_other_failures_are_retried(code: str | None) -> None:
    _, state = play(run(UPDATE))
    done = decide(state, ActivityDone(TOKEN, failure=Failure("no", 404, code)), NOW, "i")
    assert shape(done.events) == ["ActivityFailed 0 no"]


def test_a_late_result_is_recorded_and_changes_nothing() -> None:
    _, state = play(run(UPDATE), AbortInstance())
    late = decide(state, ActivityDone(TOKEN, output={"data": 1}), NOW, "i")
    assert shape(late.events) == ["LateResultRecorded 0"]
    assert late.state is not None
    assert late.state.ended
    assert effect(late.state) is None


def test_a_result_of_an_earlier_attempt_changes_nothing() -> None:
    _, state = play(run(UPDATE), ActivityDone(TOKEN, failure=Failure("x", 500)))
    late = decide(state, ActivityDone(TOKEN), NOW, "i")
    assert shape(late.events) == ["LateResultRecorded 0"]
    assert effect(late.state) == effect(state)


def test_a_long_definition_goes_on_in_the_next_turn() -> None:
    events, state = play(run(*[NOOP] * (2 * MAX_STAGES_PER_DECISION + 1)))
    assert sum(isinstance(event, ev.StageEnded) for event in events) == MAX_STAGES_PER_DECISION
    turns = 0
    while (pending := effect(state)) is not None:
        assert isinstance(pending, GoOn)
        state, turns = decide(state, Due(pending.token), NOW, "i").state, turns + 1
    assert turns == 2
    assert state is not None
    assert state.ended


def test_versions_have_no_gap() -> None:
    events, state = play(run(NOOP, WAIT))
    assert state is not None
    assert state.version == len(events)


@pytest.mark.parametrize(
    "event",
    [
        ev.InstanceStarted(at=NOW, workflow_id="w", stages=definition([]), variables={}),
        ev.StageStarted(workflow_id="w", at=NOW, number=0, name="RunNoop", input={}),
        ev.StageEnded(workflow_id="w", at=NOW, number=1),
        ev.ActivityStarted(at=NOW, stage=0, index=1, name="x", input={}),
        ev.ActivityEnded(at=NOW, stage=0, index=0, attempt=1),
        ev.InstanceEnded(workflow_id="w", at=NOW),
    ],
)
def test_illegal_transitions_raise(event: ev.InstanceEvent) -> None:
    _, state = play(run(WAIT))
    with pytest.raises(IllegalTransition):
        evolve(state, event, "i")


def test_an_event_without_an_instance_is_illegal() -> None:
    with pytest.raises(IllegalTransition):
        evolve(None, ev.StageEnded(workflow_id="w", at=NOW, number=0), "i")


def test_backoff_is_bounded() -> None:
    assert backoff(1) == timedelta(seconds=1)
    assert backoff(10_000) == timedelta(seconds=100)


def test_stages_that_wait_for_other_events_are_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolving each of thousands would hold up all instances of the partition, at every event."""
    names = ["other", "${a}", "ot${a}r", "go"]
    stages: list[dict[str, Any]] = [{"wait_event": {"event": name}} for name in (*["other"] * 1000, *names)]
    state = decide(None, RunWorkflow(workflow_id="w", stages=definition(stages), variables={"a": "he"}), NOW, "i").state
    assert state is not None
    resolved = []

    def resolving(stage: Any, variables: Any) -> Any:
        resolved.append(stage["wait_event"]["event"])
        return resolve_stage(stage, variables)

    monkeypatch.setattr("engine.core.stages.resolve_stage", resolving)
    assert [taker(state, name) for name in ("go", "other", "he", "nobody")] == [1003, 0, 1001, None]
    assert resolved == ["${a}", "ot${a}r", "go", "other", "${a}", "${a}", "ot${a}r"]
