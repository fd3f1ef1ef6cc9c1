"""The rows of a page of instances; of those that were searched, see `sql/found_instances.sql`."""

from projections.ports import Row
from projections.queries.columns import InstanceColumns
from projections.read_rows import InstanceRow, RowPosition, Slice


def instances_slice(rows: list[Row]) -> Slice[InstanceRow]:
    """The instances among the rows of `instances_query`.

    Those of a search end with the row at which the looking has stopped: more may lie behind that.
    """
    shown: list[InstanceRow] = []
    last: InstanceColumns | None = None
    for row in rows:
        last = InstanceColumns(*row)
        # Its workflow may be in a partition that is not as far, and rows are looked at in parts.
        if shows := last.matches and last.workflow_name is not None:
            shown.append(last.row())
        if last.stopped:
            return Slice(shown, True, RowPosition(last.created_at, last.id))
    if last is None:
        return Slice([])
    return Slice(shown, last.followed is True, None if shows else RowPosition(last.created_at, last.id))
