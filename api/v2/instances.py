"""`/v2/workflows/{workflowID}/instances` and `/v2/instances`: where they differ from v1."""

from typing import Final

from msgspec import UNSET

from api import rendering
from api.answers import Answer, json_answer
from api.calls import Call
from api.cursors import Cursor, Cursors
from api.parameters import QUERY_BOOLEAN
from api.ports import InstanceRow
from api.resources import instances
from api.resources.instance_filters import (
    MAX_ERROR_CHARACTERS,
    MAX_WORKFLOWS,
    CursorFilters,
    filters_of_query,
    to_cursor,
)
from api.resources.times import TIME_SCHEMA
from api.routing import Parameter
from api.v1.instances import running
from api.v2.differences import Difference
from api.v2.paging import PAGE_PARAMETERS, page_answer, read_cursor
from projections.keys import MAX_KEY_CHARACTERS
from projections.states import STATES, state_of
from schemas.resources import Data, Paged, V2WorkflowInstance


def render(row: InstanceRow, complete: bool = True) -> V2WorkflowInstance:
    """An instance; `complete` as in v1."""
    return rendering.instance(
        V2WorkflowInstance,
        row,
        state=(state_of(row) or UNSET) if complete else UNSET,
        workflow=rendering.workflow(row.workflow) if complete else UNSET,
        status=rendering.status(row) if complete else [],
        variables=UNSET if row.variables is None else row.variables,
        trigger=rendering.started_by(row),
        waiting=rendering.waiting(row) if complete else UNSET,
        acts=rendering.acts(row),
        retries=row.retries or UNSET,
        unreadable=rendering.unreadable(row) if complete else UNSET,
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


def _time(name: str, description: str) -> Parameter:
    return Parameter(name=name, where="query", type=TIME_SCHEMA, description=f"{description} (a day: 00:00 UTC)")


FILTERS: Final = (
    Parameter(
        name="workflowID",
        where="query",
        type={"type": "array", "items": {"type": "string"}, "maxItems": MAX_WORKFLOWS},
        description="Only instances of one of these workflows",
    ),
    Parameter(name="running", where="query", type=QUERY_BOOLEAN, description="Only instances that have not ended"),
    Parameter(
        name="state",
        where="query",
        type={"type": "array", "items": {"type": "string", "enum": list(STATES)}},
        description="Only instances in one of these states",
    ),
    Parameter(
        name="key",
        where="query",
        type={"type": "string", "maxLength": MAX_KEY_CHARACTERS},
        description=(
            "Only instances with this key, in any letter case: the value of a variable, the name of an event that the"
            " instance waited for or was sent, the id of a payment, wallet, transaction, account or transfer that its"
            " activities used or made, or its own id"
        ),
    ),
    Parameter(
        name="error",
        where="query",
        type={"type": "string", "maxLength": MAX_ERROR_CHARACTERS},
        description="Only instances that ended with an error that has this text in it, in any letter case (ASCII)",
    ),
    _time("createdAfter", "Only instances that were created then or later"),
    _time("createdBefore", "Only instances that were created earlier"),
    _time("terminatedAfter", "Only instances that ended then or later"),
    _time("terminatedBefore", "Only instances that ended earlier"),
)
"""Of lists of instances. Those that are arrays are repeated: `state=failed&state=paused`."""

DIFFERENCES: Final = {
    "runWorkflow": Difference(handler=running(render), answer=Data[V2WorkflowInstance]),
    "getInstance": Difference(handler=get_instance, answer=Data[V2WorkflowInstance]),
    "listInstances": Difference(
        handler=list_instances,
        answer=Paged[V2WorkflowInstance],
        parameters=(*FILTERS, *PAGE_PARAMETERS),
        errors=(400,),
    ),
}
