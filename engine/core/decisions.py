"""What an instance does about an input: a command, the end of a delay, the result of a call.

`decide` looks at the state and returns the events that follow, in order. It goes on from stage to stage until the
instance has to wait or has ended.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from engine.core import stages
from engine.core.effects import Token, Wake, effect
from engine.core.errors import Rejected
from engine.core.instance import Attempt, Instance, evolve
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


class Decision:
    """The events of a decision so far, and the state after them, which the next step of the decision looks at.

    Args:
        instance_id: the instance that is decided about.
        state: its state before; None when it is unknown.
        at: the time that its events carry.
        clock: what the clock says, for what is due later.
    """

    __slots__ = ("at", "clock", "events", "instance_id", "state")

    def __init__(self, instance_id: str, state: Instance | None, at: datetime, clock: datetime):
        self.instance_id = instance_id
        self.state = state
        self.at, self.clock = at, clock
        self.events: list[ev.InstanceEvent] = []

    def record(self, event: ev.InstanceEvent) -> Instance:
        """Add an event.

        Raises:
            IllegalTransition: it does not follow from the state.
        """
        self.state = evolve(self.state, event, self.instance_id)
        self.events.append(event)
        return self.state

    def advance(self) -> None:
        """Go on until the instance waits, has ended, or has had its share of this turn."""
        for _ in range(stages.MAX_STAGES_PER_DECISION):
            state = self.state
            if state is None or state.ended:
                return
            events = stages.step(state, self.at, self.clock)
            for event in events:
                self.record(event)
            if not events or not isinstance(events[-1], ev.StageEnded):
                return


def decide(
    state: Instance | None, given: Input, now: datetime, instance_id: str, clock: datetime | None = None
) -> Sequence[ev.InstanceEvent]:
    """The events that follow from an input; none when it changes nothing.

    Args:
        state: the instance, None when it is unknown or has ended.
        given: the input.
        now: the time of the turn, UTC, which is stamped on the events and never goes back.
        instance_id: whose input it is.
        clock: what the clock says, which delays and retries follow; `now` if not given.

    Raises:
        Rejected: the command changes nothing, and its sender has to know why.
        UndecodableRecord: the stages of a run command are not a list of objects.
    """
    decision = Decision(instance_id, state, now, clock or now)
    match given:
        case RunWorkflow():
            _run(decision, given)
        case SendEvent():
            _send_event(decision, given)
        case AbortInstance():
            _end(decision, _alive(state), ev.CANCELED)
        case Due():
            _due(decision, given)
        case ActivityDone():
            _activity_done(decision, given)
    return decision.events


def _run(decision: Decision, command: RunWorkflow) -> None:
    if decision.state is not None:
        check_same_request(decision.state.request_digest, command.request_digest)
        return
    decision.record(_started(command, decision.at)).stages.check()
    decision.advance()


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


def start_in_vain(command: RunWorkflow, now: datetime, instance_id: str, error: str) -> Sequence[ev.InstanceEvent]:
    """Start an instance whose first decision can't be made or written down, and end it with an error that says so."""
    decision = Decision(instance_id, None, now, now)
    _end(decision, decision.record(_started(command, now)), error)
    return decision.events


def check_same_request(known: str | None, given: str | None) -> None:
    """Check that a second command for an id repeats the first.

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


def _send_event(decision: Decision, command: SendEvent) -> None:
    state = _alive(decision.state)
    if command.request_key is not None and (known := dict(state.requests).get(command.request_key)) is not None:
        check_same_request(known, command.request_digest)
        return
    decision.record(
        ev.EventReceived(
            at=decision.at,
            name=command.name,
            payload=command.payload,
            stage=stages.taker(state, command.name),
            request_key=command.request_key,
            request_digest=command.request_digest,
        )
    )
    decision.advance()


def _end(decision: Decision, state: Instance, error: str) -> None:
    """End the instance and whatever runs in it with one error."""
    at, workflow_id = decision.at, state.workflow_id
    if state.running:
        if state.activities and not state.activities[-1].ended:
            index, attempt = len(state.activities) - 1, state.activities[-1].attempt
            decision.record(ev.ActivityEnded(at=at, stage=state.stage, index=index, attempt=attempt, error=error))
        decision.record(ev.StageEnded(at=at, workflow_id=workflow_id, number=state.stage, error=error))
    decision.record(ev.InstanceEnded(at=at, workflow_id=workflow_id, error=error))


def _due(decision: Decision, given: Due) -> None:
    state, pending = decision.state, effect(decision.state)
    if pending is None or pending.token != given.token or state is None:
        return
    if isinstance(pending, Wake):
        # Its timer has rung. The clock may have been set back since, and nothing would ring again.
        decision.record(ev.StageEnded(at=decision.at, workflow_id=state.workflow_id, number=state.stage))
    decision.advance()


def _activity_done(decision: Decision, given: ActivityDone) -> None:
    state, at, token, failure = decision.state, decision.at, given.token, given.failure
    if state is None:
        return
    pending = effect(state)
    if pending is None or pending.token != token:
        decision.record(late_result(given, at))
        return
    attempt: dict[str, Any] = {"at": at, "stage": token.stage, "index": token.index, "attempt": token.attempt}
    if failure is None:
        decision.record(ev.ActivityEnded(**attempt, output=given.output))
    elif is_final(state.activities[token.index].name, failure):
        decision.record(ev.ActivityEnded(**attempt, error=failure.error, code=failure.code))
    else:
        retry_at = decision.clock + backoff(token.attempt)
        decision.record(ev.ActivityFailed(**attempt, error=failure.error, retry_at=retry_at))
        return
    decision.advance()


def attempt_of(token: Token) -> Attempt:
    """The attempt that a call belongs to."""
    return Attempt(token.stage, token.index, token.attempt)


def late_result(given: ActivityDone, now: datetime) -> ev.LateResultRecorded:
    """What is recorded of a call that came back when its instance did not wait for it any more."""
    token, error = given.token, None if given.failure is None else given.failure.error
    return ev.LateResultRecorded(
        at=now, stage=token.stage, index=token.index, attempt=token.attempt, output=given.output, error=error
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
    decision, pending = Decision(state.id, state, now, now), effect(state)
    if result is not None and result.failure is None and pending is not None and pending.token == result.token:
        token = result.token
        state = decision.record(
            ev.ActivityEnded(at=now, stage=token.stage, index=token.index, attempt=token.attempt, output=result.output)
        )
    _end(decision, state, error)
    return decision.events
