"""The read model in memory: a database that any number of processes share, behind the same ports as Postgres.

It holds what the statements in `sql/project` would leave in the tables; `memory_queries` reads them. It opens no
connections and has no threads, so it runs on a virtual clock. What goes wrong with it is decided by whoever overrides
`MemoryDatabase.request` and `MemoryDatabase.delivers`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from projections import memory_counts
from projections.acts import joined
from projections.announcements import announcements
from projections.counting import INSTANCE, NOW, CountKey, add_up, hour_of
from projections.errors import BatchRefused, PositionConflict, StoreAway
from projections.fold import Batch
from projections.ports import Deletion
from projections.queries import retryable
from projections.read_rows import RowPosition
from projections.retries import restored_keys, restored_rows
from projections.rows import (
    Activity,
    Bulk,
    BulkOutcome,
    EventRequest,
    FoundKey,
    Instance,
    InstanceKey,
    Occurrence,
    PastActivity,
    PastStage,
    ReadPosition,
    Rejection,
    Retry,
    Stage,
    Trigger,
    Workflow,
)
from schemas.resources import InstanceState

T = TypeVar("T")

ACTIVITY_CHANGES: Final = (
    *("output", "attempt", "terminated_at", "error", "next_execution", "paused_at", "max_attempts"),
    "last_failure_type",
)
"""What a change of an activity replaces."""
BULK_CHANGES: Final = (
    *("stopped_at", "stopped_by", "stopped_reason", "terminated_at"),
    *("pages", "sent", "lost", "page", "page_at"),
)
"""What a change of a bulk operation replaces, where it says something."""


MAX_ACTIVITIES: Final = 16
"""More than any stage has."""
OF_INSTANCES: Final = ("stages", "activities", "past_stages", "past_activities", "event_requests", "instance_keys")
"""Tables whose keys begin with the id of an instance."""


class Tables:
    """The rows, by their primary keys."""

    def __init__(self) -> None:
        self.positions: dict[int, ReadPosition] = {}
        self.workflows: dict[str, Workflow] = {}
        self.instances: dict[str, Instance] = {}
        self.stages: dict[tuple[str, int], Stage] = {}
        self.activities: dict[tuple[str, int, int], Activity] = {}
        self.triggers: dict[str, Trigger] = {}
        self.occurrences: dict[str, Occurrence] = {}
        self.rejections: dict[tuple[int, int], Rejection] = {}
        self.event_requests: dict[tuple[str, str], EventRequest] = {}
        self.bulks: dict[str, Bulk] = {}
        self.bulk_outcomes: dict[tuple[str, int, str], BulkOutcome] = {}
        self.counts: dict[CountKey, int] = {}
        self.past_counts: dict[memory_counts.PastKey, int] = {}
        self.instance_keys: dict[tuple[str, str], InstanceKey] = {}
        self.past_stages: dict[tuple[str, int, int], PastStage] = {}
        self.past_activities: dict[tuple[str, int, int, int], PastActivity] = {}
        self.deleted_instances: dict[str, str] = {}
        """Digests of the requests that started instances which are deleted."""
        self.retention: dict[InstanceState, datetime] = {}
        """Up to when instances of an outcome may have been deleted."""
        self.restored: dict[str, None] = {}
        """Instances that were deleted while a retry was on its way."""

    def copy(self) -> "Tables":
        """The same rows in other tables. A row is never changed, but replaced."""
        other = Tables()
        for name, table in vars(self).items():
            setattr(other, name, dict(table))
        return other


class Hearing(Protocol):
    """A connection that listens."""

    @property
    def client(self) -> str:
        """The process that has it."""

    def hear(self, announcement: str) -> None:
        """A batch was written."""

    def cut(self) -> None:
        """The connection ends here."""


class MemoryDatabase:
    """A database with one read model.

    Args:
        now: the time, for what is pruned.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)):
        self.now = now
        self.tables = Tables()
        self.rejected_at: dict[tuple[int, int], datetime] = {}
        """When each rejection was written."""
        self.caught_up: set[int] = set()
        self.partitions = 0
        """How many there are altogether: the most that was noted with those that caught up."""
        self.listeners: list[Callable[[str], None]] = []
        """Are called with each announcement of a batch that was written, whatever happens to connections."""
        self.hearing: list[Hearing] = []
        """The connections that listen."""
        self.starts = 0
        """How often it was started again."""

    @property
    def all_caught_up(self) -> bool | None:
        """See `all_caught_up.sql`."""
        return self.caught_up.issuperset(range(self.partitions)) if self.caught_up else None

    async def request(self, client: str) -> None:
        """Something is on its way to the database, or back.

        Args:
            client: the process that asks.

        Raises:
            OSError: what goes wrong there. Here nothing does.
        """
        await asyncio.sleep(0)

    async def carry(self, client: str, do: Callable[[], T]) -> T:
        """Have something done at one moment, and bring its answer back.

        Args:
            client: the process that asks.
            do: what is done. What it raises is the answer, too.

        Raises:
            OSError: what goes wrong on the way, so that nobody knows whether it was done.
        """
        await self.request(client)
        done = do()
        await self.request(client)
        return done

    def delivers(self, client: str) -> bool:
        """Whether an announcement reaches a connection of this process that listens."""
        return True

    def written(self, batch: Batch) -> None:
        """A batch was written. Tells all who listen."""
        for announcement in announcements(batch):
            for listener in self.listeners:
                listener(announcement)
            for connection in self.hearing:
                if self.delivers(connection.client):
                    connection.hear(announcement)

    def deleted(self) -> None:
        """Instances that ended long ago were deleted, or there were none."""

    def backup(self) -> Tables:
        """The tables as they are now."""
        return self.tables.copy()

    def restart(self, backup: Tables) -> None:
        """Start again, from older tables, as after a crash: the last transactions are lost, connections are cut."""
        self.tables = backup.copy()
        self.caught_up, self.partitions = set(), 0
        self.starts += 1
        cut, self.hearing = self.hearing, []
        for connection in cut:
            connection.cut()


class MemoryStore:
    """`ports.Store` in memory.

    Args:
        database: shared with other stores.
        client: the process that has the store.
    """

    def __init__(self, database: MemoryDatabase, client: str = "projections"):
        self._database = database
        self._client = client
        self._start: int | None = None

    @property
    def connected(self) -> bool:
        """See `ports.Store.connected`."""
        return self._start == self._database.starts

    async def close(self) -> None:
        """See `ports.Store.close`."""
        self._start = None

    async def positions(self, partitions: Collection[int]) -> dict[int, ReadPosition]:
        """See `ports.Store.positions`."""

        def read() -> dict[int, ReadPosition]:
            known = self._database.tables.positions
            return {partition: known.setdefault(partition, ReadPosition()) for partition in partitions}

        return await self._ask(read)

    async def note_topic(self, topic_id: str, partitions: Collection[int]) -> None:
        """See `ports.Store.note_topic`."""

        def note() -> None:
            known = self._database.tables.positions
            for partition in partitions:
                if partition in known and not known[partition].topic_id:
                    known[partition] = replace(known[partition], topic_id=topic_id)

        await self._ask(note)

    async def write(self, batch: Batch) -> None:
        """See `ports.Store.write`."""
        await self._ask(lambda: self._write(batch))

    async def not_caught_up(self, partitions: Collection[int]) -> set[int]:
        """See `ports.Store.not_caught_up`."""
        return await self._ask(lambda: set(partitions) - self._database.caught_up)

    async def note_caught_up(self, ends: Mapping[int, int], partitions: int) -> set[int]:
        """See `ports.Store.note_caught_up`."""

        def note() -> set[int]:
            known = self._database.tables.positions
            passed = {p for p, end in ends.items() if p in known and known[p].next_offset >= end}
            self._database.caught_up |= passed
            if passed:
                self._database.partitions = max(self._database.partitions, partitions)
            return passed

        return await self._ask(note)

    async def prune_rejections(self, retention_seconds: int) -> bool:
        """See `ports.Store.prune_rejections`."""

        def prune() -> bool:
            oldest = self._database.now() - timedelta(seconds=retention_seconds)
            rejections = self._database.tables.rejections
            stored = self._database.rejected_at
            for key in [key for key, row in rejections.items() if row.at < oldest and stored[key] < oldest]:
                del rejections[key], stored[key]
            return False

        return await self._ask(prune)

    async def merge_counts(self) -> bool:
        """See `ports.Store.merge_counts`."""

        def merge() -> bool:
            tables = self._database.tables
            memory_counts.merge(tables.counts, tables.past_counts, hour_of(self._database.now()))
            return False

        return await self._ask(merge)

    async def all_caught_up(self) -> bool:
        """See `ports.Store.all_caught_up`."""
        return await self._ask(lambda: self._database.all_caught_up is True)

    async def has_passed(self, ends: Mapping[int, int]) -> bool:
        """See `ports.Store.has_passed`."""

        def has_passed() -> bool:
            known = self._database.tables.positions
            return all(known.get(p, ReadPosition()).next_offset >= end for p, end in ends.items())

        return await self._ask(has_passed)

    async def delete_ended(
        self, outcome: InstanceState, before: datetime, age: timedelta, behind: RowPosition, limit: int
    ) -> Deletion | None:
        """See `ports.Store.delete_ended`."""

        def delete() -> Deletion:
            oldest = min(before, self._database.now() - age)
            done = delete_ended(self._database.tables, outcome, oldest, behind, limit)
            self._database.deleted()
            return done

        return await self._ask(delete)

    async def _ask(self, do: Callable[[], T]) -> T:
        """Have the database do something at one moment."""

        def ask() -> T:
            if self._start not in (None, self._database.starts):
                raise ConnectionError("the connection was cut")
            self._start = self._database.starts
            return do()

        try:
            return await self._database.carry(self._client, ask)
        except OSError as fault:
            self._start = None
            raise StoreAway(str(fault)) from fault

    def _write(self, batch: Batch) -> None:
        tables = self._database.tables
        for id in _ids(batch):
            try:
                UUID(id)
            except ValueError as error:
                raise BatchRefused(f"not a UUID: {id}") from error
        for advance in batch.advances:
            position = tables.positions.get(advance.partition)
            if position is None or position.next_offset != advance.first_offset:
                raise PositionConflict
        for advance in batch.advances:
            tables.positions[advance.partition] = ReadPosition(
                advance.next_offset, advance.epoch, advance.cause, tables.positions[advance.partition].topic_id
            )
        before = memory_counts.changing(batch, tables.instances, tables.stages)
        restored = write(tables, batch)
        counts = memory_counts.added(batch, before, tables.instances, tables.stages)
        memory_counts.add_restored(counts, restored)
        add_up(tables.counts, counts.items())
        now = self._database.now()
        self._database.rejected_at.update(dict.fromkeys(batch.rejections, now))
        self._database.written(batch)


def write(tables: Tables, batch: Batch) -> list[Instance]:
    """Add the rows of a batch: those that are new unless they are there already, and what changes in those that are.

    Returns:
        Instances that were deleted before they are retried here.
    """
    restored = [row for row in restored_rows(batch) if row.id not in tables.instances]
    late_requests = [row for row in batch.late_requests if row.instance_id in tables.instances]
    for workflow in batch.workflows.values():
        _put(
            tables.workflows, workflow.id, workflow, workflow.created_at, ("updated_at", "deleted_at"), added=("acts",)
        )
    for found in batch.keys.values():
        _put_key(tables, found)
    for retry in batch.retries.values():
        _retry(tables, retry)
    for instance in batch.instances.values():
        _put_instance(tables, instance)
    for instance in restored:
        tables.instances[instance.id] = instance
        tables.restored[instance.id] = None
        for text in restored_keys(batch, instance.id):
            row = InstanceKey(instance.id, text, instance.created_at or instance.updated_at)
            tables.instance_keys.setdefault((instance.id, text), row)
    for key, stage in batch.stages.items():
        _put(tables.stages, key, stage, stage.started_at, ("terminated_at", "error"))
    for place, activity in batch.activities.items():
        _put(tables.activities, place, activity, activity.started_at, ACTIVITY_CHANGES, ("last_failure",))
    for trigger in batch.triggers.values():
        _put(tables.triggers, trigger.id, trigger, trigger.created_at, ("deleted_at",), added=("acts",))
    for occurrence in batch.occurrences:
        tables.occurrences.setdefault(occurrence.id, replace(occurrence))
    for number, rejection in batch.rejections.items():
        tables.rejections.setdefault(number, replace(rejection))
    for request in (*batch.event_requests, *late_requests):
        tables.event_requests.setdefault((request.instance_id, request.key), replace(request))
    _put_bulks(tables, batch)
    return restored


def _put_instance(tables: Tables, instance: Instance) -> None:
    was = tables.instances.get(instance.id)
    kept = ("terminated_at", "error", "activity", "waiting", "state", "retries", "retryable")
    _put(tables.instances, instance.id, instance, instance.created_at, ("updated_at",), kept, added=("acts",))
    if (changed := tables.instances.get(instance.id)) is not None and changed.waiting == "":
        tables.instances[instance.id] = replace(changed, waiting=None)
    if was is not None and instance.created_at is None and instance.keys is not None:
        keys = (was.keys or 0) + instance.keys
        tables.instances[instance.id] = replace(tables.instances[instance.id], keys=keys)


def _put_bulks(tables: Tables, batch: Batch) -> None:
    """Add operations and what became of their commands, and change those that are there."""
    for id, bulk in batch.bulks.items():
        _put(tables.bulks, id, bulk, bulk.created_at, ("updated_at",), BULK_CHANGES)
        if (ended := tables.bulks.get(id)) is not None and ended.terminated_at is not None:
            tables.bulks[id] = replace(ended, page=None)
    for counted, outcome in batch.bulk_outcomes.items():
        before = tables.bulk_outcomes.get(counted)
        total = outcome.instances + (0 if before is None else before.instances)
        tables.bulk_outcomes[counted] = replace(outcome, instances=total)


def delete_ended(
    tables: Tables, outcome: InstanceState, ended_before: datetime, behind: RowPosition, limit: int
) -> Deletion:
    """Do what `sql/delete_ended` does."""
    tables.retention[outcome] = max(ended_before, tables.retention.get(outcome, ended_before))
    places = sorted(
        place
        for row in tables.instances.values()
        if row.state == outcome and row.created_at is not None and row.created_at < ended_before
        if (place := RowPosition(row.created_at, UUID(row.id))) > behind
    )[:limit]
    seen = [tables.instances[str(place.id)] for place in places]
    gone = [row for row in seen if row.terminated_at is not None and row.terminated_at < ended_before]
    for row in gone:
        del tables.instances[row.id]
        tables.restored.pop(row.id, None)
        if row.request is not None:
            tables.deleted_instances.setdefault(row.id, row.request)
        add_up(tables.counts, [(CountKey(outcome, INSTANCE, NOW, row.workflow_id or ""), -1)])
    if gone:
        _delete_of(tables, {row.id for row in gone}, outcome)
    return Deletion(len(gone), places[-1] if len(places) == limit else None)


def _delete_of(tables: Tables, ids: set[str], outcome: InstanceState) -> None:
    """Delete what there is of instances that are gone."""
    requests = Counter(id for id, _ in tables.event_requests if id in ids and outcome != "succeeded")
    unsaid = {id for id, count in requests.items() if count > retryable.MAX_REQUESTS}
    for name in OF_INSTANCES:
        table = getattr(tables, name)
        for key in [key for key in table if key[0] in ids and not (name == "event_requests" and key[0] in unsaid)]:
            del table[key]


def _put_key(tables: Tables, found: FoundKey) -> None:
    """Add a key, as long as the rows of instances are as they were before the batch."""
    created_at = found.created_at
    if created_at is None:
        instance = tables.instances.get(found.instance_id)
        if instance is None or instance.created_at is None or (instance.keys or 0) >= found.room:
            return
        created_at = instance.created_at
    row = InstanceKey(found.instance_id, found.key, created_at)
    tables.instance_keys.setdefault((row.instance_id, row.key), row)


Place = tuple[str, Any]
"""A table, and a key in it."""


def past_places(tables: Tables, retry: Retry) -> list[tuple[Place, Place]]:
    """What a retry moves: where each row is, and where it goes."""
    id, number, retries = retry.instance_id, retry.stage, retry.retries
    places: list[tuple[Place, Place]] = []
    if (id, number) in tables.stages:
        places.append((("stages", (id, number)), ("past_stages", (id, number, retries))))
    places += [
        (("activities", (id, number, index)), ("past_activities", (id, number, index, retries)))
        for index in range(retry.kept, MAX_ACTIVITIES)
        if (id, number, index) in tables.activities
    ]
    return places


def _retry(tables: Tables, retry: Retry) -> None:
    """Let an instance run once more."""
    for (table, key), (past, past_key) in past_places(tables, retry):
        row = getattr(tables, table).pop(key)
        kind = PastStage if table == "stages" else PastActivity
        values = {name: getattr(row, name) for name in kind.__struct_fields__ if name != "retries"}
        getattr(tables, past).setdefault(past_key, kind(retries=retry.retries, **values))
    instance = tables.instances.get(retry.instance_id)
    if instance is not None:
        running = replace(instance, terminated_at=None, error=None, waiting=None, retryable=None)
        tables.instances[instance.id] = running


def _put(
    table: dict[Any, Any],
    key: object,
    row: Struct,
    since: datetime | None,
    changed: tuple[str, ...],
    kept: tuple[str, ...] = (),
    added: tuple[str, ...] = (),
) -> None:
    """Add a new row (one with `since`), or change one that is there.

    Args:
        table: where it goes.
        key: its primary key.
        row: its fields.
        since: when the thing came to be; None changes what is there.
        changed: fields that are changed.
        kept: fields that are changed, but not to None.
        added: fields whose lines are added to those there.
    """
    if since is not None:
        table.setdefault(key, replace(row))
    elif key in table:
        values = {name: getattr(row, name) for name in changed}
        values |= {name: value for name in kept if (value := getattr(row, name)) is not None}
        values |= {name: joined(getattr(table[key], name), getattr(row, name)) for name in added}
        table[key] = replace(table[key], **values)


def _ids(batch: Batch) -> Iterator[str]:
    """What Postgres takes as UUIDs only."""
    for instance in batch.instances.values():
        yield instance.id
        for id in (instance.workflow_id, instance.trigger_id, instance.occurrence_id):
            if id is not None:
                yield id
    yield from batch.workflows
    for trigger in batch.triggers.values():
        yield trigger.id
        if trigger.workflow_id is not None:
            yield trigger.workflow_id
    for stage in batch.stages.values():
        yield stage.instance_id
    for activity in batch.activities.values():
        yield activity.instance_id
    for occurrence in batch.occurrences:
        yield occurrence.id
        yield occurrence.trigger_id
        if occurrence.workflow_instance_id is not None:
            yield occurrence.workflow_instance_id
    yield from batch.retries
    for request in (*batch.event_requests, *batch.late_requests):
        yield request.instance_id
        yield request.key
    yield from batch.bulks
    for bulk_id, _, _ in batch.bulk_outcomes:
        yield bulk_id
