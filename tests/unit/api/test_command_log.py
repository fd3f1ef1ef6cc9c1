"""The command log over producers that fail in the ways aiokafka's does."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka.errors import KafkaConnectionError, OutOfOrderSequenceNumber
from aiokafka.partitioner import DefaultPartitioner

from api.command_log import KafkaCommandLog
from api.errors import CommandLogUnavailable, TooLarge
from api.metrics import Metrics
from api.waiting import Admission
from schemas.commands import AbortInstance, SendEvent
from schemas.kafka import KafkaClients
from schemas.kafka.producer import IdempotentProducer
from schemas.kafka.producer_client import RefusedAtOnce
from schemas.settings import ApiSettings, KafkaSettings

PARTITIONS = 4


class Kafka(KafkaClients):
    """What the producers talk to."""

    def __init__(self) -> None:
        super().__init__(KafkaSettings())
        self.producers: list[Producer] = []
        self.log: list[tuple[Any, ...]] = []
        self.away = False
        self.hanging = asyncio.Event()
        self.failures: list[Exception | asyncio.Event] = []
        """What the next sends run into: an error, or waiting for an event."""
        self.connecting: asyncio.Event | None = None

    def producer(self, topic: str, **options: Any) -> IdempotentProducer:
        return IdempotentProducer(KafkaSettings(), topic, **options, make=self.make_producer)

    def make_producer(self) -> Any:
        producer = Producer(self)
        self.producers.append(producer)
        return producer


class Producer:
    """As much of `AIOKafkaProducer` as the command log uses."""

    def __init__(self, kafka: Kafka):
        self.kafka = kafka
        self.calls: list[str] = []
        self.client = SimpleNamespace(fetch_all_metadata=self._fetch, close=self._close_client)
        self._sender = SimpleNamespace(sender_task=None)

    async def start(self) -> None:
        if self.kafka.connecting is not None:
            await self.kafka.connecting.wait()
        if self.kafka.away:
            raise KafkaConnectionError("away")

    async def partitions_for(self, topic: str) -> set[int]:
        assert topic == "test.commands"
        return set(range(PARTITIONS))

    async def send(
        self, topic: str, value: bytes, key: bytes, partition: int, timestamp_ms: int, headers: Any
    ) -> asyncio.Future[Any]:
        if self.kafka.failures:
            failure = self.kafka.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            await failure.wait()
        self.kafka.log.append((topic, value, key, partition, dict(headers)))
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_result(SimpleNamespace(partition=partition, offset=len(self.kafka.log) - 1))
        return acknowledged

    async def _fetch(self) -> None:
        if self.kafka.away:
            raise KafkaConnectionError("away")

    async def _close_client(self) -> None:
        self.calls.append("close_client")


DISCARDED = ["close_client"]


class Seen:
    """How far the read model is."""

    def __init__(self) -> None:
        self.loaded = True
        self.cause = -1
        self.loads = asyncio.Event()

    async def load(self, deadline: float) -> None:
        async with asyncio.timeout_at(deadline):
            await self.loads.wait()

    def seen_cause(self, partition: int) -> int:
        assert self.loaded
        return self.cause


def command_log(kafka: Kafka, partitions: int = 16, **clocks: Callable[[], float]) -> KafkaCommandLog:
    admission = Admission(1)
    settings = ApiSettings(topic_prefix="test.", partitions=partitions)
    return KafkaCommandLog(kafka, settings, Metrics(admission, admission), Seen(), **clocks)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the condition is that background tasks have come to rest
            await asyncio.sleep(0)


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def append(log: KafkaCommandLog, seconds: float = 5.0, key: UUID | None = None) -> Any:
    return await log.append(key or uuid4(), AbortInstance(), soon(seconds))


async def test_new_instances_share_a_partition_for_a_moment() -> None:
    kafka = Kafka()
    log = command_log(kafka, monotonic=lambda: 0.0)
    await log.open()
    places = [await log.place(uuid4(), soon()) for _ in range(20)]
    assert len({place.partition for place in places}) == 1
    assert [await log.partition(place.id, soon()) for place in places] == [place.partition for place in places]


async def test_partitions_that_were_added_are_not_used() -> None:
    log = command_log(Kafka(), PARTITIONS - 1)
    await log.open()
    for _ in range(20):
        key = uuid4()
        expected = DefaultPartitioner()(str(key).encode(), list(range(PARTITIONS - 1)), [])
        assert await log.partition(key, soon()) == expected
        assert (await log.append(key, SendEvent(name="x"), soon())).partition == expected
        assert (await log.place(key, soon())).partition < PARTITIONS - 1
    await log.close()


async def test_a_command_goes_to_the_partition_of_its_key() -> None:
    kafka = Kafka()
    log = command_log(kafka)
    await log.open()
    for _ in range(20):
        key = uuid4()
        expected = DefaultPartitioner()(str(key).encode(), list(range(PARTITIONS)), [])
        assert await log.partition(key, soon()) == expected
        position = await log.append(key, SendEvent(name="x"), soon())
        assert position == (expected, len(kafka.log) - 1)
        topic, value, record_key, partition, headers = kafka.log[-1]
        assert (topic, record_key, partition) == ("test.commands", str(key).encode(), expected)
        assert value == b'{"name":"x"}'
        assert headers == {"type": b"SendEvent"}
    await log.close()
    assert kafka.producers[0].calls == DISCARDED
    with pytest.raises(CommandLogUnavailable):
        await append(log)


@pytest.mark.parametrize("error", [OutOfOrderSequenceNumber(), KafkaConnectionError()])
async def test_after_an_error_the_producer_is_replaced(error: Exception) -> None:
    kafka = Kafka()
    log = command_log(kafka)
    await log.open()
    kafka.failures = [error]
    with pytest.raises(CommandLogUnavailable):
        await append(log)
    assert (await append(log)).offset == 0
    assert len(kafka.producers) == 2
    await eventually(lambda: kafka.producers[0].calls == DISCARDED)
    await log.close()


async def test_whoever_is_refused_is_told_whether_something_may_have_been_accepted() -> None:
    kafka = Kafka()
    log = command_log(kafka)
    await log.open()
    kafka.failures = [RefusedAtOnce("[Error 29] TopicAuthorizationFailedError"), OutOfOrderSequenceNumber()]
    with pytest.raises(CommandLogUnavailable, match=r"refused the request, so it is not carried out: \[Error 29\]"):
        await append(log)
    with pytest.raises(CommandLogUnavailable, match="nobody knows whether it is carried out"):
        await append(log)
    assert (await append(log)).offset == 0
    await log.close()
    with pytest.raises(CommandLogUnavailable, match="Kafka is away, so the request is not carried out"):
        await append(log)


async def test_past_its_deadline_a_command_is_given_up_and_thrown_away_with_its_producer() -> None:
    kafka = Kafka()
    log = command_log(kafka)
    await log.open()
    kafka.failures = [asyncio.Event()]
    with pytest.raises(CommandLogUnavailable):
        await append(log, seconds=0.01)
    await eventually(lambda: kafka.producers[0].calls == DISCARDED)
    assert (await append(log)).offset == 0
    await log.close()


async def test_a_retired_producer_stays_for_the_appends_that_use_it() -> None:
    kafka = Kafka()
    log = command_log(kafka)
    await log.open()
    release = asyncio.Event()
    kafka.failures = [release, OutOfOrderSequenceNumber()]
    slow = asyncio.create_task(append(log))
    await eventually(lambda: len(kafka.failures) == 1)
    with pytest.raises(CommandLogUnavailable):
        await append(log)
    await append(log)
    assert kafka.producers[0].calls == []
    release.set()
    assert (await slow).offset == 1
    await eventually(lambda: kafka.producers[0].calls == DISCARDED)
    await log.close()


async def test_while_connecting_commands_wait_up_to_their_deadline() -> None:
    kafka = Kafka()
    kafka.connecting = asyncio.Event()
    log = command_log(kafka)
    await log.open()
    with pytest.raises(CommandLogUnavailable):
        await append(log, seconds=0.01)
    waiting = asyncio.create_task(append(log))
    await asyncio.sleep(0)
    kafka.connecting.set()
    assert (await waiting).offset == 0
    await log.close()


async def test_while_kafka_is_known_to_be_away_commands_fail_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.kafka.producer.MAX_PAUSE_SECONDS", 0.01)
    kafka = Kafka()
    kafka.away = True
    log = command_log(kafka)
    await log.open()
    waiting = asyncio.create_task(append(log, seconds=60))
    async with asyncio.timeout(60):
        with pytest.raises(CommandLogUnavailable):
            await waiting  # told so as soon as it is known
        with pytest.raises(CommandLogUnavailable):
            await append(log, seconds=60)
        with pytest.raises(CommandLogUnavailable):
            await log.partition(uuid4(), soon(60))
    assert not await log.reachable()
    assert all(producer.calls == DISCARDED for producer in kafka.producers)
    kafka.away = False
    async with asyncio.timeout(60):
        while not await log.reachable():  # noqa: ASYNC110 - the pause between two tries is the log's own
            await asyncio.sleep(0.001)
    assert (await append(log)).offset == 0
    await log.close()


async def test_reachable_asks_kafka() -> None:
    kafka = Kafka()
    log = command_log(kafka)
    await log.open()
    await append(log)
    assert await log.reachable()
    kafka.away = True
    assert not await log.reachable()
    await log.close()


async def test_a_command_that_is_too_large_does_not_reach_kafka() -> None:
    kafka = Kafka()
    log = command_log(kafka)
    await log.open()
    with pytest.raises(TooLarge):
        await log.append(uuid4(), SendEvent(name="x" * 9_000_000), soon())
    assert not kafka.log
    await log.close()


async def test_closing_ends_the_attempts_to_connect() -> None:
    kafka = Kafka()
    kafka.connecting = asyncio.Event()
    log = command_log(kafka)
    await log.open()
    await eventually(lambda: len(kafka.producers) == 1)
    await log.close()
    assert kafka.producers[0].calls == DISCARDED


async def test_the_real_producer_fails_and_is_discarded_while_nobody_listens() -> None:
    """Against aiokafka itself, whose parts without a public way `end` uses."""
    admission = Admission(1)
    settings = ApiSettings(kafka_bootstrap_servers="127.0.0.1:1")
    log = KafkaCommandLog(KafkaClients(settings), settings, Metrics(admission, admission), Seen())
    await log.open()
    with pytest.raises(CommandLogUnavailable):
        await append(log, seconds=5)
    await log.close()
