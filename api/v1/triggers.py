"""`/triggers` and `/triggers/{triggerID}/occurrences`."""

from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta

from api import rendering
from api.answers import NO_CONTENT, Answer, json_answer, list_answer
from api.calls import Call
from api.cursors import read_page_size
from api.parameters import IDEMPOTENCY_KEY, REASON
from api.ports import TriggerRow
from api.resources import triggers
from api.routing import Handler, Operation, Parameter
from schemas.resources import Data, Trigger, TriggerBody, TriggerOccurrence


def creating(render: Callable[[TriggerRow], object]) -> Handler:
    """The handler of `POST /triggers`, the same for all surfaces except for how they show a trigger."""

    async def create(call: Call) -> Answer:
        row = await triggers.create_trigger(call.services, await call.json(), call.idempotency_key, call.author)
        return json_answer(201, Data(render(row)))

    return create


async def list_triggers(call: Call) -> Answer:
    """`GET /triggers`. Without a page size, or with 0, the list is complete."""
    size = call.query("pageSize") or ""
    max_rows = read_page_size(size) if size.strip("0") else None
    pages = triggers.list_triggers(call.services, call.query("name") or "", max_rows)
    return await list_answer(pages, rendering.trigger)


async def get_trigger(call: Call) -> Answer:
    """`GET /triggers/{triggerID}`."""
    row = await triggers.get_trigger(call.services, call.params["triggerID"])
    return json_answer(200, Data(rendering.trigger(row)))


async def delete_trigger(call: Call) -> Answer:
    """`DELETE /triggers/{triggerID}`."""
    await triggers.delete_trigger(call.services, call.params["triggerID"], call.author)
    return NO_CONTENT


async def list_occurrences(call: Call) -> Answer:
    """`GET /triggers/{triggerID}/occurrences`."""
    pages = triggers.list_occurrences(call.services, call.params["triggerID"])
    return await list_answer(pages, rendering.occurrence)


TRIGGER_ID: Final = Parameter(name="triggerID", where="path", description="The trigger's id")
NAME: Final = Parameter(
    name="name", where="query", description="Only triggers whose name contains this text, ignoring case"
)

OPERATIONS: Final = (
    Operation(
        id="createTrigger",
        method="POST",
        path="/triggers",
        handler=creating(rendering.trigger),
        summary="Create a trigger",
        status=201,
        answer=Data[Trigger],
        body=TriggerBody,
        parameters=(IDEMPOTENCY_KEY, REASON),
        errors=(400, 404, 413),
        not_found_code="NOT_FOUND",
        slash=True,
    ),
    Operation(
        id="listTriggers",
        method="GET",
        path="/triggers",
        handler=list_triggers,
        summary="List triggers that are not deleted, newest first",
        status=200,
        answer=Data[list[Trigger]],
        parameters=(
            NAME,
            Parameter(
                name="pageSize",
                where="query",
                type=Annotated[int, Meta(ge=0)],
                description="How many to return, 1000 at most; all of them when absent or 0",
            ),
        ),
        errors=(400,),
        slash=True,
    ),
    Operation(
        id="readTrigger",
        method="GET",
        path="/triggers/{triggerID}",
        handler=get_trigger,
        summary="Get a trigger",
        status=200,
        answer=Data[Trigger],
        parameters=(TRIGGER_ID,),
        errors=(404,),
        not_found_code="NOT_FOUND",
        slash=True,
    ),
    Operation(
        id="deleteTrigger",
        method="DELETE",
        path="/triggers/{triggerID}",
        handler=delete_trigger,
        summary="Delete a trigger; its occurrences stay",
        status=204,
        parameters=(TRIGGER_ID, REASON),
        errors=(400, 404),
        not_found_code="NOT_FOUND",
        slash=True,
    ),
    Operation(
        id="listTriggersOccurrences",
        method="GET",
        path="/triggers/{triggerID}/occurrences",
        handler=list_occurrences,
        summary="List the occurrences of a trigger, newest first",
        status=200,
        answer=Data[list[TriggerOccurrence]],
        parameters=(TRIGGER_ID,),
        slash=True,
    ),
)
