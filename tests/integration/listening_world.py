"""What tests of listening share: topics of other services, and the listeners of engines on a real Kafka."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from prometheus_client import CollectorRegistry

from engine.clock import SystemClock
from engine.kafka_log import KafkaEventLog
from engine.metrics import Metrics
from engine.triggers.definitions import DefinitionsReader
from engine.triggers.failures import FilterFailures
from engine.triggers.listeners import Listeners
from engine.triggers.positions import Positions
from schemas.commands import Command, FireTrigger
from schemas.current import Current, CurrentTrigger, CurrentWorkflow
from schemas.kafka import clients_of
from schemas.process_name import ProcessName
from schemas.records import RecordCodec
from schemas.settings import EngineSettings

TYPE = "COMMITTED_TRANSACTIONS"
TRIGGER, WORKFLOW = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


async def nothing_wrong() -> None:
    """A check that finds nothing."""


class World:
    """One installation's topics with one trigger for all messages, and topics of other services.

    Args:
        settings: of its engines.
    """

    def __init__(self, settings: EngineSettings):
        self.settings = settings
        self.log = KafkaEventLog(clients_of(settings), settings, RecordCodec())
        self.admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
        self.producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, max_batch_size=2**20)

    async def define(self) -> None:
        """Make the trigger."""
        workflow = Current(WORKFLOW, 1, CurrentWorkflow(stages=msgspec.Raw(b"[]")))
        trigger = Current(TRIGGER, 1, CurrentTrigger(event=TYPE, workflow_id=WORKFLOW))
        await self.log.define([workflow, trigger], 0)

    async def make(self, topic: str, partitions: int = 1) -> None:
        """Make a topic of another service."""
        await self.admin.create_topics([NewTopic(topic, partitions, 1)])
        # Leaders are there once a producer knows them.
        while len(await self.producer.partitions_for(topic)) < partitions:
            await self.producer.client.force_metadata_update()

    async def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions."""
        await self.admin.create_partitions({topic: NewPartitions(partitions)})
        while len(await self.producer.partitions_for(topic)) < partitions:
            await self.producer.client.force_metadata_update()

    async def delete(self, topic: str) -> None:
        """Delete a topic."""
        await self.admin.delete_topics([topic])

    async def put(
        self, topic: str, numbers: Sequence[int], partition: int = 0, timestamp_ms: int | None = None
    ) -> None:
        """Append messages with these numbers, in one batch."""
        await put(self.producer, topic, numbers, partition, timestamp_ms)

    @asynccontextmanager
    async def engine(
        self, *topics: str, engine_id: str | None = "engine-1", ready: bool = True
    ) -> AsyncIterator["Engine"]:
        """An engine that listens to topics, from when it is ready until the end of the block."""
        engine = Engine(self, topics, engine_id)
        task = asyncio.create_task(engine.run())
        try:
            await until(lambda: engine.listeners.settled)
            yield engine
        finally:
            task.cancel()
            await asyncio.wait({task})


class Engine:
    """The listeners of one engine; what they fire is kept instead of sent."""

    def __init__(self, world: World, topics: Sequence[str], engine_id: str | None):
        settings = EngineSettings(
            kafka_bootstrap_servers=world.settings.kafka_bootstrap_servers,
            topic_prefix=world.settings.topic_prefix,
            trigger_topics=",".join(topics),
            engine_id=engine_id,
            engine_session_timeout_seconds=6.0,
        )
        kafka = clients_of(settings)
        self.metrics = Metrics(CollectorRegistry())
        self.commands: list[FireTrigger] = []
        self._reader = DefinitionsReader(kafka, settings)
        self.listeners = Listeners(
            kafka,
            settings,
            name=ProcessName("engine", engine_id or uuid.uuid4().hex, settings),
            log=self,  # type: ignore[arg-type]
            reader=self._reader,
            positions=Positions(kafka, settings, world.log.note),
            failures=FilterFailures(self.metrics),
            check=nothing_wrong,
            metrics=self.metrics,
            clock=SystemClock(),
        )

    async def run(self) -> None:
        """Listen until cancelled."""
        await asyncio.gather(self._reader.run(), self.listeners.run())

    async def send(self, commands: Sequence[tuple[str, Command]], timestamp_ms: int) -> None:
        """In place of the log of commands."""
        self.commands += [command for _, command in commands if isinstance(command, FireTrigger)]

    @property
    def fired(self) -> list[int]:
        """The numbers of the messages that fired the trigger."""
        return [msgspec.json.decode(command.event)["payload"]["n"] for command in self.commands]

    async def fires(self, *numbers: int) -> None:
        """Wait until these messages have fired, in this order, and nothing else."""
        await until(lambda: len(self.fired) >= len(numbers))
        assert self.fired == list(numbers)


def message(number: int) -> bytes:
    return json.dumps({"type": TYPE, "version": "v2", "payload": {"n": number}}).encode()


async def put(
    producer: AIOKafkaProducer, topic: str, numbers: Sequence[int], partition: int = 0, timestamp_ms: int | None = None
) -> None:
    """Append messages in one batch."""
    batch = producer.create_batch()
    for number in numbers:
        assert batch.append(key=None, value=message(number), timestamp=timestamp_ms)
    batch.close()
    await (await producer.send_batch(batch, topic, partition=partition))


async def until(holds: Any, seconds: float = 60.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - Kafka sets no event
            await asyncio.sleep(0.01)


def places(topic: str, partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(partitions)]
