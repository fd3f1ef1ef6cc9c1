"""A producer of aiokafka on our client, what of its inside we change, and how any producer is ended."""

import asyncio
from typing import Any, Final

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

from schemas.kafka.client import BROKER_PRODUCE_MS, adopt, retrieve
from schemas.kafka.options import client_options
from schemas.settings import KafkaSettings

RETRY_BACKOFF_MS: Final = 50
"""Pause before a request is repeated."""
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


class RefusedAtOnce(KafkaError):  # type: ignore[misc]
    """A broker refused a batch at its first try."""


class _Append(SendProduceReqHandler):  # type: ignore[misc]
    """Sends batches to a broker, and tells which were refused at once: of those, nothing can have been appended."""

    def _can_retry(self, error: KafkaError, batch: Any) -> bool:
        again: bool = super()._can_retry(error, batch)
        in_transaction = self._sender._txn_manager.transactional_id is not None  # noqa: SLF001
        # An earlier try may have been appended, whatever the answer to a later one is.
        if batch.retry_count == 1 and isinstance(error, REFUSALS) and not in_transaction:
            batch.failure(RefusedAtOnce(str(error)))  # the first failure of a batch counts
        return again
