"""Running the stages of an instance, step by step, until it has to wait (contract: workflows).

A stage is resolved when it starts; its fields in the history come from that. Later steps of the same stage resolve it
again, which gives the same, since definition and variables of an instance never change.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from engine.core.errors import StageFailed
from engine.core.instance import Instance
from engine.core.send import next_activity
from schemas import events as ev
from schemas.definition import (
    Delay,
    Noop,
    ResolvedStage,
    Send,
    StageUnresolvable,
    Update,
    WaitEvent,
    resolve_stage,
    stage_name,
    unresolved_input,
)

MAX_STAGES_PER_DECISION: Final = 100
"""A definition of thousands of stages that wait for nothing would hold up its partition, and its events would not fit
into one record batch; the instance goes on in the next turn instead."""

MAX_STAGE_INPUT_BYTES: Final = 1024 * 1024
"""A long variable that a stage names many times would blow its event up beyond what the topic takes."""


def step(state: Instance, now: datetime, clock: datetime) -> Sequence[ev.InstanceEvent]:
    """The events of the next step: of one stage, or the instance's end. None when the instance has to wait.

    Args:
        state: the instance, which has not ended.
        now: the time that the events carry.
        clock: what the clock says, which delays follow.
    """
    if state.running:
        return () if state.activities and not state.activities[-1].ended else _resume(state, now, clock)
    if state.failed is not None or state.stage == len(state.stages):
        return (ev.InstanceEnded(at=now, workflow_id=state.workflow_id, error=state.failed),)
    return _enter(state, now, clock)


def _enter(state: Instance, now: datetime, clock: datetime) -> Sequence[ev.InstanceEvent]:
    """Start the next stage. One whose fields can't be resolved ends at once."""
    stage = state.stages[state.stage]
    try:
        resolved = resolve_stage(stage, state.variables)
        shown = resolved.shown()
        _check_size(shown)
    except StageUnresolvable as error:
        return (
            _started(state, now, stage_name(stage), unresolved_input(stage)),
            _ended(state, now, str(error)),
        )
    wait_until = _end_of(resolved, clock) if isinstance(resolved, Delay) else None
    started = _started(state, now, resolved.name, shown, wait_until)
    return (started, *_run(state, resolved, wait_until, now, clock))


def _resume(state: Instance, now: datetime, clock: datetime) -> Sequence[ev.InstanceEvent]:
    """Go on in the running stage, which is resolved again.

    It could be resolved when it started, perhaps by an older build that took what this one refuses. Then it ends: an
    error here would drop every input of the instance, and it would never end.
    """
    try:
        resolved = resolve_stage(state.stages[state.stage], state.variables)
    except StageUnresolvable as error:
        return (_ended(state, now, str(error)),)
    return _run(state, resolved, state.wait_until, now, clock)


def _run(
    state: Instance, resolved: ResolvedStage, wait_until: datetime | None, now: datetime, clock: datetime
) -> Sequence[ev.InstanceEvent]:
    """What follows in a stage that has started; nothing when it has to wait."""
    match resolved:
        case Noop():
            done = True
        case Delay():
            done = wait_until is None or wait_until <= clock
        case WaitEvent():
            done = state.stage in state.arrived
        case Send() | Update():
            return _run_activities(state, resolved, now)
    return (_ended(state, now),) if done else ()


def _run_activities(state: Instance, resolved: Send | Update, now: datetime) -> Sequence[ev.InstanceEvent]:
    before = state.activities if state.running else ()
    try:
        activity = next_activity(resolved, before)
    except StageFailed as failure:
        return (_ended(state, now, str(failure)),)
    if activity is None:
        return (_ended(state, now),)
    return (ev.ActivityStarted(at=now, stage=state.stage, index=len(before), name=activity.name, input=activity.input),)


def _started(
    state: Instance, now: datetime, name: str, shown: dict[str, Any], wait_until: datetime | None = None
) -> ev.StageStarted:
    return ev.StageStarted(
        at=now, workflow_id=state.workflow_id, number=state.stage, name=name, input=shown, wait_until=wait_until
    )


def _ended(state: Instance, now: datetime, error: str | None = None) -> ev.StageEnded:
    return ev.StageEnded(at=now, workflow_id=state.workflow_id, number=state.stage, error=error)


def _check_size(shown: Mapping[str, object]) -> None:
    if shown and len(msgspec.json.encode(shown)) > MAX_STAGE_INPUT_BYTES:
        raise StageUnresolvable(f"the resolved stage is larger than {MAX_STAGE_INPUT_BYTES} bytes")


def _end_of(delay: Delay, clock: datetime) -> datetime:
    if delay.until is not None:
        return delay.until
    nanoseconds = delay.duration_nanoseconds or 0
    return clock + timedelta(microseconds=-(-nanoseconds // 1000))  # rounded up: never too early


def taker(state: Instance, name: str) -> int | None:
    """Number of the stage that takes an event of this name (contract: workflows, Events).

    It is the first `wait_event` of the name, running or still to come, that no other event has ended.
    """
    for number in range(state.stage, len(state.stages)):
        fields = state.stages[number].get("wait_event")
        if type(fields) is not dict:
            continue
        # Most stages tell by the text alone: resolving each of ten thousand would hold up the partition.
        text = fields.get("event")
        if (text != name and type(text) is str and "${" not in text) or number in state.arrived:
            continue
        try:
            resolved = resolve_stage(state.stages[number], state.variables)
        except StageUnresolvable:
            continue
        if isinstance(resolved, WaitEvent) and resolved.event == name:
            return number
    return None
