"""The read model is the fold of the log: every table, after every batch that is written, and whole when all is quiet.

Events are folded here one by one, without the projections' code, which folds batches. After each batch the rows of what
its events are about are compared, so a position that is ahead of its rows shows, or behind them.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence, Set
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from projections.counting import HOURS_PER_DAY, NOW, take_start_out
from projections.memory import OF_INSTANCES, Tables
from projections.memory_counts import in_steps
from projections.queries import retryable
from projections.rows import (
    Activity,
    Advance,
    Bulk,
    BulkOutcome,
    EventRequest,
    Instance,
    InstanceKey,
    Occurrence,
    PastActivity,
    PastStage,
    Rejection,
    Stage,
    Trigger,
    Workflow,
)
from schemas import events as ev
from schemas import rejections
from schemas.idempotency import digest_of, id_for_key
from schemas.records import Recorded
from tests.counted import counted_again
from tests.simulation.reading import Admitted, LogReader
from tests.simulation.retention import Retention

IDS = {
    *("id", "txid", "account", "address", "source", "destination", "identifier", "reference", "accountID"),
    *("sourceAccountID", "destinationAccountID", "paymentID", "transactionID", "transferID", "walletID"),
}
"""Fields that hold ids by which an instance is found."""
MAX_KEYS = 64
MAX_KEY_CHARACTERS = 128

RUNNING: dict[str, Any] = {"paused_at": None, "max_attempts": None, "last_failure_type": None}
"""Columns of an activity that is not paused."""

Place = tuple[str, Any]
"""A table, and a key in it."""


ACTIONS: Final[dict[type, tuple[str, str]]] = {
    ev.WorkflowCreated: ("create", "workflows"),
    ev.WorkflowDeleted: ("delete", "workflows"),
    ev.TriggerCreated: ("create", "triggers"),
    ev.TriggerDeleted: ("delete", "triggers"),
    ev.InstanceStarted: ("run", "instances"),
    ev.EventReceived: ("event", "instances"),
    ev.ActivityResumed: ("resume", "instances"),
    ev.InstanceEnded: ("abort", "instances"),
    ev.InstanceRetried: ("retry", "instances"),
}
"""What somebody has done who has caused an event, and the table of what it is about."""


class Backup(NamedTuple):
    """What the checker knows at a moment."""

    tables: Tables
    next: list[int]
    offsets: list[int]
    gone: tuple[Instance, ...]
    gone_again: tuple[Instance, ...]
    gone_stages: tuple[Stage | PastStage, ...]


class ReadModelChecker:
    """Holds what is written against the log.

    Args:
        log: reads it.
        broken: takes what is wrong, since the projections survive what a database raises.
        retention: which instances may be deleted.
    """

    def __init__(self, log: LogReader, broken: list[Exception], retention: Retention):
        self._log, self._broken, self._retention = log, broken, retention
        self._tables = Tables()
        self._gone: tuple[Instance, ...] = ()
        """Instances that were deleted, as they were."""
        self._gone_again: tuple[Instance, ...] = ()
        """Those of them that had come back before."""
        self._gone_stages: tuple[Stage | PastStage, ...] = ()
        self.came_back = 0
        """How often a retry has brought one back."""
        self._next = [0] * log.partitions
        """Index of the next record of each partition, among those that count."""
        self._offsets = [0] * log.partitions
        self._starts_with: dict[str, int] = {}
        """How many keys an instance has that is just starting."""
        self.written_batches = 0

    @property
    def partitions(self) -> int:
        """How many there are."""
        return self._log.partitions

    def written(self, tables: Tables, advances: Sequence[Advance]) -> None:
        """A batch was written: these are the tables now."""
        try:
            self.written_batches += 1
            self._written(tables, advances)
        except AssertionError as error:
            self._broken.append(error)

    def deleted(self, tables: Tables) -> None:
        """Instances were deleted, or none: these are the tables now."""
        try:
            if gone := self._tables.instances.keys() - tables.instances.keys():
                self._deleted(tables, gone)
        except AssertionError as error:
            self._broken.append(error)

    def _deleted(self, tables: Tables, gone: Set[str]) -> None:
        """Only those that ended long ago are gone, with all that belongs to them; their requests are known."""
        unsaid = {id for id in gone if self._is_unsaid(self._tables.instances[id])}
        for id in sorted(gone):
            row = self._tables.instances.pop(id)
            is_old = self._retention.may_be_gone(row.state, row.terminated_at)
            assert is_old, f"{id} is deleted, which is {row.state} since {row.terminated_at}"
            self._gone += (row,)
            if id in self._tables.restored:
                del self._tables.restored[id]
                self._gone_again += (row,)
            if row.request is not None:
                self._tables.deleted_instances.setdefault(id, row.request)
        for table in OF_INSTANCES:
            without = gone - unsaid if table == "event_requests" else gone
            shown, wanted = getattr(tables, table), getattr(self._tables, table)
            for key in [key for key in wanted if key[0] in without]:
                row = wanted.pop(key)
                if table in ("stages", "past_stages"):
                    self._gone_stages += (row,)
            left = sorted(key for key in shown if key[0] in without)
            assert not left, f"{table}: {left} are left of instances that are deleted"
            self._compare_keys(table, shown)
        self._compare_all("deleted_instances", tables.deleted_instances)
        assert tables.instances.keys() == self._tables.instances.keys()

    def _is_unsaid(self, row: Instance) -> bool:
        """Whether a retry does not tell the requests that a deleted instance has had. Then they are kept."""
        count = sum(key[0] == row.id for key in self._tables.event_requests)
        return row.error is not None and count > retryable.MAX_REQUESTS

    def _compare_keys(self, table: str, shown: dict[Any, Any]) -> None:
        wanted = getattr(self._tables, table)
        for key in shown.keys() ^ wanted.keys():
            self._compare(table, key, shown)

    @property
    def deleted_instances(self) -> int:
        """How many were deleted."""
        return len(self._gone)

    @property
    def failed_and_deleted(self) -> list[str]:
        """Those that had failed or were aborted, in order."""
        return [row.id for row in self._gone if row.error is not None and row.id not in self._tables.instances]

    def check_deleted(self, tables: Tables) -> None:
        """What ended long ago is gone.

        Raises:
            AssertionError: it is not.
        """
        for id, row in tables.instances.items():
            is_due = self._retention.has_to_be_gone(row.state, row.terminated_at)
            assert not is_due, f"{id} is still there, which is {row.state} since {row.terminated_at}"

    def _written(self, tables: Tables, advances: Sequence[Advance]) -> None:
        touched: set[Place] = set()
        for advance in advances:
            partition = advance.partition
            expected = self._offsets[partition]
            assert advance.first_offset == expected, f"partition {partition} is written from {advance.first_offset} on"
            self._log.read_partition(partition)
            end = self._log.ends[partition]
            assert advance.next_offset <= end, f"the position of partition {partition} is behind the end of the log"
            cause = -1
            for admitted in self._until(partition, advance.next_offset):
                touched.update(self._fold(partition, admitted))
                cause = max(cause, admitted.cause)
            self._offsets[partition] = advance.next_offset
            assert advance.cause >= cause, f"partition {partition}: commands up to {cause} are shown, but not told"
            self._check_whole_outcome(partition, advance.cause)
            position = tables.positions[partition]
            assert position.next_offset == advance.next_offset, f"the position of partition {partition} was not moved"
        for table, key in touched:
            self._compare(table, key, getattr(tables, table))

    def _check_whole_outcome(self, partition: int, told: int) -> None:
        """Of a command that is told, all that it has caused is shown: whoever waits for it is answered now."""
        admitted, index = self._log.admitted[partition], self._next[partition]
        if index < len(admitted) and admitted[index].cause >= 0:
            assert admitted[index].cause > told, f"partition {partition}: command {told} is told, but shown in part"

    def _until(self, partition: int, offset: int) -> Iterator[Admitted]:
        admitted = self._log.admitted[partition]
        while self._next[partition] < len(admitted) and admitted[self._next[partition]].offset < offset:
            yield admitted[self._next[partition]]
            self._next[partition] += 1

    def _compare(self, table: str, key: Any, shown: dict[Any, Any]) -> None:
        wanted, found = getattr(self._tables, table).get(key), shown.get(key)
        assert found == wanted, f"{table}, {key}: the read model has {found}, the log says {wanted}"

    def check_whole(self, tables: Tables) -> None:
        """The read model has all of the log, and nothing else.

        Raises:
            AssertionError: it has not.
        """
        self._log.read()
        positions = [
            position.next_offset if (position := tables.positions.get(partition)) else 0
            for partition in range(self._log.partitions)
        ]
        assert positions == self._log.ends, f"the read model is at {positions}, the log ends at {self._log.ends}"
        assert positions == self._offsets, "a position was moved without a batch"
        for table in vars(tables):
            if table not in ("positions", "counts", "past_counts", "retention"):
                self._compare_all(table, getattr(tables, table))
        self._check_counts(tables)

    def _check_counts(self, shown: Tables) -> None:
        """The counts are those of the rows. They are not counted from events here, so what a batch adds shows.

        What instances did that are deleted stays counted; and those that came back don't count as started once more.
        """
        tables = self._tables
        wanted = counted_again(tables.instances.values(), [*tables.stages.values(), *tables.past_stages.values()])
        gone = counted_again(self._gone, self._gone_stages)
        wanted.update({key: count for key, count in gone.items() if key.hour != NOW})
        for row in (*self._gone_again, *(tables.instances[id] for id in tables.restored)):
            take_start_out(wanted, row)
        days = in_steps(wanted, {}, HOURS_PER_DAY)
        counts = in_steps(shown.counts, shown.past_counts, HOURS_PER_DAY)
        for key in days.keys() | counts.keys():
            assert counts[key] == days[key], f"{key}: the read model counts {counts[key]}, there are {days[key]} rows"

    def _compare_all(self, table: str, shown: dict[Any, Any]) -> None:
        wanted = getattr(self._tables, table)
        for key in shown.keys() | wanted.keys():
            self._compare(table, key, shown)

    # What a crash of the database goes back to

    def backup(self) -> "Backup":
        """What holds now."""
        gone = self._gone, self._gone_again, self._gone_stages
        return Backup(self._tables.copy(), self._next.copy(), self._offsets.copy(), *gone)

    def restore(self, backup: "Backup") -> None:
        """Go back to it."""
        self._tables, self._next, self._offsets = backup.tables.copy(), backup.next.copy(), backup.offsets.copy()
        self._gone, self._gone_again, self._gone_stages = backup[3:]

    # What events mean

    def _fold(self, partition: int, admitted: Admitted) -> Collection[Place]:
        """Take in an event; the rows that it is about."""
        recorded = admitted.recorded
        if recorded is None:
            return ()
        if isinstance(recorded.event, ev.SubmissionRejected):
            if recorded.event.code != rejections.ENDED or recorded.event.type != "SubmitAbort":
                return ()
            key = str(id_for_key("abort", recorded.aggregate_id, recorded.event.idempotency_key or ""))
            return self._add_late(recorded.aggregate_id, key, digest_of(None))
        if isinstance(recorded.event, ev.CommandRejected):
            if recorded.event.bulk_id is not None:
                return [self._count(recorded.event.bulk_id, partition, recorded.event.code)]
            if admitted.cause < 0:
                return ()
            rejection = Rejection(
                partition, admitted.cause, recorded.event.code, _text(recorded.event.message), recorded.event.at
            )
            late = self._add_late(recorded.aggregate_id, recorded.event.request_key, recorded.event.request_digest)
            return [self._add("rejections", (partition, admitted.cause), rejection), *late]
        if isinstance(recorded.event, ev.BulkEvent):
            return [self._fold_bulk(partition, recorded.aggregate_id, recorded.event)]
        places = [place for place in self._fold_event(recorded) if place is not None]
        self._note_author(recorded)
        if (bulk_id := getattr(recorded.event, "bulk_id", None)) is not None:
            places.append(self._count(bulk_id, partition, "DONE"))
        return places

    def _count(self, bulk_id: str, partition: int, outcome: str) -> Place:
        key = bulk_id, partition, outcome
        known = self._tables.bulk_outcomes.get(key)
        count = 1 + (0 if known is None else known.instances)
        self._tables.bulk_outcomes[key] = BulkOutcome(bulk_id, partition, outcome, count)
        return "bulk_outcomes", key

    def _fold_bulk(self, partition: int, id: str, event: ev.BulkEvent) -> Place:
        match event:
            case ev.BulkStarted():
                filter = bytes(event.filter).decode()
                row = Bulk(id, event.at, partition, event.action, filter, event.expected, event.at)
                row = replace(row, request=event.request_digest, created_by=event.by, created_reason=event.reason)
                self._add("bulks", id, replace(row, pages=0, sent=0, lost=0, page_at=event.begin_at))
            case ev.BulkAdvanced():
                page, place = _json(event.instances), {"page_at": event.created_at, "updated_at": event.at}
                self._change("bulks", id, pages=event.page + 1, sent=event.sent, lost=event.lost, page=page, **place)
            case ev.BulkStopped():
                by = {"stopped_by": event.by, "stopped_reason": event.reason}
                self._change("bulks", id, updated_at=event.at, stopped_at=event.at, **by)
            case ev.BulkEnded():
                self._change("bulks", id, updated_at=event.at, terminated_at=event.at, lost=event.lost, page=None)
        return "bulks", id

    def _note_author(self, recorded: Recorded) -> None:
        """Whoever has caused an event stays with what it is about; of many, the first and the last ones."""
        action, table = ACTIONS.get(type(recorded.event), (None, ""))
        by, reason = getattr(recorded.event, "by", None), getattr(recorded.event, "reason", None)
        row = getattr(self._tables, table).get(recorded.aggregate_id) if table else None
        if row is None or (by is None and reason is None):
            return
        name = recorded.event.name if isinstance(recorded.event, ev.EventReceived) else None
        act = {"at": recorded.event.at, "action": action, "name": name, "by": by, "reason": reason}
        acts = ([] if row.acts is None else row.acts.split("\n")) + [
            _json({field: value for field, value in act.items() if value is not None})
        ]
        kept = acts if len(acts) <= 100 else acts[:1] + acts[-99:]
        getattr(self._tables, table)[recorded.aggregate_id] = replace(row, acts="\n".join(kept))

    def _fold_event(self, recorded: Recorded) -> Iterator[Place | None]:
        id, event = recorded.aggregate_id, recorded.event
        yield from self._fold_keys(id, event)
        if isinstance(event, ev.WorkflowCreated):
            row: Struct = Workflow(
                id,
                event.at,
                _text(event.name),
                _json(event.stages),
                event.at,
                request=event.request_digest,
                max_attempts=event.max_attempts,
            )
            yield self._add("workflows", id, row)
        elif isinstance(event, ev.WorkflowDeleted):
            yield self._change("workflows", id, updated_at=event.at, deleted_at=event.at)
        elif isinstance(event, ev.InstanceEvent) and not isinstance(event, ev.LateResultRecorded):
            yield from self._fold_instance(id, event, recorded.version)
        elif isinstance(event, ev.TriggerCreated):
            yield self._add("triggers", id, _trigger(id, event))
        elif isinstance(event, ev.TriggerDeleted):
            yield self._change("triggers", id, deleted_at=event.at)
        elif isinstance(event, ev.TriggerFired | ev.TriggerFailed):
            yield self._add("occurrences", event.occurrence_id, _occurrence(id, event))

    def _fold_keys(self, id: str, event: Any) -> Iterator[Place | None]:
        """Behind the event itself, since the first one makes the instance."""
        texts = (text.strip().replace("\0", "\N{REPLACEMENT CHARACTER}").casefold() for text in _texts(event))
        found = list(dict.fromkeys(text for text in texts if 0 < len(text) <= MAX_KEY_CHARACTERS))[:MAX_KEYS]
        if isinstance(event, ev.InstanceRetried):
            if id not in self._tables.instances:
                self._starts_with[id] = len(found)
                for key in found:
                    yield self._add("instance_keys", (id, key), InstanceKey(id, key, event.at))
            return
        if not found:
            return
        if isinstance(event, ev.InstanceStarted):
            self._starts_with[id] = len(found)
            keys, created_at = 0, event.at
        elif (row := self._tables.instances.get(id)) is not None and row.created_at is not None:
            keys, created_at = row.keys or 0, row.created_at
            yield self._change("instances", id, keys=keys + len(found))
        else:
            return
        for key in found[: max(0, MAX_KEYS - keys)]:
            yield self._add("instance_keys", (id, key), InstanceKey(id, key, created_at))

    def _fold_instance(self, id: str, event: Any, version: int) -> Iterator[Place | None]:
        at: datetime = event.at
        if isinstance(event, ev.InstanceStarted):
            row = Instance(
                id, at, event.workflow_id, at, request=event.request_digest, variables=_json(event.variables)
            )
            started_by = {"trigger_id": event.trigger_id, "occurrence_id": event.occurrence_id}
            keys = self._starts_with.pop(id, None)
            yield self._add("instances", id, replace(row, **started_by, state="running", keys=keys))
            return
        if isinstance(event, ev.InstanceRetried):
            yield from self._fold_retry(id, event)
            yield self._add_request(id, event)
            return
        yield self._change("instances", id, updated_at=at, **_waiting(event))
        if isinstance(event, ev.InstanceEnded):
            state = {None: "succeeded", "canceled": "aborted"}.get(event.error, "failed")
            retryable = None if event.error is None else _json([version, event.arrived])
            ended: dict[str, Any] = {"terminated_at": at, "error": _text(event.error), "retryable": retryable}
            self._change("instances", id, state=state, **ended)
            yield self._add_request(id, event)
        elif isinstance(event, ev.StageStarted):
            stage = Stage(id, event.number, event.name, _json(event.input), at)
            yield self._add("stages", (id, event.number), stage)
        elif isinstance(event, ev.StageEnded):
            yield self._change("stages", (id, event.number), terminated_at=at, error=_text(event.error))
        elif isinstance(event, ev.EventReceived | ev.ActivityResumed):
            if isinstance(event, ev.ActivityResumed):
                yield self._change(
                    "activities", (id, event.stage, event.index), attempt=1, next_execution=at, **RUNNING
                )
            yield self._add_request(id, event)
        else:
            yield self._fold_activity(id, event)

    def _fold_activity(
        self, id: str, event: ev.ActivityStarted | ev.ActivityFailed | ev.ActivityPaused | ev.ActivityEnded
    ) -> Place | None:
        key, at = (id, event.stage, event.index), event.at
        if isinstance(event, ev.ActivityStarted):
            started = Activity(
                id, event.stage, event.index, 1, event.name, _json(event.input), started_at=at, next_execution=at
            )
            started = replace(started, key_number=event.key_number or None, key_used=event.key_used or None)
            return self._add("activities", key, started)
        if isinstance(event, ev.ActivityPaused):
            return self._change(
                "activities",
                key,
                attempt=event.attempt,
                last_failure=_text(event.error),
                next_execution=None,
                paused_at=at,
                max_attempts=event.max_attempts,
                last_failure_type=_text(event.code),
            )
        if isinstance(event, ev.ActivityFailed):
            return self._change(
                "activities",
                key,
                attempt=event.attempt + 1,
                last_failure=_text(event.error),
                next_execution=event.retry_at,
            )
        return self._change(
            "activities",
            key,
            attempt=event.attempt,
            terminated_at=at,
            error=_text(event.error),
            output=None if event.output is None else _json(event.output),
            next_execution=None,
            **RUNNING | {"last_failure_type": _text(event.code)},
        )

    def _add_request(self, id: str, event: Any) -> Place | None:
        if event.request_key is None or event.request_digest is None:
            return None
        request = EventRequest(id, event.request_key, event.request_digest)
        return self._add("event_requests", (id, event.request_key), request)

    def _add_late(self, id: str, key: str | None, digest: str | None) -> Sequence[Place]:
        """A request that came when its instance had ended. One that is deleted has no requests."""
        if key is None or digest is None or id not in self._tables.instances:
            return ()
        return [self._add("event_requests", (id, key), EventRequest(id, key, digest))]

    def _fold_retry(self, id: str, event: ev.InstanceRetried) -> Iterator[Place | None]:
        """What the pass before has left in the stage goes aside."""
        tables, past = self._tables, event.retries - 1
        if id not in tables.instances:
            yield from self._bring_back(id, event)
            return
        running: dict[str, Any] = {"terminated_at": None, "error": None, "retryable": None, "waiting": None}
        yield self._change("instances", id, **running, state="running", retries=event.retries, updated_at=event.at)
        if (stage := tables.stages.pop((id, event.stage), None)) is not None:
            yield "stages", (id, event.stage)
            moved = PastStage(id, past, stage.number, stage.name, stage.input, stage.started_at)
            moved = replace(moved, terminated_at=stage.terminated_at, error=stage.error)
            yield self._add("past_stages", (id, event.stage, past), moved)
        for key in [k for k in tables.activities if k[:2] == (id, event.stage) and k[2] >= len(event.kept)]:
            yield "activities", key
            one = tables.activities.pop(key)
            values = {name: getattr(one, name) for name in PastActivity.__struct_fields__ if name != "retries"}
            yield self._add("past_activities", (*key, past), PastActivity(retries=past, **values))

    def _bring_back(self, id: str, event: ev.InstanceRetried) -> Iterator[Place | None]:
        """An instance that was deleted has what the retry says: it begins there."""
        variables = _json(event.variables)
        row = Instance(id, event.at, event.workflow_id, event.at, request=event.run_digest, variables=variables)
        self._tables.restored[id] = None
        self.came_back += 1
        keys = self._starts_with.pop(id, None) or None
        yield self._add("instances", id, replace(row, state="running", retries=event.retries, keys=keys))
        for index, kept in enumerate(event.kept):
            output = None if kept.output is None else _json(kept.output)
            done = Activity(id, event.stage, index, 1, kept.name, _json(kept.input), output, event.at, event.at)
            done = replace(done, error=_text(kept.error), last_failure_type=_text(kept.code), key_used=True)
            yield self._add("activities", (id, event.stage, index), replace(done, key_number=kept.key_number or None))
        for key, digest in event.requests:
            yield self._add("event_requests", (id, key), EventRequest(id, key, digest))

    def _add(self, table: str, key: Any, row: Struct) -> Place:
        getattr(self._tables, table).setdefault(key, row)
        return table, key

    def _change(self, table: str, key: Any, **values: Any) -> Place | None:
        rows = getattr(self._tables, table)
        if key not in rows:
            return None
        rows[key] = replace(rows[key], **values)
        return table, key


def _texts(event: Any) -> list[str]:
    """The texts that an instance can be found by, of an event."""
    match event:
        case ev.InstanceStarted():
            return [*event.variables.values(), event.occurrence_id or ""]
        case ev.InstanceRetried():
            return list(event.variables.values())
        case ev.StageStarted(name="RunWaitEvent", input={"event": str() as name}) | ev.EventReceived(name=name):
            return [name]
        case ev.ActivityStarted(input=value) | ev.ActivityEnded(output=value):
            return _ids(value)
        case _:
            return []


def _ids(value: Any) -> list[str]:
    found, left = [], deque([value])
    while left:
        one = left.popleft()
        if isinstance(one, list):
            left += one
        elif isinstance(one, dict):
            for name, inner in one.items():
                if name in IDS and type(inner) in (str, int):
                    found.append(str(inner))
                elif name not in ("metadata", "raw"):
                    left.append(inner)
    return found


def _waiting(event: Any) -> dict[str, Any]:
    """What an event of an instance changes of what it waits for."""
    name: str | None = None
    until: datetime | None = None
    attempt: int | None = None
    pause: list[Any] | None = None
    match event:
        case ev.StageStarted(name="RunWaitEvent", input={"event": str() as name}):
            reason = "event"
        case ev.StageStarted(wait_until=datetime() as until):
            reason = "delay"
        case ev.ActivityStarted():
            return {"activity": event.name}
        case ev.ActivityFailed():
            reason, until, attempt = "retry", event.retry_at, event.attempt + 1
        case ev.ActivityPaused():
            reason, name, attempt = "resume", event.name, event.attempt
            pause = [event.stage, event.index, event.max_attempts, _text(event.error), _text(event.code)]
        case ev.ActivityResumed() | ev.ActivityEnded() | ev.StageEnded():
            return {"waiting": None, "state": "running"}
        case _:
            return {}
    state = {"event": "waiting", "delay": "delayed", "retry": "retrying", "resume": "paused"}[reason]
    return {"waiting": _json([reason, event.at, _text(name), until, attempt, pause]), "state": state}


def _trigger(id: str, event: ev.TriggerCreated) -> Trigger:
    return Trigger(
        id,
        _text(event.name),
        _text(event.name).casefold(),
        _text(event.event),
        _text(event.version),
        event.workflow_id,
        _text(event.filter),
        None if event.vars is None else _json(event.vars),
        event.at,
        request=event.request_digest,
    )


def _occurrence(id: str, event: ev.TriggerFired | ev.TriggerFailed) -> Occurrence:
    occurrence = Occurrence(event.occurrence_id, id, event.at, _json(event.event))
    if isinstance(event, ev.TriggerFired):
        return replace(occurrence, workflow_instance_id=event.instance_id)
    return replace(occurrence, error=_text(event.error))


def _text(value: Any) -> Any:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if value else value


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
