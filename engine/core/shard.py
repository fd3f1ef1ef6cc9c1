"""The state of one partition: what its log says. Pure: no await, clock, randomness or IO.

    decide(key, given, now)      what follows from an input, as events; changes nothing
    replay(key, events, offset)  the only thing that changes state, live and at a restore
    effect(subject)              what the present state wants done outside

So live state and restored state are made by one function, and there is nothing to be kept equal.

A *key* is the id of an aggregate: a workflow, a trigger or an instance. A *subject* is what an effect belongs to: an
instance, or an occurrence of a trigger.

An instance that waits is kept as its encoded state, which refers to its definition; the definition is in memory once.
Between `replay` and `settle` states are kept decoded, since an instance mostly has several events in a row.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar, get_args

import msgspec

from engine.core import decisions, effects
from engine.core import instance as instances
from engine.core import trigger as triggers
from engine.core import workflow as workflows
from engine.core.decisions import ActivityDone, Due
from engine.core.definition import Definition
from engine.core.duplicates import DEFAULT_BOUNDS, Bounds, Duplicates
from engine.core.effects import Effect
from engine.core.errors import Rejected
from engine.core.evaluation import Evaluated, failing, size_bytes
from engine.core.instance import Instance
from engine.core.retries import Failure
from engine.core.trigger import Pending, Requested, Trigger
from engine.core.workflow import Workflow
from schemas import events as ev
from schemas import rejections
from schemas.commands import (
    AbortInstance,
    Command,
    CreateWorkflow,
    DeleteWorkflow,
    EvaluateTrigger,
    FireTrigger,
    RunWorkflow,
    SendEvent,
)

MAX_WAITING: Final = 1000
MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
"""How many messages of a partition may wait for links, and what they take together. They wait for up to a day when a
service is away: without a bound they would fill the memory. One more is a failed occurrence."""

S = TypeVar("S")
E = TypeVar("E")

Input = Command | Due | ActivityDone | Requested | Evaluated


class _Cold(NamedTuple):
    """An instance that waits. The definition is held here, as the state only names it."""

    state: bytes
    definition: Definition


class Decision(NamedTuple):
    """What follows from an input: the aggregate's version before, and the events, of which there may be none."""

    version: int
    events: Sequence[ev.Event]


class Shard:
    """What the log of one partition says.

    Args:
        bounds: how much is remembered of what is over.
    """

    def __init__(self, bounds: Bounds = DEFAULT_BOUNDS):
        self._workflows: dict[str, Workflow] = {}
        self._triggers: dict[str, Trigger] = {}
        self._waiting: dict[str, str] = {}
        """By subject, the trigger whose message waits for links."""
        self._waiting_bytes = 0
        self._pending: dict[str, tuple[str, Pending]] = {}
        """By subject, in the order of the log: the trigger, and the instance that is to be started."""
        self._hot: dict[str, Instance] = {}
        self._cold: dict[str, _Cold] = {}
        self.duplicates = Duplicates(bounds)
        self._last_at: datetime | None = None
        self._encoder = msgspec.json.Encoder(enc_hook=_digest)
        self._decoder = msgspec.json.Decoder(Instance, dec_hook=_definition)
        self._replays: dict[type, Callable[[str, Sequence[Any], int], Sequence[str]]] = {
            **dict.fromkeys(get_args(ev.InstanceEvent), self._replay_instance),
            **dict.fromkeys(get_args(ev.TriggerEvent), self._replay_trigger),
            **dict.fromkeys(get_args(ev.WorkflowEvent), self._replay_workflow),
        }

    # What it holds

    @property
    def instances(self) -> int:
        """How many instances have not ended."""
        return len(self._cold.keys() | self._hot.keys()) if self._hot else len(self._cold)

    @property
    def waiting(self) -> int:
        """How many messages wait for links."""
        return len(self._waiting)

    def instance(self, instance_id: str) -> Instance | None:
        """An instance; None when it is unknown or has ended."""
        hot = self._hot.get(instance_id)
        if hot is not None:
            return hot
        cold = self._cold.get(instance_id)
        return None if cold is None else self._decoder.decode(cold.state)

    def trigger(self, trigger_id: str) -> Trigger | None:
        """A trigger; None when it is unknown."""
        return self._triggers.get(trigger_id)

    def stamp(self, now: datetime) -> datetime:
        """The time that events carry now: never earlier than an event before them, even if the clock was set back."""
        return now if self._last_at is None else max(now, self._last_at)

    def snapshot(self) -> dict[str, object]:
        """All of it, to be compared with another shard's by `==`."""
        ids = {*self._cold, *self._hot}
        return {
            "workflows": self._workflows.copy(),
            "triggers": self._triggers.copy(),
            "waiting": self._waiting.copy(),
            "waiting_bytes": self._waiting_bytes,
            "pending": list(self._pending.items()),
            "instances": {id: self.instance(id) for id in ids},
            "duplicates": self.duplicates.snapshot(),
            "last_at": self._last_at,
        }

    # Decide

    def decide(self, key: str, given: Input, now: datetime) -> Decision:
        """The events that follow from an input, in order.

        Args:
            key: of the aggregate.
            given: a command, or what an effect has ended with.
            now: what the clock says; UTC.

        Raises:
            Rejected: the command changes nothing, and its sender has to know why.
            UndecodableRecord: the command carries a definition that can't be decoded.
        """
        at = self.stamp(now)
        match given:
            case CreateWorkflow() | DeleteWorkflow():
                workflow = self._workflows.get(key)
                return Decision(_version(workflow), workflows.decide(workflow, given, at))
            case RunWorkflow() if self._is_duplicate(given):
                return Decision(0, ())
            case RunWorkflow() | SendEvent() | AbortInstance() | Due() | ActivityDone():
                state = self.instance(key)
                if state is not None:
                    return Decision(state.version, decisions.decide(state, given, at, key, now))
                if isinstance(given, RunWorkflow) and self._ran_before(key, given):
                    return Decision(0, ())
                if isinstance(given, ActivityDone):
                    return self._late_result(key, given, at)
                return Decision(0, decisions.decide(None, given, at, key, now))
            case _:
                return self._decide_trigger(key, given, at, now)

    def fail(self, key: str, given: Input, now: datetime, error: str, *, bare: bool = False) -> Decision:
        """What follows from an input that can't be decided, or whose events would be too large.

        Nobody waits for the outcome of what came from a message: it becomes an instance or an occurrence that failed.
        What an instance or a message waited for does not come again: without an end they would wait for ever. Of a late
        result it is recorded at least that the call has returned.

        Args:
            key: of the aggregate.
            given: the input.
            now: what the clock says; UTC.
            error: why.
            bare: whether the result of a call is left out too: it may be what can't be decided about.

        Returns:
            The events; none if the sender is to be told instead.
        """
        at, state = self.stamp(now), self.instance(key)
        match given:
            case RunWorkflow() if given.source is not None and state is None and not self._is_duplicate(given):
                return Decision(0, decisions.start_in_vain(given, at, error))
            case Due() | ActivityDone() if state is not None:
                result = given if isinstance(given, ActivityDone) and not bare else None
                return Decision(state.version, decisions.give_up(state, at, error, result))
            case ActivityDone() if not bare:
                return self._late_result(key, ActivityDone(given.token, failure=Failure(error)), at)
            case FireTrigger() | EvaluateTrigger() | Evaluated():
                failed = triggers.as_failed(given, error)
                if failed is not None:
                    return self._decide_trigger(key, failed, at, now)
        return Decision(0, ())

    def _ran_before(self, key: str, command: RunWorkflow) -> bool:
        """Whether a run command repeats one whose instance has ended.

        Raises:
            Rejected: it came with another body, or what is remembered does not reach back far enough to tell.
        """
        digest = command.request_digest
        known = self.duplicates.ended_request(key)
        if known is not None:
            decisions.check_same_request(known, digest)
            return True
        if digest is None:
            return self.duplicates.has_ended_lately(key)
        if not self.duplicates.knows_since(command.seen_offset):
            raise Rejected(rejections.RETRY, "the read model is too far behind to tell whether this ran before")
        return False

    def _is_duplicate(self, command: RunWorkflow) -> bool:
        """Whether another owner of the trigger's partition has sent this run before (see `RunWorkflow.sequence`)."""
        return command.source is not None and self.duplicates.is_sent_before(command.source, command.sequence)

    def _late_result(self, key: str, given: ActivityDone, at: datetime) -> Decision:
        """The result of a call whose instance was aborted meanwhile."""
        late = self.duplicates.late(key)
        if late is None or late.attempt != decisions.attempt_of(given.token):
            return Decision(0, ())
        return Decision(late.version, (decisions.late_result(given, at),))

    def _decide_trigger(self, key: str, given: triggers.TriggerInput, at: datetime, now: datetime) -> Decision:
        state = self._triggers.get(key)
        if isinstance(given, Requested) and subject_of(key, given.occurrence_id) not in self._pending:
            return Decision(0, ())
        if isinstance(given, EvaluateTrigger) and (full := self._no_room_for(given)) is not None:
            given = failing(given, full)
        is_judged = self._is_judged(state, given, at)
        return Decision(_version(state), triggers.decide(state, given, at, is_judged, now))

    def _no_room_for(self, given: EvaluateTrigger) -> str | None:
        """Why a message can't wait for links; None if it can."""
        waiting, size = len(self._waiting), self._waiting_bytes
        if waiting < MAX_WAITING and size + size_bytes(given) <= MAX_WAITING_BYTES:
            return None
        return (
            f"too many messages wait for links: {waiting} with {size} bytes; "
            f"at most {MAX_WAITING} with {MAX_WAITING_BYTES} may"
        )

    def _is_judged(self, state: Trigger | None, given: triggers.TriggerInput, at: datetime) -> bool:
        """Whether the trigger has fired for what it fires for once, ever, or has judged this message."""
        if state is None or not isinstance(given, FireTrigger | EvaluateTrigger | Evaluated):
            return False
        once_key, identity = None, None
        if not isinstance(given, Evaluated):
            once_key, identity = given.once_key, given.identity
        elif given.occurrence_id in state.waiting:
            once_key = state.waiting[given.occurrence_id].message.once_key
        if once_key is not None and self.duplicates.has_fired_for(state.id, once_key):
            return True
        return identity is not None and self.duplicates.has_judged(state.id, identity, at)

    # Replay

    def replay(self, key: str, events: Sequence[Any], offset: int) -> Sequence[str]:
        """Take over events of one aggregate that follow each other in the log: all of them, or none if one is wrong.

        Args:
            key: of the aggregate.
            events: those that count (see `schemas.epochs`).
            offset: of the first.

        Returns:
            Subjects whose effect may be another one now.

        Raises:
            IllegalTransition: an event does not follow from those before it.
            UndecodableRecord: a definition can't be decoded.
        """
        if not events:
            return ()
        replay = self._replays.get(type(events[0]))
        changed = () if replay is None else replay(key, events, offset)
        at = events[-1].at
        if self._last_at is None or at > self._last_at:
            self._last_at = at
        return changed

    def _replay_workflow(self, key: str, events: Sequence[ev.WorkflowEvent], offset: int) -> Sequence[str]:
        self._workflows[key] = _fold(workflows.evolve, self._workflows.get(key), events, key)
        return ()

    def _replay_instance(self, key: str, events: Sequence[ev.InstanceEvent], offset: int) -> Sequence[str]:
        before, first = self.instance(key), events[0]
        if before is None and isinstance(first, ev.LateResultRecorded):
            self.duplicates.note_late_result(key)
            return ()
        after = _fold(instances.evolve, before, events, key)
        if isinstance(first, ev.InstanceStarted) and first.source is not None:
            self.duplicates.note_sent(first.source, first.sequence)
        if after.ended:
            self._hot.pop(key, None)
            self._cold.pop(key, None)
            self.duplicates.note_ended(after, offset + len(events) - 1)
        else:
            self._hot[key] = after
        return (key,)

    def _replay_trigger(self, key: str, events: Sequence[ev.TriggerEvent], offset: int) -> Sequence[str]:
        before = self._triggers.get(key)
        after = _fold(triggers.evolve, before, events, key)
        fired = {
            subject_of(key, event.occurrence_id): (key, triggers.pending(event, place))
            for place, event in enumerate(events, offset)
            if isinstance(event, ev.TriggerFired)
        }
        self._triggers[key] = after
        for subject, pending in fired.items():
            # One of the same id starts the same instance. The first keeps its place in the order of sequences.
            self._pending.setdefault(subject, pending)
        changed = [*self._note_waiting(before, after)]
        for event in events:
            changed += self._note_occurrence(key, event)
        return changed

    def _note_occurrence(self, key: str, event: ev.TriggerEvent) -> Sequence[str]:
        """Follow which instances are to be started, and which messages were judged."""
        match event:
            case ev.TriggerDeleted():
                self.duplicates.note_deleted(key)
                return ()
            case ev.TriggerCreated():
                return ()
            case ev.InstanceRequested():
                self._pending.pop(subject_of(key, event.occurrence_id), None)
            case ev.TriggerFired():
                if event.once_key is not None:
                    self.duplicates.note_fired(key, event.once_key)
        if isinstance(event, ev.TriggerFired | ev.TriggerFailed | ev.EvaluationStarted) and event.identity is not None:
            self.duplicates.note_judged(key, event.identity, event.at)
        return (subject_of(key, event.occurrence_id),)

    def _note_waiting(self, before: Trigger | None, after: Trigger) -> Sequence[str]:
        """Follow which messages wait for links; the subjects of those that wait no more."""
        earlier = {} if before is None else before.waiting
        if earlier is after.waiting:
            return ()
        gone = [id for id in earlier if id not in after.waiting]
        for id in gone:
            del self._waiting[subject_of(after.id, id)]
            self._waiting_bytes -= earlier[id].size_bytes
        for id, waiting in after.waiting.items():
            if (replaced := earlier.get(id)) is not waiting:
                self._waiting[subject_of(after.id, id)] = after.id
                self._waiting_bytes += waiting.size_bytes - (0 if replaced is None else replaced.size_bytes)
        return [subject_of(after.id, id) for id in gone]

    def settle(self) -> None:
        """Encode the states of instances that events have come for."""
        for id, instance in self._hot.items():
            self._cold[id] = _Cold(self._encoder.encode(instance), instance.definition)
        self._hot.clear()

    # Effects

    def effect(self, subject: str, clock: datetime | None = None) -> Effect | None:
        """The one thing that has to happen outside for an instance or an occurrence to go on.

        Args:
            subject: the instance's id, or `subject_of` the occurrence.
            clock: what the clock says. With it, a wait is bounded by its whole length from now on: the times in the log
                were made by a clock that may have been wrong.

        Returns:
            The effect; None when it waits for nothing, or for an event.
        """
        state, found = self.instance(subject), None
        if state is not None:
            found = effects.effect(state)
        elif (pending := self._pending.get(subject)) is not None:
            found = effects.start(*pending)
        elif (trigger_id := self._waiting.get(subject)) is not None:
            trigger = self._triggers[trigger_id]
            found = effects.evaluation(trigger, trigger.waiting[subject.removeprefix(f"{trigger_id}/")])
        return found if clock is None else effects.bounded(found, state, clock)

    def subjects(self) -> Iterator[str]:
        """All that may have an effect. Instances to be started come in the order of the log."""
        yield from list(self._pending)
        yield from list(self._waiting)
        yield from {**self._cold, **self._hot}


def _fold(evolve: Callable[[S | None, E, str], S], before: S | None, events: Sequence[E], key: str) -> S:
    """The state after events, of which there is at least one."""
    after = evolve(before, events[0], key)
    for event in events[1:]:
        after = evolve(after, event, key)
    return after


def _version(state: Trigger | Workflow | None) -> int:
    return 0 if state is None else state.version


def subject_of(trigger_id: str, occurrence_id: str) -> str:
    """The subject of an occurrence. Whoever can write commands may give two triggers occurrences of one id."""
    return f"{trigger_id}/{occurrence_id}"


def _digest(value: Any) -> str:
    if isinstance(value, Definition):
        return value.digest
    raise NotImplementedError(type(value))


def _definition(kind: type, value: Any) -> Any:
    if kind is Definition:
        return Definition.known(value)
    raise NotImplementedError(kind)
