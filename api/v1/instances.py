"""`/workflows/{workflowID}/instances` and `/instances`."""

from collections.abc import Callable
from typing import Final

from msgspec import UNSET

from api import rendering
from api.answers import NO_CONTENT, Answer, json_answer, list_answer
from api.calls import Call
from api.parameters import IDEMPOTENCY_KEY, QUERY_BOOLEAN, REASON
from api.ports import InstanceRow
from api.resources import instance_events, instances
from api.resources.instance_filters import of_workflow
from api.routing import Handler, Operation, Parameter
from schemas.resources import Data, EventBody, WorkflowInstance


def render(row: InstanceRow, complete: bool = True) -> WorkflowInstance:
    """An instance.

    Args:
        row: the row.
        complete: with its workflow and the status of its stages; a run that is not waited for is shown without.
    """
    status = rendering.status(row) if complete else []
    return rendering.instance(
        WorkflowInstance,
        row,
        workflow=rendering.workflow(row.workflow) if complete else UNSET,
        status=status,
        statuses=status,
    )


def running(render: Callable[[InstanceRow, bool], object], workflow_id: str = "workflowID") -> Handler:
    """The handler of a run, the same for all surfaces except for how they show an instance.

    Args:
        render: shows an instance; the flag tells whether it was waited for.
        workflow_id: what the path calls the workflow's id.
    """

    async def run(call: Call) -> Answer:
        wait = call.flag("wait")
        body = await call.json(required=False)
        row = await instances.run_workflow(
            call.services, call.params[workflow_id], body, call.idempotency_key, call.author
        )
        if wait and row.terminated_at is None:
            row = await instances.ended(call.services, row, call.unless_gone)
        return json_answer(201, Data(render(row, wait)))

    return run


async def list_instances(call: Call) -> Answer:
    """`GET /instances`."""
    filters = of_workflow(call.query("workflowID"), call.flag("running"))
    return await list_answer(instances.list_instances(call.services, filters), render)


async def get_instance(call: Call) -> Answer:
    """`GET /instances/{instanceID}`."""
    row = await instances.get_instance(call.services, call.params["instanceID"])
    return json_answer(200, Data(render(row)))


async def send_event(call: Call) -> Answer:
    """`POST /instances/{instanceID}/events`."""
    body = await call.json()
    await instance_events.send_event(call.services, call.params["instanceID"], body, call.idempotency_key, call.author)
    return NO_CONTENT


async def abort_instance(call: Call) -> Answer:
    """`PUT /instances/{instanceID}/abort`."""
    await instance_events.abort_instance(call.services, call.params["instanceID"], call.idempotency_key, call.author)
    return NO_CONTENT


VARIABLES: Final = dict[str, str | None] | None
"""The body of a run."""

WAIT: Final = Parameter(
    name="wait",
    where="query",
    type=QUERY_BOOLEAN,
    description="Wait for the end of the instance before answering, at most for a time that is a setting (30 s by "
    "default). After it, the answer shows the state of then: look at `terminated`",
)

LIST_FILTERS: Final = (
    Parameter(name="workflowID", where="query", description="Only instances of this workflow"),
    Parameter(name="running", where="query", type=QUERY_BOOLEAN, description="Only instances that have not ended"),
)

INSTANCE_ID: Final = Parameter(name="instanceID", where="path", description="The instance's id")

OPERATIONS: Final = (
    Operation(
        id="getInstance",
        method="GET",
        path="/instances/{instanceID}",
        handler=get_instance,
        summary="Get an instance",
        status=200,
        answer=Data[WorkflowInstance],
        parameters=(INSTANCE_ID,),
        errors=(404,),
        slash=True,
    ),
    Operation(
        id="runWorkflow",
        method="POST",
        path="/workflows/{workflowID}/instances",
        handler=running(render),
        summary="Run a workflow",
        status=201,
        answer=Data[WorkflowInstance],
        body=VARIABLES,
        body_required=False,
        parameters=(
            Parameter(name="workflowID", where="path", description="The workflow's id"),
            WAIT,
            IDEMPOTENCY_KEY,
            REASON,
        ),
        errors=(400, 404, 413),
        slash=True,
    ),
    Operation(
        id="sendEvent",
        method="POST",
        path="/instances/{instanceID}/events",
        handler=send_event,
        summary="Send an event to a running instance",
        status=204,
        body=EventBody,
        parameters=(INSTANCE_ID, IDEMPOTENCY_KEY, REASON),
        errors=(400, 404, 413),
    ),
    Operation(
        id="cancelEvent",
        method="PUT",
        path="/instances/{instanceID}/abort",
        handler=abort_instance,
        summary="Abort an instance",
        status=204,
        parameters=(INSTANCE_ID, IDEMPOTENCY_KEY, REASON),
        errors=(400, 404),
    ),
    Operation(
        id="listInstances",
        method="GET",
        path="/instances",
        handler=list_instances,
        summary="List instances, newest first",
        status=200,
        answer=Data[list[WorkflowInstance]],
        parameters=LIST_FILTERS,
        slash=True,
    ),
)
