"""Which instances a list, a stream or an operation on many instances is about. It becomes JSON and back by msgspec."""

from typing import Final
from uuid import UUID

from msgspec import Struct

from projections.queries.pages import PageQuery, page_query
from projections.queries.rows import RowPosition


class InstanceFilters(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"workflow_ids": "workflowID"}):
    """Instances that pass all filters. A filter that is not given lets all pass."""

    workflow_ids: tuple[UUID, ...] = ()
    """Only instances of one of these workflows."""
    running: bool = False
    """Only instances that have not ended."""


EVERY_INSTANCE: Final = InstanceFilters()
"""No filter at all."""


def instances_query(
    filters: InstanceFilters, after: RowPosition | None, before: RowPosition | None, limit: int
) -> PageQuery:
    """The statement of a page of instances, see `pages.page_query`.

    Args:
        filters: only instances that pass them.
        after: only those behind this position.
        before: only the last `limit` in front of this position.
        limit: most rows.
    """
    workflow_id = filters.workflow_ids[0] if filters.workflow_ids else None
    return page_query("instances_page", after, before, limit, workflow_id=workflow_id, running=filters.running)
