"""Turns: inputs of many aggregates become one batch, and nothing else changes before it is proven."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from engine import turn as turns
from engine.aggregates import Aggregates, Bounds
from engine.core import trigger as triggers
from engine.core.decisions import ActivityDone, Due, decide, give_up
from engine.core.effects import CallActivity, GoOn, Token
from engine.core.evaluation import Evaluated
from engine.core.retries import Failure
from engine.core.trigger import Pending, Requested
from engine.turn import Turn, Unreadable
from schemas.commands import (
    AbortInstance,
    Command,
    CreateTrigger,
    CreateWorkflow,
    DeleteTrigger,
    DeleteWorkflow,
    EvaluateTrigger,
    FireTrigger,
    RunWorkflow,
    SendEvent,
)
from schemas.records import NewRecord, RecordCodec
from tests.simulation.memory import StoredRecord

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
WAIT: dict[str, Any] = {"wait_event": {"event": "go"}}
UPDATE: dict[str, Any] = {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}
CODEC = RecordCodec()


def run(*stages: dict[str, Any], request: str | None = None, seen_offset: int = 0) -> RunWorkflow:
    return RunWorkflow(
        workflow_id="w", stages=list(stages), variables={}, request_digest=request, seen_offset=seen_offset
    )


class Desk:
    """Takes turns one after another, each one committed."""

    def __init__(self, max_remembered: int = 100):
        self.aggregates = Aggregates(Bounds(max_ended=max_remembered))
        self.end = 0
        self.effects: dict[str, Any] = {}
        self.requests: list[tuple[str, Pending]] = []

    def turn(self, *commands: tuple[str, Command | Unreadable], keep: tuple[str, ...] = ()) -> list[str]:
        """Decide commands as one turn; its records in words."""
        turn = Turn(self.aggregates, CODEC, 7, NOW)
        for offset, (aggregate_id, command) in enumerate(commands, 100):
            turn.command(offset, aggregate_id, command)
        return self.commit(turn, keep)

    def commit(self, turn: Turn, keep: tuple[str, ...] = ()) -> list[str]:
        self.effects = dict(turn.effects())
        turn.commit(self.end, keep)
        self.requests = turn.requests()
        self.end += len(turn.records)
        return words(turn.records)


def words(records: list[NewRecord]) -> list[str]:
    """Records as `StageEnded i v3 cause 100`, rejections with their code."""
    result = []
    for offset, record in enumerate(records):
        stored = StoredRecord(offset, record.key, record.value, record.headers)
        recorded = CODEC.decode_event(stored)
        code = getattr(recorded.event, "code", None)
        cause = "" if recorded.cause is None else f" cause {recorded.cause}"
        version = f" v{recorded.version}" if recorded.version else ""
        shown = f" {code}" if isinstance(code, str) else ""
        result.append(f"{type(recorded.event).__name__} {recorded.aggregate_id}{version}{cause}{shown}")
        assert dict(record.headers)["epoch"] == b"7"
    return result


def test_commands_of_several_aggregates_share_a_batch() -> None:
    desk = Desk()
    assert desk.turn(
        ("w", CreateWorkflow(name="", stages=[])),
        ("a", run(WAIT)),
        ("a", SendEvent(name="go")),
        ("w", DeleteWorkflow()),
    ) == [
        "WorkflowCreated w v1 cause 100",
        "InstanceStarted a v1 cause 101",
        "StageStarted a v2 cause 101",
        "EventReceived a v3 cause 102",
        "StageEnded a v4 cause 102",
        "InstanceEnded a v5 cause 102",
        "WorkflowDeleted w v2 cause 103",
    ]


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (CreateWorkflow(name="", stages=[]), CreateWorkflow(name="", stages=[]), "CommandSkipped x cause 100"),
        (
            CreateWorkflow(name="", stages=[], request_digest="a"),
            CreateWorkflow(name="", stages=[], request_digest="b"),
            "CommandRejected x cause 100 CONFLICT",
        ),
        (CreateWorkflow(name="", stages=[]), Unreadable("no JSON"), "CommandRejected x cause 100 UNDECODABLE"),
        (run(WAIT), run(WAIT), "CommandSkipped x cause 100"),
        (run(WAIT, request="a"), run(WAIT, request="b"), "CommandRejected x cause 100 CONFLICT"),
        (run(), SendEvent(name="go"), "CommandRejected x cause 100 ENDED"),
        (run(), AbortInstance(), "CommandRejected x cause 100 ENDED"),
        # with an Idempotency-Key an ended instance is remembered
        (run(request="a"), run(request="a"), "CommandSkipped x cause 100"),
        (run(request="a"), run(request="b"), "CommandRejected x cause 100 CONFLICT"),
    ],
)
def test_every_command_leaves_a_record(first: Command, second: Command | Unreadable, outcome: str) -> None:
    desk = Desk()
    desk.turn(("x", first))
    assert desk.turn(("x", second)) == [outcome]


def test_deleting_what_is_not_there_is_skipped() -> None:
    assert Desk().turn(("x", DeleteWorkflow())) == ["CommandSkipped x cause 100"]


def test_a_keyed_run_is_refused_when_it_may_be_forgotten() -> None:
    desk = Desk(max_remembered=1)
    desk.turn(("a", run(request="a")))
    desk.turn(("b", run(request="b")))  # forgets a, which ended at offset 1
    assert desk.turn(("a", run(request="a", seen_offset=1))) == ["CommandRejected a cause 100 RETRY"]
    assert desk.turn(("c", run(request="c", seen_offset=2)))[0] == "InstanceStarted c v1 cause 100"


def test_a_bug_in_one_decision_rejects_that_command_alone(monkeypatch: pytest.MonkeyPatch) -> None:

    def broken(state: Any, given: Any, now: datetime, instance_id: str, clock: datetime) -> Any:
        if instance_id == "bad":
            raise RuntimeError("bug")
        return decide(state, given, now, instance_id, clock)

    monkeypatch.setattr("engine.turn.decide", broken)
    assert Desk().turn(("bad", run(WAIT)), ("good", run())) == [
        "CommandRejected bad cause 100 FAULT",
        "InstanceStarted good v1 cause 101",
        "InstanceEnded good v2 cause 101",
    ]


def break_after_result(monkeypatch: pytest.MonkeyPatch, output: Any = None) -> None:
    """Let every decision about a result fail, and the result itself if it is this output."""

    def broken(state: Any, given: Any, *rest: Any) -> Any:
        raise RuntimeError("bug") if isinstance(given, ActivityDone | Due) else AssertionError

    def given_up(state: Any, now: datetime, error: str, result: ActivityDone | None = None) -> Any:
        if result is not None and output is not None and result.output == output:
            raise RuntimeError("bug")
        return give_up(state, now, error, result)

    monkeypatch.setattr("engine.turn.decide", broken)
    monkeypatch.setattr("engine.turn.give_up", given_up)


def test_an_input_that_can_not_be_decided_ends_its_instance_visibly(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.turn(("a", run(UPDATE)), ("b", run(UPDATE)), ("c", run({"delay": {"duration": "1s"}})), ("d", run(UPDATE)))
    break_after_result(monkeypatch, output="bad")
    turn = Turn(desk.aggregates, CODEC, 7, NOW)
    call = Token("call", 0, 0, 1)
    turn.input("a", ActivityDone(call, output={"id": 1}))
    turn.input("b", ActivityDone(call, output="bad"))
    turn.input("c", Due(Token("wake", 0)))
    turn.input("d", ActivityDone(call, failure=Failure("HTTP 502", 502)))
    assert ends(turn.records) == [
        ("ActivityEnded", "a", {"id": 1}, None),
        ("StageEnded", "a", None, "internal fault"),
        ("InstanceEnded", "a", None, "internal fault"),
        ("ActivityEnded", "b", None, "internal fault"),
        ("StageEnded", "b", None, "internal fault"),
        ("InstanceEnded", "b", None, "internal fault"),
        ("StageEnded", "c", None, "internal fault"),
        ("InstanceEnded", "c", None, "internal fault"),
        ("ActivityEnded", "d", None, "internal fault"),
        ("StageEnded", "d", None, "internal fault"),
        ("InstanceEnded", "d", None, "internal fault"),
    ]
    desk.commit(turn)
    assert len(desk.aggregates) == 0


def test_an_input_that_can_not_be_decided_after_the_end_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.turn(("a", run(UPDATE)))
    desk.turn(("a", AbortInstance()), keep=("a",))
    break_after_result(monkeypatch)
    turn = Turn(desk.aggregates, CODEC, 7, NOW)
    turn.input("a", ActivityDone(Token("call", 0, 0, 1)))
    assert turn.records == []


def ends(records: list[NewRecord]) -> list[tuple[str, str, Any, str | None]]:
    """Type, aggregate, output and error of each record."""
    events = [CODEC.decode_event(StoredRecord(0, record.key, record.value, record.headers)) for record in records]
    return [(type(e.event).__name__, e.aggregate_id, getattr(e.event, "output", None), e.event.error) for e in events]


def test_a_decision_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.turn(("a", run(UPDATE, {"wait_event": {"event": "x" * 1000}})))
    monkeypatch.setattr(turns, "MAX_DECISION_BYTES", 1200)
    assert desk.turn(("b", run(*[WAIT] * 30))) == ["CommandRejected b cause 100 TOO_LARGE"]
    turn = Turn(desk.aggregates, CODEC, 7, NOW)
    turn.input("a", ActivityDone(Token("call", 0, 0, 1)))
    assert desk.commit(turn) == ["ActivityEnded a v4", "StageEnded a v5", "InstanceEnded a v6"]


def test_nothing_changes_before_the_commit() -> None:
    desk = Desk()
    desk.turn(("a", run(WAIT)))
    turn = Turn(desk.aggregates, CODEC, 7, NOW)
    turn.command(101, "a", AbortInstance())
    assert desk.turn(("a", SendEvent(name="other"))) == ["EventReceived a v3 cause 100"]


def test_effects_are_those_of_the_new_state() -> None:
    desk = Desk()
    desk.turn(("a", run(UPDATE)), ("b", run(WAIT)), ("c", run(*[{"noop": {}}] * 101)))
    assert isinstance(desk.effects["a"], CallActivity)
    assert desk.effects["b"] is None
    assert desk.effects["c"] == GoOn(Token("go_on", 100))


def test_an_aborted_instance_is_kept_for_the_late_result_of_its_call() -> None:
    desk = Desk()
    desk.turn(("a", run(UPDATE)))
    desk.turn(("a", AbortInstance()), keep=("a",))
    turn = Turn(desk.aggregates, CODEC, 7, NOW)
    turn.input("a", ActivityDone(Token("call", 0, 0, 1)))
    assert desk.commit(turn) == ["LateResultRecorded a v7"]
    assert len(desk.aggregates) == 0


def test_an_input_for_nobody_leaves_nothing() -> None:
    turn = Turn(Aggregates(), CODEC, 7, NOW)
    turn.input("a", Due(Token("wake", 0)))
    turn.input("a", ActivityDone(Token("call", 0, 0, 1)))
    assert turn.records == []


# Triggers

CREATE_TRIGGER = CreateTrigger(name="", event="X", workflow_id="w")


def fire(offset: int, **fields: Any) -> FireTrigger:
    return FireTrigger(
        occurrence_id=f"o{offset}", event=Raw(b"{}"), source="ledger/0", offset=offset, stages=Raw(b"[]"), **fields
    )


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        pytest.param(fire(1), fire(2), "TriggerFired t v3 cause 102", id="two messages"),
        pytest.param(fire(1), fire(1), "CommandSkipped t cause 102", id="the same record"),
        pytest.param(
            fire(1, identity="k1"), fire(2, identity="k1"), "CommandSkipped t cause 102", id="the same message"
        ),
        pytest.param(
            fire(1, identity="k1"), fire(2, identity="k2"), "TriggerFired t v3 cause 102", id="another identity"
        ),
        pytest.param(fire(1, once_key="P:1"), fire(2, once_key="P:1"), "CommandSkipped t cause 102", id="once ever"),
        pytest.param(
            fire(1, once_key="P:1", error="boom"),
            fire(2, once_key="P:1"),
            "TriggerFired t v3 cause 102",
            id="what failed was not once ever",
        ),
        pytest.param(
            fire(1, identity="k1", error="boom"),
            fire(2, identity="k1"),
            "CommandSkipped t cause 102",
            id="the same message, which failed",
        ),
    ],
)
@pytest.mark.parametrize("turns", [1, 2])
def test_a_message_fires_once(first: FireTrigger, second: FireTrigger, outcome: str, turns: int) -> None:
    commands: list[tuple[str, Command | Unreadable]] = [("t", CREATE_TRIGGER), ("t", first), ("t", second)]
    desk = Desk()
    if turns == 1:
        assert desk.turn(*commands)[2] == outcome
    else:
        desk.turn(*commands[:2])
        assert desk.turn(*commands[2:]) == [outcome.replace("102", "100")]


def test_an_occurrence_is_requested_once() -> None:
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER), ("t", fire(1)), ("t", fire(2, error="boom")))
    assert [(id, p.occurrence_id, p.sequence) for id, p in desk.requests] == [("t", "o1", 1)]
    turn = Turn(desk.aggregates, CODEC, 7, NOW)
    for occurrence in ("o1", "o1", "o2", "o3"):
        turn.input("t", Requested(occurrence))
    assert desk.commit(turn) == ["InstanceRequested t v4"]
    assert desk.requests == []
    turn = Turn(desk.aggregates, CODEC, 7, NOW)
    turn.input("t", Requested("o1"))
    assert desk.commit(turn) == []


def test_a_message_that_is_too_large_for_a_decision_leaves_a_failed_occurrence(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER))
    monkeypatch.setattr(turns, "MAX_DECISION_BYTES", 1200)
    large = FireTrigger(
        occurrence_id="o", event=Raw(b"{}"), source="ledger/0", offset=1, stages=Raw(b"[]"), variables={"a": "x" * 1000}
    )
    assert desk.turn(("t", large), ("t", fire(2))) == ["TriggerFailed t v2 cause 100", "TriggerFired t v3 cause 101"]


def evaluate(offset: int, size: int = 0) -> EvaluateTrigger:
    event = Raw(b'"' + b"x" * size + b'"')
    return EvaluateTrigger(occurrence_id=f"o{offset}", event=event, source="ledger/0", offset=offset, stages=Raw(b"[]"))


def types(words: list[str]) -> list[str]:
    return [line.split()[0] for line in words]


@pytest.mark.parametrize("together", [True, False])
def test_so_many_messages_wait_for_links(monkeypatch: pytest.MonkeyPatch, together: bool) -> None:
    monkeypatch.setattr(turns, "MAX_WAITING", 2)
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER), ("u", CREATE_TRIGGER))
    commands: list[tuple[str, Command | Unreadable]] = [("t", evaluate(1)), ("u", evaluate(1)), ("t", evaluate(2))]
    shown = desk.turn(*commands) if together else [word for command in commands for word in desk.turn(command)]
    assert types(shown) == ["EvaluationStarted", "EvaluationStarted", "TriggerFailed"]
    turn = Turn(desk.aggregates, CODEC, 7, NOW)
    turn.input("u", Evaluated("o1", 1))
    turn.command(100, "t", evaluate(3))
    assert types(desk.commit(turn)) == ["EvaluationEnded", "EvaluationStarted"]
    assert types(desk.turn(("t", DeleteTrigger()), ("u", evaluate(2)))) == ["TriggerDeleted", "EvaluationStarted"]


def test_what_waits_for_links_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_WAITING_BYTES", 1000)
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER))
    shown = desk.turn(("t", evaluate(1, 600)), ("t", evaluate(2, 600)), ("t", evaluate(3, 300)))
    assert types(shown) == ["EvaluationStarted", "TriggerFailed", "EvaluationStarted"]


def test_variables_that_are_too_large_leave_a_failed_occurrence(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER))
    desk.turn(("t", evaluate(1)))
    monkeypatch.setattr(turns, "MAX_DECISION_BYTES", 1200)
    assert types(desk.turn(("t", evaluate(2, 2000)), ("t", evaluate(3, 200)))) == [
        "CommandRejected",
        "EvaluationStarted",
    ], "a message that is too large by itself"
    turn = Turn(desk.aggregates, CODEC, 7, NOW)
    turn.input("t", Evaluated("o1", 1, matches=True, variables={"a": "x" * 2000}))
    assert types(desk.commit(turn)) == ["TriggerFailed"]


def test_a_result_that_cannot_be_decided_leaves_a_failed_occurrence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER), ("t", evaluate(1)))

    def broken(state: Any, given: Any, now: datetime, repeated: bool, clock: datetime) -> Any:
        if given.variables:
            raise RuntimeError("bug")
        return triggers.decide(state, given, now, repeated, clock)

    monkeypatch.setattr("engine.turn.triggers", SimpleNamespace(decide=broken, evolve=triggers.evolve))
    turn = Turn(desk.aggregates, CODEC, 7, NOW)
    turn.input("t", Evaluated("o1", 1, matches=True, variables={"a": "1"}))
    assert types(desk.commit(turn)) == ["TriggerFailed"]


def test_retries_of_messages_follow_the_clock() -> None:
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER), ("t", evaluate(1)))
    clock = NOW - timedelta(days=1)
    turn = Turn(desk.aggregates, CODEC, 7, NOW, clock)
    turn.input("t", Evaluated("o1", 1, error="HTTP 503", may_pass=True))
    desk.commit(turn)
    trigger = desk.aggregates.trigger("t")
    assert trigger is not None
    assert trigger.waiting["o1"].retry_at == clock + timedelta(seconds=1)


def test_what_came_from_a_message_and_cannot_be_decided_leaves_something_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for the rejection of such a command, so it would be gone without a trace."""
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER))

    def broken(state: Any, given: Any, now: datetime, repeated: bool, clock: datetime) -> Any:
        if given.error is None:
            raise RuntimeError("bug")
        return triggers.decide(state, given, now, repeated, clock)

    monkeypatch.setattr("engine.turn.triggers", SimpleNamespace(decide=broken, evolve=triggers.evolve))
    monkeypatch.setattr(turns, "MAX_DECISION_BYTES", 1200)
    stages = [{"wait_event": {"event": "x" * 400}}]
    large = RunWorkflow(workflow_id="w", stages=stages, variables={}, source="events/1", sequence=7)
    commands: list[tuple[str, Command | Unreadable]] = [
        ("t", fire(1)),
        ("i", large),
        ("i", large),
        ("j", replace(large, source=None)),
    ]
    assert desk.turn(*commands) == [
        "TriggerFailed t v2 cause 100",
        "InstanceStarted i v1 cause 101",
        "InstanceEnded i v2 cause 101",
        "CommandSkipped i cause 102",
        "CommandRejected j cause 103 TOO_LARGE",
    ]
