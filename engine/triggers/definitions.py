"""The current triggers and workflows in memory, followed from topic `definitions`."""

import asyncio
import contextlib
import logging

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Raw, Struct

from schemas.current import Current, CurrentTrigger, CurrentWorkflow, decode_current
from schemas.expressions import Expression, ExpressionSyntaxError, compile_expression
from schemas.kafka import client_options
from schemas.records import Record, UndecodableRecord
from schemas.settings import EngineSettings
from schemas.topics import DEFINITIONS, topic_name

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0
"""Pause after a fault; without it a broker that is away would be asked in a tight loop."""

CATCH_UP_SECONDS = 10.0
"""How long a listener waits to know the newest definitions, before it takes its messages anew."""


class CompiledTrigger(Struct, frozen=True):
    """A trigger that can be asked. An expression that this build can't compile is kept as the error."""

    id: str
    definition: CurrentTrigger
    filter: Expression | str | None
    vars: dict[str, Expression | str]


class Definitions:
    """Triggers by the type of message that they listen to, and workflows by id."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self._workflows: dict[str, Raw] = {}
        self._triggers: dict[str, CompiledTrigger] = {}
        self._by_event: dict[str, dict[str, CompiledTrigger]] = {}

    def stages(self, workflow_id: str) -> Raw | None:
        """The stages of a workflow as JSON; None when it is unknown or was deleted."""
        return self._workflows.get(workflow_id)

    def triggers(self, event: str) -> list[CompiledTrigger]:
        """The triggers that listen to a type of message, in a fixed order."""
        return [trigger for _, trigger in sorted(self._by_event.get(event, {}).items())]

    def apply(self, current: Current) -> None:
        """Take over a definition, unless a newer one of the same id is known."""
        if current.version <= self._versions.get(current.id, 0):
            return
        self._versions[current.id] = current.version
        if current.definition is None:
            self._workflows.pop(current.id, None)
            trigger = self._triggers.pop(current.id, None)
            if trigger is not None:
                del self._by_event[trigger.definition.event][trigger.id]
        elif isinstance(current.definition, CurrentWorkflow):
            self._workflows[current.id] = current.definition.stages
        else:
            trigger = compile_trigger(current.id, current.definition)
            self._triggers[trigger.id] = trigger
            self._by_event.setdefault(current.definition.event, {})[trigger.id] = trigger


def compile_trigger(trigger_id: str, definition: CurrentTrigger) -> CompiledTrigger:
    """Compile the expressions of a trigger."""
    variables = {name: _compiled(text) for name, text in (definition.vars or {}).items()}
    return CompiledTrigger(
        trigger_id, definition, _compiled(definition.filter) if definition.filter else None, variables
    )


def _compiled(text: str) -> Expression | str:
    try:
        return compile_expression(text)
    except ExpressionSyntaxError as error:
        return str(error)


class DefinitionsReader:
    """Follows topic `definitions` for as long as it runs.

    Args:
        settings: how to reach Kafka.
    """

    def __init__(self, settings: EngineSettings):
        self.definitions = Definitions()
        self._options = client_options(settings)
        self._place = TopicPartition(topic_name(settings, DEFINITIONS), 0)
        self._asker: AIOKafkaConsumer | None = None
        self._position = 0
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        """Follow the topic until cancelled, beginning anew after faults."""
        while True:
            consumer = AIOKafkaConsumer(**self._options, enable_auto_commit=False, auto_offset_reset="earliest")
            # On a connection of its own: behind a fetch that waits for news, a question takes half a second.
            asker = AIOKafkaConsumer(**self._options)
            try:
                await consumer.start()
                await asker.start()
                consumer.assign([self._place])
                consumer.seek(self._place, self._position)
                self._asker = asker
                while True:
                    await self._follow(consumer)
            except (KafkaError, OSError) as error:
                logger.warning("following %s failed and is started anew: %r", self._place.topic, error)
            finally:
                self._asker = None
                for client in (consumer, asker):
                    with contextlib.suppress(KafkaError, OSError, TimeoutError):
                        async with asyncio.timeout(5.0):
                            await client.stop()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def catch_up(self) -> None:
        """Wait until everything that stands in the topic now is known.

        Raises:
            KafkaError, TimeoutError: Kafka is away.
        """
        if self._asker is None:
            raise TimeoutError("the definitions can't be read")
        async with asyncio.timeout(CATCH_UP_SECONDS):
            end: int = (await self._asker.end_offsets([self._place]))[self._place]
            async with self._moved:
                await self._moved.wait_for(lambda: self._position >= end)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        fetched: dict[TopicPartition, list[Record]] = await consumer.getmany(timeout_ms=1000)
        for record in fetched.get(self._place, []):
            try:
                self.definitions.apply(decode_current(record))
            except UndecodableRecord as error:
                logger.error("definition at offset %d can't be read: %s", record.offset, error)
        async with self._moved:
            self._position = await consumer.position(self._place)
            self._moved.notify_all()
