"""`/flows/{flowId}/runs`: what instances are in v1. A run is found only under its own flow."""

from typing import Final

from api import rendering
from api.answers import NO_CONTENT, Answer, json_answer, list_answer
from api.calls import Call
from api.parameters import IDEMPOTENCY_KEY, REASON
from api.ports import InstanceFilters, InstanceRow
from api.resources import instance_events, instances, workflows
from api.routing import Operation, Parameter
from api.v1.instances import VARIABLES, WAIT, running
from api.v1.workflows import FLOW_ID
from schemas.resources import Data, EventBody, RunStatus, WorkflowOccurrence


def render(row: InstanceRow, complete: bool = True) -> WorkflowOccurrence:
    """A run.

    Args:
        row: the instance.
        complete: with the status of its stages; a run that is not waited for is shown without.
    """
    statuses = [
        RunStatus(
            stage=status.stage,
            occurrence_id=status.instance_id,
            started_at=status.started_at,
            terminated_at=status.terminated_at,
            error=status.error,
            pending_activities=status.pending_activities,
        )
        for status in (rendering.status(row) if complete else [])
    ]
    return rendering.instance(WorkflowOccurrence, row, statuses=statuses)


async def list_runs(call: Call) -> Answer:
    """`GET /flows/{flowId}/runs`; 404 for an unknown flow, since it is a part of the path."""
    flow = await workflows.get_workflow(call.services, call.params["flowId"])
    filters = InstanceFilters(workflow_ids=(flow.id,))
    return await list_answer(instances.list_instances(call.services, filters), render)


async def get_run(call: Call) -> Answer:
    """`GET /flows/{flowId}/runs/{runId}`."""
    row = await instances.get_instance(call.services, call.params["runId"], call.params["flowId"])
    return json_answer(200, Data(render(row)))


async def send_event(call: Call) -> Answer:
    """`POST /flows/{flowId}/runs/{runId}/events`."""
    body = await call.json()
    await instance_events.send_event(
        call.services, call.params["runId"], body, call.idempotency_key, call.author, call.params["flowId"]
    )
    return NO_CONTENT


async def abort_run(call: Call) -> Answer:
    """`PUT /flows/{flowId}/runs/{runId}/abort`."""
    await instance_events.abort_instance(
        call.services, call.params["runId"], call.idempotency_key, call.author, call.params["flowId"]
    )
    return NO_CONTENT


RUN_ID: Final = Parameter(name="runId", where="path", description="The run's id")

OPERATIONS: Final = (
    Operation(
        id="getWorkflowOccurrence",
        method="GET",
        path="/flows/{flowId}/runs/{runId}",
        handler=get_run,
        summary="Get a run of a flow",
        status=200,
        answer=Data[WorkflowOccurrence],
        parameters=(FLOW_ID, RUN_ID),
        errors=(404,),
        slash=True,
    ),
    Operation(
        id="runFlow",
        method="POST",
        path="/flows/{flowId}/runs",
        handler=running(render, "flowId"),
        summary="Run a flow",
        status=201,
        answer=Data[WorkflowOccurrence],
        body=VARIABLES,
        body_required=False,
        parameters=(FLOW_ID, WAIT, IDEMPOTENCY_KEY, REASON),
        errors=(400, 404, 413),
        slash=True,
    ),
    Operation(
        id="listRuns",
        method="GET",
        path="/flows/{flowId}/runs",
        handler=list_runs,
        summary="List the runs of a flow, newest first",
        status=200,
        answer=Data[list[WorkflowOccurrence]],
        parameters=(FLOW_ID,),
        errors=(404,),
        slash=True,
    ),
    Operation(
        id="sendEventToRun",
        method="POST",
        path="/flows/{flowId}/runs/{runId}/events",
        handler=send_event,
        summary="Send an event to a run that has not ended",
        status=204,
        body=EventBody,
        parameters=(FLOW_ID, RUN_ID, IDEMPOTENCY_KEY, REASON),
        errors=(400, 404, 413),
    ),
    Operation(
        id="abortRun",
        method="PUT",
        path="/flows/{flowId}/runs/{runId}/abort",
        handler=abort_run,
        summary="Abort a run",
        status=204,
        parameters=(FLOW_ID, RUN_ID, IDEMPOTENCY_KEY, REASON),
        errors=(400, 404),
    ),
)
