"""What an instance does about an input: a command, the end of a delay, the result of a call.

`decide` looks at the state and returns the events that follow, in order. It goes on from stage to stage until the
instance has to wait or has ended.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core import stages
from engine.core.effects import Token, Wake, effect
from engine.core.errors import Rejected
from engine.core.instance import Attempt, Instance, evolve
from engine.core.requests import came_before, check_same_request
from engine.core.retries import Failure, backoff, is_final
from schemas import events as ev
from schemas import rejections
from schemas.commands import AbortInstance, ResumeActivity, RunWorkflow, SendEvent


class Due(Struct, frozen=True):
    """What the instance was to go on with is due: a delay has ended, or it was between two stages."""

    token: Token


class ActivityDone(Struct, frozen=True):
    """A call to the stack came back, with an output or a failure."""

    token: Token
    output: Any = None
    failure: Failure | None = None


Input = RunWorkflow | SendEvent | ResumeActivity | AbortInstance | Due | ActivityDone

TICK: Final = timedelta(microseconds=1)
"""Times in the log are not finer. Two pauses of an activity at the same time would be taken for one."""


def decide(
    state: Instance | None,
    given: Input,
    now: datetime,
    instance_id: str,
    clock: datetime | None = None,
    max_attempts: int | None = None,
) -> Sequence[ev.InstanceEvent]:
    """The events that follow from an input; none when it changes nothing.

    Args:
        state: the instance, None when it is unknown or has ended.
        given: the input.
        now: the time of the turn, UTC, which is stamped on the events and never goes back.
        instance_id: whose input it is.
        clock: what the clock says, which delays and retries follow; `now` if not given.
        max_attempts: how often an activity is tried before it is paused, if its workflow does not say; None for ever.

    Raises:
        Rejected: the command changes nothing, and its sender has to know why.
        UndecodableRecord: the stages of a run command are not a list of objects.
    """
    clock = clock or now
    match given:
        case RunWorkflow():
            return _run(state, given, now, instance_id, clock)
        case SendEvent():
            return _send_event(_alive(state), given, now, clock)
        case ResumeActivity():
            return _resume(_alive(state), given, now)
        case AbortInstance():
            return _abort(_alive(state), given, now)
        case Due():
            return () if state is None else _due(state, given, now, clock)
        case ActivityDone():
            return () if state is None else _activity_done(state, given, now, clock, max_attempts)


def _go_on(state: Instance, event: ev.InstanceEvent, now: datetime, clock: datetime) -> Sequence[ev.InstanceEvent]:
    """An event, and what follows from it."""
    return (event, *stages.advance(evolve(state, event, state.id), now, clock))


def _run(
    state: Instance | None, command: RunWorkflow, now: datetime, instance_id: str, clock: datetime
) -> Sequence[ev.InstanceEvent]:
    if state is not None:
        check_same_request(state.request_digest, command.request_digest)
        return ()
    started = _started(command, now)
    return (started, *stages.advance(evolve(None, started, instance_id), now, clock))


def _started(command: RunWorkflow, now: datetime) -> ev.InstanceStarted:
    return ev.InstanceStarted(
        at=now,
        workflow_id=command.workflow_id,
        stages=command.stages,
        variables=command.variables,
        request_digest=command.request_digest,
        source=command.source,
        sequence=command.sequence,
        max_attempts=command.max_attempts,
        trigger_id=command.trigger_id,
        occurrence_id=command.occurrence_id,
        by=command.by,
        reason=command.reason,
    )


def start_in_vain(command: RunWorkflow, now: datetime, error: str) -> Sequence[ev.InstanceEvent]:
    """Start an instance whose first decision can't be made or written down, and end it with an error that says so."""
    return (_started(command, now), ev.InstanceEnded(at=now, workflow_id=command.workflow_id, error=error))


def _alive(state: Instance | None) -> Instance:
    # The API has seen the instance in the read model, so one that is not known here any more has ended.
    if state is None or state.ended:
        raise Rejected(rejections.ENDED, "the instance has ended")
    return state


def _send_event(state: Instance, command: SendEvent, now: datetime, clock: datetime) -> Sequence[ev.InstanceEvent]:
    if came_before(state, command):
        return ()
    received = ev.EventReceived(
        at=now,
        name=command.name,
        payload=command.payload,
        stage=stages.taker(state, command.name),
        request_key=command.request_key,
        request_digest=command.request_digest,
        by=command.by,
        reason=command.reason,
    )
    return _go_on(state, received, now, clock)


def _resume(state: Instance, command: ResumeActivity, now: datetime) -> Sequence[ev.InstanceEvent]:
    """End the pause that the command means; nothing if it has ended, and the activity is in no later one."""
    if came_before(state, command):
        return ()
    if command.stage < state.stage:
        raise Rejected(rejections.ENDED, f"stage {command.stage} has ended")
    if not state.running or command.stage > state.stage or command.index >= len(state.activities):
        raise Rejected(rejections.NO_ACTIVITY, f"stage {command.stage} has no activity {command.index}")
    activity = state.activities[command.index]
    if activity.paused_at != command.paused_at:
        raise Rejected(rejections.OTHER_PAUSE, "the activity is not in the pause that began at pausedAt")
    if not activity.paused:
        return ()
    return (
        ev.ActivityResumed(
            at=now,
            stage=command.stage,
            index=command.index,
            request_key=command.request_key,
            request_digest=command.request_digest,
            by=command.by,
            reason=command.reason,
            bulk_id=command.bulk_id,
            bulk_page=command.bulk_page,
        ),
    )


def _abort(state: Instance, command: AbortInstance, now: datetime) -> Sequence[ev.InstanceEvent]:
    """End the instance; nothing if the same request has ended it before, and it was retried since."""
    if came_before(state, command):
        return ()
    *before, ended = _end(state, now, ev.CANCELED)
    ended = replace(
        ended,
        request_key=command.request_key,
        request_digest=command.request_digest,
        by=command.by,
        reason=command.reason,
        bulk_id=command.bulk_id,
        bulk_page=command.bulk_page,
    )
    return (*before, ended)


def _end(state: Instance, now: datetime, error: str) -> Sequence[ev.InstanceEvent]:
    """End the instance and whatever runs in it with one error."""
    events: list[ev.InstanceEvent] = []
    if state.running:
        if state.activities and not state.activities[-1].ended:
            index, attempt = len(state.activities) - 1, state.activities[-1].attempt
            events.append(ev.ActivityEnded(at=now, stage=state.stage, index=index, attempt=attempt, error=error))
        events.append(ev.StageEnded(at=now, workflow_id=state.workflow_id, number=state.stage, error=error))
    return (*events, stages.instance_ended(state, state.stage + state.running, now, error))


def _due(state: Instance, given: Due, now: datetime, clock: datetime) -> Sequence[ev.InstanceEvent]:
    pending = effect(state)
    if pending is None or pending.token != given.token:
        return ()
    if isinstance(pending, Wake):
        # Its timer has rung. The clock may have been set back since, and nothing would ring again.
        ended = ev.StageEnded(at=now, workflow_id=state.workflow_id, number=state.stage)
        return _go_on(state, ended, now, clock)
    return stages.advance(state, now, clock)


def _activity_done(
    state: Instance, given: ActivityDone, now: datetime, clock: datetime, max_attempts: int | None
) -> Sequence[ev.InstanceEvent]:
    token, failure = given.token, given.failure
    if not waits_for(state, given):
        return (late_result(given, now),)
    attempt: dict[str, Any] = {"at": now, "stage": token.stage, "index": token.index, "attempt": token.attempt}
    if failure is None:
        return _go_on(state, ev.ActivityEnded(**attempt, output=given.output), now, clock)
    activity = state.activities[token.index]
    if is_final(activity.name, failure):
        failed = ev.ActivityEnded(**attempt, error=failure.error, code=failure.code)
        return _go_on(state, failed, now, clock)
    limit = max_attempts if state.max_attempts is None else state.max_attempts
    if limit is None or token.attempt < limit:
        return (ev.ActivityFailed(**attempt, error=failure.error, retry_at=clock + backoff(token.attempt)),)
    if activity.paused_at is not None:
        attempt["at"] = max(now, activity.paused_at + TICK)
    paused = ev.ActivityPaused(
        **attempt, max_attempts=limit, name=activity.name, error=failure.error, code=failure.code
    )
    return (paused,)


def waits_for(state: Instance, result: ActivityDone) -> bool:
    """Whether an instance waits for this result, and not for that of another call or for none."""
    pending = effect(state)
    return pending is not None and pending.token == result.token


def attempt_of(token: Token) -> Attempt:
    """The attempt that a call belongs to."""
    return Attempt(token.stage, token.index, token.attempt, token.resumes, token.retries)


def late_result(given: ActivityDone, now: datetime) -> ev.LateResultRecorded:
    """What is recorded of a call that came back when its instance did not wait for it any more."""
    token, error = given.token, None if given.failure is None else given.failure.error
    return ev.LateResultRecorded(
        at=now,
        stage=token.stage,
        index=token.index,
        attempt=token.attempt,
        output=given.output,
        error=error,
        retries=token.retries,
    )


def give_up(
    state: Instance, now: datetime, error: str, result: ActivityDone | None = None
) -> Sequence[ev.InstanceEvent]:
    """End an instance whose next decision can't be made or written down, with an error that says so.

    Args:
        state: the instance, which has not ended.
        now: the time of the turn, UTC.
        error: what went wrong.
        result: of the call that the instance waits for, which is kept if the call has succeeded.
    """
    if result is None or result.failure is not None or not waits_for(state, result):
        return _end(state, now, error)
    token = result.token
    done = ev.ActivityEnded(at=now, stage=token.stage, index=token.index, attempt=token.attempt, output=result.output)
    return (done, *_end(evolve(state, done, state.id), now, error))
