"""The parts of a batch's statement for instances that are retried.

What the pass before left in its last stage goes to `past_stages` and `past_activities`. No row may be changed by two
parts of a statement, in whatever order Postgres runs them. So a row that the batch starts again is replaced, and only
the others are deleted; all parts read the rows as they were before.

A retry may have been on its way while the instance was deleted (see `retention`). Then the instance has a row again,
made of what the retry says: it runs, so somebody has to see it. What it did before is gone, but for what the next retry
has to know: the activities that are kept, and the keys of requests. Otherwise that one could do again what was done.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec.structs import replace

from projections.fold import Batch
from projections.rows import Activity, FoundKey, Instance, Retry, Stage

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
    if restored := list(restored_rows(batch)):
        rows["again_restored"] = restored
        if keys := [FoundKey(row.id, key) for row in restored for key in restored_keys(batch, row.id)]:
            rows["restored_keys"] = keys
    _split(rows, "changed_instances", "again_instances", lambda row: row.id in retries)
    _split(rows, "new_stages", "again_stages", lambda row: _starts(retries.get(row.instance_id), row))
    _split(rows, "new_activities", "again_activities", lambda row: _does(retries.get(row.instance_id), row))


def restored_rows(batch: Batch) -> Iterator[Instance]:
    """The rows that retried instances have behind a batch if they were deleted before it, as if they began with it."""
    for id, retried in batch.retried.items():
        row = batch.instances[id]
        if row.created_at is None:
            yield replace(
                retried,
                updated_at=row.updated_at,
                terminated_at=row.terminated_at,
                error=row.error,
                activity=row.activity,
                waiting=row.waiting or None,
                state=row.state,
                keys=(row.keys or 0) + len(batch.retried_with.get(id, ())) or None,
                acts=row.acts,
                retries=row.retries,
                retryable=row.retryable,
            )


def restored_keys(batch: Batch, id: str) -> Sequence[str]:
    """By what such an instance is found: what it was started with, and what is in the batch."""
    first = batch.retried_with.get(id, ())
    found = (key for key in batch.keys.values() if key.instance_id == id and key.room > len(first))
    return [*first, *(key.key for key in found if key.key not in first)]


def _split(rows: dict[str, list[Any]], part: str, other: str, is_other: Any) -> None:
    given = rows.pop(part, [])
    for row in given:
        rows.setdefault(other if is_other(row) else part, []).append(row)


def _starts(retry: Retry | None, row: Stage) -> bool:
    return retry is not None and row.number == retry.stage


def _does(retry: Retry | None, row: Activity) -> bool:
    return retry is not None and row.stage == retry.stage and row.index >= retry.kept
