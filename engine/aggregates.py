"""The aggregates of one partition in memory.

An instance that waits is kept encoded, which takes a fraction of the memory of its objects, and decoded when something
happens to it. One that has ended is forgotten, except for what a repeated run command with an `Idempotency-Key` needs:
the id and the request's digest are kept until enough newer ones have ended.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from engine.core import instance as instances
from engine.core import trigger as triggers
from engine.core import workflow as workflows
from engine.core.instance import Instance
from engine.core.trigger import Pending, Trigger
from engine.core.workflow import Workflow
from engine.identities import Identities
from schemas.events import (
    EvaluationStarted,
    InstanceEnded,
    InstanceEvent,
    InstanceRequested,
    InstanceStarted,
    LateResultRecorded,
    TriggerDeleted,
    TriggerEvent,
    TriggerFailed,
    TriggerFired,
    WorkflowEvent,
)
from schemas.records import Recorded

MAX_REMEMBERED: Final = 100_000
"""Ended keyed instances that a partition remembers. A repetition that comes after more than these have ended, while the
read model was as far behind, is answered with 503 instead of a second run."""


class Bounds(Struct, frozen=True, kw_only=True):
    """How much a partition remembers of what is over."""

    max_ended: int = MAX_REMEMBERED
    identity_seconds: float = 7 * 24 * 3600.0
    """How long a trigger knows the messages that it has judged."""
    max_identities: int = 100_000
    """How many of them a trigger knows."""


DEFAULT_BOUNDS: Final = Bounds()


class Aggregates:
    """Workflows, triggers and instances of one partition, by id."""

    def __init__(self, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self._workflows: dict[str, Workflow] = {}
        self._triggers: dict[str, Trigger] = {}
        self._fired: dict[str, set[str]] = {}
        self._pending: dict[str, tuple[str, Pending]] = {}
        self._sequences: dict[str, int] = {}
        self.waiting = 0
        """Messages that wait for links."""
        self.waiting_bytes = 0
        self._instances: dict[str, bytes] = {}
        self._fresh: dict[str, Instance] = {}
        self._ended: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._identities = Identities(bounds.identity_seconds, bounds.max_identities)
        self._max_remembered = bounds.max_ended
        self._forgotten_before = 0
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Instance)

    def __len__(self) -> int:
        return len(self._instances) + len(self._fresh)

    def workflow(self, workflow_id: str) -> Workflow | None:
        """A workflow, None when it is unknown."""
        return self._workflows.get(workflow_id)

    def trigger(self, trigger_id: str) -> Trigger | None:
        """A trigger, None when it is unknown."""
        return self._triggers.get(trigger_id)

    def triggers(self) -> Iterator[Trigger]:
        """All triggers."""
        yield from self._triggers.values()

    def pending(self, occurrence_ids: Iterable[str] | None = None) -> list[tuple[str, Pending]]:
        """Instances that triggers have still to start, with their triggers' ids, in the order of the log.

        Args:
            occurrence_ids: of which occurrences, in that order; of all if not given.
        """
        return [self._pending[id] for id in (self._pending if occurrence_ids is None else occurrence_ids)]

    def is_pending(self, occurrence_id: str) -> bool:
        """Whether the instance of an occurrence is still to be started."""
        return occurrence_id in self._pending

    def has_fired_for(self, trigger_id: str, once: str) -> bool:
        """Whether a trigger has fired for what it fires for once, ever."""
        return once in self._fired.get(trigger_id, ())

    def has_judged(self, trigger_id: str, identity: str, now: datetime) -> bool:
        """Whether a trigger has judged a message with this identity, as far as that is still known."""
        return self._identities.knows(trigger_id, identity, now)

    def last_sequence(self, source: str) -> int:
        """The highest sequence of the commands of a source that have been decided; -1 before the first."""
        return self._sequences.get(source, -1)

    def instance(self, instance_id: str) -> Instance | None:
        """An instance, None when it is unknown or ended and forgotten."""
        fresh = self._fresh.get(instance_id)
        if fresh is not None:
            return fresh
        encoded = self._instances.get(instance_id)
        return None if encoded is None else self._decoder.decode(encoded)

    def instances(self) -> Iterator[Instance]:
        """All instances that have not ended."""
        for instance_id in [*self._instances, *self._fresh]:
            instance = self.instance(instance_id)
            if instance is not None:
                yield instance

    def put_workflow(self, workflow: Workflow) -> None:
        """Keep the new state of a workflow."""
        self._workflows[workflow.id] = workflow

    def put_trigger(self, trigger: Trigger) -> None:
        """Keep the new state of a trigger."""
        count, size = triggers.more_waiting(self._triggers.get(trigger.id), trigger)
        self.waiting += count
        self.waiting_bytes += size
        self._triggers[trigger.id] = trigger

    def note(self, aggregate_id: str, event: object, offset: int) -> None:
        """Remember what an event says beside the state of its aggregate.

        That is what later identifies a repeated command, and what triggers have still to start: both can be too many to
        be copied with each state.

        Args:
            aggregate_id: whose event it is.
            event: the event.
            offset: its place in the log.
        """
        if isinstance(event, InstanceStarted) and event.source is not None:
            self._sequences[event.source] = event.sequence
        elif isinstance(event, TriggerFired | TriggerFailed | EvaluationStarted):
            if isinstance(event, TriggerFired):
                self._pending[event.occurrence_id] = (aggregate_id, triggers.pending(event, offset))
                if event.once_key is not None:
                    self._fired.setdefault(aggregate_id, set()).add(event.once_key)
            if event.identity is not None:
                self._identities.note(aggregate_id, event.identity, event.at)
        elif isinstance(event, InstanceRequested):
            self._pending.pop(event.occurrence_id, None)
        elif isinstance(event, TriggerDeleted):
            self._fired.pop(aggregate_id, None)
            self._identities.forget(aggregate_id)

    def put_instance(self, instance: Instance) -> None:
        """Keep the new state of an instance that waits."""
        self._fresh.pop(instance.id, None)
        self._instances[instance.id] = self._encoder.encode(instance)

    def forget_instance(self, instance: Instance, offset: int) -> None:
        """Drop an instance that has ended at this offset of the event log."""
        self._fresh.pop(instance.id, None)
        self._instances.pop(instance.id, None)
        if instance.request_digest is None:
            return
        self._ended[instance.id] = (instance.request_digest, offset)
        if len(self._ended) > self._max_remembered:
            _, (_, forgotten) = self._ended.popitem(last=False)
            self._forgotten_before = max(self._forgotten_before, forgotten + 1)

    def remembered_request(self, instance_id: str) -> str | None:
        """Digest of the request that ran an instance which has ended, None when it is not remembered."""
        ended = self._ended.get(instance_id)
        return None if ended is None else ended[0]

    def knows_since(self, offset: int) -> bool:
        """Whether every keyed instance that has ended at or behind an offset is still remembered."""
        return offset >= self._forgotten_before

    def restore(self, recorded: Recorded) -> None:
        """Fold an event of the log, in order. `settle` follows the last one.

        Raises:
            IllegalTransition: the event does not follow from what came before.
        """
        event, aggregate_id = recorded.event, recorded.aggregate_id
        self.note(aggregate_id, event, recorded.offset)
        if isinstance(event, TriggerEvent):
            trigger = self._triggers.get(aggregate_id)
            self.put_trigger(triggers.evolve(trigger, event, aggregate_id))
        elif isinstance(event, WorkflowEvent):
            self._workflows[aggregate_id] = workflows.evolve(self._workflows.get(aggregate_id), event, aggregate_id)
        elif isinstance(event, InstanceEvent):
            before = self._fresh.get(aggregate_id)
            if before is None and isinstance(event, LateResultRecorded):
                return  # its instance had ended, and nothing else follows
            after = instances.evolve(before, event, aggregate_id)
            if isinstance(event, InstanceEnded):
                self.forget_instance(after, recorded.offset)
            else:
                self._fresh[aggregate_id] = after

    def settle(self) -> None:
        """Encode what a restore has folded."""
        for instance in list(self._fresh.values()):
            self.put_instance(instance)
