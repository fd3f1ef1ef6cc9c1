"""Kafka brokers that speak as much of the protocol as our clients need to start and to append, and can be made silent.

A silent broker keeps its connections and takes new ones, but answers nothing, as one whose process is stopped.
"""

import asyncio
import contextlib
import struct
from collections import defaultdict
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any, Self

from aiokafka.protocol.admin import ApiVersionRequest_v0, ApiVersionResponse_v0
from aiokafka.protocol.api import RequestHeader_v1, ResponseHeader_v0
from aiokafka.protocol.coordination import FindCoordinatorResponse_v1
from aiokafka.protocol.metadata import MetadataRequest_v1, MetadataResponse_v1
from aiokafka.protocol.produce import ProduceRequest_v3, ProduceResponse_v3
from aiokafka.protocol.transaction import InitProducerIdRequest_v0, InitProducerIdResponse_v0
from aiokafka.record.memory_records import MemoryRecords

from schemas.settings import KafkaSettings

PRODUCE, METADATA, FIND_COORDINATOR, API_VERSIONS, INIT_PRODUCER = 0, 3, 10, 18, 22
VERSIONS = [(PRODUCE, 3, 3), (METADATA, 1, 1), (FIND_COORDINATOR, 1, 1), (API_VERSIONS, 0, 0), (INIT_PRODUCER, 0, 0)]
TOPIC = "events"
PARTITIONS = 2
PARTS = 5
REQUEST_TIMED_OUT = 7


class Broker:
    """One of a cluster."""

    def __init__(self, cluster: "Cluster", node: int):
        self.cluster, self.node, self.port = cluster, node, 0
        self.silent = False
        self.withheld: set[int] = set()
        """Requests, by their key, that are not answered."""
        self.part_seconds: float | None = None
        """Pause between the parts that answers come in; None when they come at once."""
        self.asked: list[int] = []
        """The keys of all requests that were received, also those that were not answered."""
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._heard = asyncio.Condition()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._connections:
            writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def received(self, key: int, times: int = 1) -> None:
        """Wait until requests of a kind have been received."""
        async with asyncio.timeout(60), self._heard:
            await self._heard.wait_for(lambda: self.asked.count(key) >= times)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                data = BytesIO(await reader.readexactly(size))
                header = RequestHeader_v1.SCHEMA.decode(data)
                async with self._heard:
                    self.asked.append(header[0])
                    self._heard.notify_all()
                answer = None if self.silent or header[0] in self.withheld else await self._answer(header[0], data)
                if answer is not None:
                    frame = ResponseHeader_v0.SCHEMA.encode([header[2]]) + answer.encode()
                    await self._write(writer, struct.pack(">i", len(frame)) + frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter, frame: bytes) -> None:
        if self.part_seconds is None:
            writer.write(frame)
            return
        part = len(frame) // PARTS + 1
        for start in range(0, len(frame), part):
            await asyncio.sleep(self.part_seconds)
            writer.write(frame[start : start + part])

    async def _answer(self, key: int, data: BytesIO) -> Any:
        match key:
            case 18:
                ApiVersionRequest_v0.decode(data)
                return ApiVersionResponse_v0(0, VERSIONS)
            case 3:
                MetadataRequest_v1.decode(data)
                return self.cluster.metadata()
            case 10:
                coordinator = self.cluster.brokers[self.cluster.coordinator]
                return FindCoordinatorResponse_v1(0, 0, "", coordinator.node, "127.0.0.1", coordinator.port)
            case 22:
                InitProducerIdRequest_v0.decode(data)
                self.cluster.producers += 1
                return InitProducerIdResponse_v0(0, 0, self.cluster.producers, 0)
            case 0:
                return await self._append(ProduceRequest_v3.decode(data))
        raise AssertionError(key)

    async def _append(self, request: Any) -> Any:
        late = self.cluster.late_appends > 0
        if late:
            self.cluster.late_appends -= 1
            await asyncio.sleep(request.timeout / 1000)
        answers = []
        for topic, partitions in request.topics:
            appended = []
            for partition, messages in partitions:
                refusals = [REQUEST_TIMED_OUT] if late else self.cluster.refusals
                error = refusals.pop(0) if refusals else 0
                log = self.cluster.logs[partition]
                base = len(log)
                if not error:
                    records = MemoryRecords(messages)
                    while (batch := records.next_batch()) is not None:
                        log += [record.value for record in batch]
                appended.append((partition, error, base, -1))
            answers.append((topic, appended))
        return ProduceResponse_v3(answers, 0)


class Cluster:
    """Brokers 0, 1, … which lead the partitions of one topic in turn."""

    def __init__(self, brokers: int = 1):
        self.brokers = [Broker(self, node) for node in range(brokers)]
        self.leaders = [partition % brokers for partition in range(PARTITIONS)]
        self.coordinator = 0
        self.logs: dict[int, list[bytes]] = defaultdict(list)
        self.producers = 0
        self.refusals: list[int] = []
        """Errors that the next batches are answered with."""
        self.late_appends = 0
        """How many of the next appends wait in vain for replicas, for as long as their client allows."""

    async def __aenter__(self) -> Self:
        for broker in self.brokers:
            await broker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for broker in self.brokers:
            await broker.stop()

    @property
    def settings(self) -> KafkaSettings:
        return KafkaSettings(kafka_bootstrap_servers=",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers))

    def metadata(self) -> Any:
        nodes = [broker.node for broker in self.brokers]
        partitions = [(0, number, leader, nodes, nodes) for number, leader in enumerate(self.leaders)]
        brokers = [(broker.node, "127.0.0.1", broker.port, None) for broker in self.brokers]
        return MetadataResponse_v1(brokers, 0, [(0, TOPIC, False, partitions)])


@contextlib.asynccontextmanager
async def complaints() -> AsyncIterator[list[str]]:
    """What the event loop complains about: errors of tasks that nobody looked at, and tasks that are forgotten."""
    loop, heard = asyncio.get_running_loop(), []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: heard.append(f"{context['message']}: {context.get('exception')!r}"))
    try:
        yield heard
    finally:
        loop.set_exception_handler(before)
