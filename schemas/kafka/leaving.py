"""Takes a static member out of its group.

A static member that comes back gets the partitions that it had, whatever it subscribes to now: it is not part of a new
assignment until another one is made for another reason. And aiokafka's consumer never leaves as a static member. So a
member whose subscription may have changed leaves first, and then joins as a new one.
"""

import asyncio
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from schemas.kafka.client import adopt
from schemas.kafka.options import client_options
from schemas.settings import KafkaSettings

LEAVE_SECONDS: Final = 10.0
"""Deadline of leaving. A group that was never used takes the broker some seconds to set up."""
RETRY_SECONDS: Final = 0.1
"""Pause before a coordinator is asked again; without it one that is not ready would be asked in a tight loop."""


async def leave_group(settings: KafkaSettings, group: str, member_id: str) -> None:
    """Take a static member out of a group; fine when it is not in there.

    Args:
        settings: how to reach Kafka.
        group: the group's name.
        member_id: the stable name of the member.

    Raises:
        KafkaError, OSError, TimeoutError: Kafka is away, or refuses.
    """
    client = AIOKafkaClient(**client_options(settings))
    adopt(client)
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await client.bootstrap()
            while not await _left(client, group, member_id):  # noqa: ASYNC110 - Kafka sets no event
                await asyncio.sleep(RETRY_SECONDS)
    finally:
        await client.close()


async def _left(client: AIOKafkaClient, group: str, member_id: str) -> bool:
    """Whether the group's coordinator has taken the member out; it may not be there yet, or have moved."""
    try:
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
        response = await client.send(node, _LeaveRequest(group, member_id))
    except GroupCoordinatorNotAvailableError:
        return False
    error = for_code(response.error_code)
    if error in (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError):
        return False
    if response.error_code:
        raise error(group)
    return True


class _LeaveResponse(Response):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)),
        ),
    )


class _LeaveRequestStruct(RequestStruct):  # type: ignore[misc]
    """Version 3: the first that takes static members by their names."""

    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = _LeaveResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class _LeaveRequest(Request[_LeaveRequestStruct]):  # type: ignore[misc]
    API_KEY = 13

    def __init__(self, group: str, member_id: str):
        self._group, self._member_id = group, member_id

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._group, [("", self._member_id)])
