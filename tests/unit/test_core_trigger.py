"""The trigger aggregate as tables: what follows from each input in each state (`engine.core.trigger`)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid5

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from engine.aggregates import DEFAULT_BOUNDS, Aggregates, Bounds
from engine.core.errors import IllegalTransition, Rejected
from engine.core.trigger import INSTANCES, Pending, Requested, Trigger, decide, evolve
from schemas import events as ev
from schemas import rejections
from schemas.commands import NO_STAGES, CreateTrigger, DeleteTrigger, FireTrigger, RunWorkflow
from schemas.records import Recorded

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
    offset: int, source: str = "ledger/0", once: str | None = None, identity: str | None = None
) -> ev.TriggerFired:
    """What follows from it."""
    occurrence_id = f"{source}/{offset}"
    return ev.TriggerFired(
        at=T,
        occurrence_id=occurrence_id,
        event=ENVELOPE,
        source=source,
        offset=offset,
        once=once,
        identity=identity,
        workflow_id=WORKFLOW,
        instance_id=str(uuid5(INSTANCES, occurrence_id)),
        stages=STAGES,
        variables={"a": "1"},
    )


def failed(offset: int, error: str, once: str | None = None, identity: str | None = None) -> ev.TriggerFailed:
    """What follows when nothing can be started."""
    return ev.TriggerFailed(
        at=T,
        occurrence_id=f"ledger/0/{offset}",
        event=ENVELOPE,
        source="ledger/0",
        offset=offset,
        once=once,
        identity=identity,
        error=error,
    )


def state_after(*events: ev.TriggerEvent) -> Trigger | None:
    """The state that events leave; their offsets in the log are 100, 101 and so on."""
    state = None
    for offset, event in enumerate(events, 100):
        state = evolve(state, event, ID, offset)
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
    pytest.param((CREATED,), fire(5, once="P:1"), [fired(5, once="P:1")], id="once"),
    pytest.param((), Requested("ledger/0/5"), [], id="requested, of an unknown one"),
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
    pytest.param((CREATED, fired(5)), Requested("ledger/0/6"), [], id="requested, of another occurrence"),
    pytest.param((CREATED, failed(5, "x")), Requested("ledger/0/5"), [], id="a failed one starts nothing"),
    pytest.param(
        (CREATED, fired(5), ev.InstanceRequested(at=T, occurrence_id="ledger/0/5")),
        Requested("ledger/0/5"),
        [],
        id="requested again",
    ),
]


@pytest.mark.parametrize(("before", "given", "expected"), DECISIONS)
def test_decisions(before: tuple[ev.TriggerEvent, ...], given: Any, expected: list[ev.TriggerEvent]) -> None:
    assert decide(state_after(*before), given, T) == expected


def test_an_empty_workflow_is_not_a_deleted_one() -> None:
    (event,) = decide(state_after(CREATED), fire(5, stages=Raw(b"[]")), T)
    assert isinstance(event, ev.TriggerFired)


def test_a_repeated_message_does_not_fire_again() -> None:
    assert decide(state_after(CREATED), fire(5, once="P:1", identity="k1"), T, repeated=True) == []


@pytest.mark.parametrize("events", [(CREATED,), (CREATED, DELETED)])
def test_another_request_with_the_same_key_is_refused(events: tuple[ev.TriggerEvent, ...]) -> None:
    with pytest.raises(Rejected) as raised:
        decide(state_after(*events), CreateTrigger(name="", event="X", workflow_id=WORKFLOW, request="other"), T)
    assert raised.value.code == rejections.CONFLICT


@pytest.mark.parametrize("event", [DELETED, fired(5), failed(5, "x"), ev.InstanceRequested(at=T, occurrence_id="o")])
def test_nothing_happens_to_a_trigger_that_does_not_exist(event: ev.TriggerEvent) -> None:
    with pytest.raises(IllegalTransition):
        evolve(None, event, ID)


def test_a_trigger_is_created_once() -> None:
    with pytest.raises(IllegalTransition):
        evolve(state_after(CREATED), CREATED, ID)


def test_what_is_to_be_started_is_known_until_it_is_requested() -> None:
    state = state_after(CREATED, fired(5), failed(6, "x"), fired(3, "ledger/1"))
    assert state is not None
    assert [(p.occurrence_id, p.sequence) for p in state.pending] == [("ledger/0/5", 101), ("ledger/1/3", 103)]
    assert state.positions == {"ledger/0": 6, "ledger/1": 3}
    assert state.version == 4
    state = evolve(state, ev.InstanceRequested(at=T + timedelta(seconds=1), occurrence_id="ledger/0/5"), ID)
    assert [p.occurrence_id for p in state.pending] == ["ledger/1/3"]
    state = evolve(state, DELETED, ID)
    assert [p.occurrence_id for p in state.pending] == ["ledger/1/3"], "what fired before the deletion is still started"


def test_the_run_command_of_an_occurrence() -> None:
    pending = Pending("o", "i", WORKFLOW, STAGES, {"a": "1"}, 42)
    assert msgspec.json.decode(msgspec.json.encode(pending.command("events/3")), type=RunWorkflow) == RunWorkflow(
        workflow_id=WORKFLOW, stages=[{"noop": {}}], variables={"a": "1"}, source="events/3", sequence=42
    )


def test_an_occurrence_always_starts_the_same_instance() -> None:
    first, again = (decide(state_after(CREATED), fire(5), at)[0] for at in (T, T + timedelta(days=1)))
    assert isinstance(first, ev.TriggerFired)
    assert isinstance(again, ev.TriggerFired)
    assert first.instance_id == again.instance_id != fired(6).instance_id


# What its partition remembers of it


def record(*events: ev.TriggerEvent, bounds: Bounds = DEFAULT_BOUNDS, trigger_id: str = ID) -> Aggregates:
    """A partition's memory after these."""
    aggregates = Aggregates(bounds)
    for offset, event in enumerate((CREATED, *events)):
        aggregates.restore(Recorded(trigger_id, offset + 1, event, offset, None))
    return aggregates


def known(aggregates: Aggregates, *identities: str, now: datetime = T) -> list[bool]:
    return [aggregates.has_judged(ID, identity, now) for identity in identities]


@pytest.mark.parametrize("error", [None, "boom"])
def test_a_judged_message_is_known_by_its_identity_for_a_time(error: str | None) -> None:
    judged = failed(5, error, identity="k1") if error else fired(5, identity="k1")
    aggregates = record(judged, bounds=Bounds(identity_seconds=60))
    assert known(aggregates, "k1", "k2") == [True, False]
    assert known(aggregates, "k1", now=T + timedelta(seconds=59)) == [True]
    assert known(aggregates, "k1", now=T + timedelta(seconds=60)) == [False]
    assert not aggregates.has_judged("another", "k1", T)


def test_so_many_identities_of_a_trigger_are_known() -> None:
    aggregates = record(*(fired(n, identity=f"k{n}") for n in range(5)), bounds=Bounds(max_identities=3))
    assert known(aggregates, *(f"k{n}" for n in range(5))) == [False, False, True, True, True]


def test_an_identity_that_expired_is_known_anew() -> None:
    later = replace(fired(6, identity="k1"), at=T + timedelta(seconds=60))
    aggregates = record(fired(5, identity="k1"), later, bounds=Bounds(identity_seconds=60))
    assert known(aggregates, "k1", now=T + timedelta(seconds=119)) == [True]


def test_only_what_fired_was_once_ever() -> None:
    aggregates = record(failed(5, "boom", once="P:1"))
    assert not aggregates.has_fired_for(ID, "P:1")
    aggregates = record(failed(5, "boom", once="P:1"), fired(6, once="P:1"))
    assert aggregates.has_fired_for(ID, "P:1")


def test_a_deleted_trigger_needs_no_memory() -> None:
    aggregates = record(fired(5, once="P:1", identity="k1"), DELETED)
    assert not aggregates.has_fired_for(ID, "P:1")
    assert known(aggregates, "k1") == [False]
