"""What can be sent to an instance: an event, an abort (contract: `http-api`, Surface v1; `workflows`)."""

import contextlib
from typing import Any, NamedTuple
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
    looked = await look_for(services, row.id, keyed)
    if looked.sent:
        return
    if row.terminated_at is not None:
        raise InstanceEnded
    command = SendEvent(
        name=name,
        payload={field: value for field, value in body.items() if field != "name"},
        **request_fields(keyed, looked.others),
        by=author.by,
        reason=author.reason,
    )
    try:
        await accept(services, row.id, command, command_deadline(services))
    except InstanceEnded:
        # The same request may have come twice at once, and the first one ended the instance.
        if not (await look_for(services, row.id, keyed)).sent:
            raise


class Looked(NamedTuple):
    """What the read model knows of a request."""

    sent: bool
    """Whether the same one was carried out before."""
    others: int = 0
    """If not: how many others were that had a key."""


async def look_for(services: Services, instance_id: UUID, keyed: KeyedRequest | None) -> Looked:
    """Look for a request to an instance; without a key it is another one each time.

    Raises:
        Invalid: the key was used with another body.
    """
    if keyed is None:
        return Looked(sent=False)
    known = await services.read_model.event_request(instance_id, keyed.id)
    if known.digest is not None:
        keyed.check(known.digest)
    return Looked(known.digest is not None, known.total)


async def abort_instance(
    services: Services, instance_id: str, key: str | None, author: Author, workflow_id: str | None = None
) -> None:
    """End an instance with error `canceled`; one that has ended stays as it is.

    Only the engine knows whether one that has failed was retried since: the read model may be behind. One that has
    succeeded never runs again.

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
    if row.terminated_at is not None and row.error is None:
        return
    keyed = keyed_request(key, "abort", str(row.id), None)
    looked = await look_for(services, row.id, keyed)
    if looked.sent:
        return
    command = AbortInstance(
        **request_fields(keyed, looked.others),
        by=author.by,
        reason=author.reason,
    )
    with contextlib.suppress(InstanceEnded):
        await accept(services, row.id, command, command_deadline(services))
