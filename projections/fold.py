"""What events mean for the read model: a batch of them becomes at most one row per thing changed. Pure.

The read model shows only what events say. An event about something that no event before it made changes nothing.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec

from projections.acts import joined, line_of
from projections.bulk_rows import count, fold_bulk
from projections.keys import MAX_KEYS, ids_in, keys_of
from projections.names import folded
from projections.read_rows import Pause, Retryable, WaitingRow
from projections.rows import (
    Activity,
    Advance,
    Bulk,
    BulkOutcome,
    EventRequest,
    FoundKey,
    Instance,
    Occurrence,
    Rejection,
    Retry,
    Stage,
    Trigger,
    Workflow,
)
from projections.states import ended_state, live_state
from schemas import events
from schemas.definition import WaitEvent
from schemas.ended_activities import KeptActivity
from schemas.late_aborts import late_abort
from schemas.records import Recorded
from schemas.resources import ActKind

_encode = msgspec.json.Encoder().encode


class BatchFull(Exception):
    """The event begins another batch: it changes rows that are in this one."""


class Batch:
    """Events folded into rows, and how far they move the positions.

    Args:
        finds_keys: whether instances are to be found by keys.
    """

    def __init__(self, finds_keys: bool = True) -> None:
        self._finds_keys = finds_keys
        self.advances: list[Advance] = []
        self.workflows: dict[str, Workflow] = {}
        self.instances: dict[str, Instance] = {}
        self.stages: dict[tuple[str, int], Stage] = {}
        self.activities: dict[tuple[str, int, int], Activity] = {}
        self.triggers: dict[str, Trigger] = {}
        self.occurrences: list[Occurrence] = []
        self.rejections: dict[tuple[int, int], Rejection] = {}
        self.event_requests: list[EventRequest] = []
        self.late_requests: list[EventRequest] = []
        """Those that came when their instance had ended. They are kept if it was there before the batch: it may be
        deleted, or may never have been."""
        self.bulks: dict[str, Bulk] = {}
        self.bulk_outcomes: dict[tuple[str, int, str], BulkOutcome] = {}
        self.keys: dict[tuple[str, str], FoundKey] = {}
        self.retries: dict[str, Retry] = {}
        self.retried: dict[str, Instance] = {}
        """What is known of the instances of `retries`, by id, for those that were deleted (see `retries`). What
        they keep of activities and requests is among the others: it is there already unless they were deleted."""
        self.retried_with: dict[str, Collection[str]] = {}
        """By what these are found from their start on."""
        self.ended: list[str] = []
        """Instances that ended by another cause than the one that started them, or maybe did."""
        self._started_by: dict[str, int] = {}

    def add(self, partition: int, recorded: Recorded) -> None:
        """Fold one event, in the order of its partition.

        Raises:
            BatchFull: it has to be the first of another batch. Nothing was changed.
        """
        id, cause = recorded.aggregate_id, recorded.cause
        match recorded.event:
            case events.StageStarted() as event:
                self._stage_started(id, event)
            case events.StageEnded() as event:
                self._stage_ended(id, event)
            case events.InstanceStarted() as event:
                self._instance_started(id, event, cause)
            case events.InstanceEnded() as event:
                self._instance_ended(recorded, event)
                count(self.bulk_outcomes, partition, event.bulk_id)
            case events.ActivityStarted() as event:
                self._activity_started(id, event)
            case events.ActivityFailed() as event:
                self._activity_failed(id, event)
            case events.ActivityPaused() as event:
                self._activity_paused(id, event)
            case events.ActivityResumed() as event:
                self._activity_resumed(id, event)
                count(self.bulk_outcomes, partition, event.bulk_id)
            case events.ActivityEnded() as event:
                self._activity_ended(id, event)
            case events.EventReceived() as event:
                instance = self._touch(id, event.at)
                _act(instance, "event", event, event.name)
                self._found(instance, (event.name,))
                self._requested(id, event)
            case events.InstanceRetried() as event:
                self._instance_retried(id, event)
                count(self.bulk_outcomes, partition, event.bulk_id)
            case events.WorkflowCreated() as event:
                self._workflow_created(id, event)
            case events.WorkflowDeleted() as event:
                self._workflow_deleted(id, event)
            case events.TriggerFired() | events.TriggerFailed() as event:
                self._occurred(id, event)
            case events.TriggerCreated() as event:
                self._trigger_created(id, event)
            case events.TriggerDeleted() as event:
                self._trigger_deleted(id, event)
            case events.BulkStarted() | events.BulkAdvanced() | events.BulkStopped() | events.BulkEnded() as event:
                fold_bulk(self.bulks, partition, id, event)
            case events.CommandRejected(bulk_id=str()) as event:  # it is counted, and nobody waits for it
                count(self.bulk_outcomes, partition, event.bulk_id, event.code)
            case events.CommandRejected() as event if cause is not None:
                self._note_late_abort(id, event)
                self.rejections[partition, cause] = Rejection(
                    partition, cause, event.code, _text(event.message), event.at
                )
            case events.SubmissionRejected() as event:
                self._note_late_abort(id, event)
            case _:
                # LateResultRecorded, InstanceRequested, CommandSkipped, ClaimConfirmed and other events of submissions
                # change nothing.
                pass

    def _workflow_created(self, id: str, event: events.WorkflowCreated) -> None:
        self.workflows[id] = Workflow(
            id,
            event.at,
            _text(event.name),
            _json(event.stages),
            event.at,
            request=event.request_digest,
            max_attempts=event.max_attempts,
            acts=line_of(event.at, "create", event.by, event.reason),
        )

    def _workflow_deleted(self, id: str, event: events.WorkflowDeleted) -> None:
        workflow = self.workflows.get(id)
        if workflow is None:
            workflow = self.workflows[id] = Workflow(id, event.at)
        workflow.updated_at = workflow.deleted_at = event.at
        _act(workflow, "delete", event)

    def _instance_started(self, id: str, event: events.InstanceStarted, cause: int | None) -> None:
        instance = self.instances[id] = Instance(
            id,
            event.at,
            event.workflow_id,
            event.at,
            request=event.request_digest,
            variables=_json(event.variables),
            trigger_id=event.trigger_id,
            occurrence_id=event.occurrence_id,
            state=live_state(None),
            acts=line_of(event.at, "run", event.by, event.reason),
        )
        if event.variables or event.occurrence_id is not None:
            self._found(instance, (*event.variables.values(), event.occurrence_id or ""))
        if cause is not None:
            self._started_by[id] = cause

    def _instance_retried(self, id: str, event: events.InstanceRetried) -> None:
        if id in self.instances:
            raise BatchFull
        instance = self._touch(id, event.at)
        instance.retries, instance.state, instance.workflow_id = event.retries, live_state(None), event.workflow_id
        _act(instance, "retry", event)
        self.retries[id] = Retry(id, event.retries - 1, event.stage, len(event.kept))
        self.retried[id] = Instance(
            id,
            event.at,
            event.workflow_id,
            event.at,
            request=event.run_digest,
            variables=_json(event.variables),
        )
        if self._finds_keys:
            self.retried_with[id] = keys_of(event.variables.values())
        for index, kept in enumerate(event.kept):
            self.activities[id, event.stage, index] = _kept(id, event, index, kept)
        self.event_requests += (EventRequest(id, key, digest) for key, digest in event.requests)
        self._requested(id, event)

    def _instance_ended(self, recorded: Recorded, event: events.InstanceEnded) -> None:
        id, cause = recorded.aggregate_id, recorded.cause
        instance = self._touch(id, event.at)
        instance.terminated_at = event.at
        instance.error = _text(event.error)
        instance.state = ended_state(event.error)
        _act(instance, "abort", event)
        self._requested(id, event)
        if event.error is not None:
            instance.retryable = _json(Retryable(recorded.version, event.arrived))
        if cause is None or self._started_by.get(id) != cause:
            self.ended.append(id)

    def _stage_started(self, id: str, event: events.StageStarted) -> None:
        instance = self._touch(id, event.at)
        self.stages[id, event.number] = Stage(id, event.number, event.name, _json(event.input), event.at)
        if self.retries and (retry := self.retries.get(id)) is not None and retry.stage == event.number:
            retry.starts = True
        if event.wait_until is not None:
            _wait(instance, WaitingRow("delay", event.at, until=event.wait_until))
        elif event.name == WaitEvent.name and isinstance(name := event.input.get("event"), str):
            _wait(instance, WaitingRow("event", event.at, _text(name)))
            self._found(instance, (name,))

    def _stage_ended(self, id: str, event: events.StageEnded) -> None:
        _wait(self._touch(id, event.at), None)
        stage = self.stages.get((id, event.number))
        if stage is None:
            stage = self.stages[id, event.number] = Stage(id, event.number)
        stage.terminated_at = event.at
        stage.error = _text(event.error)

    def _activity_started(self, id: str, event: events.ActivityStarted) -> None:
        instance = self._touch(id, event.at)
        instance.activity = event.name
        self._found(instance, ids_in(event.input))
        self.activities[id, event.stage, event.index] = Activity(
            id,
            event.stage,
            event.index,
            attempt=1,
            name=event.name,
            input=_json(event.input),
            started_at=event.at,
            next_execution=event.at,
            key_number=event.key_number or None,
            key_used=event.key_used or None,
        )
        if self.retries and (retry := self.retries.get(id)) is not None and retry.stage == event.stage:
            retry.activities.append(event.index)

    def _activity_failed(self, id: str, event: events.ActivityFailed) -> None:
        activity = self._activity(id, event, event.attempt)
        activity.attempt = event.attempt + 1
        activity.last_failure = _text(event.error)
        activity.next_execution = event.retry_at
        _wait(self.instances[id], WaitingRow("retry", event.at, until=event.retry_at, attempt=event.attempt + 1))

    def _activity_paused(self, id: str, event: events.ActivityPaused) -> None:
        activity = self._activity(id, event, event.attempt)
        activity.attempt, activity.next_execution = event.attempt, None
        activity.last_failure, activity.last_failure_type = _text(event.error), _text(event.code)
        activity.paused_at, activity.max_attempts = event.at, event.max_attempts
        pause = Pause(event.stage, event.index, event.max_attempts, _text(event.error), _text(event.code))
        _wait(self.instances[id], WaitingRow("resume", event.at, event.name, attempt=event.attempt, pause=pause))

    def _activity_resumed(self, id: str, event: events.ActivityResumed) -> None:
        activity = self._activity(id, event, 1)
        activity.attempt, activity.next_execution = 1, event.at
        _run(activity)
        instance = self.instances[id]
        _wait(instance, None)
        _act(instance, "resume", event)
        self._requested(id, event)

    def _activity_ended(self, id: str, event: events.ActivityEnded) -> None:
        activity = self._activity(id, event, event.attempt)
        activity.attempt = event.attempt
        _run(activity)
        activity.last_failure_type = _text(event.code)
        instance = self.instances[id]
        _wait(instance, None)
        self._found(instance, ids_in(event.output))
        activity.terminated_at = event.at
        activity.error = _text(event.error)
        activity.output = None if event.output is None else _json(event.output)
        activity.next_execution = None

    def _trigger_created(self, id: str, event: events.TriggerCreated) -> None:
        self.triggers[id] = Trigger(
            id,
            _text(event.name),
            folded(event.name),
            _text(event.event),
            _text(event.version),
            event.workflow_id,
            _text(event.filter),
            None if event.vars is None else _json(event.vars),
            event.at,
            request=event.request_digest,
            acts=line_of(event.at, "create", event.by, event.reason),
        )

    def _trigger_deleted(self, id: str, event: events.TriggerDeleted) -> None:
        trigger = self.triggers.setdefault(id, Trigger(id))
        trigger.deleted_at = event.at
        _act(trigger, "delete", event)

    def _occurred(self, id: str, event: events.TriggerFired | events.TriggerFailed) -> None:
        occurrence = Occurrence(event.occurrence_id, id, event.at, _json(event.event))
        if isinstance(event, events.TriggerFired):
            occurrence.workflow_instance_id = event.instance_id
        else:
            occurrence.error = _text(event.error)
        self.occurrences.append(occurrence)

    def _touch(self, id: str, at: datetime) -> Instance:
        instance = self.instances.get(id)
        if instance is None:
            instance = self.instances[id] = Instance(id, at)
        else:
            instance.updated_at = at
        return instance

    def _found(self, instance: Instance, texts: Iterable[str]) -> None:
        """Take in by what an instance can be found."""
        if not self._finds_keys:
            return
        keys = keys_of(texts)
        if not keys:
            return
        first = instance.keys or 0
        instance.keys = first + len(keys)
        for room, key in zip(range(MAX_KEYS - first, 0, -1), keys, strict=False):
            started = instance.created_at
            found = FoundKey(instance.id, key, started) if started else FoundKey(instance.id, key, room=room)
            self.keys.setdefault((instance.id, key), found)

    def _requested(
        self,
        id: str,
        event: events.EventReceived | events.ActivityResumed | events.InstanceEnded | events.InstanceRetried,
    ) -> None:
        if event.request_key is not None and event.request_digest is not None:
            self.event_requests.append(EventRequest(id, event.request_key, event.request_digest))

    def _note_late_abort(self, id: str, event: events.CommandRejected | events.SubmissionRejected) -> None:
        """Keep the key of an abort that came when its instance had ended."""
        late = late_abort(id, event)
        if late is not None:
            request = EventRequest(id, *late)
            (self.event_requests if id in self.instances else self.late_requests).append(request)

    def _activity(
        self,
        id: str,
        event: events.ActivityFailed | events.ActivityPaused | events.ActivityResumed | events.ActivityEnded,
        attempt: int,
    ) -> Activity:
        self._touch(id, event.at)
        key = (id, event.stage, event.index)
        activity = self.activities.get(key)
        if activity is None:
            activity = self.activities[key] = Activity(id, event.stage, event.index, attempt)
        return activity


def _kept(id: str, event: events.InstanceRetried, index: int, kept: KeptActivity) -> Activity:
    """An activity that a retry does not do again, as far as the retry tells it: for an instance that was deleted."""
    return Activity(
        id,
        event.stage,
        index,
        attempt=1,
        name=kept.name,
        input=_json(kept.input),
        output=None if kept.output is None else _json(kept.output),
        started_at=event.at,
        terminated_at=event.at,
        error=_text(kept.error),
        last_failure_type=_text(kept.code),
        key_number=kept.key_number or None,
        key_used=True,  # maybe: what follows from this is right in any case
    )


def _run(activity: Activity) -> None:
    """An activity is not paused any more."""
    activity.paused_at = activity.max_attempts = activity.last_failure_type = None


def _wait(instance: Instance, waiting: WaitingRow | None) -> None:
    """An instance waits for something from now on, or for nothing."""
    instance.state = live_state(waiting)
    if waiting is not None:
        instance.waiting = _json(waiting)
    else:
        instance.waiting = None if instance.created_at is not None else ""


class _Caused(Protocol):
    """An event that a person may have caused."""

    @property
    def at(self) -> datetime: ...
    @property
    def by(self) -> str | None: ...
    @property
    def reason(self) -> str | None: ...


def _act(row: Workflow | Trigger | Instance, action: ActKind, event: _Caused, name: str | None = None) -> None:
    """Note on a row who did what to it, and why, if that is known."""
    if event.by is not None or event.reason is not None:
        row.acts = joined(row.acts, line_of(event.at, action, event.by, event.reason, name))


def _json(value: Any) -> str:
    return _encode(value).decode()


T = TypeVar("T", str, str | None)


def _text(value: T) -> T:
    """Postgres can't hold NUL in a text; anything else passes unchanged."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if value and "\0" in value else value
