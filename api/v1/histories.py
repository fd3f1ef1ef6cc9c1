"""`/instances/{instanceID}/history` and `/instances/{instanceID}/stages/{number}/history`."""

from functools import partial
from typing import Annotated, Final

from msgspec import Meta

from api import rendering
from api.answers import Answer, list_answer
from api.calls import Call
from api.ids import parse_id
from api.resources import histories
from api.routing import Operation, Parameter
from api.v1.instances import INSTANCE_ID
from schemas.resources import ActivityHistory, Data, StageHistory


async def get_instance_history(call: Call) -> Answer:
    """`GET /instances/{instanceID}/history`."""
    pages = histories.instance_history(call.services, call.params["instanceID"])
    return await list_answer(pages, partial(rendering.stage_history, StageHistory))


async def get_stage_history(call: Call) -> Answer:
    """`GET /instances/{instanceID}/stages/{number}/history`."""
    pages = histories.stage_history(call.services, call.params["instanceID"], call.params["number"])
    instance_id = parse_id(call.params["instanceID"])
    return await list_answer(pages, partial(rendering.activity_history, ActivityHistory, instance_id))


OPERATIONS: Final = (
    Operation(
        id="getInstanceHistory",
        method="GET",
        path="/instances/{instanceID}/history",
        handler=get_instance_history,
        summary="Get the started stages of an instance",
        status=200,
        answer=Data[list[StageHistory]],
        parameters=(INSTANCE_ID,),
        errors=(404,),
    ),
    Operation(
        id="getInstanceStageHistory",
        method="GET",
        path="/instances/{instanceID}/stages/{number}/history",
        handler=get_stage_history,
        summary="Get the activities of a stage",
        status=200,
        answer=Data[list[ActivityHistory]],
        parameters=(
            INSTANCE_ID,
            Parameter(
                name="number", where="path", type=Annotated[int, Meta(ge=0)], description="The stage's number, from 0"
            ),
        ),
        errors=(404,),
    ),
)
