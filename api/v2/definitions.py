"""`/v2/workflows/validate` and `/v2/workflows/schema.json`: definitions that are not created."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Final

from api.answers import Answer, json_answer
from api.calls import Call
from api.routing import Operation, constant
from api.v1.workflows import YAML_TYPES, definition_text
from api.validation import validate
from schemas.definition import definition_schema
from schemas.resources import Data, Validation

MAX_BYTES_HERE: Final = 4 * 1024
"""A longer definition is checked in a thread: at some microseconds per byte it would hold up all other requests."""


async def validate_definition(call: Call) -> Answer:
    """`POST /v2/workflows/validate`, JSON or YAML."""
    body, is_yaml = await definition_text(call)
    max_bytes = call.services.settings.max_body_bytes
    check = partial(validate, body, is_yaml=is_yaml, max_bytes=max_bytes, now=datetime.now(UTC))
    validation = check() if len(body) <= MAX_BYTES_HERE else await asyncio.to_thread(check)
    return json_answer(200, Data(validation))


OPERATIONS: Final = (
    Operation(
        id="v2ValidateWorkflow",
        method="POST",
        path="/v2/workflows/validate",
        handler=validate_definition,
        summary="Check a definition without creating a workflow",
        status=200,
        answer=Data[Validation],
        body={"description": "A workflow's definition, also one that is wrong"},
        body_types=("application/json", *YAML_TYPES),
        errors=(400, 413),
        not_found_code="NOT_FOUND",
        slash=True,
        reads=True,
    ),
    constant(
        "v2GetWorkflowSchema",
        "/v2/workflows/schema.json",
        "Get the JSON Schema of a workflow's definition, for editors",
        definition_schema(),
        kind={"type": "object"},
    ),
)
