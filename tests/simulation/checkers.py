"""What must hold, checked beside the system: after every append, at every call of the stack, and at the end.

The observer reads the log as any consumer does, with the epoch rule alone, and folds it with the engine's own `evolve`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from engine.core import instance as instances
from engine.core import trigger as triggers
from engine.core import workflow as workflows
from engine.core.effects import CallActivity
from engine.core.instance import Instance
from engine.core.trigger import Trigger
from engine.core.workflow import Workflow
from schemas import events as ev
from schemas.epochs import EpochFilter
from schemas.records import Record, RecordCodec, Recorded


@dataclass
class Observer:
    """Follows every partition and raises `AssertionError` at the first record that breaks a rule."""

    partitions: int
    codec: RecordCodec
    instances: dict[str, Instance] = field(default_factory=dict)
    workflows: dict[str, Workflow] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    fired: dict[str, ev.TriggerFired] = field(default_factory=dict)
    fired_once: set[tuple[str, str]] = field(default_factory=set)
    started: dict[str, int] = field(default_factory=dict)
    activities: dict[str, bytes] = field(default_factory=dict)
    causes: list[list[int]] = field(init=False)
    admitted: list[list[Recorded]] = field(init=False)
    rejected: dict[tuple[int, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.causes = [[] for _ in range(self.partitions)]
        self.admitted = [[] for _ in range(self.partitions)]
        self._filters = [EpochFilter() for _ in range(self.partitions)]

    def observe(self, partition: int, records: Sequence[Record]) -> None:
        """Check a batch as it is appended."""
        decided: set[int] = set()
        for record in records:
            if not self._filters[partition].admits(record):
                continue
            recorded = self.codec.decode_event(record)
            self.admitted[partition].append(recorded)
            if recorded.cause is not None:
                decided.add(recorded.cause)
            self._fold(partition, recorded)
        self._check_causes(partition, sorted(decided))

    def _check_causes(self, partition: int, decided: list[int]) -> None:
        """Commands are decided in order, each in one batch, none twice and none left out."""
        known = self.causes[partition]
        for cause in decided:
            assert cause == len(known), f"partition {partition}: command {cause} decided after {len(known) - 1}"
            known.append(cause)

    def _fold(self, partition: int, recorded: Recorded) -> None:
        event, aggregate_id = recorded.event, recorded.aggregate_id
        if isinstance(event, ev.Outcome):
            if isinstance(event, ev.CommandRejected) and recorded.cause is not None:
                self.rejected[partition, recorded.cause] = event.code
            return
        if isinstance(event, ev.WorkflowEvent):
            workflow = workflows.evolve(self.workflows.get(aggregate_id), event, aggregate_id)
            assert workflow.version == recorded.version
            self.workflows[aggregate_id] = workflow
            return
        if isinstance(event, ev.TriggerEvent):
            self._fold_trigger(recorded)
            return
        if isinstance(event, ev.InstanceStarted):
            self.started[aggregate_id] = self.started.get(aggregate_id, 0) + 1
            assert self.started[aggregate_id] == 1, f"{aggregate_id} was started twice"
        before = self.instances.get(aggregate_id)
        after = instances.evolve(before, event, aggregate_id)
        assert after.version == recorded.version, f"{aggregate_id}: version {recorded.version}, not {after.version}"
        assert before is None or not before.ended or isinstance(event, ev.LateResultRecorded)
        if isinstance(event, ev.ActivityStarted):
            self.activities[f"{aggregate_id}:{event.stage}:{event.index}"] = event.name.encode()
        self.instances[aggregate_id] = after

    def _fold_trigger(self, recorded: Recorded) -> None:
        """A message fires a trigger once; what fires once ever does so."""
        event, trigger_id = recorded.event, recorded.aggregate_id
        trigger = triggers.evolve(self.triggers.get(trigger_id), event, trigger_id, recorded.offset)
        assert trigger.version == recorded.version
        self.triggers[trigger_id] = trigger
        if isinstance(event, ev.TriggerFired):
            assert event.occurrence_id not in self.fired, f"{event.occurrence_id} fired twice"
            self.fired[event.occurrence_id] = event
            if event.once is not None:
                assert (trigger_id, event.once) not in self.fired_once, f"{event.once} fired twice"
                self.fired_once.add((trigger_id, event.once))

    def called(self, call: CallActivity) -> None:
        """No effect starts before the event it follows from stands in the log and counts."""
        assert call.idempotency_key in self.activities, f"{call.idempotency_key} called before its event counted"

    def check_reader(self, log: Sequence[Record], partition: int, steps: Sequence[int]) -> None:
        """A reader that stops and starts anew at arbitrary offsets, keeping offset and epoch, sees the same events."""
        seen, epoch = [], -1
        for start, stop in pairwise([0, *sorted(steps), len(log)]):
            admitted = EpochFilter(epoch)
            seen += [record.offset for record in log[start:stop] if admitted.admits(record)]
            epoch = admitted.epoch
        assert seen == [recorded.offset for recorded in self.admitted[partition]]
