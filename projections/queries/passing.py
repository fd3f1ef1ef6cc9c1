"""Whether an instance passes filters: what `instances_page.sql` decides for lists, here for a row that was read."""

from projections.queries.instance_filters import InstanceFilters
from projections.queries.rows import InstanceRow


def passes(filters: InstanceFilters, row: InstanceRow) -> bool:
    """Whether an instance passes all filters now."""
    return may_have_passed(filters, row) and not (filters.running and row.terminated_at is not None)


def may_have_passed(filters: InstanceFilters, row: InstanceRow) -> bool:
    """Whether an instance passes those filters that tell of what never changes: it may have passed all of them once."""
    return not filters.workflow_ids or row.workflow_id in filters.workflow_ids
