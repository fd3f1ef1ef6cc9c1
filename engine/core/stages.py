"""Running the stages of an instance, one after another, until it has to wait (contract: workflows).

A stage is resolved when it starts; its fields in the history come from that. Later steps of the same stage resolve it
again, which gives the same, since definition and variables of an instance never change.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from engine.core.errors import StageFailed
from engine.core.instance import Instance
from engine.core.progress import Progress
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

MAX_STAGES_PER_DECISION = 100
"""A definition of thousands of stages that wait for nothing would hold up its partition, and its events would not fit
into one record batch; the instance goes on in the next turn instead."""

MAX_STAGE_INPUT_BYTES = 1024 * 1024
"""A long variable that a stage names many times would blow its event up beyond what the topic takes."""


def advance(progress: Progress, now: datetime) -> None:
    """Go on until the instance waits, has ended, or has had its share of this turn."""
    for _ in range(MAX_STAGES_PER_DECISION):
        state = progress.state
        if state is None or state.ended:
            return
        if not state.running:
            if state.failed is not None or state.stage == len(state.stages):
                progress.record(ev.InstanceEnded(at=now, workflow_id=state.workflow_id, error=state.failed))
                return
            resolved = _enter(progress, state, now)
        elif state.activities and not state.activities[-1].ended:
            return
        else:
            resolved = _resume(progress, state, now)
        if resolved is not None and not _run(progress, resolved, now):
            return


def _enter(progress: Progress, state: Instance, now: datetime) -> ResolvedStage | None:
    """Start the next stage; None when its fields can't be resolved, which ends it."""
    stage = state.stages[state.stage]
    try:
        resolved = resolve_stage(stage, state.variables)
        shown = resolved.shown()
        _check_size(shown)
    except StageUnresolvable as error:
        progress.record(
            ev.StageStarted(
                at=now,
                workflow_id=state.workflow_id,
                number=state.stage,
                name=stage_name(stage),
                input=unresolved_input(stage),
            )
        )
        progress.record(ev.StageEnded(at=now, workflow_id=state.workflow_id, number=state.stage, error=str(error)))
        return None
    wait_until = _end_of(resolved, progress.clock) if isinstance(resolved, Delay) else None
    progress.record(
        ev.StageStarted(
            at=now,
            workflow_id=state.workflow_id,
            number=state.stage,
            name=resolved.name,
            input=shown,
            wait_until=wait_until,
        )
    )
    return resolved


def _resume(progress: Progress, state: Instance, now: datetime) -> ResolvedStage | None:
    """Resolve the running stage again; None when that fails now, which ends it.

    It could be resolved when it started, perhaps by an older build that took what this one refuses. An error here would
    drop every input of the instance, and it would never end.
    """
    try:
        return resolve_stage(state.stages[state.stage], state.variables)
    except StageUnresolvable as error:
        progress.record(ev.StageEnded(at=now, workflow_id=state.workflow_id, number=state.stage, error=str(error)))
        return None


def _check_size(shown: Mapping[str, object]) -> None:
    if shown and len(msgspec.json.encode(shown)) > MAX_STAGE_INPUT_BYTES:
        raise StageUnresolvable(f"the resolved stage is larger than {MAX_STAGE_INPUT_BYTES} bytes")


def _end_of(delay: Delay, clock: datetime) -> datetime:
    if delay.until is not None:
        return delay.until
    nanoseconds = delay.duration_nanoseconds or 0
    return clock + timedelta(microseconds=-(-nanoseconds // 1000))  # rounded up: never too early


def _run(progress: Progress, resolved: ResolvedStage, now: datetime) -> bool:
    """Take the running stage a step further. False when the instance has to wait now."""
    state = progress.state
    if state is None:  # pragma: no cover - a running stage has an instance
        return False
    match resolved:
        case Noop():
            done = True
        case Delay():
            done = state.wait_until is None or state.wait_until <= progress.clock
        case WaitEvent():
            done = state.stage in state.arrived
        case Send() | Update():
            return _run_activities(progress, state, resolved, now)
    if done:
        progress.record(ev.StageEnded(at=now, workflow_id=state.workflow_id, number=state.stage))
    return done


def _run_activities(progress: Progress, state: Instance, resolved: Send | Update, now: datetime) -> bool:
    try:
        activity = next_activity(resolved, state.activities)
    except StageFailed as failure:
        progress.record(ev.StageEnded(at=now, workflow_id=state.workflow_id, number=state.stage, error=str(failure)))
        return True
    if activity is None:
        progress.record(ev.StageEnded(at=now, workflow_id=state.workflow_id, number=state.stage))
        return True
    index = len(state.activities)
    progress.record(
        ev.ActivityStarted(at=now, stage=state.stage, index=index, name=activity.name, input=activity.input)
    )
    return False


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
