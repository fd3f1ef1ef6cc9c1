"""The instance aggregate: its state, and how each event changes it.

Theory of operation. An instance is a cursor that moves over the stages of its definition:

| state | `stage` | `running` | left by |
|---|---|---|---|
| between stages | the next number | no | StageStarted, or InstanceEnded behind the last one or after a failure |
| in a stage | the stage's number | yes | StageEnded |
| ended | | | InstanceRetried, if it ended with an error; a late result is recorded and changes nothing |

InstanceRetried begins another pass: the instance is between stages again, before the one that did not succeed.

In a stage, at most one activity runs at a time:

| state of the activity | left by |
|---|---|
| its attempt runs, or comes next | ActivityEnded, ActivityFailed (another attempt follows), ActivityPaused |
| paused | ActivityResumed (its attempts count from 1 again); ActivityEnded, when the instance is ended from outside |
| ended | |

The outcomes of the earlier ones are kept until the stage ends, since the next activity may depend on them, and in
another pass those of the activities that are not done again. `evolve` raises `IllegalTransition` for an event that does
not follow.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine.core.definition import Definition
from engine.core.errors import IllegalTransition
from schemas import events as ev
from schemas.ended_activities import KeptActivity
from schemas.idempotency import KEPT_REQUESTS

MAX_REQUESTS: Final = KEPT_REQUESTS
"""Requests with an `Idempotency-Key` whose repetitions an instance recognises by itself."""


class Attempt(Struct, frozen=True, array_like=True):
    """An attempt of an activity: number of the stage, position among its activities, number of the attempt.

    Attempts count from 1 again after a resume, so `resumes` says how often there was one before; and likewise after a
    retry of the instance.
    """

    stage: int
    index: int
    attempt: int
    resumes: int = 0
    retries: int = 0


class Activity(Struct, frozen=True, kw_only=True, array_like=True):
    """One activity of the running stage."""

    name: str
    input: dict[str, Any]
    attempt: int = 1
    """The attempt that runs or comes next, from 1."""
    retry_at: datetime | None = None
    """When that attempt starts; None for the first, which starts at once."""
    ended: bool = False
    output: Any = None
    error: str | None = None
    code: str | None = None
    paused: bool = False
    """Whether it waits for a person. Then `attempt` is the one that failed."""
    paused_at: datetime | None = None
    """When its last pause began, also after that has ended: it tells the repetition of a resume."""
    resumes: int = 0
    """How often it was resumed."""
    key_number: int = 0
    """Which idempotency key it has: it may have another one than in the pass before."""


class Again(Struct, frozen=True, array_like=True):
    """How a pass begins in its first stage."""

    kept: tuple[Activity, ...]
    """The activities that are not done again."""
    key_number: int
    """Of the first activity behind them."""
    key_used: bool
    """Whether a call of an earlier pass has had this key."""


class Instance(Struct, frozen=True, kw_only=True, array_like=True):
    """State of one instance. Immutable: `evolve` makes the next one."""

    id: str
    version: int
    workflow_id: str
    definition: Definition
    variables: dict[str, str]
    request_digest: str | None = None
    stage: int = 0
    running: bool = False
    failed: str | None = None
    """Error of the stage that failed; the instance ends next."""
    wait_until: datetime | None = None
    """When the running delay ends."""
    requests: tuple[tuple[str, str], ...] = ()
    """Keys and digests of the last events, resumes and aborts that came with an `Idempotency-Key`."""
    arrived: tuple[int, ...] = ()
    """Numbers of the `wait_event` stages whose event has come, and that have not ended."""
    activities: tuple[Activity, ...] = ()
    """Those of the running stage, in order."""
    canceled: Attempt | None = None
    """The attempt that an abort may have caught on its way: its result is recorded when it comes."""
    ended: bool = False
    max_attempts: int | None = None
    """How often its workflow lets an activity be tried before it is paused; None if the workflow does not say."""
    retries: int = 0
    """How often it was retried."""
    again: Again | None = None
    """How the pass goes on in the stage that it began with. None once that is over, and in the first pass."""
    earlier_requests: int = 0
    """How many requests with a key were carried out before those of `requests`, and are forgotten here."""

    @property
    def paused(self) -> bool:
        """Whether an activity of it waits for a person."""
        return bool(self.activities) and self.activities[-1].paused


def evolve(state: Instance | None, event: ev.InstanceEvent, instance_id: str) -> Instance:
    """The state after an event.

    Raises:
        IllegalTransition: the event does not follow from the state.
    """
    if state is None:
        if isinstance(event, ev.InstanceRetried):
            return _retried(event, instance_id)
        if isinstance(event, ev.InstanceStarted):
            return Instance(
                id=instance_id,
                version=1,
                workflow_id=event.workflow_id,
                definition=Definition.of(event.stages),
                variables=event.variables,
                request_digest=event.request_digest,
                max_attempts=event.max_attempts,
            )
        raise IllegalTransition(f"{type(event).__name__} of instance {instance_id}, which has not started")
    return _APPLIERS[type(event)](state, event)


def _check(condition: bool, state: Instance, event: ev.InstanceEvent) -> None:
    if not condition:
        # Snapshots keep the message: it must not change with a build that adds a field.
        shown = f"{type(event).__name__} {msgspec.json.encode(event).decode()}"
        raise IllegalTransition(f"{shown} does not follow version {state.version} of instance {state.id}")


def _instance_started(state: Instance, event: ev.InstanceStarted) -> Instance:
    raise IllegalTransition(f"instance {state.id} started twice")


def _stage_started(state: Instance, event: ev.StageStarted) -> Instance:
    follows = not (state.ended or state.running or state.failed is not None) and event.number == state.stage
    _check(follows and event.number < len(state.definition.stages), state, event)
    return replace(
        state,
        version=state.version + 1,
        running=True,
        wait_until=event.wait_until,
        activities=() if state.again is None else state.again.kept,
    )


def _stage_ended(state: Instance, event: ev.StageEnded) -> Instance:
    _check(state.running and event.number == state.stage, state, event)
    return replace(
        state,
        version=state.version + 1,
        stage=state.stage + 1,
        running=False,
        failed=event.error,
        wait_until=None,
        arrived=tuple(number for number in state.arrived if number != event.number),
        activities=(),
        again=None,
    )


def _event_received(state: Instance, event: ev.EventReceived) -> Instance:
    _check(not state.ended and event.stage not in state.arrived, state, event)
    arrived = state.arrived if event.stage is None else (*state.arrived, event.stage)
    return replace(_with_request(state, event), version=state.version + 1, arrived=arrived)


def _with_request(
    state: Instance, event: ev.EventReceived | ev.ActivityResumed | ev.InstanceEnded | ev.InstanceRetried
) -> Instance:
    """The state in which the request is known that has caused an event, if it had a key."""
    if event.request_key is None or event.request_digest is None:
        return state
    requests = (*state.requests, (event.request_key, event.request_digest))
    forgotten = max(0, len(requests) - MAX_REQUESTS)
    if forgotten and state.retries:
        # Those that the retry has brought along are in no order. Only of all of them it is known that they came first.
        forgotten = len(requests) - 1
    return replace(state, requests=requests[forgotten:], earlier_requests=state.earlier_requests + forgotten)


def _activity_started(state: Instance, event: ev.ActivityStarted) -> Instance:
    follows = state.running and event.stage == state.stage and event.index == len(state.activities)
    _check(follows and all(activity.ended for activity in state.activities), state, event)
    activities = (*state.activities, Activity(name=event.name, input=event.input, key_number=event.key_number))
    return replace(state, version=state.version + 1, activities=activities, again=None)


def _activity_failed(state: Instance, event: ev.ActivityFailed) -> Instance:
    activity = _current(state, event, event.attempt)
    _check(not activity.paused, state, event)
    changed = replace(activity, attempt=event.attempt + 1, retry_at=event.retry_at, error=event.error)
    return _with_activity(state, changed)


def _activity_paused(state: Instance, event: ev.ActivityPaused) -> Instance:
    activity = _current(state, event, event.attempt)
    _check(not activity.paused and (activity.paused_at is None or event.at > activity.paused_at), state, event)
    return _with_activity(state, replace(activity, paused=True, paused_at=event.at, retry_at=None, error=event.error))


def _activity_resumed(state: Instance, event: ev.ActivityResumed) -> Instance:
    activity = _current(state, event)
    _check(activity.paused, state, event)
    changed = replace(activity, paused=False, resumes=activity.resumes + 1, attempt=1)
    return _with_request(_with_activity(state, changed), event)


def _activity_ended(state: Instance, event: ev.ActivityEnded) -> Instance:
    activity = _current(state, event, event.attempt)
    changed = replace(
        activity, ended=True, paused=False, retry_at=None, output=event.output, error=event.error, code=event.code
    )
    on_its_way = event.error == ev.CANCELED and not activity.paused
    attempt = Attempt(event.stage, event.index, event.attempt, activity.resumes, state.retries)
    return replace(_with_activity(state, changed), canceled=attempt if on_its_way else None)


def _current(
    state: Instance,
    event: ev.ActivityFailed | ev.ActivityPaused | ev.ActivityResumed | ev.ActivityEnded,
    attempt: int | None = None,
) -> Activity:
    """The activity that has not ended, which an event must be about; with `attempt`, about this attempt of it."""
    _check(state.running and event.stage == state.stage, state, event)
    _check(bool(state.activities) and event.index == len(state.activities) - 1, state, event)
    activity = state.activities[-1]
    _check(not activity.ended and attempt in (None, activity.attempt), state, event)
    return activity


def _with_activity(state: Instance, activity: Activity) -> Instance:
    """The next version, in which this is the last activity."""
    return replace(state, version=state.version + 1, activities=(*state.activities[:-1], activity))


def _late_result(state: Instance, event: ev.LateResultRecorded) -> Instance:
    return replace(state, version=state.version + 1)


def _instance_ended(state: Instance, event: ev.InstanceEnded) -> Instance:
    _check(not state.ended and not state.running, state, event)
    return replace(_with_request(state, event), version=state.version + 1, ended=True, arrived=())


def _instance_retried(state: Instance, event: ev.InstanceRetried) -> Instance:
    _check(state.ended and event.version == state.version + 1, state, event)
    return _retried(event, state.id)


def _retried(event: ev.InstanceRetried, instance_id: str) -> Instance:
    """The state at the beginning of another pass, which no state before it is needed for."""
    definition = Definition.of(event.stages)
    if event.stage > len(definition.stages):
        raise IllegalTransition(f"instance {instance_id} has no stage {event.stage} to be retried from")
    again = Instance(
        id=instance_id,
        version=event.version,
        workflow_id=event.workflow_id,
        definition=definition,
        variables=event.variables,
        request_digest=event.run_digest,
        stage=event.stage,
        requests=tuple(event.requests),
        earlier_requests=event.earlier_requests,
        arrived=tuple(event.arrived),
        max_attempts=event.max_attempts,
        retries=event.retries,
        again=Again(tuple(map(_kept, event.kept)), event.key_number, event.key_used),
    )
    return _with_request(again, event)


def _kept(activity: KeptActivity) -> Activity:
    return Activity(
        name=activity.name,
        input=activity.input,
        ended=True,
        output=activity.output,
        error=activity.error,
        code=activity.code,
        key_number=activity.key_number,
    )


_APPLIERS: dict[type, Callable[[Instance, Any], Instance]] = {
    ev.InstanceStarted: _instance_started,
    ev.StageStarted: _stage_started,
    ev.StageEnded: _stage_ended,
    ev.EventReceived: _event_received,
    ev.ActivityStarted: _activity_started,
    ev.ActivityFailed: _activity_failed,
    ev.ActivityPaused: _activity_paused,
    ev.ActivityResumed: _activity_resumed,
    ev.ActivityEnded: _activity_ended,
    ev.LateResultRecorded: _late_result,
    ev.InstanceEnded: _instance_ended,
    ev.InstanceRetried: _instance_retried,
}
