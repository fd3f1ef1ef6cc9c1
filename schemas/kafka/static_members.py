"""What aiokafka can't ask about static members, those of a group that have a stable name.

*Leaving.* aiokafka's members never leave under a name. But one that ends for good should: else its partitions wait for
the end of its session. And a static member that comes back gets the partitions that it had, whatever it subscribes to
now: it is not part of a new assignment until another one is made for another reason. So a member whose subscription may
have changed leaves first, and then joins as a new one.

*Whose name it is.* aiokafka sends no name with a heartbeat. So a member whose name another one took learns the same as
one whose session ended: the group does not know it. It would join again and take the name back, and so would the other
one, again and again.
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

NAME_TAKEN: Final = 82
"""Kafka's FENCED_INSTANCE_ID, which aiokafka does not know."""
NOT_READY: Final = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
"""What a broker answers that does not know the group: it is another's, or not loaded yet."""

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
        response = await client.send(node, LeaveRequest(group, member_id))
    except GroupCoordinatorNotAvailableError:
        return False
    error = for_code(response.error_code)
    if error in NOT_READY:
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


class LeaveRequest(Request[_LeaveRequestStruct]):  # type: ignore[misc]
    """Take a static member out of its group.

    Args:
        group: the group's name.
        name: the stable name of the member.
        kafka_id: what Kafka calls the member. Another one that has the name by now stays. By default whoever has it.
    """

    API_KEY = 13

    def __init__(self, group: str, name: str, kafka_id: str = ""):
        self._group, self._name, self._kafka_id = group, name, kafka_id

    def build(self, request_struct_class: Any) -> Any:
        """See aiokafka's."""
        return request_struct_class(self._group, [(self._kafka_id, self._name)])


class _HeartbeatResponse(Response):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class _HeartbeatRequestStruct(RequestStruct):  # type: ignore[misc]
    """Version 3: the first that takes the name."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class NamedHeartbeatRequest(Request[_HeartbeatRequestStruct]):  # type: ignore[misc]
    """Ask whether a static member is still the one that has its name.

    Args:
        group: the group's name.
        generation: of the group, as the member knows it.
        kafka_id: what Kafka calls the member.
        name: the stable name of the member.
    """

    API_KEY = 12

    def __init__(self, group: str, generation: int, kafka_id: str, name: str):
        self._fields = (group, generation, kafka_id, name)

    def build(self, request_struct_class: Any) -> Any:
        """See aiokafka's."""
        return request_struct_class(*self._fields)
