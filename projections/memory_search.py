"""How the statements of pages find rows in the read model in memory; see `sql/found_instances.sql`."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from projections.memory import Tables
from projections.queries.instance_filters import ascii_lower
from projections.rows import Instance


class Asked(NamedTuple):
    """A page: see `queries.pages`."""

    position: tuple[datetime, UUID]
    limit: int
    backwards: bool
    filters: Mapping[str, Any]
    """True for those without a value."""


class Found(NamedTuple):
    """An instance that was looked at."""

    row: Instance
    matches: bool
    stopped: bool


def placed(rows: Iterable[Any], at: Callable[[Any], Any], asked: Asked) -> list[Any]:
    """Those next to a position, in the direction of reading, and one more than the limit."""
    found = [((at(row), UUID(row.id)), row) for row in rows]
    found = [one for one in found if (one[0] > asked.position if asked.backwards else one[0] < asked.position)]
    found.sort(key=lambda one: one[0], reverse=not asked.backwards)
    return [row for _, row in found[: asked.limit + 1]]


def preceded(rows: Iterable[Any], at: Callable[[Any], Any], asked: Asked) -> bool:
    """Whether one is at the position, or on its other side."""
    places = [(at(row), UUID(row.id)) for row in rows]
    return any(place <= asked.position if asked.backwards else place >= asked.position for place in places)


def found_instances(tables: Tables, asked: Asked) -> list[Found]:
    """The instances that pass the filters, next to a position, and those at which the looking stopped."""
    filters, scan = asked.filters, asked.filters["scan"]
    merged: list[Found] = []
    for stream in _streams(tables, filters):
        rows = placed(stream, _created_at, asked._replace(limit=scan - 1))
        looked_at = (Found(row, _matches(row, filters), seen == scan) for seen, row in enumerate(rows, start=1))
        told = (found for found in looked_at if found.matches or found.stopped)
        merged += itertools.islice(told, asked.limit + 1)
    merged.sort(key=lambda found: (found.row.created_at, UUID(found.row.id)), reverse=not asked.backwards)
    return merged[: asked.limit + 1]


def _created_at(row: Instance) -> datetime | None:
    return row.created_at


def _streams(tables: Tables, filters: Mapping[str, Any]) -> Iterator[list[Instance]]:
    """The instances of each stream, in any order."""
    if "key" in filters:
        ids = {row.instance_id for row in tables.instance_keys.values() if row.key == filters["key"]}
        if "own_id" in filters:
            ids.add(str(filters["own_id"]))
        yield [row for id in ids if (row := tables.instances.get(id)) is not None and _within(row, filters)]
        return
    workflow_ids = map(str, filters["workflow_ids"]) if "by_workflow" in filters else [None]
    for workflow_id, state in itertools.product(workflow_ids, filters["states"] if "by_state" in filters else [None]):
        yield [
            row
            for row in tables.instances.values()
            if workflow_id in (None, row.workflow_id)
            and state in (None, row.state)
            and not ("running" in filters and row.terminated_at is not None)
            and _within(row, filters)
        ]


def _within(row: Instance, filters: Mapping[str, Any]) -> bool:
    at = row.created_at
    if at is None:
        return False
    return not ("oldest" in filters and at < filters["oldest"]) and not (
        "newest" in filters and at >= filters["newest"]
    )


def _matches(row: Instance, filters: Mapping[str, Any]) -> bool:
    ended = row.terminated_at
    return (
        ("error" not in filters or (row.error is not None and filters["error"] in ascii_lower(row.error)))
        and ("ended_after" not in filters or (ended is not None and ended >= filters["ended_after"]))
        and ("ended_before" not in filters or (ended is not None and ended < filters["ended_before"]))
        and ("key_workflow" not in filters or UUID(row.workflow_id) in filters["workflow_ids"])
        and ("key_state" not in filters or row.state in filters["states"])
        and ("key_running" not in filters or ended is None)
    )
