"""A partition's state: what it remembers, what it wants done, and that a restore comes to the same."""

import gc
import random
import tracemalloc
import weakref
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from engine.core.decisions import ActivityDone
from engine.core.definition import MAX_RECENT_BYTES, Definition
from engine.core.duplicates import DEFAULT_BOUNDS, MAX_UNKEYED, Bounds
from engine.core.effects import CallActivity, EvaluateMessage, GoOn, StartInstance, Token, Wake
from engine.core.errors import IllegalTransition, Rejected
from engine.core.evaluation import Evaluated
from engine.core.shard import Input, Shard
from engine.core.trigger import Requested
from schemas import events as ev
from schemas import rejections
from schemas.commands import (
    AbortInstance,
    CreateTrigger,
    CreateWorkflow,
    DeleteTrigger,
    DeleteWorkflow,
    EvaluateTrigger,
    FireTrigger,
)
from schemas.records import UndecodableRecord
from tests.definitions import definition
from tests.unit.engine.core.histories import CALL, DELAY, NOW, SECOND, TIGHT, UPDATE, WAIT, Live, restored, run
from tests.unit.engine.core.test_trigger import CREATED, DELETED, ENVELOPE, ID, STAGES, T, failed, fire, fired, waits

# Live state and restored state


def test_a_restore_comes_to_the_live_state() -> None:
    rng = random.Random(3)
    live = Live(TIGHT)
    for step in range(800):
        live.give_any(rng, step)
        if rng.random() < 0.1:
            assert live.restored().contents() == live.shard.contents()
    kinds = {type(event).__name__ for _, event in live.log}
    assert {"LateResultRecorded", "EvaluationEnded", "TriggerFired", "InstanceRequested", "InstanceRetried"} <= kinds
    restored = live.restored()
    effects = {s: restored.effect(s) for s in restored.subjects()}
    assert effects == {s: live.shard.effect(s) for s in effects}
    assert any(effects.values())


def test_deciding_changes_nothing() -> None:
    live = Live()
    live.give("a", run(UPDATE))
    before = msgspec.json.encode(repr(live.shard.contents()))
    assert len(live.shard.decide("a", ActivityDone(CALL), NOW).events) == 3
    assert len(live.shard.decide("b", run(WAIT), NOW).events) == 2
    assert msgspec.json.encode(repr(live.shard.contents())) == before


def test_events_never_go_back_in_time_but_timers_follow_the_clock() -> None:
    live = Live()
    live.give("a", run(WAIT), NOW + 60 * SECOND)
    live.give("b", run(DELAY), NOW)
    (_, started) = live.log[-1]
    assert isinstance(started, ev.StageStarted)
    assert (started.at, started.wait_until) == (NOW + 60 * SECOND, NOW + 60 * SECOND)
    assert live.restored().stamp(NOW) == NOW + 60 * SECOND


# Definitions


def test_instances_share_one_definition_by_its_content() -> None:
    live = Live()
    for number in range(3):
        live.give(f"i{number}", run(WAIT))
    live.give("other", run(WAIT, WAIT))
    live.shard.settle()
    found = [live.shard.instance(id) for id in ("i0", "i1", "i2", "other")]
    shared = {id(instance.definition) for instance in found if instance}
    assert len(shared) == 2
    assert [list(instance.definition.stages) for instance in found if instance][2:] == [[WAIT], [WAIT, WAIT]]


def test_a_definition_lives_as_long_as_an_instance_has_it() -> None:
    content = definition([{"wait_event": {"event": "x" * MAX_RECENT_BYTES}}])
    live = Live()
    live.give("a", replace(run(), stages=content))
    live.shard.settle()
    held = weakref.ref(Definition.of(content))
    assert held() is not None
    live.give("a", AbortInstance())
    live.log.clear()
    assert held() is None


def test_an_instance_that_waits_takes_700_bytes_live_and_after_a_restore() -> None:
    count, stages = 3000, [WAIT, *[UPDATE] * 30]
    runs = [(str(UUID(int=number + 2**127)), f"order-{number}") for number in range(count)]

    def waiting() -> Live:
        live = Live()
        for id, order in runs:
            live.give(id, replace(run(*stages), variables={"order": order, "customer": "c"}))
            live.shard.settle()
        return live

    log = waiting().log  # the definition is in memory from here on
    sizes = []
    makers: Sequence[Callable[[], Shard]] = (lambda: waiting().shard, lambda: restored(log))
    for make in makers:
        gc.collect()
        tracemalloc.start()
        shard = make()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0] / count)
        tracemalloc.stop()
        assert shard.instances == count
    assert sizes[0] <= 700
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


@pytest.mark.parametrize("stages", [b"5", b"[5]", b"{}", b"null", b'["x"]'])
def test_a_command_with_stages_that_are_not_objects_is_undecodable(stages: bytes) -> None:
    with pytest.raises(UndecodableRecord):
        Shard().decide("a", replace(run(), stages=Raw(stages)), NOW)


# Effects


def test_effects() -> None:
    live = Live()
    live.give("a", run(UPDATE))
    live.give("b", run(WAIT))
    live.give("c", run(*[{"noop": {}}] * 101))
    live.give("d", run(DELAY))
    assert isinstance(live.shard.effect("a"), CallActivity)
    assert live.shard.effect("b") is None
    assert live.shard.effect("c") == GoOn(Token("go_on", 100))
    assert live.shard.effect("d") == Wake(Token("wake", 0), NOW + 60 * SECOND)
    assert live.shard.effect("nobody") is None
    earlier = NOW - 3600 * SECOND
    assert live.shard.effect("d", earlier) == Wake(Token("wake", 0), earlier + 60 * SECOND)


def test_effects_of_a_trigger_are_those_of_its_occurrences() -> None:
    live = Live()
    live.give("t", CreateTrigger(name="", event="X", workflow_id="w"))
    message: dict[str, Any] = {"event": Raw(b"{}"), "source": "x/0", "stages": Raw(b"[]")}
    live.give("t", EvaluateTrigger(occurrence_id="o1", offset=1, **message))
    live.give("t", FireTrigger(occurrence_id="o2", offset=2, **message))
    waits_for_links, to_start = live.shard.effect("t/o1"), live.shard.effect("t/o2")
    assert isinstance(waits_for_links, EvaluateMessage)
    assert waits_for_links.token == Token("evaluate", attempt=1)
    assert isinstance(to_start, StartInstance)
    assert (to_start.trigger_id, to_start.pending.sequence) == ("t", 2)
    live.give("t", Evaluated("o1", 1, may_pass=True))
    again = live.shard.effect("t/o1")
    assert isinstance(again, EvaluateMessage)
    assert (again.token.attempt, again.not_before) == (2, NOW + SECOND)
    live.give("t", Evaluated("o1", 2, matches=True))
    live.give("t", DeleteTrigger())
    assert [live.shard.effect(id) is None for id in ("t/o1", "t/o2")] == [False, False], (
        "what has fired is still started"
    )
    live.give("t", Requested("o1"))
    assert [type(live.shard.effect(id)).__name__ for id in ("t/o1", "t/o2")] == ["NoneType", "StartInstance"]


def test_events_that_do_not_follow_change_nothing() -> None:
    live = Live()
    live.give("a", run(WAIT))
    before = live.shard.contents()
    ended, again = ev.StageEnded(at=NOW, workflow_id="w", number=0), ev.StageEnded(at=NOW, workflow_id="w", number=0)
    for key, events in (
        ("a", [ended, again]),
        (ID, [CREATED, CREATED]),
        (ID, [CREATED, ev.EvaluationEnded(at=T, occurrence_id="o")]),
    ):
        with pytest.raises(IllegalTransition):
            live.shard.replay(key, events, 2)
        assert live.shard.contents() == before


def test_replay_names_the_subjects_whose_effect_may_have_changed() -> None:
    shard = Shard()
    assert list(shard.replay(ID, [CREATED], 0)) == []
    assert list(shard.replay(ID, [waits(1)], 1)) == [f"{ID}/ledger/0/1"]
    assert list(shard.replay(ID, [waits(2)], 2)) == [f"{ID}/ledger/0/2"]
    assert list(shard.replay(ID, [fired(3)], 3)) == [f"{ID}/ledger/0/3"]
    assert list(shard.replay(ID, [DELETED], 4)) == [f"{ID}/ledger/0/1", f"{ID}/ledger/0/2"]


def test_occurrences_of_one_id_are_told_apart_by_their_trigger() -> None:
    shard = Shard()
    for trigger_id in ("t", "u"):
        shard.replay(trigger_id, [CREATED], 0)
        shard.replay(trigger_id, [waits(1)], 1)
    shard.replay("t", [replace(waits(2), occurrence_id="ledger/0/1", event=Raw(b'"longer"'))], 2)
    assert shard.waiting == 2
    shard.replay("t", [DELETED], 3)
    assert (shard.waiting, shard.contents()["waiting_bytes"]) == (1, len(bytes(ENVELOPE)) + len(bytes(STAGES)))
    assert shard.effect("u/ledger/0/1") is not None
    shard.replay("u", [DELETED], 4)
    assert (shard.waiting, shard.contents()["waiting_bytes"]) == (0, 0)


def test_occurrences_of_one_id_start_one_instance_in_the_order_of_the_log() -> None:
    shard = Shard()
    shard.replay(ID, [CREATED], 0)
    for offset, (number, occurrence) in enumerate([(1, "a"), (2, "b"), (3, "a")], 1):
        shard.replay(ID, [replace(fired(number), occurrence_id=occurrence)], offset)
    found = [effect for subject in shard.subjects() if isinstance(effect := shard.effect(subject), StartInstance)]
    # a receiver of b's command would take it for a duplicate behind one with a larger sequence
    assert [(effect.pending.occurrence_id, effect.pending.sequence) for effect in found] == [("a", 1), ("b", 2)]


def test_aggregates_of_several_kinds_with_one_id_count_their_own_events() -> None:
    live = Live()
    for command in (
        run(UPDATE),
        CreateTrigger(name="", event="X", workflow_id="w"),
        CreateWorkflow(name="", stages=[]),
        AbortInstance(),
    ):
        live.give("x", command)
    given: list[Input] = [ActivityDone(CALL), DeleteTrigger(), DeleteWorkflow(), run(WAIT)]
    assert [live.shard.decide("x", each, NOW).version for each in given] == [6, 1, 1, 0]


# Duplicates


def test_the_late_result_of_an_aborted_call_is_recorded_once() -> None:
    live = Live()
    live.give("a", run(UPDATE))
    live.give("a", AbortInstance())
    live.shard.settle()
    assert live.shard.instances == 0
    assert live.give("a", ActivityDone(Token("call", 0, 0, 2))) == []
    assert live.shard.decide("a", ActivityDone(CALL), NOW).version == 6
    assert live.give("a", ActivityDone(CALL, output=1)) == ["LateResultRecorded"]
    assert live.give("a", ActivityDone(CALL, output=1)) == []


def test_run_commands_of_a_source_are_decided_in_order() -> None:
    live = Live()
    assert live.give("a", run(WAIT, source="events/1", sequence=7)) == ["InstanceStarted", "StageStarted"]
    assert live.give("b", run(WAIT, source="events/1", sequence=7)) == []
    assert live.give("b", run(WAIT, source="events/1", sequence=3)) == []
    assert live.give("b", run(WAIT, source="events/2", sequence=3)) != []
    assert live.give("c", run(WAIT, source="events/1", sequence=8)) != []


def test_a_keyed_run_is_refused_when_it_may_be_forgotten() -> None:
    live = Live(Bounds(max_ended=1))
    live.give("a", run(request_digest="a"))
    assert live.give("a", run(request_digest="a")) == []
    with pytest.raises(Rejected) as conflict:
        live.give("a", run(request_digest="b"))
    assert conflict.value.code == rejections.CONFLICT
    live.give("b", run(request_digest="b"))  # forgets a, which ended at offset 1
    with pytest.raises(Rejected) as retry:
        live.give("a", run(request_digest="a", seen_offset=1))
    assert retry.value.code == rejections.RETRY
    assert live.give("c", run(request_digest="c", seen_offset=2)) == ["InstanceStarted", "InstanceEnded"]


def test_a_run_that_was_written_twice_does_not_run_again() -> None:
    live = Live()
    assert live.give("a", run()) == ["InstanceStarted", "InstanceEnded"]
    assert live.give("a", run()) == []
    live.give("b", run(request_digest="y"))
    with pytest.raises(Rejected) as conflict:
        live.give("b", run())
    assert conflict.value.code == rejections.CONFLICT
    for number in range(MAX_UNKEYED):
        live.give(f"i{number}", run())
    assert live.give("a", run()) == ["InstanceStarted", "InstanceEnded"], "it was forgotten"
    assert live.restored().contents() == live.shard.contents()


def record(*events: ev.TriggerEvent | ev.CommandSkipped, bounds: Bounds = DEFAULT_BOUNDS) -> Shard:
    """A partition's state after these."""
    shard = Shard(bounds)
    for offset, event in enumerate((CREATED, *events)):
        shard.replay(ID, [event], offset)
    return shard


def known(shard: Shard, *identities: str, now: datetime = T) -> Sequence[bool]:
    return [shard.duplicates.has_judged(ID, identity, now) for identity in identities]


def test_what_is_to_be_started_is_known_until_it_is_requested() -> None:
    requested = ev.InstanceRequested(at=T, occurrence_id="ledger/0/5")
    shard = record(fired(5), failed(6, "x"), fired(3, "ledger/1"))
    assert list(shard.subjects()) == [f"{ID}/ledger/0/5", f"{ID}/ledger/1/3"], "in the order of the log"
    assert shard.effect(f"{ID}/ledger/0/6") is None
    assert record(fired(5), requested).effect(f"{ID}/ledger/0/5") is None
    assert record(fired(5), DELETED).effect(f"{ID}/ledger/0/5"), "what fired before the deletion is still started"


@pytest.mark.parametrize("error", [None, "boom"])
def test_a_judged_message_is_known_by_its_identity_for_a_time(error: str | None) -> None:
    judged = failed(5, error, identity="k1") if error else fired(5, identity="k1")
    shard = record(judged, bounds=Bounds(identity_seconds=60))
    assert known(shard, "k1", "k2") == [True, False]
    assert known(shard, "k1", now=T + timedelta(seconds=59)) == [True]
    assert known(shard, "k1", now=T + timedelta(seconds=60)) == [False]
    assert not shard.duplicates.has_judged("another", "k1", T)


def test_so_many_identities_of_a_trigger_are_known() -> None:
    shard = record(*(fired(n, identity=f"k{n}") for n in range(5)), bounds=Bounds(max_identities=3))
    assert known(shard, *(f"k{n}" for n in range(5))) == [False, False, True, True, True]


def test_an_identity_that_expired_is_known_again() -> None:
    ticks = [ev.CommandSkipped(at=T + timedelta(seconds=0.6 * number)) for number in range(100)]
    later = replace(fired(6, identity="k1"), at=T + timedelta(seconds=60))
    shard = record(fired(5, identity="k1"), *ticks, later, bounds=Bounds(identity_seconds=60))
    assert known(shard, "k1", now=T + timedelta(seconds=119)) == [True]


def message_at(number: int, identity: str, seconds: float) -> ev.TriggerFired:
    return replace(fired(number, identity=identity), at=T + timedelta(seconds=seconds))


def test_a_clock_that_was_ahead_makes_no_trigger_forget_what_it_has_judged() -> None:
    bounds = Bounds(identity_seconds=60)
    live = Live(bounds)
    live.give(ID, CreateTrigger(name="", event="X", workflow_id="w"), T)
    live.give(ID, fire(1, identity="k1"), T)
    live.give(ID, fire(2, identity="k2"), T + timedelta(days=400))
    for shard in (live.shard, live.restored()):
        for identity in ("k1", "k2"):
            assert not shard.decide(ID, fire(3, identity=identity), T + timedelta(seconds=30)).events
            assert not shard.decide(ID, fire(3, identity=identity), T + timedelta(days=400)).events


def test_what_is_judged_is_forgotten_once_the_time_has_passed_in_small_steps() -> None:
    bounds = Bounds(identity_seconds=60)
    ahead = message_at(2, "k2", 10**6)
    later = [message_at(number, f"k{number}", 10**6 + 0.5 * number) for number in range(3, 126)]
    shard = record(message_at(1, "k1", 0), ahead, *later, bounds=bounds)
    assert not list(shard.duplicates.sections[-1].ids()).count(f"{ID}/k1")
    assert f"{ID}/k10" in list(shard.duplicates.sections[-1].ids())


def test_a_message_that_waits_is_known_by_its_identity_but_was_not_once_ever() -> None:
    shard = record(waits(5, once_key="P:1", identity="k1"))
    assert known(shard, "k1") == [True]
    assert not shard.duplicates.has_fired_for(ID, "P:1")
    assert (shard.waiting, shard.contents()["waiting_bytes"]) == (1, len(bytes(ENVELOPE)) + len(bytes(STAGES)))
    shard = record(waits(5, once_key="P:1", identity="k1"), fired(5, once_key="P:1", identity="k1"))
    assert known(shard, "k1") == [True]
    assert shard.duplicates.has_fired_for(ID, "P:1")
    assert (shard.waiting, shard.contents()["waiting_bytes"]) == (0, 0)


def test_only_what_fired_was_once_ever() -> None:
    shard = record(failed(5, "boom", once_key="P:1"))
    assert not shard.duplicates.has_fired_for(ID, "P:1")
    shard = record(failed(5, "boom", once_key="P:1"), fired(6, once_key="P:1"))
    assert shard.duplicates.has_fired_for(ID, "P:1")


def test_a_deleted_trigger_needs_no_memory() -> None:
    shard = record(fired(5, once_key="P:1", identity="k1"), DELETED)
    assert not shard.duplicates.has_fired_for(ID, "P:1")
    assert known(shard, "k1") == [False]
