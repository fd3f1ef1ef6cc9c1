"""An instance that has failed or was aborted runs once more, from the stage that did not succeed."""

from typing import Any
from uuid import UUID

from api.authors import Author
from api.errors import Conflict, TooLarge
from api.ports import InstanceRow
from api.resources.accepting import accept, command_deadline, shown
from api.resources.idempotency import keyed_request, request_fields
from api.resources.instance_events import look_for
from api.resources.instances import get_instance
from api.services import Services
from projections.queries.retryable import REBUILD, NotRetryable, retry_command


async def retry_instance(services: Services, instance_id: str, key: str | None, author: Author) -> InstanceRow:
    """Have an instance run once more; the instance as it is then.

    Args:
        services: the outside world.
        instance_id: from the path.
        key: the Idempotency-Key, if there was one.
        author: who wants it, and why.

    Raises:
        NotFound: the instance does not exist.
        Conflict: it runs, has succeeded, or what is known of it is not enough.
        Invalid: the key was used for something else.
        TooLarge: what it goes on with does not fit into a record.
    """
    deadline = command_deadline(services)
    row = await get_instance(services, instance_id)
    keyed = keyed_request(key, "retry", str(row.id), None)
    looked = await look_for(services, row.id, keyed)
    if looked.sent:
        return await get_instance(services, instance_id)
    try:
        await _send(services, row.id, deadline, request_fields(keyed, looked.others), author)
    except Conflict:
        # The same request may have come twice at once, and the first one has retried the instance.
        if not (await look_for(services, row.id, keyed)).sent:
            raise
    return await shown(get_instance(services, instance_id))


async def _send(
    services: Services, instance_id: UUID, deadline: float, request: dict[str, Any], author: Author
) -> None:
    """Send the command with what the read model knows now: the instance may have been retried a moment ago."""
    partition = await services.command_log.partition(instance_id, deadline)
    found = await services.read_model.retryable(instance_id, partition)
    if found is None:  # it was there a moment ago: the read model was replaced
        raise Conflict(REBUILD)
    try:
        command = retry_command(
            found,
            **request,
            by=author.by,
            reason=author.reason,
        )
    except NotRetryable as refused:
        raise Conflict(str(refused)) from None
    try:
        await accept(services, instance_id, command, deadline, partition=partition)
    except TooLarge as error:
        raise TooLarge(f"the instance can't be retried: what it goes on with is too large. {error.message}") from None
