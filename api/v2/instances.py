"""`/v2/workflows/{workflowID}/instances` and `/v2/instances`: where they differ from v1."""

from typing import Final

from msgspec import UNSET

from api import rendering
from api.answers import Answer, json_answer
from api.calls import Call
from api.cursors import Cursor, Cursors
from api.ports import InstanceRow
from api.resources import instances
from api.resources.instance_filters import CursorFilters, filters_of_query, to_cursor
from api.v1.instances import LIST_FILTERS, running
from api.v2.differences import Difference
from api.v2.paging import PAGE_PARAMETERS, page_answer, read_cursor
from schemas.resources import Data, Paged, V2WorkflowInstance


def render(row: InstanceRow, complete: bool = True) -> V2WorkflowInstance:
    """An instance; `complete` as in v1."""
    return rendering.instance(
        V2WorkflowInstance,
        row,
        workflow=rendering.workflow(row.workflow) if complete else UNSET,
        status=rendering.status(row) if complete else [],
        variables=UNSET if row.variables is None else row.variables,
        trigger=rendering.started_by(row),
        waiting=rendering.waiting(row) if complete else UNSET,
        acts=rendering.acts(row),
    )


async def list_instances(call: Call) -> Answer:
    """`GET /v2/instances`."""
    cursors = Cursors(call.services.settings, "instances", Cursor[CursorFilters])
    cursor = read_cursor(call, cursors, lambda: to_cursor(filters_of_query(call.queries)))
    page = await instances.page_of_instances(call.services, cursor)
    return page_answer(cursors, cursor, page, render)


async def get_instance(call: Call) -> Answer:
    """`GET /v2/instances/{instanceID}`."""
    row = await instances.get_instance(call.services, call.params["instanceID"])
    return json_answer(200, Data(render(row)))


DIFFERENCES: Final = {
    "runWorkflow": Difference(handler=running(render), answer=Data[V2WorkflowInstance]),
    "getInstance": Difference(handler=get_instance, answer=Data[V2WorkflowInstance]),
    "listInstances": Difference(
        handler=list_instances,
        answer=Paged[V2WorkflowInstance],
        parameters=(*LIST_FILTERS, *PAGE_PARAMETERS),
        errors=(400,),
    ),
}
