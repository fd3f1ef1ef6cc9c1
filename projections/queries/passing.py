"""Whether an instance passes filters: what `sql/found_instances.sql` decides for lists, for a row that was read."""

from collections.abc import Collection
from datetime import datetime

from projections.queries.instance_filters import InstanceFilters, ascii_lower, own_id
from projections.read_rows import InstanceRow
from projections.states import LIVE, state_of
from schemas.resources import InstanceState


def passes(filters: InstanceFilters, row: InstanceRow, keys: Collection[str] = ()) -> bool:
    """Whether an instance passes all filters now.

    Args:
        filters: what passes.
        row: the instance.
        keys: those that it has. Without the one of the filters, it counts as not having it.
    """
    return may_have_passed(filters, row, keys) and passes_now(filters, state_of(row), row.terminated_at, row.error)


def passes_now(
    filters: InstanceFilters, state: InstanceState | None, terminated_at: datetime | None, error: str | None
) -> bool:
    """Whether an instance passes those filters that tell of what changes.

    Args:
        filters: what passes.
        state: of the instance; None while nobody here can read what it waits for.
        terminated_at: when it has ended, if it has.
        error: with which it has ended, if it has.
    """
    return (
        not (filters.running and terminated_at is not None)
        and (not filters.states or _may_be(state, filters.states))
        and (filters.error is None or _has(error, filters.error))
        and _within(terminated_at, filters.terminated_after, filters.terminated_before)
    )


def may_have_passed(filters: InstanceFilters, row: InstanceRow, keys: Collection[str] = ()) -> bool:
    """Whether an instance passes those filters that tell of what is never lost: it may have passed all of them once.

    Args:
        filters: what passes.
        row: the instance.
        keys: as in `passes`.
    """
    return (
        (not filters.workflow_ids or row.workflow_id in filters.workflow_ids)
        and _within(row.created_at, filters.created_after, filters.created_before)
        and (filters.key is None or filters.key in keys or own_id(filters.key) == row.id)
    )


def _may_be(state: InstanceState | None, states: Collection[InstanceState]) -> bool:
    # What can't be read is not taken out of what somebody looks at.
    return state in states if state is not None else any(one in LIVE for one in states)


def _has(error: str | None, text: str) -> bool:
    return error is not None and ascii_lower(text) in ascii_lower(error)


def _within(at: datetime | None, after: datetime | None, before: datetime | None) -> bool:
    if at is None:
        return after is None and before is None
    return (after is None or at >= after) and (before is None or at < before)
