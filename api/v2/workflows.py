"""`/v2/workflows`: where it differs from v1."""

from typing import Final

from api import rendering
from api.answers import Answer, json_answer
from api.calls import Call
from api.cursors import Cursor, Cursors
from api.ports import WorkflowRow
from api.resources import workflows
from api.v1.workflows import creating
from api.v2.differences import Difference
from api.v2.paging import PAGE_PARAMETERS, page_answer, read_cursor
from schemas.resources import Data, Paged, V2Workflow


def render(row: WorkflowRow) -> V2Workflow:
    """A workflow."""
    return rendering.workflow_as(V2Workflow, row, acts=rendering.acts(row))


async def get_workflow(call: Call) -> Answer:
    """`GET /v2/workflows/{flowId}`."""
    row = await workflows.get_workflow(call.services, call.params["flowId"])
    return json_answer(200, Data(render(row)))


async def list_workflows(call: Call) -> Answer:
    """`GET /v2/workflows`."""
    cursors = Cursors(call.services.settings, "workflows", Cursor[None])
    cursor = read_cursor(call, cursors, lambda: None)
    page = await workflows.page_of_workflows(call.services, cursor)
    return page_answer(cursors, cursor, page, render)


DIFFERENCES: Final = {
    "createWorkflow": Difference(handler=creating(render), answer=Data[V2Workflow]),
    "getWorkflow": Difference(handler=get_workflow, answer=Data[V2Workflow]),
    "listWorkflows": Difference(
        handler=list_workflows,
        answer=Paged[V2Workflow],
        parameters=PAGE_PARAMETERS,
        errors=(400,),
    ),
}
