"""`/v2/stats`: counts of instances, and what has happened over time."""

from datetime import UTC, datetime
from typing import Final

from api.answers import Answer, json_answer
from api.calls import Call
from api.resources import stats
from api.resources.times import TIME_SCHEMA
from api.routing import Operation, Parameter
from schemas.resources import Data
from schemas.stats import Stats


async def get_stats(call: Call) -> Answer:
    """`GET /v2/stats`."""
    request = stats.StatsRequest(
        workflow_id=call.query("workflowID"), start=call.query("from"), end=call.query("to"), step=call.query("step")
    )
    return json_answer(200, Data(await stats.get_stats(call.services, request, datetime.now(UTC))))


OPERATIONS: Final = (
    Operation(
        id="v2GetStats",
        method="GET",
        path="/v2/stats",
        handler=get_stats,
        summary="Get counts of instances by workflow and state, and what has happened over time",
        status=200,
        answer=Data[Stats],
        parameters=(
            Parameter(
                name="workflowID",
                where="query",
                description="Only this workflow; the answer then has its stages, too",
            ),
            Parameter(
                name="from",
                where="query",
                type=TIME_SCHEMA,
                description=(
                    "Begin of the time that is looked at (a day: 00:00 UTC);"
                    " when absent, 24 hours or 30 days before its end"
                ),
            ),
            Parameter(
                name="to",
                where="query",
                type=TIME_SCHEMA,
                description="End of the time that is looked at (a day: 00:00 UTC); now when absent",
            ),
            Parameter(
                name="step",
                where="query",
                type={"type": "string", "enum": ["hour", "day"]},
                description=(
                    "What the time is cut into, in UTC. When absent, hours unless the time begins more than"
                    f" {stats.HOURLY_DAYS} days ago. The time has {stats.MAX_DAYS} days at most."
                ),
            ),
        ),
        errors=(400,),
        not_found_code="NOT_FOUND",
        slash=True,
    ),
)
