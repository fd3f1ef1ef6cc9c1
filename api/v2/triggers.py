"""`/v2/triggers`: where it differs from v1, and the test of a trigger."""

from typing import Final

from api import rendering
from api.answers import Answer, json_answer
from api.calls import Call
from api.cursors import Cursor, Cursors
from api.ports import TriggerRow
from api.resources import trigger_tests, triggers
from api.routing import Operation
from api.v1.triggers import NAME, TRIGGER_ID, creating
from api.v2.differences import Difference
from api.v2.paging import PAGE_PARAMETERS, page_answer, read_cursor
from schemas.resources import Data, Paged, TriggerOccurrence, TriggerTest, V2Trigger


def render(row: TriggerRow) -> V2Trigger:
    """A trigger."""
    return rendering.trigger_as(V2Trigger, row, acts=rendering.acts(row))


async def get_trigger(call: Call) -> Answer:
    """`GET /v2/triggers/{triggerID}`."""
    row = await triggers.get_trigger(call.services, call.params["triggerID"])
    return json_answer(200, Data(render(row)))


async def list_triggers(call: Call) -> Answer:
    """`GET /v2/triggers`."""
    cursors = Cursors(call.services.settings, "triggers", Cursor[str])
    cursor = read_cursor(call, cursors, lambda: call.query("name") or "")
    page = await triggers.page_of_triggers(call.services, cursor)
    return page_answer(cursors, cursor, page, render)


async def list_occurrences(call: Call) -> Answer:
    """`GET /v2/triggers/{triggerID}/occurrences`."""
    trigger_id = call.params["triggerID"]
    cursors = Cursors(call.services.settings, f"occurrences of {trigger_id.lower()}", Cursor[None])
    cursor = read_cursor(call, cursors, lambda: None)
    page = await triggers.page_of_occurrences(call.services, trigger_id, cursor)
    return page_answer(cursors, cursor, page, rendering.occurrence)


async def test_trigger(call: Call) -> Answer:
    """`POST /v2/triggers/{triggerID}/test`."""
    tested = await trigger_tests.test_trigger(call.services, call.params["triggerID"], await call.json())
    return json_answer(200, Data(tested))


DIFFERENCES: Final = {
    "createTrigger": Difference(handler=creating(render), answer=Data[V2Trigger]),
    "readTrigger": Difference(handler=get_trigger, answer=Data[V2Trigger]),
    "listTriggers": Difference(
        handler=list_triggers,
        answer=Paged[V2Trigger],
        parameters=(NAME, *PAGE_PARAMETERS),
    ),
    "listTriggersOccurrences": Difference(
        handler=list_occurrences,
        answer=Paged[TriggerOccurrence],
        parameters=(TRIGGER_ID, *PAGE_PARAMETERS),
        errors=(400,),
    ),
}

OPERATIONS: Final = (
    Operation(
        id="testTrigger",
        method="POST",
        path="/v2/triggers/{triggerID}/test",
        handler=test_trigger,
        summary="Show what a trigger would do with a message",
        status=200,
        answer=Data[TriggerTest],
        body={"type": "object"},
        parameters=(TRIGGER_ID,),
        errors=(400, 404, 413),
        not_found_code="NOT_FOUND",
    ),
)
