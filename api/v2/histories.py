"""`/v2/instances/{instanceID}/history` and that of a stage: where they differ from v1."""

from typing import Final

from api import rendering
from api.answers import Answer, list_answer
from api.calls import Call
from api.ids import parse_id
from api.ports import ActivityRow, StageHistoryRow
from api.rendering import past_retries
from api.resources import histories
from api.v2.differences import Difference
from schemas.resources import Data, V2ActivityHistory, V2StageHistory


def render(row: StageHistoryRow) -> V2StageHistory:
    """A started stage."""
    return rendering.stage_history(V2StageHistory, row, stage=row.number, retries=past_retries(row))


async def get_instance_history(call: Call) -> Answer:
    """`GET /v2/instances/{instanceID}/history`."""
    return await list_answer(histories.instance_history(call.services, call.params["instanceID"]), render)


async def get_stage_history(call: Call) -> Answer:
    """`GET /v2/instances/{instanceID}/stages/{number}/history`."""
    instance_id = parse_id(call.params["instanceID"])

    def render(row: ActivityRow) -> V2ActivityHistory:
        return rendering.activity_history(V2ActivityHistory, instance_id, row, retries=past_retries(row))

    pages = histories.stage_history(call.services, call.params["instanceID"], call.params["number"])
    return await list_answer(pages, render)


DIFFERENCES: Final = {
    "getInstanceHistory": Difference(handler=get_instance_history, answer=Data[list[V2StageHistory]]),
    "getInstanceStageHistory": Difference(handler=get_stage_history, answer=Data[list[V2ActivityHistory]]),
}
