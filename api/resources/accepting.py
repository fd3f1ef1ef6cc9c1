"""A command on its way: appended, its effect awaited, so that whoever is answered can read it on every replica.

Contract: `http-api`, "After a POST, PUT or DELETE is answered, every read on every replica shows it".
"""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar
from uuid import UUID

from api.errors import REPEAT, ApiError, Conflict, Fault, InstanceEnded, Invalid, NotFound, TooLarge, Unavailable
from api.ports import Rejection, Starting
from api.services import Services
from projections.queries.errors import ReadModelUnavailable
from schemas import rejections
from schemas.commands import Command

T = TypeVar("T")

UNSEEN: Final = f"the request was accepted, but its effect does not show yet: {REPEAT}"


def command_deadline(services: Services) -> float:
    """The deadline for the effect of a command that is accepted now, as time of the event loop."""
    return asyncio.get_running_loop().time() + services.settings.command_timeout_seconds


async def accept(
    services: Services,
    key: UUID,
    command: Command,
    deadline: float,
    *,
    partition: int | None = None,
    starting: Starting | None = None,
) -> None:
    """Append a command and wait until the read model shows its effect.

    Args:
        services: the outside world.
        key: id of the aggregate.
        command: what to append.
        deadline: when to give up, as time of the event loop.
        partition: that of the key, if the caller knows it already.
        starting: what is announced of the instance that the command starts. An instance that has started was not
            rejected, so Postgres is not asked, which would cost each run a query.

    Raises:
        InstanceEnded: the command was for an instance, or a stage of it, that has ended.
        NotFound: it was for an activity that does not exist.
        Conflict: it was for another pause of an activity than there is, for one more bulk operation than may run, or
            for a retry of an instance that can't be retried.
        Invalid: the Idempotency-Key was used with another body.
        TooLarge: the command, or what it leads to, is too large for a record.
        Unavailable: Kafka did not acknowledge the command, its effect did not show by the deadline (it may show later),
            or the engine can't decide the command now.
        Fault: deciding the command failed.
    """
    position = await services.command_log.append(key, command, deadline, partition)
    try:
        await services.positions.wait_cause(position.partition, position.offset, deadline)
    except TimeoutError:
        raise Unavailable(UNSEEN) from None
    if starting is not None and starting.start is not None:
        return
    rejection = await shown(services.positions.rejection(position.partition, position.offset))
    if rejection is not None:
        raise _error(rejection)


async def shown(effect: Awaitable[T]) -> T:
    """What is read of the effect of a command that was accepted.

    Args:
        effect: reads it.

    Raises:
        Unavailable: it can't be read. A client that were told no more than that would take it for not accepted.
    """
    try:
        return await effect
    except ReadModelUnavailable as error:
        raise Unavailable(UNSEEN) from error


def _error(rejection: Rejection) -> ApiError:
    match rejection.code:
        case rejections.ENDED:
            return InstanceEnded(rejection.message)
        case rejections.CONFLICT:
            return Invalid(rejection.message)
        case rejections.NO_ACTIVITY:
            return NotFound(rejection.message)
        case rejections.OTHER_PAUSE | rejections.TOO_MANY | rejections.NOT_RETRYABLE:
            return Conflict(rejection.message)
        case rejections.RETRY:
            return Unavailable(rejection.message)
        case rejections.TOO_LARGE:
            return TooLarge(rejection.message)
    return Fault(rejection.message)
