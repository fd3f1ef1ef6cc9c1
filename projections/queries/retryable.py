"""The command that retries an instance, made of what the read model knows of it, and how that is read."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from projections.ports import Row
from projections.queries.columns import RetryableColumns
from projections.queries.errors import RowUnreadable
from projections.read_rows import EndedActivityRow, RetryableRow
from projections.sql import statement
from schemas.commands import RetryInstance
from schemas.ended_activities import EndedActivity
from schemas.idempotency import KEPT_REQUESTS

MAX_REQUESTS: Final = KEPT_REQUESTS
"""Keys of requests that a retry takes along, if there are no more: as many as an engine keeps of an instance that runs.
With more, only the read model tells whether a request was carried out."""

REBUILD: Final = (
    "the read model does not know enough of this instance, which ended before an upgrade: "
    "run `orchestration rebuild`, then retry it"
)


class NotRetryable(Exception):
    """The instance can't be retried. The message says why, for whoever asked for it."""


def retryable_query(id: UUID, partition: int) -> tuple[bytes, Sequence[Any]]:
    """The statement that reads what a retry goes on with, and its parameters.

    Args:
        id: the instance.
        partition: that of its events.
    """
    return statement("retryable"), (id, partition, MAX_REQUESTS)


def retryable_row(id: UUID, rows: Sequence[Row]) -> RetryableRow | None:
    """What the statement has found; None for an unknown instance.

    Args:
        id: the instance.
        rows: those of the statement.

    Raises:
        RowUnreadable: this build can't read it.
    """
    if not rows:
        return None
    try:
        return RetryableColumns(*rows[0]).row()
    except msgspec.MsgspecError as error:
        raise RowUnreadable(f"what a retry of instance {id} needs", error) from error


def retry_command(found: RetryableRow, **more: Any) -> RetryInstance:
    """The command that retries an instance.

    Args:
        found: what the read model knows of it, all of one moment.
        more: who asks for it, and why: `by`, `reason`, `request_key` and so on.

    Raises:
        NotRetryable: it runs, has succeeded, or what is known of it is not enough.
    """
    if found.terminated_at is None:
        raise NotRetryable("the instance is running: only one that has failed or was aborted can be retried")
    if found.error is None:
        raise NotRetryable("the instance has succeeded: only one that has failed or was aborted can be retried")
    if found.retryable is None or found.variables is None:
        raise NotRetryable(REBUILD)
    stage, activities = _stage(found)
    return RetryInstance(
        workflow_id=str(found.workflow_id),
        stages=found.stages,
        variables=msgspec.json.decode(found.variables, type=dict[str, str]),
        run_digest=found.request,
        max_attempts=found.max_attempts,
        version=found.retryable.version,
        ended_at=found.terminated_at,
        stage=stage,
        activities=activities,
        arrived=found.retryable.arrived,
        requests=found.requests,
        earlier_requests=found.earlier_requests,
        retries=found.retries,
        seen_offset=found.next_offset,
        **more,
    )


def _stage(found: RetryableRow) -> tuple[int, list[EndedActivity]]:
    """The stage to begin with, and its activities. Behind one that has succeeded, the next was not started.

    Raises:
        NotRetryable: rows are missing, so nobody can tell what was done.
    """
    last = found.stage
    if last is None:
        return 0, []
    whole = last.terminated_at is not None and all(
        activity.ended and activity.index == index for index, activity in enumerate(found.activities)
    )
    if not whole:
        raise NotRetryable(
            f"the read model lacks a part of stage {last.number}, so nobody can tell what of it was done"
        )
    if last.error is None:
        return last.number + 1, []
    return last.number, [_ended(activity) for activity in found.activities]


def _ended(row: EndedActivityRow) -> EndedActivity:
    return EndedActivity(
        name=row.name,
        input=msgspec.json.decode(row.input),
        output=None if row.output is None else msgspec.json.decode(row.output),
        error=row.error,
        code=row.code,
        key_number=row.key_number,
        # After an attempt that failed, nobody knows whether its call was carried out.
        key_used=row.key_used or row.last_failure is not None,
    )
