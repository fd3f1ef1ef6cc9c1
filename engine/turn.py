"""One turn of a partition: inputs are decided one after another on the newest state, and become one batch of records.

Nothing outside the turn changes before `commit`, which its owner calls when the batch is proven to stand in the log. A
turn that could not be written is thrown away as it is.
"""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from engine.aggregates import Aggregates
from engine.core import trigger as triggers
from engine.core import workflow as workflows
from engine.core.decisions import ActivityDone, Input, check_same_request, decide, give_up, start_in_vain
from engine.core.effects import Effect, effect
from engine.core.errors import Rejected
from engine.core.evaluation import Evaluated, failing, size_bytes
from engine.core.instance import Instance
from engine.core.progress import Progress
from engine.core.trigger import Pending, Requested, Trigger, TriggerInput, more_waiting
from engine.errors import DecisionTooLarge
from schemas import rejections
from schemas.commands import (
    NO_STAGES,
    Command,
    CreateTrigger,
    CreateWorkflow,
    DeleteTrigger,
    DeleteWorkflow,
    EvaluateTrigger,
    FireTrigger,
    RunWorkflow,
)
from schemas.current import Current, CurrentTrigger, CurrentWorkflow
from schemas.events import (
    ClaimConfirmed,
    CommandRejected,
    CommandSkipped,
    EvaluationStarted,
    Event,
    InstanceRequested,
    InstanceStarted,
    TriggerCreated,
    TriggerDeleted,
    TriggerFailed,
    TriggerFired,
    WorkflowCreated,
    WorkflowDeleted,
)
from schemas.records import NewRecord, RecordCodec

logger = logging.getLogger(__name__)

MAX_WAITING = 1000
MAX_WAITING_BYTES = 32 * 1024 * 1024
"""How many messages of a partition may wait for links, and what they take together. They wait for up to a day when a
service is away: without a bound they would fill the memory. One more is a failed occurrence."""

MAX_DECISION_BYTES = 4 * 1024 * 1024
"""Most bytes of the events of one decision. Two such decisions fit into what the topic takes as one batch."""

INTERNAL_FAULT = "internal fault"
"""What a client is told when a decision fails by a defect of ours; the log has the traceback."""

RECORD_OVERHEAD_BYTES = 200
"""Room for key, headers and framing of a record, counted beside its value."""


class Unreadable(Struct, frozen=True):
    """A command that could not be decoded, and why."""

    reason: str


class Turn:
    """Decides inputs on top of a partition's aggregates.

    Args:
        aggregates: the state so far; read only until `commit`.
        codec: makes the records.
        epoch: the owner's claim, written into every record.
        now: time of everything that happens in this turn. It never goes back.
        clock: what the clock says, which delays and retries follow; `now` if not given.
    """

    def __init__(
        self, aggregates: Aggregates, codec: RecordCodec, epoch: int, now: datetime, clock: datetime | None = None
    ):
        self.now, self.clock = now, clock or now
        self.records: list[NewRecord] = []
        self.size_bytes = 0
        self.next_command: int | None = None
        self.definitions: list[Current] = []
        self._aggregates = aggregates
        self._codec = codec
        self._epoch = epoch
        self.timestamp_ms = int(now.timestamp() * 1000)
        self._workflows: dict[str, workflows.Workflow] = {}
        self._triggers: dict[str, Trigger] = {}
        self._waiting, self._waiting_bytes = 0, 0
        self._instances: dict[str, Instance] = {}
        self._noted: list[tuple[str, Event, int]] = []
        self._ended_at: dict[str, int] = {}

    def command(self, offset: int, aggregate_id: str, command: Command | Unreadable) -> None:
        """Decide a command. It leaves at least one record with its offset as cause, whatever happens."""
        self.next_command = offset + 1
        before = len(self.records)
        try:
            if isinstance(command, Unreadable):
                raise Rejected(rejections.UNDECODABLE, f"the command can't be decoded: {command.reason}")
            if isinstance(command, CreateWorkflow | DeleteWorkflow):
                self._workflow(aggregate_id, command, offset)
            elif isinstance(command, CreateTrigger | DeleteTrigger | FireTrigger | EvaluateTrigger):
                self._trigger(aggregate_id, command, offset)
            elif not self._is_repeated(command):
                self._keep(self._decide(aggregate_id, command), offset)
            if len(self.records) == before:
                self._outcome(aggregate_id, CommandSkipped(at=self.now), offset)
        except Rejected as rejected:
            self._outcome(
                aggregate_id, CommandRejected(at=self.now, code=rejected.code, message=rejected.message), offset
            )
        except DecisionTooLarge as error:
            self._refuse(offset, aggregate_id, command, rejections.TOO_LARGE, str(error))
        except Exception:
            # A bug in the decision about one aggregate must not stop all others of the partition.
            logger.exception("deciding a command failed", extra={"offset": offset, "aggregate": aggregate_id})
            self._refuse(offset, aggregate_id, command, rejections.FAULT, INTERNAL_FAULT)

    def _refuse(self, offset: int, aggregate_id: str, command: Command | Unreadable, code: str, message: str) -> None:
        """Tell the sender of a command that it can't be decided.

        Nobody waits for the outcome of what came from a message: it becomes an instance or an occurrence that failed.
        """
        before = len(self.records)
        try:
            if isinstance(command, FireTrigger | EvaluateTrigger) and (failed := _as_failed(command, message)):
                self._trigger(aggregate_id, failed, offset)
            elif isinstance(command, RunWorkflow) and command.source is not None and not self._instance(aggregate_id):
                self._keep(start_in_vain(command, self.now, aggregate_id, message), offset)
        except Exception:
            logger.exception("a command is refused", extra={"offset": offset, "aggregate": aggregate_id})
        if len(self.records) == before:
            self._outcome(aggregate_id, CommandRejected(at=self.now, code=code, message=message), offset)

    def input(self, instance_id: str, given: Input | Requested | Evaluated) -> None:
        """Decide about what is due, what a call or a link has answered, or a run command that was sent."""
        try:
            if isinstance(given, Requested | Evaluated):
                if isinstance(given, Evaluated) or self._is_pending(given):
                    self._trigger(instance_id, given, None)
                return
            self._keep(self._decide(instance_id, given), None)
        except DecisionTooLarge as error:
            self._fail(instance_id, given, str(error))
        except Exception:
            logger.exception("deciding an input failed", extra={"instance": instance_id, "input": type(given).__name__})
            self._fail(instance_id, given, INTERNAL_FAULT)

    def _fail(self, instance_id: str, given: Input | Requested | Evaluated, error: str) -> None:
        """End an instance that no decision can be made about: its input will not come again, so it would wait for ever.

        A trigger does not wait for what failed: its run command was sent, and is sent again after the next restore.
        """
        if isinstance(given, Evaluated):
            self._fail_message(instance_id, given, error)
            return
        state = self._instance(instance_id)
        if isinstance(given, Requested) or state is None or state.ended:
            return
        try:
            self._keep(give_up(state, self.now, error, given if isinstance(given, ActivityDone) else None), None)
        except Exception:  # the result of the call may be what can't be decided about
            logger.exception("a result is left out", extra={"instance": instance_id})
            self._keep(give_up(state, self.now, error), None)

    def _fail_message(self, trigger_id: str, given: Evaluated, error: str) -> None:
        """End the wait of a message whose result can't be decided about, with a failed occurrence."""
        try:
            failed = replace(given, matches=True, variables={}, error=error, may_pass=False)
            self._trigger(trigger_id, failed, None)
        except Exception:
            logger.exception("a message waits until the next restore", extra={"trigger": trigger_id})

    def confirm(self) -> None:
        """Have the batch prove the claim, also when nothing was decided."""
        if not self.records:
            confirmed = ClaimConfirmed(at=self.now)
            self.records.append(self._codec.encode("", confirmed, timestamp_ms=self.timestamp_ms, epoch=self._epoch))

    def effects(self) -> list[tuple[str, Effect | None]]:
        """Every instance that was decided about, with its effect after this turn."""
        return [(instance_id, effect(instance)) for instance_id, instance in self._instances.items()]

    def commit(self, base: int, keep: Collection[str] = ()) -> None:
        """Make the turn's states those of the partition.

        Args:
            base: offset of the batch's first record.
            keep: instances with a call in flight; they are not forgotten yet when they have ended.
        """
        for workflow in self._workflows.values():
            self._aggregates.put_workflow(workflow)
        for trigger in self._triggers.values():
            self._aggregates.put_trigger(trigger)
        for aggregate_id, event, index in self._noted:
            self._aggregates.note(aggregate_id, event, base + index)
        for instance_id, instance in self._instances.items():
            if instance.ended and instance_id not in keep:
                self._aggregates.forget_instance(instance, base + self._ended_at.get(instance_id, 0))
            else:
                self._aggregates.put_instance(instance)

    def requests(self) -> list[tuple[str, Pending]]:
        """After the commit: the instances that triggers start because of this turn, in the order of the log."""
        fired = [event.occurrence_id for _, event, _ in self._noted if isinstance(event, TriggerFired)]
        return self._aggregates.pending(fired)

    def triggers(self) -> list[Trigger]:
        """After the commit: every trigger that was decided about."""
        placed = [self._aggregates.trigger(trigger_id) for trigger_id in self._triggers]
        return [trigger for trigger in placed if trigger is not None]

    def _instance(self, instance_id: str) -> Instance | None:
        return self._instances.get(instance_id) or self._aggregates.instance(instance_id)

    def _decide(self, instance_id: str, given: Input) -> Progress:
        state = self._instance(instance_id)
        if state is None and isinstance(given, RunWorkflow) and given.request_digest is not None:
            self._check_not_run_before(instance_id, given.request_digest, given.seen_offset)
            if self._aggregates.remembered_request(instance_id) is not None:
                return Progress(instance_id, None, self.clock)
        return decide(state, given, self.now, instance_id, self.clock)

    def _check_not_run_before(self, instance_id: str, request: str, seen_offset: int) -> None:
        known = self._aggregates.remembered_request(instance_id)
        if known is not None:
            check_same_request(known, request)
        elif not self._aggregates.knows_since(seen_offset):
            raise Rejected(rejections.RETRY, "the read model is too far behind to tell whether this ran before")

    def _workflow(self, workflow_id: str, command: CreateWorkflow | DeleteWorkflow, cause: int) -> None:
        state = self._workflows.get(workflow_id) or self._aggregates.workflow(workflow_id)
        decided = workflows.decide(state, command, self.now)
        for event in decided:
            state = workflows.evolve(state, event, workflow_id)
        if state is not None and decided:
            self._write(workflow_id, decided, state.version, cause)
            self._workflows[workflow_id] = state
            self._define(workflow_id, decided[-1], state.version)

    def _trigger(self, trigger_id: str, given: TriggerInput, cause: int | None) -> None:
        before = state = self._triggers.get(trigger_id) or self._aggregates.trigger(trigger_id)
        if isinstance(given, EvaluateTrigger) and (full := self._no_room_for(given)) is not None:
            given = failing(given, full)
        decided = triggers.decide(state, given, self.now, self._is_repeated_message(state, given), self.clock)
        for event in decided:
            state = triggers.evolve(state, event, trigger_id)
        if state is None or not decided:
            return
        try:
            self._write(trigger_id, decided, state.version, cause)
        except DecisionTooLarge as error:
            if (failed := _as_failed(given, str(error))) is None:
                raise
            # Rejected, the message would be gone without a trace.
            self._trigger(trigger_id, failed, cause)
            return
        self._triggers[trigger_id] = state
        count, size = more_waiting(before, state)
        self._waiting += count
        self._waiting_bytes += size
        for event in decided:
            self._noted.append((trigger_id, event, len(self.records) - 1))
            self._define(trigger_id, event, state.version)

    def _is_pending(self, given: Requested) -> bool:
        """Whether the instance of an occurrence is still to be started."""
        in_turn = (event.occurrence_id for _, event, _ in self._noted if isinstance(event, InstanceRequested))
        return self._aggregates.is_pending(given.occurrence_id) and given.occurrence_id not in in_turn

    def _no_room_for(self, given: EvaluateTrigger) -> str | None:
        """Why a message can't wait for links; None if it can."""
        waiting = self._aggregates.waiting + self._waiting
        size = self._aggregates.waiting_bytes + self._waiting_bytes
        if waiting < MAX_WAITING and size + size_bytes(given) <= MAX_WAITING_BYTES:
            return None
        return (
            f"too many messages wait for links: {waiting} with {size} bytes; {MAX_WAITING} with {MAX_WAITING_BYTES} may"
        )

    def _is_repeated_message(self, state: Trigger | None, given: object) -> bool:
        """Whether the trigger has fired for what it fires for once, or has judged this message."""
        if state is None or not isinstance(given, FireTrigger | EvaluateTrigger | Evaluated):
            return False
        trigger_id, once, identity = state.id, None, None
        if not isinstance(given, Evaluated):
            once, identity = given.once_key, given.identity
        elif given.occurrence_id in state.waiting:
            once = state.waiting[given.occurrence_id].message.once_key
        for noted, event, _ in self._noted:
            if noted == trigger_id and isinstance(event, TriggerFired | TriggerFailed | EvaluationStarted):
                if identity is not None and event.identity == identity:
                    return True
                if once is not None and event.once_key == once and isinstance(event, TriggerFired):
                    return True
        if once is not None and self._aggregates.has_fired_for(trigger_id, once):
            return True
        return identity is not None and self._aggregates.has_judged(trigger_id, identity, self.now)

    def _is_repeated(self, command: Command) -> bool:
        """Whether another engine has sent this run before (see `RunWorkflow.sequence`)."""
        if not isinstance(command, RunWorkflow) or command.source is None:
            return False
        last = self._aggregates.last_sequence(command.source)
        for _, event, _ in self._noted:
            if getattr(event, "source", None) == command.source:
                last = max(last, getattr(event, "sequence", -1))
        return command.sequence <= last

    def _define(self, aggregate_id: str, event: Event, version: int) -> None:
        """What engines that listen for triggers have to know, before the event that makes it so."""
        match event:
            case WorkflowCreated():
                self.definitions.append(
                    Current(aggregate_id, version, CurrentWorkflow(stages=Raw(msgspec.json.encode(event.stages))))
                )
            case TriggerCreated():
                trigger = CurrentTrigger(
                    event=event.event,
                    version=event.version,
                    workflow_id=event.workflow_id,
                    filter=event.filter,
                    vars=event.vars,
                )
                self.definitions.append(Current(aggregate_id, version, trigger))
            case WorkflowDeleted() | TriggerDeleted():
                self.definitions.append(Current(aggregate_id, version, None))

    def _keep(self, progress: Progress, cause: int | None) -> None:
        state = progress.state
        if state is None or not progress.events:
            return
        self._write(progress.instance_id, progress.events, state.version, cause)
        self._instances[progress.instance_id] = state
        first = progress.events[0]
        if isinstance(first, InstanceStarted) and first.source is not None:
            self._noted.append((progress.instance_id, first, len(self.records) - len(progress.events)))
        if state.ended:
            self._ended_at.setdefault(progress.instance_id, len(self.records) - 1)

    def _write(self, aggregate_id: str, events: Sequence[Event], last_version: int, cause: int | None) -> None:
        first, size = last_version - len(events) + 1, 0
        records = []
        for version, event in enumerate(events, first):
            record = self._codec.encode(
                aggregate_id,
                event,
                timestamp_ms=self.timestamp_ms,
                version=version,
                cause=cause,
                epoch=self._epoch,
            )
            size += len(record.value or b"") + RECORD_OVERHEAD_BYTES
            records.append(record)
        if size > MAX_DECISION_BYTES:
            raise DecisionTooLarge(f"the events of one decision would take {size} bytes; {MAX_DECISION_BYTES} fit")
        self.records += records
        self.size_bytes += size

    def _outcome(self, aggregate_id: str, outcome: CommandRejected | CommandSkipped, cause: int) -> None:
        self.records.append(
            self._codec.encode(aggregate_id, outcome, timestamp_ms=self.timestamp_ms, cause=cause, epoch=self._epoch)
        )
        self.size_bytes += RECORD_OVERHEAD_BYTES


def _as_failed(given: TriggerInput, error: str) -> FireTrigger | Evaluated | None:
    """A message whose event would be too large, as one that failed; None if it is as small as can be."""
    if isinstance(given, EvaluateTrigger):
        return replace(failing(given, error), stages=NO_STAGES)
    if isinstance(given, FireTrigger) and given.error is None:
        return replace(given, stages=NO_STAGES, variables={}, error=error)
    if isinstance(given, Evaluated) and given.error is None:
        return replace(given, variables={}, error=error)
    return None
