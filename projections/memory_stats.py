"""Statement `stats` in memory: see `projections.memory_queries`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from projections.counting import INSTANCE, NOW, STARTED
from projections.memory import MemoryDatabase
from projections.ports import Row
from projections.rows import Instance
from projections.states import ENDED, LIVE, STATES

HAPPENS: Final = (STARTED, *ENDED)


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
    happened: Counter[tuple[str, int, int, str, int]] = Counter()
    for key, count in database.tables.counts.items():
        if workflow_id not in (None, key.workflow_id) or (workflow_id is None and key.stage != INSTANCE):
            continue
        if key.hour == NOW:
            states[key.workflow_id, key.what] += count
        elif start <= key.hour < end and key.what in HAPPENS:
            step = (key.hour - start) // step_hours
            happened[key.workflow_id, key.stage, step, key.what, key.bucket] += count
    going_on: Counter[str] = Counter()
    for (workflow, what), count in states.items():
        going_on[workflow] += count if what in LIVE else 0
    for (workflow, stage, *_), count in happened.items():
        going_on[workflow] += count if stage == INSTANCE else 0
    listed = sorted(going_on, key=lambda id: (-going_on[id], UUID(id)))[:limit]
    whole = {(w, step, what, bucket): n for (w, stage, step, what, bucket), n in happened.items() if stage == INSTANCE}
    return [
        (
            len(going_on),
            _json((id, _name(database, id)) for id in listed),
            _json(_summed(((what,), n) for (_, what), n in states.items())),
            _json((*key, n) for key, n in states.items() if key[0] in listed),
            _json(_summed((key[1:], n) for key, n in whole.items())),
            _json(_summed(((w, what, bucket), n) for (w, _, what, bucket), n in whole.items() if w in listed)),
            _json((*key[1:], n) for key, n in happened.items() if key[1] != INSTANCE),
            _json(_oldest(database, workflow_id)),
        )
    ]


def _summed(counts: Iterable[tuple[tuple[Any, ...], int]]) -> Iterator[tuple[Any, ...]]:
    sums: Counter[tuple[Any, ...]] = Counter()
    for key, count in counts:
        sums[key] += count
    return ((*key, count) for key, count in sums.items())


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
