"""The trigger aggregate: what it listens to and has fired for, and what waits for links.

A message fires once: those of one source (topic and partition) come in the order of their offsets, so the highest
offset fired for tells the repetitions. Some kinds of message fire once by what they are about (`once_key`), ever; the
caller knows those, since they can be many.

| a message | left by |
|---|---|
| needs no links | TriggerFired, TriggerFailed |
| waits for links (EvaluationStarted, then EvaluationFailed while it is tried again) | these, EvaluationEnded |
"""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct
from msgspec.structs import asdict, replace

from engine.core.definition import Definition
from engine.core.errors import IllegalTransition
from engine.core.evaluation import Evaluated, Waiting, failing, kept
from engine.core.requests import check_same_request
from engine.core.retries import backoff
from schemas import events as ev
from schemas.commands import NO_STAGES, CreateTrigger, DeleteTrigger, EvaluateTrigger, FireTrigger, RunWorkflow
from schemas.error_texts import cut_error

INSTANCES: Final = UUID("5f0c1d3e-2c0e-4f0a-9a44-3d6c3a2f7b11")
"""Namespace of the instances that triggers start: an occurrence always starts the same one."""


class Requested(Struct, frozen=True):
    """The end of an effect: the run command of an occurrence is in topic `commands`."""

    occurrence_id: str


class Pending(Struct, frozen=True):
    """An instance that is still to be started."""

    occurrence_id: str
    instance_id: str
    workflow_id: str
    stages: Definition
    variables: dict[str, str]
    sequence: int
    """Offset of its event in the log."""
    max_attempts: int | None = None

    def command(self, source: str, trigger_id: str) -> RunWorkflow:
        """What starts the instance.

        Args:
            source: the partition of the event log that holds its event.
            trigger_id: whose occurrence it is.
        """
        return RunWorkflow(
            workflow_id=self.workflow_id,
            stages=self.stages.raw,
            variables=self.variables,
            source=source,
            sequence=self.sequence,
            max_attempts=self.max_attempts,
            trigger_id=trigger_id,
            occurrence_id=self.occurrence_id,
        )


class Trigger(Struct, frozen=True, kw_only=True):
    """State of one trigger."""

    id: str
    version: int
    workflow_id: str
    request_digest: str | None = None
    deleted: bool = False
    filter: str | None = None
    vars: dict[str, str] | None = None
    positions: dict[str, int] = {}
    """By source, the highest offset that it has fired for, or that waits."""
    waiting: dict[str, Waiting] = {}
    """Messages that wait for links, by the id of their occurrence. A partition bounds how many."""


TriggerInput = CreateTrigger | DeleteTrigger | FireTrigger | EvaluateTrigger | Evaluated | Requested


def decide(
    state: Trigger | None,
    given: TriggerInput,
    now: datetime,
    repeated: bool = False,
    clock: datetime | None = None,
) -> list[ev.TriggerEvent]:
    """The events that follow from an input; none when it changes nothing.

    Args:
        state: the trigger, None when it is unknown.
        given: the input. `Requested` is only given while the instance is still to be started, which the caller knows.
        now: the time of the turn, UTC.
        repeated: whether the trigger has fired for the message's `once_key`, or has judged one of its `identity`.
        clock: what the clock says, which retries follow; `now` if not given.

    Raises:
        Rejected: the Idempotency-Key was used with another body.
    """
    match given:
        case CreateTrigger():
            return _create(state, given, now)
        case DeleteTrigger():
            if state is None or state.deleted:
                return []
            return [ev.TriggerDeleted(at=now, by=given.by, reason=given.reason)]
        case FireTrigger():
            if state is None or state.deleted or repeated or given.offset <= state.positions.get(given.source, -1):
                return []
            return [_fire(state, given, now)]
        case EvaluateTrigger():
            if state is None or state.deleted or repeated or given.offset <= state.positions.get(given.source, -1):
                return []
            return [ev.EvaluationStarted(at=now, **asdict(given))]
        case Evaluated():
            waiting = None if state is None else state.waiting.get(given.occurrence_id)
            if state is None or waiting is None or waiting.attempt != given.attempt:
                return []
            if given.may_pass:
                return [_try_again(given, now, (clock or now) + backoff(given.attempt))]
            return [_evaluated(state, waiting, given, now, repeated)]
        case Requested():
            return [] if state is None else [ev.InstanceRequested(at=now, occurrence_id=given.occurrence_id)]


def _create(state: Trigger | None, command: CreateTrigger, now: datetime) -> list[ev.TriggerEvent]:
    if state is None:
        return [
            ev.TriggerCreated(
                at=now,
                name=command.name,
                event=command.event,
                version=command.version,
                workflow_id=command.workflow_id,
                filter=command.filter,
                vars=command.vars,
                request_digest=command.request_digest,
                by=command.by,
                reason=command.reason,
            )
        ]
    check_same_request(state.request_digest, command.request_digest)
    return []


def _try_again(given: Evaluated, now: datetime, retry_at: datetime) -> ev.TriggerEvent:
    return ev.EvaluationFailed(
        at=now,
        occurrence_id=given.occurrence_id,
        attempt=given.attempt,
        error=given.error or "",
        retry_at=retry_at,
    )


def _evaluated(state: Trigger, waiting: Waiting, given: Evaluated, now: datetime, repeated: bool) -> ev.TriggerEvent:
    if repeated or not given.matches:
        return ev.EvaluationEnded(at=now, occurrence_id=given.occurrence_id)
    fire = FireTrigger(**asdict(waiting.message), variables=given.variables, error=given.error)
    return _fire(state, replace(fire, stages=NO_STAGES) if given.workflow_deleted else fire, now)


def _fire(state: Trigger, command: FireTrigger, now: datetime) -> ev.TriggerEvent:
    error = None if command.error is None else cut_error(command.error)
    if error is None and command.stages == NO_STAGES:
        error = f"the workflow {state.workflow_id} was deleted"
    if error is not None:
        return ev.TriggerFailed(
            at=now,
            occurrence_id=command.occurrence_id,
            event=command.event,
            source=command.source,
            offset=command.offset,
            once_key=command.once_key,
            identity=command.identity,
            error=error,
        )
    return ev.TriggerFired(
        at=now,
        occurrence_id=command.occurrence_id,
        event=command.event,
        source=command.source,
        offset=command.offset,
        once_key=command.once_key,
        identity=command.identity,
        workflow_id=state.workflow_id,
        instance_id=str(uuid5(INSTANCES, command.occurrence_id)),
        stages=command.stages,
        variables=command.variables,
        max_attempts=command.max_attempts,
    )


def as_failed(given: FireTrigger | EvaluateTrigger | Evaluated, error: str) -> FireTrigger | Evaluated | None:
    """What came from a message, as something that failed; None if it is as small as can be."""
    if isinstance(given, Evaluated):
        return replace(given, matches=True, variables={}, error=error, may_pass=False)
    if isinstance(given, EvaluateTrigger):
        return replace(failing(given, error), stages=NO_STAGES)
    return None if given.error is not None else replace(given, stages=NO_STAGES, variables={}, error=error)


def pending(event: ev.TriggerFired, offset: int) -> Pending:
    """The instance that is to be started because of an event, at this offset of the log."""
    return Pending(
        event.occurrence_id,
        event.instance_id,
        event.workflow_id,
        Definition.of(event.stages),
        event.variables,
        offset,
        event.max_attempts,
    )


def evolve(state: Trigger | None, event: ev.TriggerEvent, trigger_id: str) -> Trigger:
    """The state after an event. Which instances are still to be started is kept beside it: they can be many.

    Raises:
        IllegalTransition: the event does not follow from the state.
    """
    if isinstance(event, ev.TriggerCreated):
        if state is not None:
            raise IllegalTransition(f"trigger {trigger_id} was created twice")
        return Trigger(
            id=trigger_id,
            version=1,
            workflow_id=event.workflow_id,
            request_digest=event.request_digest,
            filter=event.filter,
            vars=event.vars,
        )
    if state is None:
        raise IllegalTransition(f"{type(event).__name__} of trigger {trigger_id}, which does not exist")
    version = state.version + 1
    match event:
        case ev.TriggerDeleted():
            return replace(state, version=version, deleted=True, positions={}, waiting={})
        case ev.EvaluationStarted() | ev.EvaluationFailed() | ev.EvaluationEnded():
            return replace(_waits(state, event), version=version)
        case ev.TriggerFired() | ev.TriggerFailed():
            positions, waiting = _passed(state, event), _without(state, event.occurrence_id)
            return replace(state, version=version, positions=positions, waiting=waiting)
        case ev.InstanceRequested():
            return replace(state, version=version)


def _waits(state: Trigger, event: ev.EvaluationStarted | ev.EvaluationFailed | ev.EvaluationEnded) -> Trigger:
    id = event.occurrence_id
    if isinstance(event, ev.EvaluationStarted):
        fields = {name: getattr(event, name) for name in EvaluateTrigger.__struct_fields__}
        waiting = Waiting(kept(EvaluateTrigger(**fields)), event.at)
        return replace(state, positions=_passed(state, event), waiting=state.waiting | {id: waiting})
    if id not in state.waiting:
        raise IllegalTransition(f"{type(event).__name__} of occurrence {id}, which does not wait")
    if isinstance(event, ev.EvaluationEnded):
        return replace(state, waiting=_without(state, id))
    next_attempt = replace(state.waiting[id], attempt=event.attempt + 1, retry_at=event.retry_at)
    return replace(state, waiting=state.waiting | {id: next_attempt})


def _passed(state: Trigger, event: ev.TriggerFired | ev.TriggerFailed | ev.EvaluationStarted) -> dict[str, int]:
    """The positions behind a message. One that waited was passed long ago."""
    return state.positions | {event.source: max(event.offset, state.positions.get(event.source, -1))}


def _without(state: Trigger, occurrence_id: str) -> dict[str, Waiting]:
    if occurrence_id not in state.waiting:
        return state.waiting
    return {id: waiting for id, waiting in state.waiting.items() if id != occurrence_id}
