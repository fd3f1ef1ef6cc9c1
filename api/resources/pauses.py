"""Paused activities are resumed (contract: `workflows`, Attempt limit, pause and resume)."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from api.authors import Author
from api.errors import Conflict, InstanceEnded, Invalid, NotFound
from api.ids import parse_id
from api.ports import HistoryPlace
from api.resources.accepting import accept, command_deadline
from api.resources.histories import parse_number
from api.resources.idempotency import keyed_request, request_fields
from api.resources.instance_events import look_for
from api.resources.instances import get_instance
from api.services import Services
from schemas.commands import ResumeActivity
from schemas.definition import parse_instant

FIELDS: Final = ("temporalRunID", "pausedAt")


class Resume(NamedTuple):
    """Which pause is meant."""

    run_id: UUID | None
    """None if it is not an id of ours, so it is that of no run."""
    paused_at: datetime


def read_resume(body: Any) -> Resume:
    """The pause that a decoded body means.

    Raises:
        Invalid: the body is not an object of exactly two texts, of which one is a date.
    """
    if not isinstance(body, dict):
        raise Invalid("the body must be an object with temporalRunID and pausedAt")
    for name in body:
        if name not in FIELDS:
            raise Invalid(f"{name[:100]}: unknown field; there are temporalRunID and pausedAt")
    for name in FIELDS:
        if not isinstance(body.get(name), str) or not body[name]:
            raise Invalid(f"{name}: must be a non-empty string")
    try:
        paused_at = parse_instant(body["pausedAt"])
    except ValueError:
        raise Invalid("pausedAt: must be an RFC 3339 date and time, such as 2026-03-01T10:00:07.1Z") from None
    return Resume(parse_id(body["temporalRunID"]), paused_at)


async def resume_activity(
    services: Services, instance_id: str, number: str, activity_id: str, body: Any, key: str | None, author: Author
) -> None:
    """Have a paused activity go on with a new budget of attempts; nothing if this has been done.

    Args:
        services: the outside world.
        instance_id: from the path, as the next two.
        number: of the stage.
        activity_id: its index in the stage.
        body: the decoded body.
        key: the Idempotency-Key, if there was one.
        author: who wants it, and why.

    Raises:
        Invalid: the body is wrong, or the key was used with another body.
        NotFound: there is no such activity.
        Conflict: the activity is in another pause than the one that is meant, or its stage has ended.
    """
    resume = read_resume(body)
    row = await get_instance(services, instance_id)
    stage, index = parse_number(number), parse_number(activity_id)
    missing = NotFound(f"instance {instance_id!r} has no activity {activity_id!r} in stage {number!r}")
    if stage is None or index is None:
        raise missing
    known = await services.read_model.activities(row.id, stage, HistoryPlace(index - 1))
    if known is None or not known.rows or known.rows[0].index != index:
        raise missing
    keyed = keyed_request(key, "resume", f"{row.id}/{stage}/{index}", body)
    looked = await look_for(services, row.id, keyed)
    if looked.sent:
        return
    if row.terminated_at is not None:
        raise Conflict("the instance has ended")
    if resume.run_id != row.id:
        raise Conflict("temporalRunID: not the run of this instance")
    command = ResumeActivity(
        stage=stage,
        index=index,
        paused_at=resume.paused_at,
        **request_fields(keyed, looked.others),
        by=author.by,
        reason=author.reason,
    )
    try:
        await accept(services, row.id, command, command_deadline(services))
    except InstanceEnded as ended:
        # The same request may have come twice at once, and its instance or stage has ended since.
        if not (await look_for(services, row.id, keyed)).sent:
            raise Conflict(ended.message) from None
