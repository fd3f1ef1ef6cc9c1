"""The consumer group on the configured topics: messages in, commands for the triggers that they fire out."""

import asyncio
import contextlib
import logging
import re
import time

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError

from engine.errors import AppendFailed
from engine.metrics import Metrics
from engine.ports import EventLog
from engine.triggers.definitions import DefinitionsReader
from engine.triggers.failures import FilterFailures
from engine.triggers.matching import Message, NoEnvelope, fire, read_message, size_of
from schemas.commands import Command
from schemas.kafka import client_options, membership
from schemas.records import Record
from schemas.settings import EngineSettings
from schemas.stack.links import LinkFetcher

logger = logging.getLogger(__name__)

MAX_MESSAGES = 200
"""Messages that are taken at once; each may fire several triggers."""

CHUNK_SECONDS = 20.0
"""How long the messages taken at once may occupy the listener, whose links may be slow; the rest is taken anew. Much
longer, and the group would think that it is gone."""

MAX_UNSENT_BYTES = 4 * 1024 * 1024
"""Size of the commands that wait to be sent together. Each one carries its message and the workflow, so without it a
few large ones that fire many triggers would fill the memory."""

NEW_TOPIC_SECONDS = 15.0
"""How long a topic that is made later, or a new partition, may go unnoticed; by default that is minutes."""

RECONNECT_SECONDS = 1.0
"""Pause after a fault; without it a broker that is away would be asked in a tight loop."""


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Listens for triggers, sharing the topics with the other engines.

    Args:
        settings: the topics, and how to reach Kafka.
        log: appends the commands.
        reader: the current triggers and workflows.
        fetcher: evaluates expressions.
        metrics: what the engine counts.
    """

    def __init__(
        self,
        settings: EngineSettings,
        log: EventLog,
        reader: DefinitionsReader,
        fetcher: LinkFetcher,
        metrics: Metrics,
    ):
        self._settings = settings
        self.topics = [topic.strip() for topic in settings.trigger_topics.split(",") if topic.strip()]
        self._log, self._reader, self._fetcher, self._metrics = log, reader, fetcher, metrics
        self._consumer: AIOKafkaConsumer | None = None
        self._unsent: list[tuple[str, Command]] = []
        self._unsent_bytes = 0
        self._failures = FilterFailures(metrics)
        self._fault: Exception | None = None
        self._since_ms = int(time.time() * 1000)
        self.joined = not self.topics

    async def run(self) -> None:
        """Listen until cancelled, joining the group anew after faults."""
        while self.topics:
            consumer = self._consumer = self._new_consumer()
            self._unsent, self._unsent_bytes, self._fault = [], 0, None
            try:
                await consumer.start()
                while True:
                    await self._take(consumer)
            except (KafkaError, OSError, TimeoutError, AppendFailed) as error:
                logger.warning("listening for triggers failed and is started anew: %r", error)
            finally:
                self.joined, self._consumer = False, None
                with contextlib.suppress(KafkaError, OSError, TimeoutError):
                    async with asyncio.timeout(5.0):
                        await consumer.stop()
            await asyncio.sleep(RECONNECT_SECONDS)

    def _new_consumer(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            group_id=f"{self._settings.topic_prefix}orchestration-triggers",
            partition_assignment_strategy=(StickyPartitionAssignor,),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=int(NEW_TOPIC_SECONDS * 1000),
            **membership(self._settings.engine_id, self._settings.engine_session_timeout_seconds),
        )
        # By a pattern, since a topic that is missing from a list would keep the consumer from joining at all.
        consumer.subscribe(pattern=rf"(?:{'|'.join(map(re.escape, self.topics))})\Z", listener=self)
        return consumer

    async def _take(self, consumer: AIOKafkaConsumer) -> None:
        fetched: dict[TopicPartition, list[Record]] = await consumer.getmany(timeout_ms=1000, max_records=MAX_MESSAGES)
        if self._fault is not None:
            raise self._fault
        if not fetched:
            return
        # What was defined before a message came has to be known before it is judged.
        await self._reader.catch_up()
        until = time.monotonic() + CHUNK_SECONDS
        done: dict[TopicPartition, int] = {}
        for place, records in fetched.items():
            for record in records:
                if time.monotonic() > until:
                    consumer.seek(place, record.offset)
                    break
                await self._judge(place, record)
                done[place] = record.offset + 1
                self._metrics.trigger_messages.inc()
        await self._send()
        with contextlib.suppress(KafkaError):  # a rebalance under way: they come again, and fire nothing twice
            await consumer.commit(done)

    async def _judge(self, place: TopicPartition, record: Record) -> None:
        """Collect the commands that a record fires."""
        source = f"{place.topic}/{place.partition}"
        try:
            message: Message = read_message(source, record.offset, record.value, record.headers)
        except NoEnvelope as error:
            self._metrics.skipped_messages.inc()
            logger.warning("a message is skipped: %s", error, extra={"source": source, "offset": record.offset})
            return
        definitions = self._reader.definitions
        for trigger in definitions.triggers(message.type):
            command = await fire(trigger, message, definitions, self._fetcher, self._failures)
            if command is not None:
                self._unsent.append((trigger.id, command))
                self._unsent_bytes += size_of(command)
                if self._unsent_bytes > MAX_UNSENT_BYTES:
                    await self._send()

    async def _send(self) -> None:
        """Append the collected commands. Each trigger gets its own in the order of the messages."""
        if self._unsent:
            await self._log.send(self._unsent, int(time.time() * 1000))
        self._unsent, self._unsent_bytes = [], 0

    # Listener of the group

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Nothing: what is under way comes again at the next owner, and fires nothing twice."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Decide where partitions begin that nobody has read yet.

        A topic that is new to the group begins with what has come since this engine listens: what triggers would make
        of its past is not what their author meant, but a topic that is made later is noticed after its first messages.
        A partition that was added to a known topic begins at its start.
        """
        consumer = self._consumer
        if consumer is None:
            return
        try:
            await self._begin(consumer, assigned)
        except (KafkaError, OSError, TimeoutError) as error:
            # Nothing may be taken now: a partition whose beginning is unknown would be taken from its start.
            self._fault = error
        else:
            self.joined = True

    async def _begin(self, consumer: AIOKafkaConsumer, assigned: set[TopicPartition]) -> None:
        fresh: dict[TopicPartition, int] = {}
        for place in sorted(assigned):
            if await consumer.committed(place) is None:
                siblings = [TopicPartition(place.topic, n) for n in consumer.partitions_for_topic(place.topic) or ()]
                known = [sibling for sibling in siblings if await consumer.committed(sibling) is not None]
                if not known:
                    since = (await consumer.offsets_for_times({place: self._since_ms}))[place]
                    fresh[place] = since.offset if since else (await consumer.end_offsets([place]))[place]
        for place, offset in fresh.items():
            consumer.seek(place, offset)
        if fresh:
            await consumer.commit(fresh)
