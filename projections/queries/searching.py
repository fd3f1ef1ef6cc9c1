"""The rows of a page of instances; of those that were searched, see `sql/found_instances.sql`."""

from projections.ports import Row
from projections.queries.columns import InstanceColumns
from projections.queries.instance_filters import InstanceFilters
from projections.queries.pages import sliced
from projections.queries.rows import InstanceRow, RowPosition, Slice


def instances_slice(filters: InstanceFilters, rows: list[Row]) -> Slice[InstanceRow]:
    """The instances among the rows of `instances_query`."""
    return _searched(rows) if filters.searched else sliced(InstanceColumns, rows)


def _searched(rows: list[Row]) -> Slice[InstanceRow]:
    """The instances among the rows, up to the one at which the looking has stopped: more may lie behind that."""
    shown: list[InstanceRow] = []
    last: InstanceColumns | None = None
    for row in rows:
        last = InstanceColumns(*row)
        # Rows are looked at in parts, and their workflow may be in a partition that is not as far.
        if shows := last.matches and last.workflow_name is not None:
            shown.append(last.row())
        if last.stopped:
            return Slice(shown, True, RowPosition(last.created_at, last.id))
    if last is None:
        return Slice([])
    return Slice(shown, last.followed is True, None if shows else RowPosition(last.created_at, last.id))
