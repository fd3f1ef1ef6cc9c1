"""`/v2/instances/{instanceID}/stream` and `/v2/instances/stream`: what changes, as server-sent events."""

from typing import Final

from api.answers import NO_CONTENT, Answer
from api.calls import Call
from api.resources import instances
from api.resources.instance_filters import filters_of_query
from api.routing import Operation, Parameter
from api.streams.followers import Follower, InstanceFollower, ListFollower
from api.streams.messages import State
from api.streams.sending import EventStream
from api.v1.instances import INSTANCE_ID
from api.v2.instances import FILTERS, render
from schemas.resources import V2WorkflowInstance

MIN_RETRY_MS: Final = 1_000
RETRY_SPREAD_MS: Final = 2_000
"""Clients come back after at least the first, and within both. If all came at once after the stop of a process, those
that go on would have to read what all of them follow at the same moment."""

LAST_EVENT_ID: Final = Parameter(
    name="Last-Event-ID",
    where="header",
    description="The id of the last message that was received, on any replica; the stream goes on behind it",
)


async def stream_instance(call: Call) -> Answer:
    """`GET /v2/instances/{instanceID}/stream`."""
    seen = call.header(b"last-event-id") or ""
    call.services.streams.check_room()
    row = await instances.get_instance(call.services, call.params["instanceID"])
    if seen and row.terminated_at is not None and seen == State(row, render).end_id:
        return NO_CONTENT  # a browser that has seen the end comes back unless it is answered so
    return _stream(call, InstanceFollower(row.id, seen))


async def stream_instances(call: Call) -> Answer:
    """`GET /v2/instances/stream`."""
    call.services.streams.check_room()
    filters = filters_of_query(call.queries)
    return _stream(call, ListFollower(filters, call.header(b"last-event-id") or ""))


def _stream(call: Call, follower: Follower) -> Answer:
    services = call.services
    services.streams.check_room()
    retry_ms = MIN_RETRY_MS + services.new_id().int % RETRY_SPREAD_MS
    return EventStream(services.streams, follower, services.settings.stream_heartbeat_seconds, call.recheck, retry_ms)


OPERATIONS: Final = (
    Operation(
        id="v2StreamInstances",
        method="GET",
        path="/v2/instances/stream",
        handler=stream_instances,
        summary="Follow a list of instances: each that changes and passes the filters, as it is then",
        status=200,
        answer=V2WorkflowInstance,
        streams=True,
        parameters=(*FILTERS, LAST_EVENT_ID),
        errors=(400,),
    ),
    Operation(
        id="v2StreamInstance",
        method="GET",
        path="/v2/instances/{instanceID}/stream",
        handler=stream_instance,
        summary="Follow an instance: its states, until it has ended",
        status=200,
        answer=V2WorkflowInstance,
        streams=True,
        parameters=(INSTANCE_ID, LAST_EVENT_ID),
        errors=(404,),
        not_found_code="NOT_FOUND",
    ),
)
