"""Statement `stats` in memory: see `projections.memory_queries`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec

from projections.counting import ALL_WORKFLOWS, BOUNDS, NOW
from projections.memory import MemoryDatabase
from projections.ports import Row
from projections.rows import Instance
from projections.states import LIVE, STATES


def stats(filters: tuple[str, ...], database: MemoryDatabase, params: Sequence[Any]) -> list[Row]:
    """The row of the statement.

    Args:
        filters: `workflow_id` or nothing.
        database: what is asked.
        params: those of the statement.
    """
    start, end, step_hours, limit, *chosen = params
    workflow_id = str(chosen[0]) if filters else None
    states: Counter[tuple[str, str]] = Counter()
    recent: Counter[tuple[int, int, str, int]] = Counter()
    past: dict[tuple[int, int, str], list[int]] = {}
    for old, count in database.tables.past_counts.items():
        key = old.key
        if old.step == step_hours and start <= key.hour < end and key.workflow_id == (workflow_id or ALL_WORKFLOWS):
            place = key.stage, (key.hour - start) // step_hours, key.what
            past.setdefault(place, [0] * (len(BOUNDS) + 1))[key.bucket] = count
    for key, count in database.tables.counts.items():
        if key.hour == NOW:
            if workflow_id in (None, key.workflow_id):
                states[key.workflow_id, key.what] += count
        elif start <= key.hour < end and key.workflow_id == (workflow_id or ALL_WORKFLOWS):
            recent[key.stage, (key.hour - start) // step_hours, key.what, key.bucket] += count
    live: Counter[str] = Counter()
    for (workflow, what), count in states.items():
        live[workflow] += count if what in LIVE else 0
    listed = sorted(live, key=lambda id: (-live[id], UUID(id)))[:limit]
    total: Counter[str] = Counter()
    for (_, what), count in states.items():
        total[what] += count
    return [
        (
            len(live),
            _json((id, _name(database, id)) for id in listed),
            _json(total.items()),
            _json((*key, count) for key, count in states.items() if key[0] in listed),
            _json((*key, count) for key, count in recent.items()),
            _json((*place, counts) for place, counts in past.items()),
            _json(_oldest(database, workflow_id)),
        )
    ]


def _oldest(database: MemoryDatabase, workflow_id: str | None) -> Iterator[tuple[Any, ...]]:
    found: dict[str, list[Instance]] = {state: [] for state in STATES}
    for row in database.tables.instances.values():
        if row.state is not None and workflow_id in (None, row.workflow_id):
            found[row.state].append(row)
    for state in LIVE:
        if found[state]:
            row = min(found[state], key=lambda row: (row.created_at, UUID(row.id)))
            yield state, row.id, row.workflow_id, row.created_at, row.waiting, row.activity


def _name(database: MemoryDatabase, workflow_id: str) -> str:
    workflow = database.tables.workflows.get(workflow_id)
    return "" if workflow is None or workflow.name is None else workflow.name


def _json(values: Iterable[Any]) -> str | None:
    listed = list(values)
    return msgspec.json.encode(listed).decode() if listed else None
