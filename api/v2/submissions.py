"""`/v2/submissions/schema.json`: what other services append to topic `commands`."""

from typing import Final

from api.answers import Answer, json_answer
from api.calls import Call
from api.routing import Operation
from schemas.submission_schema import submission_schema

_SCHEMA: Final = json_answer(200, submission_schema())


async def get_schema(call: Call) -> Answer:
    """`GET /v2/submissions/schema.json`."""
    return _SCHEMA


OPERATIONS: Final = (
    Operation(
        id="v2GetSubmissionSchema",
        method="GET",
        path="/v2/submissions/schema.json",
        handler=get_schema,
        summary="Get the JSON Schema of what other services append to the topic of commands",
        status=200,
        answer={"type": "object"},
        unlimited=True,
        public=True,
    ),
)
