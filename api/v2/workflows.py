"""`/v2/workflows`: where it differs from v1."""

from typing import Final

from api import rendering
from api.answers import Answer
from api.calls import Call
from api.cursors import Cursor, Cursors
from api.resources import workflows
from api.v2.differences import Difference
from api.v2.paging import PAGE_PARAMETERS, page_answer, read_cursor
from schemas.resources import Paged, Workflow


async def list_workflows(call: Call) -> Answer:
    """`GET /v2/workflows`."""
    cursors = Cursors(call.services.settings, "workflows", Cursor[None])
    cursor = read_cursor(call, cursors, lambda: None)
    page = await workflows.page_of_workflows(call.services, cursor)
    return page_answer(cursors, cursor, page, rendering.workflow)


DIFFERENCES: Final = {
    "listWorkflows": Difference(
        handler=list_workflows,
        answer=Paged[Workflow],
        parameters=PAGE_PARAMETERS,
        errors=(400,),
    ),
}
