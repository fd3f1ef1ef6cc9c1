"""What can be sent to an instance: an event, an abort (contract: `http-api`, Surface v1; `workflows`)."""

from typing import Any

from api.errors import Invalid
from api.resources.accepting import accept, command_deadline, raise_rejection, rejected, rejection_of
from api.resources.instances import get_instance
from api.services import Services
from schemas import rejections
from schemas.commands import AbortInstance, SendEvent


async def send_event(services: Services, instance_id: str, body: Any, workflow_id: str | None = None) -> None:
    """Send an event.

    Args:
        services: the outside world.
        instance_id: as the path has it.
        body: the decoded body; None when there was none. Keys beside `name` are kept in the log.
        workflow_id: as in `get_instance`.

    Raises:
        Invalid: the body is no object with a name, or the instance has ended.
        NotFound: there is no such instance.
    """
    if not isinstance(body, dict):
        raise Invalid("the body must be an object with a name")
    name = body.pop("name", None)
    if not isinstance(name, str) or not name:
        raise Invalid("name: must be a string that is not empty")
    row = await get_instance(services, instance_id, workflow_id)
    if row.terminated_at is not None:
        raise Invalid("the instance has ended")
    command = SendEvent(name=name, payload=body)
    position = await accept(services, row.id, command, command_deadline(services))
    await raise_rejection(services, position)


async def abort_instance(services: Services, instance_id: str, workflow_id: str | None = None) -> None:
    """End an instance with error `canceled`; one that has ended stays as it is.

    Args:
        services: the outside world.
        instance_id: as the path has it.
        workflow_id: as in `get_instance`.

    Raises:
        NotFound: there is no such instance.
    """
    row = await get_instance(services, instance_id, workflow_id)
    if row.terminated_at is not None:
        return
    position = await accept(services, row.id, AbortInstance(), command_deadline(services))
    rejection = await rejection_of(services, position)
    if rejection is not None and rejection.code != rejections.ENDED:
        raise rejected(rejection)
