"""A command on its way: appended, its effect awaited, so that whoever is answered can read it on every replica.

Contract: `http-api`, "After a POST, PUT or DELETE is answered, every read on every replica shows it".
"""

import asyncio
from uuid import UUID

from api.errors import ApiError, Fault, Invalid, TooLarge, Unavailable
from api.ports import CommandPosition, Rejection
from api.services import Services
from schemas import rejections
from schemas.commands import Command


def command_deadline(services: Services) -> float:
    """When a command that is accepted now must have had its effect, as time of the event loop."""
    return asyncio.get_running_loop().time() + services.settings.command_timeout_seconds


async def accept(
    services: Services, key: UUID, command: Command, deadline: float, partition: int | None = None
) -> CommandPosition:
    """Append a command and wait until the read model shows its effect, which may be that it was rejected.

    Raises:
        Unavailable: Kafka did not acknowledge it, or the effect did not show by the deadline; it may show later.
        TooLarge: the command is over the limit of a record.
    """
    position = await services.command_log.append(key, command, deadline, partition)
    try:
        await services.positions.wait_cause(position.partition, position.offset, deadline)
    except TimeoutError:
        raise Unavailable("the request was accepted, its effect does not show yet") from None
    return position


async def rejection_of(services: Services, position: CommandPosition) -> Rejection | None:
    """Why an accepted command was rejected; None if it was not."""
    return await services.positions.rejection(position.partition, position.offset)


async def raise_rejection(services: Services, position: CommandPosition) -> None:
    """Raise the error that a rejected command stands for, if it was rejected."""
    rejection = await rejection_of(services, position)
    if rejection is not None:
        raise rejected(rejection)


def rejected(rejection: Rejection) -> ApiError:
    """The error that a rejection stands for."""
    match rejection.code:
        case rejections.ENDED | rejections.CONFLICT:
            return Invalid(rejection.message)
        case rejections.RETRY:
            return Unavailable(rejection.message)
        case rejections.TOO_LARGE:
            return TooLarge(rejection.message)
    return Fault(rejection.message)
