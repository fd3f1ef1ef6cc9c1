"""The idempotent producer that outlives its faults.

                   ┌────────── built ──────────┐
    use ────► BUILDING ◄── an append failed ── READY
                   │ ▲
      build failed │ │ after a pause
                   ▼ │
                  AWAY

- READY: appends go to the producer. Concurrent ones share a batch by themselves: while one request is on its way to a
  broker, what comes meanwhile is collected into the next.
- BUILDING: appends wait for the producer, up to their deadlines.
- AWAY: Kafka is known to be away, so appends wait for it, or fail at once instead of piling up.

aiokafka's idempotent producer can't be used any more after some errors (a sequence number that the broker does not
expect kills its sender), and it repeats what it could not send for ever. So after every failure the producer is
*retired*: new appends go to a new one, appends in progress keep their chance, and with the last of them the old one
is ended together with what it could not send. Otherwise a run that was answered 503 might start hours later.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.kafka.batches import batches, one_batch
from schemas.kafka.errors import KafkaAway, NotAcknowledged, Refused
from schemas.kafka.options import client_options
from schemas.kafka.ports import Outgoing
from schemas.kafka.producer_client import ProducerClient, RefusedAtOnce, end
from schemas.settings import KafkaSettings

logger = logging.getLogger(__name__)

BUILD_SECONDS: Final = 5.0
"""Deadline of connecting a producer. Without it aiokafka asks for its producer id for ever."""
FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 2.0
"""Longest pause between two tries to connect: how long Kafka may be back before we notice."""

R = TypeVar("R")
P = ParamSpec("P")
ProducerFactory = Callable[[], AIOKafkaProducer]
"""Makes a producer that is not started."""


class _Link:
    """A producer with the number of appends that use it."""

    __slots__ = ("partitions", "producer", "retired", "uses")

    def __init__(self, producer: AIOKafkaProducer, partitions: int):
        self.producer = producer
        self.partitions = partitions
        self.uses = 0
        self.retired = False


class IdempotentProducer:
    """`ports.Producer` on aiokafka. See the module for how it deals with faults.

    Args:
        settings: how to reach Kafka.
        topic: a topic that has to be there; its partitions are known from the first append on.
        max_batch_bytes: most that is collected in a batch of one partition.
        max_request_bytes: largest request.
        waits: whether appends wait while Kafka is known to be away, up to their deadlines, or fail at once.
        make: makes the producers; for tests.

    Raises:
        SettingsError: the settings for Kafka contradict each other.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        *,
        max_batch_bytes: int,
        max_request_bytes: int,
        waits: bool,
        make: ProducerFactory | None = None,
    ):
        self._settings, self._topic, self._waits = settings, topic, waits
        client_options(settings)  # what is wrong with them is told now
        self._sizes = {"max_batch_size": max_batch_bytes, "max_request_size": max_request_bytes}
        self._make = make or self._new_producer
        self._link: _Link | None = None
        self._built = asyncio.Event()
        self._away = False
        self._closed = False
        self._builder: asyncio.Task[None] | None = None
        self._enders: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """See `ports.Producer.open`."""
        if self._builder is None and not self._closed:
            self._build_in_background()

    async def close(self) -> None:
        """See `ports.Producer.close`."""
        self._closed = True
        if self._builder is not None:
            self._builder.cancel()
            await asyncio.wait({self._builder})
        if self._link is not None:
            self._end(self._link)
            self._link = None
        self._built.set()
        if self._enders:
            await asyncio.wait(self._enders)

    # Every record of the hot path comes through here: each of these is one coroutine less than it would be as `async`.

    def append(self, topic: str, partition: int, record: Outgoing, deadline: float) -> Coroutine[Any, Any, int]:
        """See `ports.Producer.append`."""
        return self._use(deadline, _send, topic, partition, record)

    def append_batch(
        self, topic: str, partition: int, records: Sequence[Outgoing], deadline: float
    ) -> Coroutine[Any, Any, int]:
        """See `ports.Producer.append_batch`."""
        return self._use(deadline, _send_batch, topic, partition, records)

    def append_all(
        self, topic: str, records: Mapping[int, Sequence[Outgoing]], deadline: float
    ) -> Coroutine[Any, Any, None]:
        """See `ports.Producer.append_all`."""
        return self._use(deadline, _send_all, topic, records)

    async def partitions(self, topic: str, deadline: float) -> int:
        """See `ports.Producer.partitions`."""
        link = self._link or await self._connected(deadline)
        return link.partitions if topic == self._topic else await self._use(deadline, _partitions, topic)

    async def _use(
        self,
        deadline: float,
        send: Callable[Concatenate[AIOKafkaProducer, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """What `send` returns by the deadline, given the producer. What goes wrong retires that.

        Raises:
            KafkaAway: there is no connection; nothing was sent.
            Refused: Kafka refused it; nothing was appended.
            NotAcknowledged: nobody knows what was appended.
            Exception: any other error of `send`, which then must not have sent anything.
        """
        link = self._link or await self._connected(deadline)
        link.uses += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await send(link.producer, *args, **kwargs)
        except RefusedAtOnce as error:
            self._retire(link, error)
            raise Refused(*error.args) from error
        except (TimeoutError, KafkaError, OSError) as error:
            self._retire(link, error)
            raise NotAcknowledged(f"Kafka did not acknowledge in time: {error!r}") from error
        finally:
            link.uses -= 1
            if link.retired and not link.uses:
                self._end(link)

    async def reachable(self, timeout_seconds: float) -> bool:
        """See `ports.Producer.reachable`."""
        if self._link is None:
            return False
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._link.producer.client.fetch_all_metadata()
        except (TimeoutError, KafkaError, OSError):
            return False
        return True

    async def _connected(self, deadline: float) -> _Link:
        """The link in use, once there is one."""
        self.open()
        try:
            async with asyncio.timeout_at(deadline):
                while self._link is None and not self._closed and (self._waits or not self._away):
                    await self._built.wait()
        except TimeoutError:
            pass
        if self._link is None:
            raise KafkaAway("Kafka is away")
        return self._link

    def _retire(self, link: _Link, error: Exception) -> None:
        """Take a link out of use; its last append ends it."""
        link.retired = True
        if link is self._link:  # once, however many appends fail with it
            logger.warning("Kafka did not acknowledge an append, connecting again: %r", error)
            self._link = None
            self._build_in_background()

    def _build_in_background(self) -> None:
        self._built.clear()
        self._builder = asyncio.create_task(self._build(), name="kafka-producer-builder")

    async def _build(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                self._link = await self._new_link()
            except Exception as error:
                if not self._away:
                    logger.warning("Kafka is away: %r", error)
                self._away = True
                if not self._waits:
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
        producer = self._make()
        try:
            async with asyncio.timeout(BUILD_SECONDS):
                await producer.start()
                partitions = await producer.partitions_for(self._topic)
        except BaseException:
            await end(producer)
            raise
        return _Link(producer, len(partitions))

    def _new_producer(self) -> AIOKafkaProducer:
        return ProducerClient(self._settings, acks="all", enable_idempotence=True, linger_ms=0, **self._sizes)

    def _end(self, link: _Link) -> None:
        ender = asyncio.create_task(end(link.producer), name="kafka-producer-ender")
        self._enders.add(ender)
        ender.add_done_callback(self._enders.discard)


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, record: Outgoing) -> int:
    acknowledged = await producer.send(topic, record.value, record.key, partition, record.timestamp_ms, record.headers)
    offset: int = (await acknowledged).offset
    return offset


async def _send_batch(producer: AIOKafkaProducer, topic: str, partition: int, records: Sequence[Outgoing]) -> int:
    acknowledged = await producer.send_batch(one_batch(producer, records), topic, partition=partition)
    offset: int = (await acknowledged).offset
    return offset


async def _send_all(producer: AIOKafkaProducer, topic: str, records: Mapping[int, Sequence[Outgoing]]) -> None:
    left = [(partition, batches(producer, some)) for partition, some in records.items()]
    while left:
        sent, acknowledgements = [], []
        for partition, waiting in left:
            batch = next(waiting, None)
            if batch is not None:
                acknowledgements.append(await producer.send_batch(batch, topic, partition=partition))
                sent.append((partition, waiting))
        try:
            await asyncio.gather(*acknowledgements)
        except RefusedAtOnce as error:
            raise KafkaError(*error.args) from error  # the others may have been appended
        left = sent


async def _partitions(producer: AIOKafkaProducer, topic: str) -> int:
    return len(await producer.partitions_for(topic))
