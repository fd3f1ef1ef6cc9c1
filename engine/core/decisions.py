"""What an instance does about an input: a command, the end of a delay, the result of a call.

`decide` looks at the state and returns the events that follow, in order, together with the state after them. It goes on
from stage to stage until the instance has to wait or has ended.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct

from engine.core import stages
from engine.core.effects import Token, Wake, effect
from engine.core.errors import Rejected
from engine.core.instance import Instance
from engine.core.progress import Progress
from engine.core.retries import Failure, backoff, is_final
from schemas import events as ev
from schemas import rejections
from schemas.commands import AbortInstance, RunWorkflow, SendEvent


class Due(Struct, frozen=True):
    """What the instance was to go on with is due: a delay has ended, or it was between two stages."""

    token: Token


class ActivityDone(Struct, frozen=True):
    """A call to the stack came back, with an output or a failure."""

    token: Token
    output: Any = None
    failure: Failure | None = None


Input = RunWorkflow | SendEvent | AbortInstance | Due | ActivityDone


def decide(
    state: Instance | None, given: Input, now: datetime, instance_id: str, clock: datetime | None = None
) -> Progress:
    """The events that follow from an input; none when it changes nothing.

    Args:
        state: the instance, None when it is unknown or ended and forgotten.
        given: the input.
        now: the time of the turn, UTC, which is stamped on the events and never goes back.
        instance_id: whose input it is.
        clock: what the clock says, which delays and retries follow; `now` if not given.

    Raises:
        Rejected: the command changes nothing, and its sender has to know why.
    """
    progress = Progress(instance_id, state, clock or now)
    match given:
        case RunWorkflow():
            _run(progress, given, now)
        case SendEvent():
            _send_event(progress, given, now)
        case AbortInstance():
            _abort(progress, now)
        case Due():
            _due(progress, given, now)
        case ActivityDone():
            _activity_done(progress, given, now)
    return progress


def _run(progress: Progress, command: RunWorkflow, now: datetime) -> None:
    if progress.state is not None:
        check_same_request(progress.state.request_digest, command.request_digest)
        return
    progress.record(_started(command, now))
    stages.advance(progress, now)


def _started(command: RunWorkflow, now: datetime) -> ev.InstanceStarted:
    return ev.InstanceStarted(
        at=now,
        workflow_id=command.workflow_id,
        stages=command.stages,
        variables=command.variables,
        request_digest=command.request_digest,
        source=command.source,
        sequence=command.sequence,
    )


def start_in_vain(command: RunWorkflow, now: datetime, instance_id: str, error: str) -> Progress:
    """Start an instance whose first decision can't be made or written down, and end it with an error that says so."""
    progress = Progress(instance_id, None, now)
    _end(progress, progress.record(_started(command, now)), now, error)
    return progress


def check_same_request(known: str | None, given: str | None) -> None:
    """Whether a second command for an id is a repetition of the first.

    Raises:
        Rejected: the Idempotency-Key came with another body.
    """
    if known != given:
        raise Rejected(rejections.CONFLICT, "this Idempotency-Key was used with another body")


def _alive(state: Instance | None) -> Instance:
    # The API has seen the instance in the read model, so one that is not known here any more has ended.
    if state is None or state.ended:
        raise Rejected(rejections.ENDED, "the instance has ended")
    return state


def _send_event(progress: Progress, command: SendEvent, now: datetime) -> None:
    state = _alive(progress.state)
    if command.request_key is not None and (known := dict(state.requests).get(command.request_key)) is not None:
        check_same_request(known, command.request_digest)
        return
    progress.record(
        ev.EventReceived(
            at=now,
            name=command.name,
            payload=command.payload,
            stage=stages.taker(state, command.name),
            request_key=command.request_key,
            request_digest=command.request_digest,
        )
    )
    stages.advance(progress, now)


def _abort(progress: Progress, now: datetime) -> None:
    _end(progress, _alive(progress.state), now, ev.CANCELED)


def _end(progress: Progress, state: Instance, now: datetime, error: str) -> None:
    """End the instance and whatever runs in it with one error."""
    if state.running:
        if state.activities and not state.activities[-1].ended:
            index, attempt = len(state.activities) - 1, state.activities[-1].attempt
            progress.record(ev.ActivityEnded(at=now, stage=state.stage, index=index, attempt=attempt, error=error))
        progress.record(ev.StageEnded(at=now, workflow_id=state.workflow_id, number=state.stage, error=error))
    progress.record(ev.InstanceEnded(at=now, workflow_id=state.workflow_id, error=error))


def _due(progress: Progress, given: Due, now: datetime) -> None:
    pending = effect(progress.state)
    if pending is None or pending.token != given.token or progress.state is None:
        return
    if isinstance(pending, Wake):
        # Its timer has rung. The clock may have been set back since, and nothing would ring again.
        state = progress.state
        progress.record(ev.StageEnded(at=now, workflow_id=state.workflow_id, number=state.stage))
    stages.advance(progress, now)


def _activity_done(progress: Progress, given: ActivityDone, now: datetime) -> None:
    state = progress.state
    if state is None:
        return
    stage, index, attempt = given.token.stage, given.token.index, given.token.attempt
    pending, failure = effect(state), given.failure
    if pending is None or pending.token != given.token:
        error = None if failure is None else failure.error
        progress.record(
            ev.LateResultRecorded(at=now, stage=stage, index=index, attempt=attempt, output=given.output, error=error)
        )
        return
    if failure is None:
        progress.record(ev.ActivityEnded(at=now, stage=stage, index=index, attempt=attempt, output=given.output))
    elif is_final(state.activities[index].name, failure):
        progress.record(
            ev.ActivityEnded(at=now, stage=stage, index=index, attempt=attempt, error=failure.error, code=failure.code)
        )
    else:
        retry_at = progress.clock + backoff(attempt)
        progress.record(
            ev.ActivityFailed(at=now, stage=stage, index=index, attempt=attempt, error=failure.error, retry_at=retry_at)
        )
        return
    stages.advance(progress, now)


def give_up(state: Instance, now: datetime, error: str, result: ActivityDone | None = None) -> Progress:
    """End an instance whose next decision can't be made or written down, with an error that says so.

    Args:
        state: the instance, which has not ended.
        now: the time of the turn, UTC.
        error: what went wrong.
        result: of the call that the instance waits for, which is kept if the call has succeeded.
    """
    progress, pending = Progress(state.id, state, now), effect(state)
    if result is not None and result.failure is None and pending is not None and pending.token == result.token:
        token = result.token
        state = progress.record(
            ev.ActivityEnded(at=now, stage=token.stage, index=token.index, attempt=token.attempt, output=result.output)
        )
    _end(progress, state, now, error)
    return progress
