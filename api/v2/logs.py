"""`/v2/instances/{instanceID}/log`: what stands in the log."""

from typing import Final

from msgspec import UNSET

from api.answers import Answer, json_answer
from api.calls import Call
from api.cursors import FOREIGN, START, Cursor, Cursors
from api.errors import Invalid
from api.ports import LogPlace
from api.resources.instances import get_instance
from api.routing import Operation, Parameter
from api.v1.instances import INSTANCE_ID
from schemas.log_entries import Entry
from schemas.resources import Data, InstanceLog, LogRecord

MAX_OFFSET: Final = 2**63 - 1
"""Kafka's offsets have 63 bits. Its client stops reading for good at what does not fit."""


def render(entry: Entry) -> LogRecord:
    """A record."""
    return LogRecord(
        partition=entry.partition,
        offset=entry.offset,
        at=entry.at or UNSET,
        type=entry.type or UNSET,
        version=UNSET if entry.version is None else entry.version,
        cause=UNSET if entry.cause is None else entry.cause,
        epoch=UNSET if entry.epoch is None else entry.epoch,
        counts=entry.counts,
        reason=entry.reason or UNSET,
        event=UNSET if entry.value is None else entry.value,
        error=entry.error or UNSET,
    )


async def get_instance_log(call: Call) -> Answer:
    """`GET /v2/instances/{instanceID}/log`."""
    services = call.services
    row = await get_instance(services, call.params["instanceID"])
    cursors = Cursors(services.settings, f"log of {row.id}", Cursor[LogPlace])
    text = call.query("cursor")
    after = cursors.decode(text).filters if text else None
    if after is not None and not 0 <= after.start <= after.offset <= MAX_OFFSET:
        raise Invalid(FOREIGN)
    found = await services.log_reader.records(row.id, since=row.created_at, until=row.updated_at, after=after)
    is_more = found.place.offset < found.end
    log = InstanceLog(
        records=[render(entry) for entry in found.entries],
        partition=found.partition,
        start=found.place.start,
        to=found.end,
        read_to=found.place.offset,
        next=cursors.encode(Cursor(1, False, START, found.place)) if is_more else UNSET,
    )
    return json_answer(200, Data(log))


OPERATIONS: Final = (
    Operation(
        id="v2GetInstanceLog",
        method="GET",
        path="/v2/instances/{instanceID}/log",
        handler=get_instance_log,
        summary="Read the records of an instance in the event log, some at a time",
        status=200,
        answer=Data[InstanceLog],
        parameters=(
            INSTANCE_ID,
            Parameter(name="cursor", where="query", description="The `next` of an answer, to go on behind it"),
        ),
        errors=(400, 404),
        not_found_code="NOT_FOUND",
    ),
)
