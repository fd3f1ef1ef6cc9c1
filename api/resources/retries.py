"""An instance that has failed or was aborted runs once more, from the stage that did not succeed."""

from typing import Final

import msgspec

from api.authors import Author
from api.errors import Conflict, InstanceEnded, TooLarge
from api.ports import InstanceRow, RetryableRow
from api.resources.accepting import accept, command_deadline
from api.resources.idempotency import KeyedRequest, keyed_request
from api.resources.instance_events import sent_before
from api.resources.instances import get_instance
from api.services import Services
from projections.queries.rows import EndedActivityRow
from schemas.commands import RetryInstance
from schemas.ended_activities import EndedActivity

REBUILD: Final = (
    "the read model does not know enough of this instance, which ended before an upgrade: "
    "run `orchestration rebuild`, then retry it"
)


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
    if keyed is not None and await sent_before(services, row.id, keyed):
        return await get_instance(services, instance_id)
    partition = await services.command_log.partition(row.id, deadline)
    found = await services.read_model.retryable(row.id, partition)
    if found is None:  # the projections have yet to take in its workflow
        raise Conflict(REBUILD)
    command = _command(found, keyed, author)
    try:
        await accept(services, row.id, command, deadline, partition=partition)
    except TooLarge as error:
        raise TooLarge(f"the instance can't be retried: what it goes on with is too large. {error.message}") from None
    except (Conflict, InstanceEnded):
        # The same request may have come twice at once, and the first one has retried the instance.
        if keyed is None or not await sent_before(services, row.id, keyed):
            raise
    return await get_instance(services, instance_id)


def _command(found: RetryableRow, keyed: KeyedRequest | None, author: Author) -> RetryInstance:
    """The command for what the read model knows.

    Raises:
        Conflict: it can't be retried.
    """
    if found.terminated_at is None:
        raise Conflict("the instance is running: only one that has failed or was aborted can be retried")
    if found.error is None:
        raise Conflict("the instance has succeeded: only one that has failed or was aborted can be retried")
    if found.retryable is None or found.variables is None:
        raise Conflict(REBUILD)
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
        retries=found.retries,
        seen_offset=found.next_offset,
        request_key=str(keyed.id) if keyed else None,
        request_digest=keyed.digest if keyed else None,
        by=author.by,
        reason=author.reason,
    )


def _stage(found: RetryableRow) -> tuple[int, list[EndedActivity]]:
    """The stage to begin with, and its activities. Behind one that has succeeded, the next was not started.

    Raises:
        Conflict: rows are missing, so nobody can tell what was done.
    """
    last = found.stage
    if last is None:
        return 0, []
    whole = last.terminated_at is not None and all(
        activity.ended and activity.index == index for index, activity in enumerate(found.activities)
    )
    if not whole:
        raise Conflict(f"the read model lacks a part of stage {last.number}, so nobody can tell what of it was done")
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
