"""The API's queries on the read model in memory: each statement of `sql` that they run, as a function of the tables.

So loaders, leases, sessions that reconnect, and whoever listens or waits run as they are. A statement that is not here
can't be run. One suite of tests (`tests/read_model_contract/`) holds for this and for Postgres.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from projections.memory import MemoryDatabase
from projections.memory_search import Asked, found_instances, placed, preceded
from projections.memory_stats import stats
from projections.ports import Row
from projections.queries.columns import InstanceColumns
from projections.rows import (
    Activity,
    Bulk,
    Instance,
    Occurrence,
    PastActivity,
    PastStage,
    Stage,
    Trigger,
    Workflow,
)
from projections.sql import page, page_of, statement

Answer = Callable[[MemoryDatabase, Any], list[Row]]
"""The rows of a statement, by its parameters."""
Sized = tuple[int, Row]
"""A row behind its size in bytes."""


class MemoryQueries:
    """`ports.Database` in memory.

    Args:
        database: shared with the projections.
        client: the process that asks.
    """

    def __init__(self, database: MemoryDatabase, client: str = "api"):
        self._database = database
        self._client = client

    async def connect(
        self, name: str, *, statement_timeout_seconds: float, parameters: Mapping[str, str] | None = None
    ) -> "MemoryConnection":
        """See `ports.Database.connect`."""
        return await self._database.carry(self._client, lambda: MemoryConnection(self._database, self._client))

    async def listen(self, name: str) -> "MemoryListener":
        """See `ports.Database.listen`."""
        return await self._database.carry(self._client, lambda: MemoryListener(self._database, self._client))


class MemoryConnection:
    """`ports.Connection` in memory.

    Args:
        database: what it leads to.
        client: the process that has it.
    """

    def __init__(self, database: MemoryDatabase, client: str):
        self._database, self._client = database, client
        self._start = database.starts
        self.closed = False

    @property
    def lives(self) -> bool:
        """Whether it can be used."""
        return not self.closed and self._start == self._database.starts

    async def fetch(self, query: bytes, parameters: Sequence[Any]) -> list[Row]:
        """See `ports.Connection.fetch`."""
        answer = _answers().get(query) or _page_answer(query)

        def ask() -> list[Row]:
            if not self.lives:
                raise ConnectionError("the connection was cut")
            return answer(self._database, parameters)

        try:
            return await self._database.carry(self._client, ask)
        except OSError:
            self.closed = True
            raise

    async def close(self) -> None:
        """See `ports.Connection.close`."""
        self.closed = True


class MemoryNotification(NamedTuple):
    """`ports.Notification` in memory."""

    payload: str


class MemoryListener:
    """`ports.Listener` in memory.

    Args:
        database: what it hears of.
        client: the process that has it.
    """

    def __init__(self, database: MemoryDatabase, client: str):
        self._database, self.client = database, client
        self._heard: asyncio.Queue[str | None] = asyncio.Queue()
        database.hearing.append(self)

    def hear(self, announcement: str) -> None:
        """See `memory.Hearing.hear`."""
        self._heard.put_nowait(announcement)

    def cut(self) -> None:
        """See `memory.Hearing.cut`."""
        self._heard.put_nowait(None)

    async def notifies(self) -> AsyncIterator[MemoryNotification]:
        """See `ports.Listener.notifies`."""
        while (heard := await self._heard.get()) is not None:
            await self._database.request(self.client)
            yield MemoryNotification(heard)
        raise ConnectionError("the connection was cut")

    async def close(self) -> None:
        """See `ports.Listener.close`."""
        with contextlib.suppress(ValueError):  # it was cut
            self._database.hearing.remove(self)


# The statements


@cache
def _answers() -> dict[bytes, Answer]:
    """By the text of the statement."""
    plain: dict[str, Answer] = {
        "activities": _activities,
        "bulks": _bulks,
        "all_caught_up": _all_caught_up,
        "ended": _ended,
        "event_request": _event_request,
        "history": _history,
        "instances": _instances,
        "keyed_instances": _keyed_instances,
        "keys_of_instances": _keys_of_instances,
        "positions": _positions,
        "rejections": _rejections,
        "running_bulks": _running_bulks,
        "retryable": _retryable,
        "triggers": _triggers,
        "workflows": _workflows,
    }
    answers = {statement(name): answer for name, answer in plain.items()}
    for filters in ((), ("workflow_id",)):
        answers[page("stats", False, filters)] = partial(stats, filters)
    return answers


def _page_answer(query: bytes) -> Answer:
    made = page_of(query)
    if made is None:
        raise KeyError(f"this statement is not answered here: {query.decode()}")
    name, backwards, filters = made
    if name == "small_instances_page":
        return partial(_small_instances_page, backwards, filters)
    return partial(_page, PAGES[name], backwards, filters)


def _page(
    read: Callable[[MemoryDatabase, Asked], list[Sized]],
    backwards: bool,
    filters: tuple[str, ...],
    database: MemoryDatabase,
    params: Sequence[Any],
) -> list[Row]:
    asked, max_bytes = _asked(backwards, filters, params)
    rows = _cut(read(database, asked), max_bytes)
    # How a row was found comes behind whether one more follows.
    return [(*row[:-3], row[-1], *row[-3:-1]) for row in rows] if "searched" in asked.filters else rows


def _asked(backwards: bool, filters: tuple[str, ...], params: Sequence[Any]) -> tuple[Asked, int]:
    """A page, and how many bytes it is bounded by."""
    created_at, id, limit, max_bytes, *values = params
    given = dict.fromkeys(filters, True) | dict(zip(filters, values, strict=False))
    return Asked((created_at, id), limit, backwards, given), max_bytes


def _small_instances_page(
    backwards: bool, filters: tuple[str, ...], database: MemoryDatabase, params: Sequence[Any]
) -> list[Row]:
    asked, max_bytes = _asked(backwards, filters, params)
    there = _instances_of_filter(database, asked)
    found = (_small_instance(database, row, max_bytes) for row in placed(there, lambda row: row.created_at, asked))
    rows = list(itertools.islice(itertools.chain.from_iterable(found), asked.filters["max_rows"]))
    if "preceded" in asked.filters:
        told = preceded(there, lambda row: row.created_at, asked) or None
        rows = [(*row, told) for row in rows]
    return rows


def _small_instance(database: MemoryDatabase, row: Instance, max_bytes: int) -> list[Row]:
    """One for each stage. Of the others only the id counts, and of the first if the instance is not small."""
    shown = _instance(database, row)
    stages: list[Row] = [(s.number, s.started_at, s.terminated_at, s.error) for s in _stages(database, row.id)]
    others: Row = (UUID(row.id), *(None,) * 20)
    first = others if shown is None or _size_of(database, row) >= max_bytes else shown[:-4]
    return [(*(others if number else first), *stage) for number, stage in enumerate(stages or [(None,) * 4])]


def _keys_of_instances(
    database: MemoryDatabase, params: tuple[Sequence[str], Sequence[UUID], Sequence[datetime]]
) -> list[Row]:
    keys, ids, _ = params
    known = {(row.key, row.instance_id) for row in database.tables.instance_keys.values()}
    return [(key, id) for key in keys for id in ids if (key, str(id)) in known]


def _all_caught_up(database: MemoryDatabase, _: Any) -> list[Row]:
    return [(database.all_caught_up,)]


def _positions(database: MemoryDatabase, _: Any) -> list[Row]:
    positions = database.tables.positions
    return [(partition, p.next_offset, p.epoch, p.cause) for partition, p in positions.items()]


def _rejections(database: MemoryDatabase, params: tuple[Sequence[int], Sequence[int]]) -> list[Row]:
    known = database.tables.rejections
    places = [place for place in zip(*params, strict=True) if place in known]
    return [(*place, known[place].code, known[place].message) for place in places]


def _ended(database: MemoryDatabase, params: tuple[Sequence[UUID]]) -> list[Row]:
    return [(id,) for id, row in _found(database.tables.instances, params[0]) if row.terminated_at is not None]


def _event_request(database: MemoryDatabase, params: tuple[UUID, UUID]) -> list[Row]:
    instance_id, key = map(str, params)
    requests = database.tables.event_requests
    found = requests.get((instance_id, key))
    return [(None if found is None else found.request, sum(id == instance_id for id, _ in requests))]


def _workflows(database: MemoryDatabase, params: tuple[Sequence[UUID]]) -> list[Row]:
    return [_workflow(row) for _, row in _found(database.tables.workflows, params[0])]


def _instances(database: MemoryDatabase, params: tuple[Sequence[UUID]]) -> list[Row]:
    found = (_instance(database, row) for _, row in _found(database.tables.instances, params[0]))
    return [row for row in found if row is not None]


def _keyed_instances(database: MemoryDatabase, params: tuple[Sequence[UUID]]) -> list[Row]:
    tables = database.tables
    deleted = [(id, tables.deleted_instances[str(id)]) for id in params[0] if str(id) in tables.deleted_instances]
    gone = [(id, *[None] * 5, request, *[None] * 18) for id, request in deleted if str(id) not in tables.instances]
    return [*_instances(database, params), *gone]


def _triggers(database: MemoryDatabase, params: tuple[Sequence[UUID]]) -> list[Row]:
    return [_trigger(row) for _, row in _found(database.tables.triggers, params[0])]


def _found(table: Mapping[str, Any], ids: Iterable[UUID]) -> list[tuple[UUID, Any]]:
    return [(id, row) for id in dict.fromkeys(ids) if (row := table.get(str(id))) is not None]


def _history(database: MemoryDatabase, params: tuple[UUID, int, int, int, int]) -> list[Row]:
    id, number, retries, max_bytes, live = params
    instance_id = str(id)
    instance = database.tables.instances.get(instance_id)
    if instance is None:
        return []
    found: list[tuple[int, int, Stage | PastStage]] = [(s.number, live, s) for s in _stages(database, instance_id)]
    past = database.tables.past_stages.values() if instance.retries else ()
    found += [(s.number, s.retries, s) for s in past if s.instance_id == instance_id]
    rows = [
        (300 + _size(s.input, s.error), (*place, s.name, s.input, s.started_at, s.terminated_at, s.error))
        for *place, s in sorted(found, key=lambda one: one[:2])
        if tuple(place) > (number, retries)
    ]
    return _cut(rows, max_bytes) or [(None,) * 8]


def _activities(database: MemoryDatabase, params: tuple[UUID, int, int, int, int, int]) -> list[Row]:
    id, number, index, retries, max_bytes, live = params
    tables, stage = database.tables, (str(id), number)
    instance = tables.instances.get(str(id))
    if instance is None:
        return []
    past_stages, past_activities = (tables.past_stages, tables.past_activities) if instance.retries else ({}, {})
    if stage not in tables.stages and not any(key[:2] == stage for key in past_stages):
        return []
    found: list[tuple[int, int, Activity | PastActivity]] = []
    found += [(a.index, live, a) for key, a in tables.activities.items() if key[:2] == stage]
    found += [(a.index, a.retries, a) for key, a in past_activities.items() if key[:2] == stage]
    rows = [
        (
            400 + _size(a.input, a.output, a.error, a.last_failure, a.last_failure_type),
            (
                *(*place, a.name, a.input, a.output, a.attempt, a.started_at, a.terminated_at, a.error),
                *(a.last_failure, *_pausing(a), a.last_failure_type),
            ),
        )
        for *place, a in sorted(found, key=lambda one: one[:2])
        if tuple(place) > (index, retries)
    ]
    return _cut(rows, max_bytes) or [(None,) * 15]


def _pausing(activity: Activity | PastActivity) -> Row:
    """When it is tried next, since when it is paused, and for which limit."""
    if isinstance(activity, PastActivity):
        return (None,) * 3
    return activity.next_execution, activity.paused_at, activity.max_attempts


def _retryable(database: MemoryDatabase, params: tuple[UUID, int, int]) -> list[Row]:
    id, partition, max_requests = params
    tables, instance_id = database.tables, str(id)
    instance = tables.instances.get(instance_id)
    workflow = tables.workflows.get(instance.workflow_id or "") if instance is not None else None
    if instance is None or workflow is None:
        return []
    stages = _stages(database, instance_id)
    stage: Row = (stages[-1].number, stages[-1].terminated_at, stages[-1].error) if stages else (None,) * 3
    done = [a for key, a in tables.activities.items() if key[:2] == (instance_id, stage[0])]
    requests = sorted((r.key, r.request) for r in tables.event_requests.values() if r.instance_id == instance_id)
    position = tables.positions.get(partition)
    return [
        (
            *(UUID(instance.workflow_id), workflow.definition, instance.variables, instance.request),
            *(workflow.max_attempts, instance.terminated_at, instance.error, instance.retries, instance.retryable),
            *stage,
            _json([_done(a) for a in sorted(done, key=lambda activity: activity.index)]),
            _json(requests) if 0 < len(requests) <= max_requests else None,
            len(requests),
            0 if position is None else position.next_offset,
        )
    ]


def _done(a: Activity) -> dict[str, Any]:
    return {
        "index": a.index,
        "name": a.name,
        "input": a.input,
        "output": a.output,
        "ended": a.terminated_at is not None,
        "error": a.error,
        "last_failure": a.last_failure,
        "code": a.last_failure_type,
        "key_number": a.key_number or 0,
        "key_used": a.key_used or False,
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _workflows_page(database: MemoryDatabase, asked: Asked) -> list[Sized]:
    there = (w for w in database.tables.workflows.values() if w.deleted_at is None)
    found = placed(there, lambda row: row.created_at, asked)
    return [(500 + _size(row.name, row.definition, row.acts), _workflow(row)) for row in found]


def _triggers_page(database: MemoryDatabase, asked: Asked) -> list[Sized]:
    name = asked.filters.get("folded_name", "")
    there = (t for t in database.tables.triggers.values() if t.deleted_at is None and name in (t.folded_name or ""))
    found = placed(there, lambda row: row.created_at, asked)
    return [
        (500 + _size(row.name, row.event, row.version, row.filter, row.vars, row.acts), _trigger(row)) for row in found
    ]


_NO_WORKFLOW_BYTES: Final = 500
"""Of an instance whose workflow is not there: only its place comes along."""


def _instances_page(database: MemoryDatabase, asked: Asked) -> list[Sized]:
    if "searched" in asked.filters:
        return _searched(database, asked)
    found = placed(_instances_of_filter(database, asked), lambda row: row.created_at, asked)
    return [_sized_instance(database, row) or (_NO_WORKFLOW_BYTES, _without_workflow(row)) for row in found]


def _instances_of_filter(database: MemoryDatabase, asked: Asked) -> list[Instance]:
    workflow_id, running = asked.filters.get("workflow_id"), asked.filters.get("running", False)
    return [
        i
        for i in database.tables.instances.values()
        if (workflow_id is None or i.workflow_id == str(workflow_id)) and not (running and i.terminated_at is not None)
    ]


def _sized_instance(database: MemoryDatabase, row: Instance) -> Sized | None:
    """None while its workflow is not there."""
    shown = _instance(database, row)
    if shown is None:
        return None
    stages = _stages(database, row.id)
    return 500 + _size_of(database, row) + sum(300 + _size(stage.error) for stage in stages), shown


def _size_of(database: MemoryDatabase, row: Instance) -> int:
    """The bytes of an instance's texts, and of its workflow's."""
    definition = database.tables.workflows[row.workflow_id or ""].definition
    return _size(definition, row.error, row.variables, row.waiting, row.acts)


def _searched(database: MemoryDatabase, asked: Asked) -> list[Sized]:
    """With whether each row matches, and whether the looking stopped there."""
    rows: list[Sized] = []
    for found in found_instances(database.tables, asked):
        size, shown = _sized_instance(database, found.row) or (_NO_WORKFLOW_BYTES, _without_workflow(found.row))
        rows.append((size, (*shown, found.matches, found.stopped)))
    return rows


def _without_workflow(row: Instance) -> Row:
    """The columns of an instance whose workflow is not there; only its place counts."""
    others = len(InstanceColumns._fields) - len(InstanceColumns._field_defaults) - 3
    return (UUID(row.id), row.workflow_id, row.created_at, *(None,) * others)


def _occurrences_page(database: MemoryDatabase, asked: Asked) -> list[Sized]:
    trigger_id = str(asked.filters["trigger_id"])
    there = (o for o in database.tables.occurrences.values() if o.trigger_id == trigger_id)
    found = placed(there, lambda row: row.date, asked)
    return [(1000 + _size(row.event, row.error), _occurrence(database, row)) for row in found]


def _bulks(database: MemoryDatabase, params: tuple[Sequence[UUID]]) -> list[Row]:
    return [_bulk(database, row) for _, row in _found(database.tables.bulks, params[0])]


def _running_bulks(database: MemoryDatabase, params: tuple[Sequence[int]]) -> list[Row]:
    tables = database.tables
    positions = list(tables.positions.items())
    log: Row = (
        [partition for partition, _ in positions],
        [position.next_offset for _, position in positions],
        [position.cause for _, position in positions],
    )
    found = [row for row in tables.bulks.values() if row.partition in params[0] and row.terminated_at is None]
    found.sort(key=lambda row: row.created_at or datetime.min)
    return [(*log, *_bulk(database, row)) for row in found] or [(*log, *(None,) * 21)]


def _bulks_page(database: MemoryDatabase, asked: Asked) -> list[Sized]:
    found = placed(database.tables.bulks.values(), lambda row: row.created_at, asked)
    return [(500 + _size(row.filter, row.page), _bulk(database, row)) for row in found]


PAGES: Final = {
    "bulks_page": _bulks_page,
    "instances_page": _instances_page,
    "occurrences_page": _occurrences_page,
    "triggers_page": _triggers_page,
    "workflows_page": _workflows_page,
}


def _cut(rows: Sequence[Sized], max_bytes: int) -> list[Row]:
    """The rows up to the one that reaches the limit, each with whether one more follows.

    Args:
        rows: with their sizes.
        max_bytes: the limit.
    """
    taken: list[Row] = []
    size = 0
    for number, (bytes_, row) in enumerate(rows, start=1):
        if taken and size >= max_bytes:
            break
        taken.append((*row, True if number < len(rows) else None))
        size += bytes_
    return taken


def _size(*texts: str | None) -> int:
    return sum(len(text.encode()) for text in texts if text is not None)


# The columns, see `queries.columns`


def _workflow(row: Workflow) -> Row:
    times = (row.created_at, row.updated_at, row.deleted_at)
    return (UUID(row.id), row.name, row.definition, *times, row.request, row.max_attempts, row.acts)


def _instance(database: MemoryDatabase, row: Instance) -> Row | None:
    """None while its workflow is not there."""
    workflow = database.tables.workflows.get(row.workflow_id or "")
    if workflow is None:
        return None
    stages = _stages(database, row.id)
    arrays: Row = (None,) * 4
    if stages:
        arrays = (
            [stage.number for stage in stages],
            [stage.started_at for stage in stages],
            [stage.terminated_at for stage in stages],
            [stage.error for stage in stages],
        )
    id, *rest, _ = _workflow(workflow)
    of_instance = (UUID(row.id), id, row.created_at, row.updated_at, row.terminated_at, row.error, row.request)
    started_by = (_uuid(row.trigger_id), _uuid(row.occurrence_id))
    return (*of_instance, row.variables, *started_by, row.activity, row.waiting, row.acts, row.retries, *rest, *arrays)


def _bulk(database: MemoryDatabase, row: Bulk) -> Row:
    counted: dict[str, int] = {}
    for (id, _, outcome), counts in database.tables.bulk_outcomes.items():
        if id == row.id:
            counted[outcome] = counted.get(outcome, 0) + counts.instances
    outcomes = sorted(counted)
    arrays: Row = (outcomes, [counted[outcome] for outcome in outcomes]) if counted else (None, None)
    times = (row.created_at, row.updated_at, row.stopped_at, row.terminated_at)
    people = (row.created_by, row.created_reason, row.stopped_by, row.stopped_reason)
    of_pages = (row.pages, row.sent, row.lost, row.page, row.page_at)
    of_start = (row.partition, row.action, row.filter, row.expected)
    return (UUID(row.id), *of_start, *times, row.request, *people, *of_pages, *arrays)


def _uuid(id: str | None) -> UUID | None:
    return None if id is None else UUID(id)


def _stages(database: MemoryDatabase, instance_id: str) -> list[Stage]:
    found = [stage for key, stage in database.tables.stages.items() if key[0] == instance_id]
    return sorted(found, key=lambda stage: stage.number)


def _trigger(row: Trigger) -> Row:
    of_message = (row.event, row.version, UUID(row.workflow_id), row.filter, row.vars)
    return (UUID(row.id), row.name, *of_message, row.created_at, row.deleted_at, row.request, row.acts)


def _occurrence(database: MemoryDatabase, row: Occurrence) -> Row:
    started = database.tables.instances.get(row.workflow_instance_id or "")
    of_instance: Row = (None,) * 6
    if started is not None:
        times = (started.created_at, started.updated_at, started.terminated_at)
        of_instance = (UUID(started.id), UUID(started.workflow_id), *times, started.error)
    id = None if row.workflow_instance_id is None else UUID(row.workflow_instance_id)
    return (UUID(row.id), UUID(row.trigger_id), row.date, id, row.event, row.error, *of_instance)
