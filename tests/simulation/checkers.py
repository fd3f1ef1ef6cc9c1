"""What must hold, checked beside the system: after every append, at every call of the stack, and at the end.

The observer reads the log as any consumer does, with the epoch rule alone, and folds it with the engine's own `evolve`.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from engine.core import bulk as bulks
from engine.core import instance as instances
from engine.core import trigger as triggers
from engine.core import workflow as workflows
from engine.core.bulk import Bulk
from engine.core.duplicates import DEFAULT_BOUNDS, Bounds
from engine.core.effects import CallActivity
from engine.core.errors import IllegalTransition
from engine.core.evaluation import Waiting
from engine.core.instance import Instance
from engine.core.trigger import Trigger
from engine.core.workflow import Workflow
from engine.partition import MAX_UNPROVEN_SECONDS
from schemas import events as ev
from schemas import rejections
from schemas.epochs import EpochFilter, is_claim
from schemas.records import Record, RecordCodec, Recorded, UndecodableRecord
from schemas.topics import partition_of
from tests.simulation.bulk_reach import BulkReach
from tests.simulation.history import ActivityRun, Attempt, History
from tests.simulation.outcomes import Outcomes
from tests.simulation.restoring import BAD

SOON_SECONDS: Final = 1.0
"""How long it is waited for what comes about soon."""

Result = ev.ActivityFailed | ev.ActivityPaused | ev.ActivityEnded | ev.LateResultRecorded


@dataclass(frozen=True)
class Claim:
    """The newest claim of a partition and its place, which is the epoch of whoever holds it."""

    partition: int
    offset: int
    at: float = 0.0
    """When it was appended, as time of the event loop."""
    owner: str = ""
    """The name of the engine that has made it."""


@dataclass
class Observer:
    """Follows every partition and raises `AssertionError` at the first record that breaks a rule."""

    partitions: int
    codec: RecordCodec
    clocks_are_wrong: bool = False
    """Whether the engines' clocks are set now and then."""
    bounds: Bounds = DEFAULT_BOUNDS
    """How much the engines remember."""
    commands: Sequence[Mapping[int, Record]] | None = None
    """Those of each partition by their offsets, in order. Without them the log alone is known: no outcome is held
    against its command, no result against its call, and there are no offsets without a command."""
    matches: Callable[[ev.EvaluationStarted], bool] = lambda message: False
    """See `Outcomes.matches`."""
    calls: Callable[[str, int], None] = lambda instance_id, retries: None
    """Is told of every call, by the instance and its pass."""
    max_waiting: int = sys.maxsize
    """With more commands of a partition in the memory of an engine, it must be handed no more."""
    instances: dict[str, Instance] = field(default_factory=dict)
    workflows: dict[str, Workflow] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    bulks: dict[str, Bulk] = field(default_factory=dict)
    fired: dict[str, ev.TriggerFired] = field(default_factory=dict)
    to_start: dict[str, str] = field(default_factory=dict)
    """Instances of occurrences that triggers have still to start, by the occurrence."""
    started: dict[str, int] = field(default_factory=dict)
    histories: dict[str, History] = field(default_factory=dict)
    broken: list[Exception] = field(default_factory=list)
    """Rules that were broken. The engine survives faults of its ports, so raising alone would not end a simulation."""
    results: list[tuple[ActivityRun, Attempt, Claim]] = field(default_factory=list)
    """Results that an engine was handed while its claim was the newest: activity, attempt, claim."""
    claims: list[Claim] = field(init=False)
    claimed: list[int] = field(init=False)
    """How often each partition was claimed."""
    moved: int = 0
    """How often one was claimed by another engine than before."""
    causes: list[list[int]] = field(init=False)
    admitted: list[list[Recorded]] = field(init=False)
    reach: BulkReach = field(default_factory=BulkReach)
    rejected: dict[tuple[int, int], str] = field(default_factory=dict)
    refused: dict[str, set[str]] = field(default_factory=dict)
    """By instance, why submissions to it were rejected."""
    defined: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The stages of all workflows that were created."""
    submitted: dict[str, str] = field(default_factory=dict)
    """The workflow of each instance whose run was submitted and held."""
    bad: set[str] = field(default_factory=set)
    """Aggregates that may have an event that can't be used."""
    aside: set[str] = field(default_factory=set)
    """Those of them that have one: what comes behind it counts for nothing."""

    def __post_init__(self) -> None:
        self.claims = [Claim(partition, -1) for partition in range(self.partitions)]
        self.claimed = [0] * self.partitions
        self.causes = [[] for _ in range(self.partitions)]
        self._decided = [0] * self.partitions
        self.admitted = [[] for _ in range(self.partitions)]
        self.outcomes = [Outcomes(self.bounds, self.matches) for _ in range(self.partitions)]
        self._filters = [EpochFilter() for _ in range(self.partitions)]
        self._last_at = [datetime.min.replace(tzinfo=UTC)] * self.partitions
        self._appended = asyncio.Event()

    def observe(self, partition: int, records: Sequence[Record]) -> None:
        """Check a batch as it is appended."""
        with self._noting():
            self._observe(partition, records)
        self._appended.set()  # for those who wait now
        self._appended.clear()

    async def comes_about(self, holds: Callable[[], bool], within_seconds: float = SOON_SECONDS) -> bool:
        """Whether something holds of the log, now or soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while not holds():
                    await self._appended.wait()
        return holds()

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except IllegalTransition as error:
            self.broken.append(AssertionError(f"the log holds what does not follow: {error}"))
            raise
        except Exception as error:
            self.broken.append(error)
            raise

    def check(self) -> None:
        """Raise the first failure of all."""
        if self.broken:
            raise self.broken[0]

    def _observe(self, partition: int, records: Sequence[Record]) -> None:
        decided: set[int] = set()
        for record in records:
            if not self._filters[partition].admits(record):
                if is_claim(record):
                    self.claimed[partition] += 1
                    event = self.codec.decode_event(record).event
                    assert isinstance(event, ev.PartitionClaimed)
                    self.moved += event.owner != self.claims[partition].owner
                    at = asyncio.get_running_loop().time()
                    self.claims[partition] = Claim(partition, record.offset, at, event.owner)
                continue
            recorded = self._decoded(record)
            self.admitted[partition].append(recorded)
            if recorded.event is BAD:
                continue
            assert recorded.event.at >= self._last_at[partition], "an event is shown to be older than what it follows"
            self._last_at[partition] = recorded.event.at
            self.outcomes[partition].tick(recorded.event.at)
            if recorded.cause is not None:
                if recorded.cause not in decided:
                    self._judge(partition, recorded, recorded.cause)
                decided.add(recorded.cause)
            if recorded.aggregate_id not in self.aside:
                self.outcomes[partition].fold(recorded)
                self.reach.fold(recorded.aggregate_id, recorded.event, self._alive())
            self._fold(partition, recorded)
        self._check_causes(partition, sorted(decided))

    def _alive(self) -> Iterator[str]:
        return (id for id, instance in self.instances.items() if not instance.ended and id not in self.aside)

    def last_at(self, partition: int) -> datetime:
        """The time of the last event of a partition."""
        return self._last_at[partition]

    def _decoded(self, record: Record) -> Recorded:
        """An event; `BAD` if it can't be used, which sets its aggregate aside."""
        key = (record.key or b"").decode()
        if key not in self.bad or key in self.aside:
            return self.codec.decode_event(record)
        try:
            recorded = self.codec.decode_event(record)
            if isinstance(recorded.event, ev.InstanceEvent):
                instances.evolve(self.instances.get(key), recorded.event, key)
        except (UndecodableRecord, IllegalTransition):
            self.aside.add(key)
            return Recorded(key, 0, BAD, record.offset, None)
        return recorded

    def _judge(self, partition: int, first: Recorded, cause: int) -> None:
        if first.aggregate_id in self.aside:
            return
        if self.commands is not None:
            if cause not in self.commands[partition]:
                assert isinstance(first.event, ev.CommandSkipped), f"{first} follows from a mark of a transaction"
                return
            try:
                _, command = self.codec.decode_command(self.commands[partition][cause])
            except UndecodableRecord:
                command = None
            self.outcomes[partition].judge(first.aggregate_id, command, first)

    def done(self, partition: int, next_offset: int) -> None:
        """An engine says that it will never need the commands before an offset again."""
        with self._noting():
            assert next_offset <= self._next_command(partition), f"command {next_offset - 1} would never be decided"

    def handed(self, waiting: int) -> None:
        """An owner of a partition is handed commands, while so many wait in its memory."""
        with self._noting():
            assert waiting <= self.max_waiting, f"{waiting} commands wait in memory, and more come"

    def _check_causes(self, partition: int, decided: list[int]) -> None:
        """Commands are decided in order, each in one batch, none twice and none left out."""
        for cause in decided:
            following, before = self._next_command(partition), self._decided[partition] - 1
            if self.commands is None or cause in self.commands[partition]:
                assert cause == following, f"partition {partition}: {cause} is decided after {before}"
                self.causes[partition].append(cause)
            else:
                assert before < cause, f"partition {partition}: the mark {cause} is passed over after {before}"
                is_left_out = following < cause and following in self.commands[partition]
                assert not is_left_out, f"partition {partition}: {following} is passed over with the mark {cause}"
            self._decided[partition] = cause + 1

    def _next_command(self, partition: int) -> int:
        """The offset of the command that is decided next. Marks of transactions take offsets, too."""
        offset = self._decided[partition]
        if self.commands is not None and len(self.causes[partition]) < len(self.commands[partition]):
            while offset not in self.commands[partition]:
                offset += 1
        return offset

    def _fold(self, partition: int, recorded: Recorded) -> None:
        event, aggregate_id = recorded.event, recorded.aggregate_id
        if isinstance(event, ev.Outcome | ev.SubmissionEvent):
            if isinstance(event, ev.SubmissionHeld) and event.run is not None:
                self.submitted[aggregate_id] = event.run.workflow_id
            if isinstance(event, ev.SubmissionRejected):
                self.refused.setdefault(aggregate_id, set()).add(event.code)
            if isinstance(event, ev.CommandRejected) and recorded.cause is not None:
                self.rejected[partition, recorded.cause] = event.code
                assert event.code != rejections.SET_ASIDE or aggregate_id in self.aside, "the wrong one is set aside"
            return
        if aggregate_id in self.aside:
            return
        if isinstance(event, ev.ClaimConfirmed):
            return
        if isinstance(event, ev.WorkflowEvent):
            workflow = workflows.evolve(self.workflows.get(aggregate_id), event, aggregate_id)
            assert workflow.version == recorded.version, f"{aggregate_id}: an event is missing or twice"
            self.workflows[aggregate_id] = workflow
            if isinstance(event, ev.WorkflowCreated):
                self.defined[aggregate_id] = event.stages
            return
        if isinstance(event, ev.TriggerEvent):
            self._fold_trigger(recorded)
            return
        if isinstance(event, ev.BulkEvent):
            operation = bulks.evolve(self.bulks.get(aggregate_id), event, aggregate_id)
            assert operation.version == recorded.version, f"{aggregate_id}: an event is missing or twice"
            self.bulks[aggregate_id] = operation
            return
        if isinstance(event, ev.InstanceStarted):
            self.started[aggregate_id] = self.started.get(aggregate_id, 0) + 1
            assert self.started[aggregate_id] == 1, f"{aggregate_id} was started twice"
            if event.workflow_id in self.defined and aggregate_id in self.submitted:
                assert msgspec.json.decode(event.stages) == self.defined[event.workflow_id], "another definition"
            self.histories[aggregate_id] = History(
                msgspec.json.decode(event.stages), event.variables, self.clocks_are_wrong, event.max_attempts
            )
        before = self.instances.get(aggregate_id)
        after = instances.evolve(before, event, aggregate_id)
        assert after.version == recorded.version, f"{aggregate_id}: version {recorded.version}, not {after.version}"
        assert before is None or not before.ended or isinstance(event, ev.LateResultRecorded | ev.InstanceRetried)
        history = self.histories[aggregate_id]
        if not isinstance(event, ev.InstanceStarted):
            history.fold(event)
        if self.commands is not None and isinstance(event, Result):
            _check_returned(history, event)
        if isinstance(event, ev.LateResultRecorded):
            assert replace(after, version=0) == (before and replace(before, version=0)), "a late result changes nothing"
        history.check(after)
        self.instances[aggregate_id] = after

    def _fold_trigger(self, recorded: Recorded) -> None:
        """An occurrence comes about once, and one run command is sent for it."""
        event, trigger_id = recorded.event, recorded.aggregate_id
        trigger = triggers.evolve(self.triggers.get(trigger_id), event, trigger_id)
        assert trigger.version == recorded.version, f"{trigger_id}: an event is missing or twice"
        self.triggers[trigger_id] = trigger
        if isinstance(event, ev.TriggerFired):
            assert event.occurrence_id not in self.fired, f"{event.occurrence_id} fired twice"
            self.fired[event.occurrence_id] = event
            self.to_start[event.occurrence_id] = event.instance_id
        if isinstance(event, ev.InstanceRequested):
            assert self.to_start.pop(event.occurrence_id, None), f"{event.occurrence_id} had nothing to start"

    # Calls of the stack and links

    def evaluating(self, trigger_id: str, waiting: Waiting, epochs: Mapping[int, int], now: datetime) -> None:
        """An engine whose partitions have these epochs starts an attempt to evaluate a message.

        Who holds the claim starts only what waits, with its newest attempt and not before its time.
        """
        with self._noting():
            claim = self.claims[partition_of(trigger_id.encode(), self.partitions)]
            if claim.offset != epochs.get(claim.partition):
                superseded_for = asyncio.get_running_loop().time() - claim.at
                assert superseded_for <= MAX_UNPROVEN_SECONDS, f"evaluated {superseded_for} s after a newer claim"
                return
            wanted = self.triggers[trigger_id].waiting.get(waiting.message.occurrence_id)
            assert wanted == waiting, f"attempt {waiting.attempt} to evaluate a message is not wanted"
            early = waiting.retry_at is not None and now < waiting.retry_at
            assert not early or self.clocks_are_wrong, "an attempt to evaluate a message came early"

    def called(self, call: CallActivity, epochs: Mapping[int, int], now: datetime) -> Claim | None:
        """An engine whose partitions have these epochs starts an attempt.

        Returns the claim that it holds, None when it has been superseded and does not know yet.

        No attempt starts before the event it follows from stands in the log and counts, or before its time, or with
        another key or content than that event's. Who holds the claim starts only what is due: nothing after an end. Who
        has lost it starts nothing once the newer claim is older than a proof may be.
        """
        with self._noting():
            return self._called(call, epochs, now)

    def _called(self, call: CallActivity, epochs: Mapping[int, int], now: datetime) -> Claim | None:
        activity, history, partition = self._activity(call)
        stage, index, attempt = call.token.stage, call.token.index, (call.token.resumes, call.token.attempt)
        number = f":{activity.key_number}" if activity.key_number else ""
        assert call.idempotency_key.endswith(f":{stage}:{index}{number}"), "attempts of an activity have different keys"
        assert (call.name, call.input) == (activity.name, activity.input)
        assert attempt in activity.not_before, f"{call.idempotency_key}: attempt {attempt} is not due yet"
        early = now < activity.not_before[attempt]
        assert not early or self.clocks_are_wrong, f"{call.idempotency_key}: attempt {attempt} came early"
        claim = self.claims[partition]
        if claim.offset != epochs.get(partition):
            superseded_for = asyncio.get_running_loop().time() - claim.at
            assert superseded_for <= MAX_UNPROVEN_SECONDS, f"called {superseded_for} s after a newer claim"
            return None
        self.calls(call.idempotency_key.partition(":")[0], call.token.retries)
        assert call.token.retries == history.retries, f"{call.idempotency_key} is called for a pass that is over"
        assert not history.ended, f"{call.idempotency_key} called after the end of its instance"
        assert not activity.ended, f"{call.idempotency_key} is called after its end"
        assert not activity.paused, f"{call.idempotency_key} is called while it is paused"
        assert attempt == activity.current, f"{call.idempotency_key}: attempt {attempt} is called again"
        return claim

    def returned(self, call: CallActivity, claim: Claim | None) -> None:
        """The engine that started an attempt under a claim is handed its result."""
        attempt, activity = (call.token.resumes, call.token.attempt), self._activity(call)[0]
        activity.returned.add(attempt)
        if claim is not None:
            self.results.append((activity, attempt, claim))

    def _activity(self, call: CallActivity) -> tuple[ActivityRun, History, int]:
        instance_id = call.idempotency_key.partition(":")[0]
        assert instance_id in self.histories, f"called for instance {instance_id}, which the log does not know"
        history = self.histories[instance_id]
        stage, index = call.token.stage, call.token.index
        activity = history.find(stage, index, call.token.retries)
        assert activity is not None, f"{call.idempotency_key} is called before the log knows of it"
        return activity, history, partition_of(instance_id.encode(), self.partitions)

    def check_results(self) -> None:
        """Every result that came to an engine whose claim was never superseded stands in the log, once."""
        for activity, attempt, claim in self.results:
            if self.claims[claim.partition] == claim:
                assert activity.results[attempt] == 1, f"the result of attempt {attempt} of {activity} was lost"

    def check_reader(self, log: Sequence[Record], partition: int, steps: Sequence[int]) -> None:
        """A reader that stops and starts anew at arbitrary offsets, keeping offset and epoch, sees the same events."""
        seen, epoch = [], -1
        for start, stop in pairwise([0, *sorted(steps), len(log)]):
            admitted = EpochFilter(epoch)
            seen += [record.offset for record in log[start:stop] if admitted.admits(record)]
            epoch = admitted.epoch
        assert seen == [recorded.offset for recorded in self.admitted[partition]]


def _check_returned(history: History, result: Result) -> None:
    """What the log says of a call follows from a result, and not from that of another call."""
    if isinstance(result, ev.ActivityEnded) and result.error == ev.CANCELED:
        return
    retries = result.retries if isinstance(result, ev.LateResultRecorded) else history.retries
    activity = history.find(result.stage, result.index, retries)
    assert activity is not None
    is_known = (activity.resumes, result.attempt) in activity.returned
    assert is_known, f"{result} is told of a call that has not come back"
