"""The parts of a batch's statement for instances that are retried.

What the pass before left in its last stage goes to `past_stages` and `past_activities`. No row may be changed by two
parts of a statement, in whatever order Postgres runs them. So a row that the batch starts again is replaced, and only
the others are deleted; all parts read the rows as they were before.
"""

from typing import Any, Final

from projections.fold import Batch
from projections.rows import Activity, Retry, Stage

MOVING: Final = ("past_stages", "past_activities", "gone_stages", "gone_activities")
"""Parts that take the retries themselves."""


def add_retries(rows: dict[str, list[Any]], batch: Batch) -> None:
    """Give the rows of retried instances to the parts that replace what is there.

    Args:
        rows: of the batch, by the part that writes them.
        batch: has retries.
    """
    retries = batch.retries
    for part in MOVING:
        rows[part] = list(retries.values())
    _split(rows, "changed_instances", "again_instances", lambda row: row.id in retries)
    _split(rows, "new_stages", "again_stages", lambda row: _starts(retries.get(row.instance_id), row))
    _split(rows, "new_activities", "again_activities", lambda row: _does(retries.get(row.instance_id), row))


def _split(rows: dict[str, list[Any]], part: str, other: str, is_other: Any) -> None:
    given = rows.pop(part, [])
    for row in given:
        rows.setdefault(other if is_other(row) else part, []).append(row)


def _starts(retry: Retry | None, row: Stage) -> bool:
    return retry is not None and row.number == retry.stage


def _does(retry: Retry | None, row: Activity) -> bool:
    return retry is not None and row.stage == retry.stage
