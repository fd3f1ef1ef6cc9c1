"""Which topics exist, by Kafka's own identity: a topic that was deleted and created again has another id.

aiokafka asks for metadata in a version that has no ids yet, and has the broker make a missing topic that it asks for.
This asks for ids and makes nothing. It asks the bootstrap servers, on one connection.
"""

import asyncio
import base64
from io import BytesIO
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from schemas.kafka.client import connect, send
from schemas.kafka.errors import KafkaFault
from schemas.kafka.options import client_options
from schemas.kafka.ports import FoundTopic
from schemas.kafka.silence import SILENT
from schemas.settings import KafkaSettings

REQUEST_SECONDS: Final = 3.0
"""Deadline of one question. A server that does not answer would hold up every topic."""


class BrokerTopicFinder:
    """`ports.TopicFinder` on a connection of its own.

    Args:
        settings: how to reach Kafka.
    """

    def __init__(self, settings: KafkaSettings):
        self._options = client_options(settings)
        self._hosts = self._options.pop("bootstrap_servers")
        self._connection: AIOKafkaConnection | None = None
        self._connecting = asyncio.Lock()

    async def find(self, topic: str) -> FoundTopic | None:
        """See `ports.TopicFinder.find`."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                response = await self._ask(topic)
            return _found(response, topic)
        except (KafkaError, OSError, TimeoutError) as error:
            raise KafkaFault(repr(error)) from error

    async def _ask(self, topic: str) -> Any:
        connection = await self._connected()
        try:
            return await send(connection, _TopicRequest(topic))
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """See `ports.TopicFinder.close`."""
        if self._connection is not None:
            self._connection.close()

    async def _connected(self) -> AIOKafkaConnection:
        async with self._connecting:
            if self._connection is None or not self._connection.connected():
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> AIOKafkaConnection:
        fault: Exception | None = None
        hosts = sorted(collect_hosts(self._hosts), key=lambda host: SILENT.suspects(host[:2]))
        for host, port, _ in hosts:
            try:
                timeout_ms = int(REQUEST_SECONDS / len(hosts) * 1000)
                connection = await connect(host, port, request_timeout_ms=timeout_ms, **self._options)
            except (KafkaError, OSError, TimeoutError) as error:
                fault = error
            else:
                return connection
        raise KafkaConnectionError(f"none of {self._hosts} answers: {fault!r}") from fault


def _found(response: Any, topic: str) -> FoundTopic | None:
    for code, name, *more in response.topics:
        if name != topic:
            continue
        error = for_code(code)
        if error is UnknownTopicOrPartitionError:
            return None
        if code:
            raise error(topic)
        flexible = isinstance(response, _TopicResponse)
        return FoundTopic(more[0] if flexible else "", len(more[2] if flexible else more[1]))
    return None


class _Uuid(AbstractType[str]):  # type: ignore[misc]
    """Sixteen bytes, as Kafka's tools write them."""

    @classmethod
    def encode(cls, value: str) -> bytes:
        return base64.urlsafe_b64decode(value + "==") if value else bytes(16)

    @classmethod
    def decode(cls, data: BytesIO) -> str:
        read = data.read(16)
        return base64.urlsafe_b64encode(read).decode().rstrip("=") if any(read) else ""


class _TopicResponse(Response):  # type: ignore[misc]
    """Metadata, version 10."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_operations", Int32),
        ("tags", TaggedFields),
    )


class _TopicRequestStruct(RequestStruct):  # type: ignore[misc]
    """Metadata, version 10: the first with ids."""

    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _TopicResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicRequest(Request[MetadataRequest_v5 | _TopicRequestStruct]):  # type: ignore[misc]
    """One topic, in the newest of these versions that the broker knows."""

    API_KEY = 3

    def __init__(self, topic: str):
        self._topic = topic

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class is _TopicRequestStruct:
            return request_struct_class([("", self._topic, {})], False, False, False, {})
        return request_struct_class([self._topic], False)
