"""Whether an instance passes filters: what `sql/found_instances.sql` decides for lists, here for a row that was read.

A row does not have its keys, so nobody can tell of a key here.
"""

from datetime import datetime

from projections.queries.instance_filters import InstanceFilters, ascii_lower
from projections.queries.rows import InstanceRow
from projections.states import state_of


def passes(filters: InstanceFilters, row: InstanceRow) -> bool:
    """Whether an instance passes all filters now, but that for a key."""
    return (
        may_have_passed(filters, row)
        and not (filters.running and row.terminated_at is not None)
        and (not filters.states or state_of(row) in filters.states)
        and (filters.error is None or _has(row.error, filters.error))
        and _within(row.terminated_at, filters.terminated_after, filters.terminated_before)
    )


def may_have_passed(filters: InstanceFilters, row: InstanceRow) -> bool:
    """Whether an instance passes those filters that tell of what never changes: it may have passed all of them once."""
    return (not filters.workflow_ids or row.workflow_id in filters.workflow_ids) and _within(
        row.created_at, filters.created_after, filters.created_before
    )


def _has(error: str | None, text: str) -> bool:
    return error is not None and ascii_lower(text) in ascii_lower(error)


def _within(at: datetime | None, after: datetime | None, before: datetime | None) -> bool:
    if at is None:
        return after is None and before is None
    return (after is None or at >= after) and (before is None or at < before)
