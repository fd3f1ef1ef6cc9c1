"""The command that an operation sends to each instance of a page, by its action.

A new action is an entry in `ACTIONS`. Whatever it does must be decided by the engine alone: between the look at the
instance and the decision about its command any time may pass.

Between a page and its commands hours may pass, if a process ends. What does not pass the filters any more by then is
passed over: a person may have dealt with it, or money may be on its way.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from projections.queries.bulks import BulkRow, pause_of
from projections.queries.instance_filters import InstanceFilters
from projections.queries.passing import passes_now
from projections.queries.retryable import NotRetryable, retry_command
from projections.read_rows import InstanceRow, RetryableRow
from projections.states import ended_state, state_of
from schemas import rejections
from schemas.commands import AbortInstance, PageCommand, PassOverInstance, ResumeActivity

Command = Callable[[Any, dict[str, Any], InstanceFilters], PageCommand]
"""Makes the command of an instance, as it is in the read model now, of the fields that all of them have, and of what
the operation is about."""


class Action(NamedTuple):
    """What an operation does with each instance."""

    command: Command
    reads: Literal["instances", "retryable"]
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
        msgspec.MsgspecError: it does not know the operation's filter.
        RowUnreadable: it can't read an instance.
    """
    fields: dict[str, Any] = {"bulk_id": str(row.id), "bulk_page": row.pages - 1, "by": row.by, "reason": row.reason}
    command, filters = action(row).command, row.filters
    return {id: command(instances.get(id), fields, filters) for id in row.page}


def action(row: BulkRow) -> Action:
    """What an operation does.

    Raises:
        UnknownAction: this build does not know it.
    """
    found = ACTIONS.get(row.action)
    if found is None:
        raise UnknownAction(f"this build does not know action {row.action!r}: update the projections")
    return found


def _abort(instance: InstanceRow | None, fields: dict[str, Any], filters: InstanceFilters) -> PageCommand:
    if instance is None or instance.terminated_at is not None:
        return AbortInstance(**fields)  # the engine says that it has ended
    state = state_of(instance)
    if not passes_now(filters, state, None, None):
        return pass_over(fields, rejections.NOTHING_TO_DO, f"the instance has gone on meanwhile: it is {state} now")
    return AbortInstance(**fields)


def _resume(instance: InstanceRow | None, fields: dict[str, Any], filters: InstanceFilters) -> PageCommand:
    found = None if instance is None else pause_of(instance)
    if found is None:
        return pass_over(fields, rejections.OTHER_PAUSE, "the instance has no paused activity any more")
    pause, paused_at = found
    return ResumeActivity(stage=pause.stage, index=pause.index, paused_at=paused_at, **fields)


def _retry(found: RetryableRow | None, fields: dict[str, Any], filters: InstanceFilters) -> PageCommand:
    """A retry from the end that the instance has now: engines refuse it once there is another one.

    It may be another one than when the page was made. What a person has aborted meanwhile must not run again, unless
    the operation is about that, too.
    """
    if found is None:
        return pass_over(fields, rejections.NOT_RETRYABLE, "the read model does not know the instance")
    ended_at, state = found.terminated_at, ended_state(found.error)
    if ended_at is not None and not passes_now(filters, state, ended_at, found.error):
        text = f"the instance has ended again meanwhile, in another way: it is {state} now"
        return pass_over(fields, rejections.NOT_RETRYABLE, text)
    try:
        return retry_command(found, **fields)
    except NotRetryable as error:
        return pass_over(fields, rejections.NOT_RETRYABLE, str(error))


def pass_over(fields: dict[str, Any], code: str, message: str) -> PassOverInstance:
    """What is sent to an instance that the action does not fit any more."""
    return PassOverInstance(bulk_id=fields["bulk_id"], bulk_page=fields["bulk_page"], code=code, message=message)


ACTIONS: Final[Mapping[str, Action]] = {
    "abort": Action(_abort, reads="instances"),
    "resume": Action(_resume, reads="instances"),
    "retry": Action(_retry, reads="retryable"),
}
