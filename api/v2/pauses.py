"""`/v2/instances/{instanceID}/stages/{number}/activities/{activityID}/resume`."""

from typing import Annotated, Final

from msgspec import Meta

from api.answers import NO_CONTENT, Answer
from api.calls import Call
from api.parameters import IDEMPOTENCY_KEY, REASON
from api.resources import pauses
from api.routing import Operation, Parameter
from api.v1.instances import INSTANCE_ID
from schemas.resources import ResumeBody

Number = Annotated[int, Meta(ge=0)]


async def resume_activity(call: Call) -> Answer:
    """`POST …/resume`."""
    body = await call.json()
    params = call.params
    await pauses.resume_activity(
        call.services,
        params["instanceID"],
        params["number"],
        params["activityID"],
        body,
        call.idempotency_key,
        call.author,
    )
    return NO_CONTENT


OPERATIONS: Final = (
    Operation(
        id="v2ResumeActivity",
        method="POST",
        path="/v2/instances/{instanceID}/stages/{number}/activities/{activityID}/resume",
        handler=resume_activity,
        summary="Resume a paused activity: it gets a new budget of attempts",
        status=204,
        body=ResumeBody,
        parameters=(
            INSTANCE_ID,
            Parameter(name="number", where="path", type=Number, description="The stage's number, from 0"),
            Parameter(name="activityID", where="path", description="As pendingActivities show it"),
            IDEMPOTENCY_KEY,
            REASON,
        ),
        errors=(400, 404, 409, 413),
        not_found_code="NOT_FOUND",
    ),
)
