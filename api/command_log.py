"""The command log: appends commands to Kafka and tells where they stand.

                   ┌────────── built ──────────┐
    start ──► BUILDING ◄── an append failed ── READY
                   │ ▲
      build failed │ │ after a pause
                   ▼ │
                  AWAY

- READY: appends go to the producer. Concurrent ones share a batch by themselves: while one request is on its way to a
  broker, what comes meanwhile is collected into the next.
- BUILDING: appends wait for the producer, up to their deadlines.
- AWAY: Kafka is known to be away, so appends fail at once instead of piling up.

aiokafka's idempotent producer can't be used any more after some errors (a sequence number that the broker does not
expect kills its sender), and it repeats what it could not send for ever. So after every failure the producer is
*retired*: new appends go to a new one, appends in progress keep their chance, and with the last of them the old one
is thrown away together with what it could not send. Otherwise a run that was answered 503 might start hours later.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from api.errors import CommandLogUnavailable, TooLarge
from api.metrics import Metrics
from api.ports import Position
from schemas.commands import Command
from schemas.kafka import client_options
from schemas.records import RecordCodec
from schemas.settings import ApiSettings
from schemas.topics import COMMANDS, MAX_RECORD_BATCH_BYTES, partition_of, topic_name

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_SECONDS = 3.0
"""How long a broker may take for one request. It must be well under the deadline of a command, so that a connection
that died silently is noticed while there is time for another try."""
BUILD_TIMEOUT_SECONDS = 5.0
"""Deadline of connecting a producer. Without it aiokafka asks for its producer id for ever."""
MAX_PAUSE_SECONDS = 2.0
"""Longest pause between two tries to connect: how long Kafka may be back before we notice."""
CLOSE_TIMEOUT_SECONDS = 4.0
"""Deadline of closing a producer: longer than a request, since a cancelled sender waits for those on their way."""
PROBE_TIMEOUT_SECONDS = 1.0
"""Deadline of `reachable`; probes of orchestrators give up soon after."""
MAX_BATCH_BYTES = 1024 * 1024
"""Most that is collected while a request is on its way. aiokafka's 16 KiB would hold 30 commands, and make the next
ones wait for a free batch."""
MAX_COMMAND_BYTES = MAX_RECORD_BATCH_BYTES - 4096
"""Largest command, with room for key and headers. One that only the broker refuses would kill the producer."""

ProducerFactory = Callable[[], AIOKafkaProducer]


def producer_factory(settings: ApiSettings) -> ProducerFactory:
    """Makes producers as commands need them: idempotent, acknowledged by all replicas, without lingering."""
    options = client_options(settings)

    def make() -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **options,
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_RECORD_BATCH_BYTES,
            request_timeout_ms=int(REQUEST_TIMEOUT_SECONDS * 1000),
            retry_backoff_ms=50,
        )

    return make


class _Link:
    """A producer with the number of appends that use it."""

    __slots__ = ("appends", "partitions", "producer", "retired")

    def __init__(self, producer: Any, partitions: int):
        self.producer = producer
        self.partitions = partitions
        self.appends = 0
        self.retired = False


class KafkaCommandLog:
    """Appends commands (implements `api.ports.CommandLog`).

    Args:
        settings: where Kafka is, and the prefix of the topic.
        metrics: counts appends.
        make_producer: makes a producer that is not started; Kafka's when not given.
    """

    def __init__(self, settings: ApiSettings, metrics: Metrics, make_producer: ProducerFactory | None = None):
        self._topic = topic_name(settings, COMMANDS)
        self._make_producer = make_producer or producer_factory(settings)
        self._metrics = metrics
        self._codec = RecordCodec()
        self._link: _Link | None = None
        self._built = asyncio.Event()
        self._away = False
        self._builder: asyncio.Task[None] | None = None
        self._closers: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start to connect; does not wait for it."""
        if self._builder is None:
            self._build_in_background()

    async def close(self) -> None:
        """Throw the producer away. Appends in progress run into their deadlines, later ones fail."""
        if self._builder is not None:
            self._builder.cancel()
            await asyncio.wait([self._builder])
        if self._link is not None:
            self._throw_away(self._link)
            self._link = None
        self._away = True
        if self._closers:
            await asyncio.wait(self._closers)

    async def append(self, key: UUID, command: Command, deadline: float, partition: int | None = None) -> Position:
        """Append a command; see `api.ports.CommandLog.append`."""
        record = self._codec.encode(str(key), command, timestamp_ms=time.time_ns() // 1_000_000)
        if len(record.value or b"") > MAX_COMMAND_BYTES:
            raise TooLarge("the command is too large")
        link = self._link or await self._connected(deadline)
        if partition is None:
            partition = partition_of(record.key, link.partitions)
        link.appends += 1
        started = time.perf_counter()
        try:
            async with asyncio.timeout_at(deadline):
                appended = await link.producer.send_and_wait(
                    self._topic,
                    record.value,
                    record.key,
                    partition,
                    record.timestamp_ms,
                    record.headers,
                )
        except (TimeoutError, KafkaError) as error:
            self._metrics.count_append_failure()
            self._retire(link, error)
            raise CommandLogUnavailable("Kafka did not acknowledge the command") from error
        finally:
            link.appends -= 1
            if link.retired and not link.appends:
                self._throw_away(link)
        self._metrics.observe_append(time.perf_counter() - started)
        if appended.offset < 0:
            # Kafka knows the record from an earlier try, but not any more where it stands.
            raise CommandLogUnavailable("the command was appended, its position is unknown")
        return Position(appended.partition, appended.offset)

    async def partition(self, key: UUID, deadline: float) -> int:
        """The partition of an aggregate; see `api.ports.CommandLog.partition`."""
        link = self._link or await self._connected(deadline)
        return partition_of(str(key).encode(), link.partitions)

    async def reachable(self) -> bool:
        """Whether Kafka answers now."""
        if self._link is None:
            return False
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                await self._link.producer.client.fetch_all_metadata()
        except (TimeoutError, KafkaError, OSError):
            return False
        return True

    async def _connected(self, deadline: float) -> _Link:
        """The link in use, once there is one."""
        if self._link is None and not self._away:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._built.wait()
        if self._link is None:
            raise CommandLogUnavailable("Kafka is away")
        return self._link

    def _retire(self, link: _Link, error: Exception) -> None:
        """Take a link out of use; its last append throws it away."""
        link.retired = True
        if link is self._link:  # once, however many appends fail with it
            logger.warning("Kafka did not acknowledge a command, connecting anew: %r", error)
            self._link = None
            self._build_in_background()

    def _build_in_background(self) -> None:
        self._built.clear()
        self._builder = asyncio.create_task(self._build(), name="command-log-builder")

    async def _build(self) -> None:
        pause = 0.1
        while True:
            try:
                self._link = await self._new_link()
            except Exception as error:
                if not self._away:
                    logger.warning("Kafka is away: %r", error)
                self._away = True
                self._built.set()  # wakes those who wait, to be told so
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
            else:
                if self._away:
                    logger.info("Kafka is back")
                self._away = False
                self._built.set()
                return

    async def _new_link(self) -> _Link:
        producer = self._make_producer()
        try:
            async with asyncio.timeout(BUILD_TIMEOUT_SECONDS):
                await producer.start()
                partitions = await producer.partitions_for(self._topic)
        except BaseException:
            await _discard(producer)
            raise
        return _Link(producer, len(partitions))

    def _throw_away(self, link: _Link) -> None:
        closer = asyncio.create_task(_discard(link.producer), name="command-log-closer")
        self._closers.add(closer)
        closer.add_done_callback(self._closers.discard)


async def _discard(producer: Any) -> None:
    """Close a producer together with what it has not sent.

    `AIOKafkaProducer.stop` would first send everything, so that it never returns while Kafka is away, and a `stop`
    that is cancelled leaves the sender running. So the sender is stopped by itself, which has no public way.
    """
    producer._closed = True  # noqa: SLF001
    with contextlib.suppress(Exception):  # a sender that has failed does so again when it is closed
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await producer._sender.close()  # noqa: SLF001
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await producer.client.close()
