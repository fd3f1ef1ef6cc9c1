"""`/v2/instances/bulk` and `/v2/bulk`: an action on all instances that pass a filter."""

from typing import Final, Literal

from msgspec import UNSET

from api.answers import Answer, json_answer
from api.calls import Call
from api.cursors import Cursor, Cursors
from api.parameters import IDEMPOTENCY_KEY, REASON
from api.ports import BulkRow
from api.resources import bulks
from api.routing import Operation, Parameter
from api.v2.instances import render as render_instance
from api.v2.paging import PAGE_PARAMETERS, page_answer, read_cursor
from schemas.resources import BulkBody, BulkOperation, BulkPreview, Data, Paged

State = Literal["running", "stopping", "completed", "stopped"]

BULK_ID: Final = Parameter(name="bulkID", where="path", description="The bulk operation's id")


def state(row: BulkRow) -> State:
    """Where an operation is."""
    if row.terminated_at is None:
        return "running" if row.stopped_at is None else "stopping"
    return "completed" if row.stopped_at is None else "stopped"


def render(row: BulkRow) -> BulkOperation:
    """An operation."""
    refusals = row.refusals
    return BulkOperation(
        id=row.id,
        action=row.action,
        filter=row.filter,
        state=state(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
        terminated_at=UNSET if row.terminated_at is None else row.terminated_at,
        expected=UNSET if row.expected is None else row.expected,
        sent=row.sent,
        done=row.done,
        refused=sum(refusals.values()),
        refusals=refusals,
        lost=row.lost or UNSET,
        by=UNSET if row.by is None else row.by,
        reason=UNSET if row.reason is None else row.reason,
        stopped_at=UNSET if row.stopped_at is None else row.stopped_at,
        stopped_by=UNSET if row.stopped_by is None else row.stopped_by,
        stopped_reason=UNSET if row.stopped_reason is None else row.stopped_reason,
    )


async def start_bulk(call: Call) -> Answer:
    """`POST /v2/instances/bulk`."""
    body = await call.json()
    wanted = bulks.read_bulk(body)
    if wanted.dry_run:
        found = await bulks.preview(call.services, wanted)
        sample = [render_instance(row) for row in found.sample]
        return json_answer(200, Data(BulkPreview(wanted.action, found.matching, found.more, sample)))
    row = await bulks.start_bulk(call.services, body, wanted, call.idempotency_key, call.author)
    return json_answer(201, Data(render(row)))


async def list_bulks(call: Call) -> Answer:
    """`GET /v2/bulk`."""
    cursors = Cursors(call.services.settings, "bulk", Cursor[None])
    cursor = read_cursor(call, cursors, lambda: None)
    page = await bulks.page_of_bulks(call.services, cursor)
    return page_answer(cursors, cursor, page, render)


async def get_bulk(call: Call) -> Answer:
    """`GET /v2/bulk/{bulkID}`."""
    return json_answer(200, Data(render(await bulks.get_bulk(call.services, call.params["bulkID"]))))


async def stop_bulk(call: Call) -> Answer:
    """`POST /v2/bulk/{bulkID}/stop`."""
    row = await bulks.stop_bulk(call.services, call.params["bulkID"], call.author)
    return json_answer(200, Data(render(row)))


OPERATIONS: Final = (
    Operation(
        id="v2StartBulk",
        method="POST",
        path="/v2/instances/bulk",
        handler=start_bulk,
        summary="Act on all instances that pass a filter, in the background; or see which those are",
        status=201,
        answer=Data[BulkOperation],
        also={200: Data[BulkPreview]},
        body=BulkBody,
        parameters=(IDEMPOTENCY_KEY, REASON),
        errors=(400, 409, 413),
        not_found_code="NOT_FOUND",
        slash=True,
    ),
    Operation(
        id="v2ListBulk",
        method="GET",
        path="/v2/bulk",
        handler=list_bulks,
        summary="List bulk operations",
        status=200,
        answer=Paged[BulkOperation],
        parameters=PAGE_PARAMETERS,
        errors=(400,),
        not_found_code="NOT_FOUND",
        slash=True,
    ),
    Operation(
        id="v2GetBulk",
        method="GET",
        path="/v2/bulk/{bulkID}",
        handler=get_bulk,
        summary="Get a bulk operation, with its progress",
        status=200,
        answer=Data[BulkOperation],
        parameters=(BULK_ID,),
        errors=(404,),
        not_found_code="NOT_FOUND",
        slash=True,
    ),
    Operation(
        id="v2StopBulk",
        method="POST",
        path="/v2/bulk/{bulkID}/stop",
        handler=stop_bulk,
        summary="Stop a bulk operation: at most one page more is sent, and what was done stays",
        status=200,
        answer=Data[BulkOperation],
        parameters=(BULK_ID, REASON),
        errors=(400, 404),
        not_found_code="NOT_FOUND",
    ),
)
