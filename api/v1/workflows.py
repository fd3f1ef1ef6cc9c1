"""`/workflows`."""

import asyncio
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from api import rendering
from api.answers import NO_CONTENT, Answer, json_answer, list_answer
from api.bodies.json_body import decode_json_not_yaml
from api.bodies.yaml_body import decode_yaml
from api.calls import Call
from api.errors import Invalid
from api.parameters import IDEMPOTENCY_KEY, REASON
from api.ports import WorkflowRow
from api.resources import workflows
from api.routing import Handler, Operation, Parameter
from schemas.definition import inlined_schema
from schemas.resources import Data, Workflow

YAML_TYPES: Final = ("text/vnd.yaml", "application/yaml", "application/x-yaml", "text/yaml")

MAX_YAML_BYTES_HERE: Final = 16 * 1024
"""A longer YAML document is read in a thread: at a microsecond per byte it would hold up all other requests."""


def creating(render: Callable[[WorkflowRow], object]) -> Handler:
    """The handler of `POST /workflows`, JSON or YAML: the same for all surfaces except for how they show a workflow."""

    async def create(call: Call) -> Answer:
        body = await _definition(call)
        row = await workflows.create_workflow(call.services, body, call.idempotency_key, call.author)
        return json_answer(201, Data(render(row)))

    return create


async def list_workflows(call: Call) -> Answer:
    """`GET /workflows`."""
    return await list_answer(workflows.list_workflows(call.services), rendering.workflow)


async def get_workflow(call: Call) -> Answer:
    """`GET /workflows/{flowId}`."""
    row = await workflows.get_workflow(call.services, call.params["flowId"])
    return json_answer(200, Data(rendering.workflow(row)))


async def delete_workflow(call: Call) -> Answer:
    """`DELETE /workflows/{flowId}`."""
    await workflows.delete_workflow(call.services, call.params["flowId"], call.author)
    return NO_CONTENT


async def definition_text(call: Call) -> tuple[bytes, bool]:
    """The body of a request that holds a definition, and whether it is YAML.

    Raises:
        Invalid: there is no body.
        TooLarge: the body is over the limit.
    """
    body = await call.body()
    if not body:
        raise Invalid("a body is required")
    content_type = (call.header(b"content-type") or "").partition(";")[0].strip().lower()
    return body, content_type in YAML_TYPES


async def _definition(call: Call) -> Any:
    body, is_yaml = await definition_text(call)
    if not is_yaml:
        return decode_json_not_yaml(body)
    max_bytes = call.services.settings.max_body_bytes
    if len(body) <= MAX_YAML_BYTES_HERE:
        return decode_yaml(body, max_bytes)
    return await asyncio.to_thread(decode_yaml, body, max_bytes)


FLOW_ID: Final = Parameter(name="flowId", where="path", description="The workflow's id")

OPERATIONS: Final = (
    Operation(
        id="createWorkflow",
        method="POST",
        path="/workflows",
        handler=creating(rendering.workflow),
        summary="Create workflow",
        status=201,
        answer=Data[Workflow],
        body=inlined_schema(),
        body_types=("application/json", *YAML_TYPES),
        parameters=(IDEMPOTENCY_KEY, REASON),
        errors=(400, 413),
        slash=True,
    ),
    Operation(
        id="listWorkflows",
        method="GET",
        path="/workflows",
        handler=list_workflows,
        summary="List workflows that are not deleted, newest first",
        status=200,
        answer=Data[list[Workflow]],
        slash=True,
    ),
    Operation(
        id="getWorkflow",
        method="GET",
        path="/workflows/{flowId}",
        handler=get_workflow,
        summary="Get a workflow, also a deleted one",
        status=200,
        answer=Data[Workflow],
        parameters=(FLOW_ID,),
        errors=(404,),
        slash=True,
    ),
    Operation(
        id="deleteWorkflow",
        method="DELETE",
        path="/workflows/{flowId}",
        handler=delete_workflow,
        summary="Delete a workflow; its running instances go on",
        status=204,
        parameters=(Parameter(name="flowId", where="path", type=UUID, description="The workflow's id"), REASON),
        errors=(400, 404),
        not_found_code="NOT_FOUND",
        slash=True,
    ),
)
