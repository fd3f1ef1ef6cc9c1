"""Running the stages of an instance, one after another, until it has to wait (contract: workflows).

A stage is resolved when it starts; its fields in the history come from that. Later steps of the same stage resolve it
again, which gives the same, since definition and variables of an instance never change.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from engine.core.errors import StageFailed
from engine.core.instance import Activity, Again, Instance
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


def advance(state: Instance, now: datetime, clock: datetime) -> list[ev.InstanceEvent]:
    """The events by which an instance goes on until it waits, has ended, or has had its share of this turn.

    Args:
        state: the instance, which has not ended.
        now: the time that the events carry.
        clock: what the clock says, which delays follow.
    """
    events: list[ev.InstanceEvent] = []
    number, failed, left = state.stage, state.failed, MAX_STAGES_PER_DECISION
    if state.running:
        if state.activities and not state.activities[-1].ended:
            return events
        events += _resume(state, now, clock)
        if not events or not isinstance(ended := events[-1], ev.StageEnded):
            return events
        number, failed, left = number + 1, ended.error, left - 1
    for _ in range(left):
        if failed is not None or number == len(state.definition.stages):
            events.append(instance_ended(state, number, now, failed))
            return events
        events += _enter(state, number, now, clock)
        if not isinstance(ended := events[-1], ev.StageEnded):
            return events
        number, failed = number + 1, ended.error
    return events


def _enter(state: Instance, number: int, now: datetime, clock: datetime) -> Sequence[ev.InstanceEvent]:
    """Start a stage. One whose fields can't be resolved ends at once."""
    stage = state.definition.stages[number]
    try:
        resolved = resolve_stage(stage, state.variables)
        shown = resolved.shown()
        _check_size(shown)
    except StageUnresolvable as error:
        return (
            _started(state, number, now, stage_name(stage), unresolved_input(stage)),
            _ended(state, number, now, str(error)),
        )
    wait_until = _end_of(resolved, clock) if isinstance(resolved, Delay) else None
    started = _started(state, number, now, resolved.name, shown, wait_until)
    again = _again(state, number)
    before = () if again is None else again.kept
    return (started, *_follow_up(state, number, resolved, before, wait_until, now, clock))


def _resume(state: Instance, now: datetime, clock: datetime) -> Sequence[ev.InstanceEvent]:
    """Go on in the running stage, which is resolved again; nothing when it has to wait.

    It could be resolved when it started, perhaps by an older build that took what this one refuses. Then it ends: an
    error here would drop every input of the instance, and it would never end.
    """
    number = state.stage
    try:
        resolved = resolve_stage(state.definition.stages[number], state.variables)
    except StageUnresolvable as error:
        return (_ended(state, number, now, str(error)),)
    return _follow_up(state, number, resolved, state.activities, state.wait_until, now, clock)


def _follow_up(
    state: Instance,
    number: int,
    resolved: ResolvedStage,
    before: Sequence[Activity],
    wait_until: datetime | None,
    now: datetime,
    clock: datetime,
) -> Sequence[ev.InstanceEvent]:
    """What follows in a stage that has started, with the activities before; nothing when it has to wait."""
    match resolved:
        case Noop():
            done = True
        case Delay():
            done = wait_until is None or wait_until <= clock
        case WaitEvent():
            done = number in state.arrived
        case Send() | Update():
            return _activities(state, number, resolved, before, now)
    return (_ended(state, number, now),) if done else ()


def _activities(
    state: Instance, number: int, resolved: Send | Update, before: Sequence[Activity], now: datetime
) -> Sequence[ev.InstanceEvent]:
    """The next activity of a stage, or its end."""
    try:
        activity = next_activity(resolved, before)
    except StageFailed as failure:
        return (_ended(state, number, now, str(failure)),)
    if activity is None:
        return (_ended(state, number, now),)
    started = ev.ActivityStarted(at=now, stage=number, index=len(before), name=activity.name, input=activity.input)
    again = _again(state, number)
    return (started if again is None else replace(started, key_number=again.key_number, key_used=again.key_used),)


def _again(state: Instance, number: int) -> Again | None:
    """How a pass begins in a stage; None if it did not begin there, or is past its beginning."""
    return state.again if number == state.stage else None


def _started(
    state: Instance, number: int, now: datetime, name: str, shown: dict[str, Any], wait_until: datetime | None = None
) -> ev.StageStarted:
    return ev.StageStarted(
        at=now, workflow_id=state.workflow_id, number=number, name=name, input=shown, wait_until=wait_until
    )


def _ended(state: Instance, number: int, now: datetime, error: str | None = None) -> ev.StageEnded:
    return ev.StageEnded(at=now, workflow_id=state.workflow_id, number=number, error=error)


def instance_ended(state: Instance, number: int, now: datetime, error: str | None) -> ev.InstanceEnded:
    """The end of an instance. What a retry needs to know of it is said here, since the engine forgets it.

    Args:
        state: the instance.
        number: of the stage that would be next.
        now: the time of the turn.
        error: why it ended; None if it has succeeded.
    """
    ended = ev.InstanceEnded(at=now, workflow_id=state.workflow_id, error=error)
    if error is None or not state.arrived:
        return ended
    return replace(ended, arrived=[arrived for arrived in state.arrived if arrived >= number])


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
    for number in range(state.stage, len(state.definition.stages)):
        fields = state.definition.stages[number].get("wait_event")
        if type(fields) is not dict:
            continue
        # Most stages tell by the text alone: resolving each of ten thousand would hold up the partition.
        text = fields.get("event")
        if (text != name and type(text) is str and "${" not in text) or number in state.arrived:
            continue
        try:
            resolved = resolve_stage(state.definition.stages[number], state.variables)
        except StageUnresolvable:
            continue
        if isinstance(resolved, WaitEvent) and resolved.event == name:
            return number
    return None
