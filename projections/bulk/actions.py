"""The command that an operation sends to each instance of a page, by its action.

A new action is an entry in `ACTIONS`. Whatever it does must be decided by the engine alone: between the look at the
instance and the decision about its command any time may pass.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from projections.queries.bulks import BulkRow
from projections.queries.retryable import NotRetryable, retry_command
from projections.queries.rows import InstanceRow, RetryableRow
from schemas import rejections
from schemas.commands import AbortInstance, PageCommand, PassOverInstance, ResumeActivity

Command = Callable[[Any, dict[str, Any]], PageCommand]
"""Makes the command of an instance, as it is in the read model now, of the fields that all of them have."""


class Action(NamedTuple):
    """What an operation does with each instance."""

    command: Command
    reads: Literal["nothing", "instances", "retryable"]
    """What has to be read of the instances: rows of this kind are given to `command`."""


class UnknownAction(ValueError):
    """A newer build knows the action. Its process will run the operation."""


def commands(row: BulkRow, instances: Mapping[str, InstanceRow | RetryableRow]) -> dict[str, PageCommand]:
    """The commands to the instances of an operation's last page, by id.

    Args:
        row: the operation.
        instances: what the action reads of those that were found.

    Raises:
        UnknownAction: this build does not know what to do.
    """
    ours: dict[str, Any] = {"bulk_id": str(row.id), "bulk_page": row.pages - 1}
    command = action(row).command
    return {id: command(instances.get(id), {**ours, "by": row.by, "reason": row.reason}) for id in row.page}


def action(row: BulkRow) -> Action:
    """What an operation does.

    Raises:
        UnknownAction: this build does not know it.
    """
    found = ACTIONS.get(row.action)
    if found is None:
        raise UnknownAction(f"this build does not know action {row.action!r}: update the projections")
    return found


def _abort(instance: object, fields: dict[str, Any]) -> PageCommand:
    return AbortInstance(**fields)


def _resume(instance: InstanceRow | None, fields: dict[str, Any]) -> PageCommand:
    waiting = None if instance is None else instance.waiting
    if waiting is None or waiting.pause is None:
        return pass_over(fields, rejections.OTHER_PAUSE, "the instance has no paused activity any more")
    pause = waiting.pause
    return ResumeActivity(stage=pause.stage, index=pause.index, paused_at=waiting.since, **fields)


def _retry(found: RetryableRow | None, fields: dict[str, Any]) -> PageCommand:
    if found is None:
        return pass_over(fields, rejections.NOT_RETRYABLE, "the read model does not know the instance")
    try:
        return retry_command(found, **fields)
    except NotRetryable as error:
        return pass_over(fields, rejections.NOT_RETRYABLE, str(error))


def pass_over(fields: dict[str, Any], code: str, message: str) -> PassOverInstance:
    """What is sent to an instance that the action does not fit any more."""
    return PassOverInstance(bulk_id=fields["bulk_id"], bulk_page=fields["bulk_page"], code=code, message=message)


ACTIONS: Final[Mapping[str, Action]] = {
    "abort": Action(_abort, reads="nothing"),
    "resume": Action(_resume, reads="instances"),
    "retry": Action(_retry, reads="retryable"),
}
