"""Requests of our own to Kafka, for what the client library does not ask. Without Kafka."""

from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.metadata import MetadataRequest_v5, MetadataResponse_v5

from schemas.kafka import FoundTopic, static_members, topic_finder

ID = "Zm9vYmFyYmF6cXV4MTIzNA"
METADATA, HEARTBEAT, LEAVE_GROUP = 3, 12, 13


def partition(number: int) -> tuple[Any, ...]:
    return (0, number, 1, 0, [1], [1], [], {})


def answer(*topics: tuple[Any, ...]) -> Any:
    """What a broker answers, after its way through the wire format."""
    brokers: list[Any] = [(1, "kafka", 9092, None, {})]
    written = topic_finder._TopicResponse(0, brokers, "cluster", 1, list(topics), -1, {}).encode()
    return topic_finder._TopicResponse.decode(written)


def test_a_topic_is_asked_for_with_its_id_and_is_not_made() -> None:
    request = topic_finder._TopicRequest("ledger").prepare({METADATA: (0, 13)})
    name = bytes([len("ledger") + 1]) + b"ledger"
    one_topic, no_tags = b"\x02", b"\x00"
    make, operations = b"\x00", b"\x00\x00"
    assert request.encode() == one_topic + bytes(16) + name + no_tags + make + operations + no_tags
    assert request.FLEXIBLE_VERSION
    old = topic_finder._TopicRequest("ledger").prepare({METADATA: (0, 7)})
    assert isinstance(old, MetadataRequest_v5)
    assert (old.topics, old.allow_auto_topic_creation) == (["ledger"], False)


def test_what_a_broker_answers() -> None:
    topics: Any = (
        (0, "other", ID[::-1], False, [partition(0)], -1, {}),
        (0, "ledger", ID, False, [partition(0)] * 3, -1, {}),
    )
    assert topic_finder._found(answer(*topics), "ledger") == FoundTopic(ID, 3)
    assert topic_finder._found(answer((3, "ledger", "", False, [], -1, {})), "ledger") is None
    assert topic_finder._found(answer(), "ledger") is None
    with pytest.raises(TopicAuthorizationFailedError):
        topic_finder._found(answer((29, "ledger", "", False, [], -1, {})), "ledger")


def test_an_older_broker_tells_no_id() -> None:
    places: list[Any] = [(0, number, 1, [1], [1], []) for number in range(2)]
    response = MetadataResponse_v5(0, [(1, "kafka", 9092, None)], "cluster", 1, [(0, "ledger", False, places)])
    assert topic_finder._found(MetadataResponse_v5.decode(response.encode()), "ledger") == FoundTopic("", 2)


def test_a_static_member_is_taken_out_by_its_name() -> None:
    request = static_members.LeaveRequest("group", "engine-1").prepare({LEAVE_GROUP: (0, 5)})
    assert request.API_VERSION == 3
    assert request.encode() == b"\0\x05group" + b"\0\0\0\x01" + b"\0\0" + b"\0\x08engine-1"
    written = static_members._LeaveResponse(0, 0, [("", "engine-1", 25)]).encode()
    assert static_members._LeaveResponse.decode(written).members == [("", "engine-1", 25)]


def test_a_static_member_that_leaves_leaves_others_of_its_name_alone() -> None:
    request = static_members.LeaveRequest("group", "engine-1", "id").prepare({LEAVE_GROUP: (0, 5)})
    assert request.encode() == b"\0\x05group" + b"\0\0\0\x01" + b"\0\x02id" + b"\0\x08engine-1"


def test_a_heartbeat_tells_the_name() -> None:
    request = static_members.NamedHeartbeatRequest("group", 7, "id", "engine-1").prepare({HEARTBEAT: (0, 4)})
    assert request.API_VERSION == 3
    assert request.encode() == b"\0\x05group" + b"\0\0\0\x07" + b"\0\x02id" + b"\0\x08engine-1"
    written = static_members._HeartbeatResponse(0, 82).encode()
    assert static_members._HeartbeatResponse.decode(written).error_code == static_members.NAME_TAKEN
