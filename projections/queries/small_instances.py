"""Pages of instances that are small, as nearly all are, by a statement of their own: `sql/small_instances_page.sql`.

It takes two thirds of the time of the one that adds up bytes to end a page early. What it finds takes no more memory,
since it has room for texts of so many bytes for each instance, and for so many stages altogether. If there are more,
or if stages come in another order, `instances_page` reads the page.
"""

from collections.abc import Sequence
from typing import Final

from projections.ports import Row
from projections.queries import pages
from projections.queries.columns import instance_of, workflow_of
from projections.queries.instance_filters import InstanceFilters
from projections.queries.pages import NEWEST, PageQuery, page_query
from projections.read_rows import InstanceRow, RowPosition, Slice, StageRow, WorkflowRow

MAX_INSTANCES: Final = 50
"""Of a page that is read so. With more, each would have room for few bytes only, and many pages would be read twice."""
STAGE_BYTES: Final = 1_000
"""What a row takes, beside the texts of an instance."""
_PRECEDED: Final = 25
"""Index of the column that only pages next to a position have: whether there are rows on its other side."""


def small_instances_query(
    filters: InstanceFilters, after: RowPosition | None, before: RowPosition | None, limit: int
) -> PageQuery | None:
    """The statement of a page that is worth trying; None if there is none for these filters, or for so many.

    Args:
        filters: only instances that pass them.
        after: only those behind this position.
        before: only the last `limit` in front of this position.
        limit: most instances.
    """
    if filters.searched or limit > MAX_INSTANCES:
        return None
    room = pages.MAX_PAGE_BYTES // 2
    return page_query(
        "small_instances_page",
        after,
        before,
        limit,
        max_bytes=room // (limit + 1),
        max_rows=room // STAGE_BYTES,
        workflow_id=filters.workflow_ids[0] if filters.workflow_ids else None,
        running=filters.running,
        preceded=(after or before or NEWEST) != NEWEST,
    )


def small_instances(limit: int, rows: Sequence[Row]) -> Slice[InstanceRow] | None:
    """The instances of a page in the order of its rows; None if they have to be read by `instances_page`.

    Args:
        limit: most instances.
        rows: what was answered.
    """
    if len(rows) >= pages.MAX_PAGE_BYTES // 2 // STAGE_BYTES:
        return None
    found: list[InstanceRow] = []
    workflows: dict[int, WorkflowRow] = {}
    """By id, as a number: those are found faster."""
    stages: list[StageRow] = []
    last = -1
    for row in rows:
        id, workflow_id, name, number = row[0], row[1], row[14], row[21]
        if id.int != last:
            if name is None:  # it is not small, or its workflow is not there
                return None
            workflow = workflows.get(workflow_id.int)
            if workflow is None:
                workflow = workflows[workflow_id.int] = workflow_of(workflow_id, *row[14:21])
            last, stages = id.int, []
            found.append(instance_of(workflow, stages, *row[:14]))
        if number is not None:
            if stages and number < stages[-1].number:
                return None  # Postgres has sorted the page, and keeps no order then within an instance
            stages.append(StageRow(*row[21:_PRECEDED]))
    preceded = rows[0][_PRECEDED] is True if rows and len(rows[0]) > _PRECEDED else None
    return Slice(found[:limit], len(found) > limit, preceded=preceded)
