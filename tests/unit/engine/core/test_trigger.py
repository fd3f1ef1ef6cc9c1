"""The trigger aggregate as tables: what follows from each input in each state (`engine.core.trigger`)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid5

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import asdict

from engine.core.definition import Definition
from engine.core.errors import IllegalTransition, Rejected
from engine.core.evaluation import Evaluated
from engine.core.trigger import INSTANCES, Pending, Requested, Trigger, decide, evolve
from schemas import events as ev
from schemas import rejections
from schemas.commands import NO_STAGES, CreateTrigger, DeleteTrigger, EvaluateTrigger, FireTrigger, RunWorkflow

T = datetime(2026, 3, 1, 10, tzinfo=UTC)
ID, WORKFLOW = "trigger", "6e0c0000-0000-4000-8000-000000000001"
STAGES = Raw(b'[{"noop": {}}]')
ENVELOPE = Raw(b'{"type": "X", "payload": {"n": 1000000000000000000000000000000}}')

CREATE = CreateTrigger(name="n", event="X", version="v2", workflow_id=WORKFLOW, filter="true", vars={"a": "1"})
CREATED = ev.TriggerCreated(
    at=T, name="n", event="X", version="v2", workflow_id=WORKFLOW, filter="true", vars={"a": "1"}
)
DELETED = ev.TriggerDeleted(at=T)


def fire(offset: int, source: str = "ledger/0", **fields: Any) -> FireTrigger:
    """The command of a message."""
    given: dict[str, Any] = {"stages": STAGES, "variables": {"a": "1"}, **fields}
    return FireTrigger(occurrence_id=f"{source}/{offset}", event=ENVELOPE, source=source, offset=offset, **given)


def fired(
    offset: int, source: str = "ledger/0", once_key: str | None = None, identity: str | None = None
) -> ev.TriggerFired:
    """What follows from it."""
    occurrence_id = f"{source}/{offset}"
    return ev.TriggerFired(
        at=T,
        occurrence_id=occurrence_id,
        event=ENVELOPE,
        source=source,
        offset=offset,
        once_key=once_key,
        identity=identity,
        workflow_id=WORKFLOW,
        instance_id=str(uuid5(INSTANCES, occurrence_id)),
        stages=STAGES,
        variables={"a": "1"},
    )


def failed(offset: int, error: str, once_key: str | None = None, identity: str | None = None) -> ev.TriggerFailed:
    """What follows when nothing can be started."""
    return ev.TriggerFailed(
        at=T,
        occurrence_id=f"ledger/0/{offset}",
        event=ENVELOPE,
        source="ledger/0",
        offset=offset,
        once_key=once_key,
        identity=identity,
        error=error,
    )


def state_after(*events: ev.TriggerEvent) -> Trigger | None:
    """The state that events leave."""
    state = None
    for event in events:
        state = evolve(state, event, ID)
    return state


DECISIONS: list[Any] = [
    pytest.param((), CREATE, [CREATED], id="create"),
    pytest.param((CREATED,), CREATE, [], id="create again"),
    pytest.param((CREATED, DELETED), CREATE, [], id="create what was deleted"),
    pytest.param((), DeleteTrigger(), [], id="delete an unknown one"),
    pytest.param((CREATED,), DeleteTrigger(), [DELETED], id="delete"),
    pytest.param((CREATED, DELETED), DeleteTrigger(), [], id="delete again"),
    pytest.param((), fire(5), [], id="an unknown one does not fire"),
    pytest.param((CREATED, DELETED), fire(5), [], id="a deleted one does not fire"),
    pytest.param((CREATED,), fire(0), [fired(0)], id="fire for the first record of a topic"),
    pytest.param((CREATED, fired(5)), fire(6), [fired(6)], id="fire for the next message"),
    pytest.param((CREATED, fired(5)), fire(9), [fired(9)], id="fire past messages that did not match"),
    pytest.param((CREATED, fired(5)), fire(5), [], id="a repetition"),
    pytest.param((CREATED, fired(5), fired(9)), fire(5), [], id="a repetition of an earlier message"),
    pytest.param((CREATED, failed(5, "x")), fire(5), [], id="a repetition of a message that failed"),
    pytest.param((CREATED, fired(5)), fire(5, "ledger/1"), [fired(5, "ledger/1")], id="another partition"),
    pytest.param((CREATED, fired(5)), fire(5, "wallets/0"), [fired(5, "wallets/0")], id="another topic"),
    pytest.param((CREATED,), fire(5, error="a: boom"), [failed(5, "a: boom")], id="a variable failed"),
    pytest.param(
        (CREATED,),
        fire(5, stages=NO_STAGES),
        [failed(5, f"the workflow {WORKFLOW} was deleted")],
        id="the workflow was deleted",
    ),
    pytest.param(
        (CREATED,),
        fire(5, stages=NO_STAGES, error="a: boom"),
        [failed(5, "a: boom")],
        id="the variable's error goes first",
    ),
    pytest.param((CREATED,), fire(5, once_key="P:1"), [fired(5, once_key="P:1")], id="once"),
    pytest.param((), Requested("ledger/0/5"), [], id="requested, of an unknown trigger"),
    pytest.param(
        (CREATED, fired(5)),
        Requested("ledger/0/5"),
        [ev.InstanceRequested(at=T, occurrence_id="ledger/0/5")],
        id="requested",
    ),
    pytest.param(
        (CREATED, fired(5), DELETED),
        Requested("ledger/0/5"),
        [ev.InstanceRequested(at=T, occurrence_id="ledger/0/5")],
        id="requested, of one that was deleted meanwhile",
    ),
]


def evaluate(offset: int, **fields: Any) -> EvaluateTrigger:
    """The command of a message that needs links."""
    source = "ledger/0"
    given: dict[str, Any] = {"stages": STAGES, **fields}
    return EvaluateTrigger(occurrence_id=f"{source}/{offset}", event=ENVELOPE, source=source, offset=offset, **given)


def waits(offset: int, **fields: Any) -> ev.EvaluationStarted:
    """What follows from it."""
    return ev.EvaluationStarted(at=T, **asdict(evaluate(offset, **fields)))


def retry(offset: int, attempt: int, seconds: float) -> ev.EvaluationFailed:
    """The attempt failed, and the next one follows so many seconds later."""
    retry_at = T + timedelta(seconds=seconds)
    return ev.EvaluationFailed(
        at=T, occurrence_id=f"ledger/0/{offset}", attempt=attempt, error="HTTP 503", retry_at=retry_at
    )


def result(offset: int, attempt: int = 1, **fields: Any) -> Evaluated:
    return Evaluated(f"ledger/0/{offset}", attempt, **fields)


PASSING: dict[str, Any] = {"error": "HTTP 503", "may_pass": True}
MATCH: dict[str, Any] = {"matches": True, "variables": {"a": "1"}}
NOT_FIRED = ev.EvaluationEnded(at=T, occurrence_id="ledger/0/5")
EVALUATIONS: list[Any] = [
    pytest.param((CREATED,), evaluate(5), [waits(5)], id="it waits"),
    pytest.param((CREATED, fired(5)), evaluate(5), [], id="a record that has fired"),
    pytest.param((CREATED, waits(5)), evaluate(5), [], id="a record that waits"),
    pytest.param((CREATED, waits(5)), fire(5), [], id="a record that waits, as one that needs no links"),
    pytest.param((CREATED, waits(5), NOT_FIRED), evaluate(5), [], id="a record that did not fire"),
    pytest.param((), evaluate(5), [], id="of an unknown one"),
    pytest.param((CREATED, DELETED), evaluate(5), [], id="of a deleted one"),
    pytest.param((CREATED, waits(5)), result(5), [NOT_FIRED], id="it does not match"),
    pytest.param((CREATED, waits(5)), result(5, error="HTTP 404"), [NOT_FIRED], id="the filter failed for good"),
    pytest.param((CREATED, waits(5)), result(5, **MATCH), [fired(5)], id="it matches"),
    pytest.param((CREATED, waits(5)), result(5, matches=True, error="a: boom"), [failed(5, "a: boom")], id="a failure"),
    pytest.param((CREATED, waits(5)), result(5, **PASSING), [retry(5, 1, 1)], id="a failure that may pass"),
    pytest.param(
        (CREATED, waits(5), retry(5, 1, 1)), result(5, 2, **PASSING), [retry(5, 2, 2)], id="the second attempt"
    ),
    pytest.param(
        (CREATED, waits(5), *(retry(5, n, 1) for n in range(1, 8))),
        result(5, 8, **PASSING),
        [retry(5, 8, 100)],
        id="at most 100 s",
    ),
    pytest.param((CREATED, waits(5), retry(5, 1, 1)), result(5, 1, **MATCH), [], id="a stale result"),
    pytest.param((CREATED, waits(5), NOT_FIRED), result(5, **MATCH), [], id="a result that is late"),
    pytest.param((CREATED, waits(5), fired(5)), result(5, **MATCH), [], id="a result that comes twice"),
    pytest.param((CREATED, waits(5), DELETED), result(5, **MATCH), [], id="the trigger was deleted meanwhile"),
    pytest.param((), result(5, **MATCH), [], id="a result of an unknown one"),
    pytest.param(
        (CREATED, waits(5)),
        result(5, **MATCH, workflow_deleted=True),
        [failed(5, f"the workflow {WORKFLOW} was deleted")],
        id="the workflow was deleted meanwhile",
    ),
    pytest.param(
        (CREATED, waits(5, stages=NO_STAGES)),
        result(5, **MATCH),
        [failed(5, f"the workflow {WORKFLOW} was deleted")],
        id="the workflow was deleted before",
    ),
    pytest.param(
        (CREATED, waits(5, once_key="P:1", identity="k1")),
        result(5, **MATCH),
        [fired(5, once_key="P:1", identity="k1")],
        id="it carries what tells it",
    ),
]


@pytest.mark.parametrize(("before", "given", "expected"), DECISIONS + EVALUATIONS)
def test_decisions(before: tuple[ev.TriggerEvent, ...], given: Any, expected: list[ev.TriggerEvent]) -> None:
    assert decide(state_after(*before), given, T) == expected


def test_another_message_about_the_same_payment_fired_meanwhile() -> None:
    state = state_after(CREATED, waits(5, once_key="P:1"))
    assert decide(state, result(5, **MATCH), T, repeated=True) == [NOT_FIRED]
    assert decide(state, result(5, **PASSING), T, repeated=True) == [retry(5, 1, 1)]


def test_what_waits_is_known_until_it_is_judged() -> None:
    state = state_after(CREATED, waits(5), waits(6), retry(5, 1, 1), fired(9))
    assert state is not None
    assert [(id, w.attempt, w.retry_at) for id, w in state.waiting.items()] == [
        ("ledger/0/5", 2, T + timedelta(seconds=1)),
        ("ledger/0/6", 1, None),
    ]
    assert state.waiting["ledger/0/5"].message == evaluate(5)
    assert state.positions == {"ledger/0": 9}
    state = evolve(state, fired(5), ID)
    assert state.positions == {"ledger/0": 9}, "what waited does not move the position back"
    assert list(state.waiting) == ["ledger/0/6"]
    assert evolve(state, DELETED, ID).waiting == {}


@pytest.mark.parametrize("event", [retry(5, 1, 1), NOT_FIRED])
def test_nothing_happens_to_a_message_that_does_not_wait(event: ev.TriggerEvent) -> None:
    with pytest.raises(IllegalTransition):
        evolve(state_after(CREATED, waits(6)), event, ID)


def test_an_empty_workflow_is_not_a_deleted_one() -> None:
    (event,) = decide(state_after(CREATED), fire(5, stages=Raw(b"[]")), T)
    assert isinstance(event, ev.TriggerFired)


def test_a_repeated_message_does_not_fire_again() -> None:
    assert decide(state_after(CREATED), fire(5, once_key="P:1", identity="k1"), T, repeated=True) == []


@pytest.mark.parametrize("events", [(CREATED,), (CREATED, DELETED)])
def test_another_request_with_the_same_key_is_refused(events: tuple[ev.TriggerEvent, ...]) -> None:
    with pytest.raises(Rejected) as raised:
        decide(state_after(*events), CreateTrigger(name="", event="X", workflow_id=WORKFLOW, request_digest="other"), T)
    assert raised.value.code == rejections.CONFLICT


@pytest.mark.parametrize("event", [DELETED, fired(5), failed(5, "x"), ev.InstanceRequested(at=T, occurrence_id="o")])
def test_nothing_happens_to_a_trigger_that_does_not_exist(event: ev.TriggerEvent) -> None:
    with pytest.raises(IllegalTransition):
        evolve(None, event, ID)


def test_a_trigger_is_created_once() -> None:
    with pytest.raises(IllegalTransition):
        evolve(state_after(CREATED), CREATED, ID)


def test_a_trigger_knows_how_far_it_is() -> None:
    state = state_after(CREATED, fired(5), failed(6, "x"), fired(3, "ledger/1"))
    assert state is not None
    assert (state.positions, state.version) == ({"ledger/0": 6, "ledger/1": 3}, 4)


def test_the_state_does_not_grow_with_what_is_to_be_started() -> None:
    """It is copied with each event, so thousands of occurrences that wait would make each turn slower."""
    few, many = (state_after(CREATED, *(fired(n) for n in range(count))) for count in (20, 98))
    assert len(msgspec.json.encode(few)) == len(msgspec.json.encode(many))


def test_the_run_command_of_an_occurrence() -> None:
    pending = Pending("00000000-0000-0000-0000-000000000008", "i", WORKFLOW, Definition.of(STAGES), {"a": "1"}, 42, 3)
    assert msgspec.json.decode(
        msgspec.json.encode(pending.command("events/3", "00000000-0000-0000-0000-000000000003")), type=RunWorkflow
    ) == RunWorkflow(
        workflow_id=WORKFLOW,
        stages=STAGES,
        variables={"a": "1"},
        source="events/3",
        sequence=42,
        max_attempts=3,
        trigger_id="00000000-0000-0000-0000-000000000003",
        occurrence_id="00000000-0000-0000-0000-000000000008",
    )


def test_an_occurrence_always_starts_the_same_instance() -> None:
    first, again = (decide(state_after(CREATED), fire(5), at)[0] for at in (T, T + timedelta(days=1)))
    assert isinstance(first, ev.TriggerFired)
    assert isinstance(again, ev.TriggerFired)
    assert first.instance_id == again.instance_id != fired(6).instance_id
