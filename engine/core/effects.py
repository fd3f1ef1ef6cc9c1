"""What has to happen outside for an instance or an occurrence to go on, as data: a function of the state alone.

After a decision the runtime starts the effect of the new state if it differs from that of the old one; after a restore
it starts all effects. The token tells whether a result still fits: it names the kind of effect, the stage, the
activity, the attempt, and how often the activity was resumed and the instance retried. So no two effects that an
instance or an occurrence ever has look alike. Only a run command or a message that comes again for an id that is over
makes the same tokens a second time.

| effect | of | ends with |
|---|---|---|
| GoOn | an instance between two stages | Due |
| Wake | an instance in a delay | Due |
| CallActivity | an instance in an activity | ActivityDone |
| EvaluateMessage | a message that waits for links | Evaluated |
| StartInstance | an occurrence whose instance is to be started | Requested |
| FindWorkflow | a submission that is held | Resolved |
"""

from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from engine.core.evaluation import Waiting
from engine.core.instance import Activity, Instance
from engine.core.retries import backoff
from engine.core.submissions import Held
from engine.core.trigger import Pending, Trigger
from schemas.definition import Delay, StageUnresolvable, resolve_stage


class Token(Struct, frozen=True):
    """What an effect belongs to.

    Attributes:
        kind: which effect. Without it a delay behind a turn that broke off would look like the turn itself.
        stage: number of the stage; -1 if it is an occurrence's.
        index: of the activity; -1 if it is not a call.
        attempt: of the activity or the evaluation, from 1; where the log tells that a submission is held; 0 of others.
        resumes: how often the activity was resumed before; then its attempts count from 1 again.
        retries: how often the instance was retried before; then its stages come again.
    """

    kind: Literal["go_on", "wake", "call", "evaluate", "start", "find"]
    stage: int = -1
    index: int = -1
    attempt: int = 0
    resumes: int = 0
    retries: int = 0


class GoOn(Struct, frozen=True):
    """The instance is between two stages: decide again, in a turn of its own."""

    token: Token


class Wake(Struct, frozen=True):
    """A delay ends at `at`."""

    token: Token
    at: datetime


class CallActivity(Struct, frozen=True, kw_only=True):
    """Call the stack, not before `not_before`. Every attempt of an activity has the same idempotency key."""

    token: Token
    name: str
    input: dict[str, Any]
    idempotency_key: str
    not_before: datetime | None


class EvaluateMessage(Struct, frozen=True):
    """Evaluate a message with its links, not before `not_before`."""

    token: Token
    trigger: Trigger
    waiting: Waiting
    not_before: datetime | None


class StartInstance(Struct, frozen=True):
    """Send the command that starts the instance of an occurrence, in the order of the log."""

    token: Token
    trigger_id: str
    pending: Pending


class FindWorkflow(Struct, frozen=True):
    """Look up what a held submission to an instance needs: the current definition of a workflow; None for nothing."""

    token: Token
    key: str
    offset: int
    workflow_id: str | None


Effect = FindWorkflow | GoOn | Wake | CallActivity | EvaluateMessage | StartInstance


def bounded(pending: Effect | None, state: Instance | None, clock: datetime) -> Effect | None:
    """An effect that waits no longer from now on than the whole of its delay or of its retry's pause.

    The times in the log were made by a clock that may have been wrong, and has been put right since.

    Args:
        pending: the effect.
        state: the instance whose effect it is; None if it is an occurrence's.
        clock: what the clock says now.
    """
    match pending:
        case Wake() if state is not None:
            duration = _duration(state)
            return pending if duration is None else replace(pending, at=min(pending.at, clock + duration))
        case CallActivity(not_before=datetime() as not_before) | EvaluateMessage(not_before=datetime() as not_before):
            pause = backoff(pending.token.attempt - 1)
            return replace(pending, not_before=min(not_before, clock + pause))
        case _:
            return pending


def _duration(state: Instance) -> timedelta | None:
    """How long the running delay takes; None if it ends at an instant."""
    try:
        delay = resolve_stage(state.definition.stages[state.stage], state.variables)
    except StageUnresolvable:
        return None
    if not isinstance(delay, Delay) or delay.duration_nanoseconds is None:
        return None
    return timedelta(microseconds=-(-delay.duration_nanoseconds // 1000))


def effect(state: Instance | None) -> Effect | None:
    """The one thing that has to happen for the instance to go on.

    None when it waits for an event or for a person, and when it has ended.
    """
    if state is None or state.ended:
        return None
    if not state.running:
        return GoOn(Token("go_on", state.stage, retries=state.retries))
    if state.wait_until is not None:
        return Wake(Token("wake", state.stage, retries=state.retries), state.wait_until)
    if state.activities and not (state.activities[-1].ended or state.activities[-1].paused):
        activity, index = state.activities[-1], len(state.activities) - 1
        return CallActivity(
            token=Token("call", state.stage, index, activity.attempt, activity.resumes, state.retries),
            name=activity.name,
            input=activity.input,
            idempotency_key=_key(state, index, activity),
            not_before=activity.retry_at,
        )
    return None


def _key(state: Instance, index: int, activity: Activity) -> str:
    """The idempotency key of an activity; when a pass has another one than that before, see `engine.core.retrying`."""
    key = f"{state.id}:{state.stage}:{index}"
    return key if activity.key_number == 0 else f"{key}:{activity.key_number}"


def evaluation(trigger: Trigger, waiting: Waiting) -> EvaluateMessage:
    """The effect of a message that waits for links."""
    return EvaluateMessage(Token("evaluate", attempt=waiting.attempt), trigger, waiting, waiting.retry_at)


def start(trigger_id: str, pending: Pending) -> StartInstance:
    """The effect of an occurrence whose instance is to be started."""
    return StartInstance(Token("start"), trigger_id, pending)


def find_workflow(held: Held) -> FindWorkflow:
    """The effect of a submission that is held."""
    workflow_id = None if held.event.run is None else held.event.run.workflow_id
    return FindWorkflow(Token("find", attempt=held.offset), held.key, held.offset, workflow_id)
