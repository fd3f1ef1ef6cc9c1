"""`/v2/submissions/schema.json`: what other services append to topic `commands`."""

from typing import Final

from api.routing import constant
from schemas.submission_schema import submission_schema

OPERATIONS: Final = (
    constant(
        "v2GetSubmissionSchema",
        "/v2/submissions/schema.json",
        "Get the JSON Schema of what other services append to the topic of commands",
        submission_schema(),
        kind={"type": "object"},
    ),
)
