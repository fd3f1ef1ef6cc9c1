"""`/instances/{instanceID}/history` and `/instances/{instanceID}/stages/{number}/history`."""

from typing import Annotated

from msgspec import Meta

from api import rendering
from api.answers import Answer, json_answer
from api.calls import Call
from api.resources import histories
from api.routing import Operation, Parameter
from api.v1.instances import INSTANCE_ID
from schemas.resources import ActivityHistory, Data, StageHistory


async def get_instance_history(call: Call) -> Answer:
    """`GET /instances/{instanceID}/history`."""
    rows = await histories.instance_history(call.services, call.params["instanceID"])
    return json_answer(200, Data([rendering.stage_history(row) for row in rows]))


async def get_stage_history(call: Call) -> Answer:
    """`GET /instances/{instanceID}/stages/{number}/history`."""
    rows = await histories.stage_history(call.services, call.params["instanceID"], call.params["number"])
    return json_answer(200, Data([rendering.activity_history(row) for row in rows]))


OPERATIONS = (
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
