"""Turns: inputs of many aggregates become one batch, and nothing else changes before it is proven."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from engine import turn as turns
from engine.core import decisions
from engine.core import shard as shards
from engine.core import trigger as triggers
from engine.core.decisions import TICK, ActivityDone, Due
from engine.core.effects import StartInstance, Token
from engine.core.evaluation import Evaluated
from engine.core.retries import Failure
from engine.core.shard import Input, Shard
from engine.core.trigger import Requested
from engine.turn import Turn
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
from schemas.events import CommandSkipped
from schemas.records import NewRecord, RecordCodec, UndecodableRecord
from tests.definitions import definition
from tests.ports.log import StoredRecord

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
WAIT: dict[str, Any] = {"wait_event": {"event": "go"}}
UPDATE: dict[str, Any] = {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}
CODEC = RecordCodec()
CALL = Token("call", 0, 0, 1)
DECIDE, GIVE_UP, DECIDE_TRIGGER = decisions.decide, decisions.give_up, triggers.decide


def run(*stages: dict[str, Any], request: str | None = None, seen_offset: int = 0) -> RunWorkflow:
    return RunWorkflow(
        workflow_id="w", stages=definition(stages), variables={}, request_digest=request, seen_offset=seen_offset
    )


class Desk:
    """Takes turns one after another, each of whose batches reaches the log."""

    def __init__(self) -> None:
        self.shard = Shard()
        self.end = 0

    def new_turn(self) -> Turn:
        """A turn behind the others."""
        return Turn(self.shard, CODEC, 7, self.end, NOW)

    def turn(self, *commands: tuple[str, Command]) -> list[str]:
        """Decide commands as one turn; its records in words."""
        turn = self.new_turn()
        for offset, (key, command) in enumerate(commands, 100):
            turn.command(offset, key, command)
        return self.commit(turn)

    def inputs(self, *inputs: tuple[str, Input]) -> list[str]:
        """Decide inputs as one turn; its records in words."""
        turn = self.new_turn()
        for key, given in inputs:
            turn.input(key, given)
        return self.commit(turn)

    def commit(self, turn: Turn) -> list[str]:
        """The batch is in the log."""
        self.shard.settle()
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
        (run(WAIT), run(WAIT), "CommandSkipped x cause 100"),
        (run(WAIT, request="a"), run(WAIT, request="b"), "CommandRejected x cause 100 CONFLICT"),
        (run(), SendEvent(name="go"), "CommandRejected x cause 100 ENDED"),
        (run(), AbortInstance(), "CommandRejected x cause 100 ENDED"),
        # with an Idempotency-Key an ended instance is remembered
        (run(request="a"), run(request="a"), "CommandSkipped x cause 100"),
        (run(request="a"), run(request="b"), "CommandRejected x cause 100 CONFLICT"),
    ],
)
def test_every_command_leaves_a_record(first: Command, second: Command, outcome: str) -> None:
    desk = Desk()
    desk.turn(("x", first))
    assert desk.turn(("x", second)) == [outcome]


def test_deleting_what_is_not_there_is_skipped() -> None:
    assert Desk().turn(("x", DeleteWorkflow())) == ["CommandSkipped x cause 100"]


def test_an_outcome_is_never_older_than_an_event_of_its_turn() -> None:
    desk = Desk()
    turn = desk.new_turn()
    turn.command(100, "w", CreateWorkflow(name="w", stages=[WAIT]))
    desk.shard.replay("", (CommandSkipped(at=NOW + TICK),), 1)  # as events are that must not have the time of others
    turn.command(101, "x", DeleteWorkflow())
    turn.refuse(StoredRecord(102, b"k", b"{", ()), "k", "it is not JSON")
    turn.skip(103)
    stored = [StoredRecord(0, record.key, record.value, record.headers) for record in turn.records]
    assert [CODEC.decode_event(record).event.at for record in stored] == [NOW, NOW + TICK, NOW + TICK, NOW + TICK]


def test_a_command_that_can_not_be_decoded_is_rejected_by_its_key() -> None:
    desk = Desk()
    turn = desk.new_turn()
    with pytest.raises(UndecodableRecord):
        turn.command(100, "x", replace(run(), stages=Raw(b"5")))
    assert turn.records == []
    command = StoredRecord(100, b"x", b"5", ())
    turn.refuse(command, "x", "no list")
    assert turn.dead == [(command, "no list")]
    assert desk.commit(turn) == ["CommandRejected x cause 100 UNDECODABLE"]
    assert turn.next_command == 101


def test_a_bug_in_one_decision_rejects_that_command_alone(monkeypatch: pytest.MonkeyPatch) -> None:

    def broken(state: Any, given: Any, now: datetime, instance_id: str, clock: datetime) -> Any:
        if instance_id == "bad":
            raise RuntimeError("bug")
        return DECIDE(state, given, now, instance_id, clock)

    monkeypatch.setattr(decisions, "decide", broken)
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
        return GIVE_UP(state, now, error, result)

    monkeypatch.setattr(decisions, "decide", broken)
    monkeypatch.setattr(decisions, "give_up", given_up)


def test_an_input_that_can_not_be_decided_ends_its_instance_visibly(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.turn(("a", run(UPDATE)), ("b", run(UPDATE)), ("c", run({"delay": {"duration": "1s"}})), ("d", run(UPDATE)))
    break_after_result(monkeypatch, output="bad")
    turn = desk.new_turn()
    turn.input("a", ActivityDone(CALL, output={"id": 1}))
    turn.input("b", ActivityDone(CALL, output="bad"))
    turn.input("c", Due(Token("wake", 0)))
    turn.input("d", ActivityDone(CALL, failure=Failure("HTTP 502", 502)))
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
    assert desk.shard.instances == 0


def test_an_input_that_can_not_be_decided_after_the_end_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.turn(("a", run(UPDATE)))
    desk.turn(("a", AbortInstance()))
    monkeypatch.setattr(decisions, "late_result", lambda given, at: 1 / 0)
    assert desk.inputs(("a", ActivityDone(CALL))) == []


def ends(records: list[NewRecord]) -> list[tuple[str, str, Any, str | None]]:
    """Type, aggregate, output and error of each record."""
    events = [CODEC.decode_event(StoredRecord(0, record.key, record.value, record.headers)) for record in records]
    return [(type(e.event).__name__, e.aggregate_id, getattr(e.event, "output", None), e.event.error) for e in events]


def test_a_decision_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.turn(("a", run(UPDATE, {"wait_event": {"event": "x" * 1000}})))
    monkeypatch.setattr(turns, "MAX_DECISION_BYTES", 1200)
    assert desk.turn(("b", run(*[WAIT] * 30))) == ["CommandRejected b cause 100 TOO_LARGE"]
    assert desk.shard.instances == 1
    assert desk.inputs(("a", ActivityDone(CALL))) == ["ActivityEnded a v4", "StageEnded a v5", "InstanceEnded a v6"]


def test_a_late_result_that_is_too_large_is_recorded_without_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.turn(("a", run(UPDATE)), ("a", AbortInstance()))
    monkeypatch.setattr(turns, "MAX_DECISION_BYTES", 1200)
    turn = desk.new_turn()
    turn.input("a", ActivityDone(CALL, output="x" * 1200))
    (recorded,) = ends(turn.records)
    assert recorded[:3] == ("LateResultRecorded", "a", None)
    assert "the events of one decision" in (recorded[3] or "")


def test_later_decisions_of_a_turn_see_the_earlier_ones() -> None:
    desk = Desk()
    assert desk.turn(
        ("a", run(WAIT, WAIT)), ("a", SendEvent(name="go")), ("a", AbortInstance()), ("a", SendEvent(name="go"))
    )[-3:] == ["StageEnded a v6 cause 102", "InstanceEnded a v7 cause 102", "CommandRejected a cause 103 ENDED"]


def test_a_turn_names_what_has_changed_and_replays_at_the_offsets_of_its_batch() -> None:
    desk = Desk()
    desk.turn(("w", CreateWorkflow(name="", stages=[])), ("t", CREATE_TRIGGER))
    turn = desk.new_turn()
    turn.command(100, "a", run(UPDATE))
    turn.command(101, "x", AbortInstance())
    turn.command(102, "t", fire(1))
    assert list(turn.changed) == ["a", "t/o1"]
    started = desk.shard.effect("t/o1")
    assert isinstance(started, StartInstance)
    assert started.pending.sequence == 6
    assert [turn.next_command, len(turn.records)] == [103, 5]


def test_an_aborted_instance_takes_the_late_result_of_its_call() -> None:
    desk = Desk()
    desk.turn(("a", run(UPDATE)))
    desk.turn(("a", AbortInstance()))
    assert desk.inputs(("a", ActivityDone(CALL))) == ["LateResultRecorded a v7"]


def test_an_input_for_nobody_leaves_nothing() -> None:
    assert Desk().inputs(("a", Due(Token("wake", 0))), ("a", ActivityDone(CALL))) == []


def test_a_turn_without_decisions_can_prove_the_claim() -> None:
    turn = Desk().new_turn()
    turn.confirm()
    turn.confirm()
    assert words(turn.records) == ["ClaimConfirmed "]


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
    commands: list[tuple[str, Command]] = [("t", CREATE_TRIGGER), ("t", first), ("t", second)]
    desk = Desk()
    if turns == 1:
        assert desk.turn(*commands)[2] == outcome
    else:
        desk.turn(*commands[:2])
        assert desk.turn(*commands[2:]) == [outcome.replace("102", "100")]


def test_an_occurrence_is_requested_once() -> None:
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER), ("t", fire(1)), ("t", fire(2, error="boom")))
    requested: list[tuple[str, Input]] = [("t", Requested(occurrence)) for occurrence in ("o1", "o1", "o2", "o3")]
    assert desk.inputs(*requested) == ["InstanceRequested t v4"]
    assert desk.inputs(("t", Requested("o1"))) == []


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
    monkeypatch.setattr(shards, "MAX_WAITING", 3)
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER), ("u", CREATE_TRIGGER))
    commands: list[tuple[str, Command]] = [("t", evaluate(1)), ("u", evaluate(1)), ("t", evaluate(2))]
    shown = desk.turn(*commands) if together else [word for command in commands for word in desk.turn(command)]
    assert types(shown) == ["EvaluationStarted", "EvaluationStarted", "TriggerFailed"]
    turn = desk.new_turn()
    turn.input("u", Evaluated("o1", 1))
    turn.command(100, "t", evaluate(3))
    assert types(desk.commit(turn)) == ["EvaluationEnded", "EvaluationStarted"]
    assert types(desk.turn(("t", DeleteTrigger()), ("u", evaluate(2)))) == ["TriggerDeleted", "EvaluationStarted"]


def test_the_messages_of_one_trigger_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_WAITING", 8)
    monkeypatch.setattr(shards, "MAX_WAITING_BYTES", 8000)
    for size, most in ((0, 4), (1500, 3)):
        desk = Desk()
        desk.turn(("t", CREATE_TRIGGER), ("u", CREATE_TRIGGER))
        shown = desk.turn(*(("t", evaluate(number, size)) for number in range(6)))
        assert types(shown) == ["EvaluationStarted"] * most + ["TriggerFailed"] * (6 - most)
        assert types(desk.turn(("u", evaluate(1, size)))) == ["EvaluationStarted"]


def test_what_waits_for_links_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_WAITING_BYTES", 1600)
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
    assert types(desk.inputs(("t", Evaluated("o1", 1, matches=True, variables={"a": "x" * 2000})))) == ["TriggerFailed"]


def test_a_result_that_cannot_be_decided_leaves_a_failed_occurrence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER), ("t", evaluate(1)))

    def broken(state: Any, given: Any, now: datetime, repeated: bool, clock: datetime) -> Any:
        if given.variables:
            raise RuntimeError("bug")
        return DECIDE_TRIGGER(state, given, now, repeated, clock)

    monkeypatch.setattr(triggers, "decide", broken)
    assert types(desk.inputs(("t", Evaluated("o1", 1, matches=True, variables={"a": "1"})))) == ["TriggerFailed"]


def test_retries_of_messages_follow_the_clock() -> None:
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER), ("t", evaluate(1)))
    clock = NOW - timedelta(days=1)
    turn = Turn(desk.shard, CODEC, 7, desk.end, clock)
    turn.input("t", Evaluated("o1", 1, error="HTTP 503", may_pass=True))
    desk.commit(turn)
    trigger = desk.shard.trigger("t")
    assert trigger is not None
    assert trigger.waiting["o1"].retry_at == clock + timedelta(seconds=1)


def test_what_is_to_be_started_comes_in_the_order_of_the_log() -> None:
    """A receiver takes a run command for a duplicate behind one of the same partition with a larger sequence."""
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER), ("t", evaluate(1)))
    turn = desk.new_turn()
    turn.input("t", Evaluated("o1", 1, error="HTTP 503", may_pass=True))
    turn.command(100, "t", fire(2))
    turn.command(101, "t", replace(fire(3), occurrence_id="o1"))
    effects = [desk.shard.effect(subject) for subject in turn.changed]
    assert [effect.pending.sequence for effect in effects if isinstance(effect, StartInstance)] == [3, 4]


def test_what_came_from_a_message_and_cannot_be_decided_leaves_something_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for the rejection of such a command, so it would be gone without a trace."""
    desk = Desk()
    desk.turn(("t", CREATE_TRIGGER))

    def broken(state: Any, given: Any, now: datetime, repeated: bool, clock: datetime) -> Any:
        if given.error is None:
            raise RuntimeError("bug")
        return DECIDE_TRIGGER(state, given, now, repeated, clock)

    monkeypatch.setattr(triggers, "decide", broken)
    monkeypatch.setattr(turns, "MAX_DECISION_BYTES", 1200)
    stages = [{"wait_event": {"event": "x" * 400}}]
    large = RunWorkflow(workflow_id="w", stages=definition(stages), variables={}, source="events/1", sequence=7)
    commands: list[tuple[str, Command]] = [
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


def test_the_rejection_of_a_keyed_abort_tells_which_it_was() -> None:
    desk = Desk()
    turn = desk.new_turn()
    turn.command(100, "i", AbortInstance(request_key="k", request_digest="d"))
    turn.command(101, "i", SendEvent(name="x", request_key="k", request_digest="d"))
    stored = [StoredRecord(0, record.key, record.value, record.headers) for record in turn.records]
    found: list[Any] = [CODEC.decode_event(record).event for record in stored]
    assert [(event.request_key, event.request_digest) for event in found] == [("k", "d"), (None, None)]
