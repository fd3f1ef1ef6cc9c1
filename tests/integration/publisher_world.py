"""What the tests of the publisher share: a publisher under way, and a consumer of the public topic."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from prometheus_client import CollectorRegistry

from projections.publisher import Publisher
from schemas.kafka import clients_of
from schemas.settings import ProjectionsSettings
from schemas.topics import public_topic
from tests.integration.waiting import DEADLINE_SECONDS

STOP_SECONDS = 30.0


class Running:
    """A publisher that runs in the test's process."""

    def __init__(self, settings: ProjectionsSettings):
        self.registry = CollectorRegistry()
        self.publisher = Publisher(clients_of(settings), settings, self.registry)
        self.publisher.start()

    def has(self, name: str, **labels: str) -> bool:
        return self.registry.get_sample_value(f"orchestration_publisher_{name}", labels) is not None

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"orchestration_publisher_{name}", labels) or 0.0


@asynccontextmanager
async def publishing(settings: ProjectionsSettings) -> AsyncIterator[Running]:
    running = Running(settings)
    try:
        yield running
    finally:
        await running.publisher.stop(STOP_SECONDS)


class Public:
    """A consumer of the public topic that sees what is committed.

    Args:
        settings: of the publisher.
    """

    def __init__(self, settings: ProjectionsSettings):
        self._places = [TopicPartition(public_topic(settings), number) for number in range(settings.partitions)]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        self.records: list[ConsumerRecord] = []

    async def __aenter__(self) -> "Public":
        await self._consumer.start()
        self._consumer.assign(self._places)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._consumer.stop()

    async def poll(self) -> None:
        """Take what has come."""
        for fetched in (await self._consumer.getmany(timeout_ms=50)).values():
            self.records += fetched

    async def until(self, count: int, *, seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until so many were published, and then take what is there beyond them."""
        async with asyncio.timeout(seconds):
            while len(self.records) < count:
                await self.poll()
        await self.drain()

    async def while_polling(self, holds: Callable[[], bool]) -> None:
        """Take what comes until something holds."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not holds():
                await self.poll()

    async def drain(self) -> None:
        """Read to the end that the topic has now."""
        ends = await self._consumer.end_offsets(self._places)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while any([await self._consumer.position(place) < end for place, end in ends.items()]):
                await self.poll()

    def of(self, id: object) -> list[dict[str, Any]]:
        """Type and payload of what was published of an instance or trigger, in order."""
        envelopes = [json.loads(record.value) for record in self.records if record.key == str(id).encode()]
        return [{"type": envelope["type"], **envelope["payload"]} for envelope in envelopes]

    @property
    def keys(self) -> list[str]:
        """The idempotency keys, in the order of each partition."""
        return [json.loads(record.value)["idempotency_key"] for record in self.records]
