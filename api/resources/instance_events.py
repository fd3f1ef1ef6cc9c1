"""What can be sent to an instance: an event, an abort (contract: `http-api`, Surface v1; `workflows`)."""

import contextlib
from typing import Any
from uuid import UUID

from api.authors import Author
from api.errors import InstanceEnded, Invalid
from api.resources.accepting import accept, command_deadline
from api.resources.idempotency import KeyedRequest, keyed_request, request_fields
from api.resources.instances import get_instance
from api.services import Services
from schemas.commands import AbortInstance, SendEvent


async def send_event(
    services: Services, instance_id: str, body: Any, key: str | None, author: Author, workflow_id: str | None = None
) -> None:
    """Send an event.

    Args:
        services: the outside world.
        instance_id: from the path.
        body: the decoded body; None without a body. Keys beside `name` are kept in the log.
        key: the Idempotency-Key, if there was one.
        author: who wants it, and why.
        workflow_id: as in `get_instance`.

    Raises:
        Invalid: the body is not an object with a name, the instance has ended, or the key was used with another body.
        NotFound: the instance does not exist.
    """
    if not isinstance(body, dict):
        raise Invalid("the body must be an object with the event's name")
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise Invalid("name: must be a non-empty string")
    row = await get_instance(services, instance_id, workflow_id)
    keyed = keyed_request(key, "event", str(row.id), body)
    if keyed is not None and await sent_before(services, row.id, keyed):
        return
    if row.terminated_at is not None:
        raise InstanceEnded
    command = SendEvent(
        name=name,
        payload={field: value for field, value in body.items() if field != "name"},
        **request_fields(keyed),
        by=author.by,
        reason=author.reason,
    )
    try:
        await accept(services, row.id, command, command_deadline(services))
    except InstanceEnded:
        # The same request may have come twice at once, and the first one ended the instance.
        if keyed is None or not await sent_before(services, row.id, keyed):
            raise


async def sent_before(services: Services, instance_id: UUID, keyed: KeyedRequest) -> bool:
    """Whether the same request was carried out before.

    Raises:
        Invalid: the key was used with another body.
    """
    known = await services.read_model.event_request(instance_id, keyed.id)
    if known is not None:
        keyed.check(known)
    return known is not None


async def abort_instance(
    services: Services, instance_id: str, key: str | None, author: Author, workflow_id: str | None = None
) -> None:
    """End an instance with error `canceled`; one that has ended stays as it is.

    Args:
        services: the outside world.
        instance_id: from the path.
        key: the Idempotency-Key, if there was one. A repeated request does not end an instance that was retried since.
        author: who wants it, and why.
        workflow_id: as in `get_instance`.

    Raises:
        NotFound: the instance does not exist.
    """
    row = await get_instance(services, instance_id, workflow_id)
    if row.terminated_at is not None:
        return
    keyed = keyed_request(key, "abort", str(row.id), None)
    if keyed is not None and await sent_before(services, row.id, keyed):
        return
    command = AbortInstance(
        **request_fields(keyed),
        by=author.by,
        reason=author.reason,
    )
    with contextlib.suppress(InstanceEnded):
        await accept(services, row.id, command, command_deadline(services))
