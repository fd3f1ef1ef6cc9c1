"""Producers: how ours are made, the idempotent one that outlives its faults, and how a producer is ended.

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
from aiokafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    kafka_errors,
)
from aiokafka.producer.sender import Sender, SendProduceReqHandler

from schemas.kafka.batches import batches, one_batch
from schemas.kafka.client import BROKER_PRODUCE_MS, adopt, retrieve
from schemas.kafka.errors import KafkaAway, NotAcknowledged, Refused
from schemas.kafka.options import client_options
from schemas.kafka.ports import Outgoing
from schemas.settings import KafkaSettings

logger = logging.getLogger(__name__)

RETRY_BACKOFF_MS: Final = 50
"""Pause before a request is repeated."""
BUILD_SECONDS: Final = 5.0
"""Deadline of connecting a producer. Without it aiokafka asks for its producer id for ever."""
FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 2.0
"""Longest pause between two tries to connect: how long Kafka may be back before we notice."""
END_SECONDS: Final = 1.0
"""How long each step of ending a producer may take. Its tasks only have to notice it."""
GIVE_UP_MS: Final = 600_000
"""When aiokafka itself gives up a batch whose partition has no leader. Our deadlines come first: to give up a batch
leaves a gap in the sequence numbers, by which all later ones are refused."""


class InvalidRecordError(BrokerResponseError):  # type: ignore[misc]
    """The broker's own checks of the content refuse a record. aiokafka does not know the code."""

    errno = 87


kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)

REFUSALS: Final = (
    ClusterAuthorizationFailedError,
    InvalidRecordError,
    InvalidTimestampError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)
"""What a broker answers only before it appends anything of a batch, and what is not tried again. Any other error may
come after it has."""

R = TypeVar("R")
P = ParamSpec("P")
ProducerFactory = Callable[[], AIOKafkaProducer]
"""Makes a producer that is not started."""


class ProducerClient(AIOKafkaProducer):  # type: ignore[misc]
    """A producer on our client. `end` is the way to close it.

    Errors are told to whoever waits for an acknowledgement or a transaction, and to nobody if none does.

    Args:
        settings: how to reach Kafka.
        options: those of `AIOKafkaProducer`.

    Raises:
        SettingsError: the settings for Kafka contradict each other.
    """

    def __init__(self, settings: KafkaSettings, **options: Any):
        common = {"request_timeout_ms": GIVE_UP_MS, "retry_backoff_ms": RETRY_BACKOFF_MS}
        super().__init__(**client_options(settings), **common, **options)
        adopt(self.client)
        self._sender.__class__ = _Sender
        self._sender.adopt()

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        """See `AIOKafkaProducer.send_batch`."""
        acknowledged = await super().send_batch(batch, topic, partition=partition)
        acknowledged.add_done_callback(retrieve)
        return acknowledged

    async def begin_transaction(self) -> None:
        """See `AIOKafkaProducer.begin_transaction`."""
        await super().begin_transaction()
        self._txn_manager.wait_for_transaction_end().add_done_callback(retrieve)


async def end(producer: Any) -> None:
    """Close a producer together with what it has not sent. Nothing of it runs on.

    `AIOKafkaProducer.stop` would first send everything, so that it never returns while Kafka is away, and a `stop`
    that is cancelled leaves the sender running. The sender has no public way to be stopped by itself.
    """
    producer._closed = True  # noqa: SLF001
    sender = producer._sender  # noqa: SLF001
    if sender.sender_task is not None:
        sender.sender_task.cancel()
    # Requests on their way fail, and the sender waits for those that are.
    closing = asyncio.create_task(producer.client.close(), name="kafka-producer-end")
    try:
        await asyncio.wait({closing}, timeout=END_SECONDS)
    finally:
        closing.cancel()
        closing.add_done_callback(retrieve)
        tasks = {sender.sender_task, *getattr(sender, "requests", ())} - {None}
        for _ in range(2):  # the sender takes the first time as an order to end its requests
            tasks = {task for task in tasks if not task.done()}
            for task in tasks:
                task.cancel()
                task.add_done_callback(retrieve)
            if tasks:
                await asyncio.wait(tasks, timeout=END_SECONDS)


class _Sender(Sender):  # type: ignore[misc]
    """A sender that knows its requests, so that they can be ended with it, and looks at all errors."""

    requests: set[asyncio.Task[Any]]

    def adopt(self) -> None:
        """What a constructor would do."""
        self.requests = set()
        self._request_timeout_ms = BROKER_PRODUCE_MS

    async def _send_produce_req(self, node_id: Any, batches: Any) -> None:
        self._track(asyncio.current_task())
        await _Append(self, batches).do(node_id)
        self._in_flight.remove(node_id)
        for place, batch in batches.items():
            self._muted_partitions.remove(place)
            retrieve(batch.future)  # whoever sent it may have given up

    def _maybe_do_transactional_request(self) -> asyncio.Task[Any] | None:
        task: asyncio.Task[Any] | None = super()._maybe_do_transactional_request()
        self._track(task)
        return task

    def _fail_all(self, task: asyncio.Task[None]) -> None:
        waiting = [*self._message_accumulator._pending_batches]  # noqa: SLF001
        for queue in self._message_accumulator._batches.values():  # noqa: SLF001
            waiting += queue
        super()._fail_all(task)
        if self._txn_manager is not None and (transaction := self._txn_manager.wait_for_transaction_end()) is not None:
            retrieve(transaction)
        for batch in waiting:
            retrieve(batch.future)
            retrieve(batch._drain_waiter)  # noqa: SLF001

    def _track(self, task: asyncio.Task[Any] | None) -> None:
        if task is not None:
            self.requests.add(task)
            task.add_done_callback(self.requests.discard)
            task.add_done_callback(retrieve)


class _RefusedAtOnce(KafkaError):  # type: ignore[misc]
    """A broker refused a batch at its first try."""


class _Append(SendProduceReqHandler):  # type: ignore[misc]
    """Sends batches to a broker, and tells which were refused at once: of those, nothing can have been appended."""

    def _can_retry(self, error: KafkaError, batch: Any) -> bool:
        again: bool = super()._can_retry(error, batch)
        in_transaction = self._sender._txn_manager.transactional_id is not None  # noqa: SLF001
        # An earlier try may have been appended, whatever the answer to a later one is.
        if batch.retry_count == 1 and isinstance(error, REFUSALS) and not in_transaction:
            batch.failure(_RefusedAtOnce(str(error)))  # the first failure of a batch counts
        return again


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
        except Refused as error:
            self._retire(link, error)
            raise
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
    try:
        offset: int = (await acknowledged).offset
    except _RefusedAtOnce as error:
        raise Refused(*error.args) from error
    return offset


async def _send_batch(producer: AIOKafkaProducer, topic: str, partition: int, records: Sequence[Outgoing]) -> int:
    acknowledged = await producer.send_batch(one_batch(producer, records), topic, partition=partition)
    try:
        offset: int = (await acknowledged).offset
    except _RefusedAtOnce as error:
        raise Refused(*error.args) from error
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
        await asyncio.gather(*acknowledgements)
        left = sent


async def _partitions(producer: AIOKafkaProducer, topic: str) -> int:
    return len(await producer.partitions_for(topic))
