"""Our Kafka clients with brokers that are silent: nothing waits for them for long, and nothing of a client is left."""

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest
import uvloop
from aiokafka import TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest
from prometheus_client import CollectorRegistry

from engine.errors import AppendFailed
from engine.kafka_log import KafkaEventLog
from projections.publisher import Publisher
from schemas.kafka import KafkaAway, KafkaFault, Membership, NotAcknowledged, Place, Refused, clients_of
from schemas.kafka.client import abort
from schemas.kafka.closing import close, closing
from schemas.kafka.consumer import ConsumerClient
from schemas.kafka.member import GroupMember
from schemas.kafka.producer import IdempotentProducer
from schemas.kafka.producer_client import ProducerClient, end
from schemas.kafka.seat import Seat, _Coordinator
from schemas.kafka.silence import REFUSED_SECONDS, SILENT, SilentBrokers
from schemas.records import NewRecord, RecordCodec
from schemas.settings import EngineSettings, ProjectionsSettings
from tests.unit.schemas.kafka.fake_broker import (
    API_VERSIONS,
    FIND_COORDINATOR,
    METADATA,
    PRODUCE,
    TOPIC,
    Cluster,
    complaints,
)

REQUEST_SECONDS = 0.3
PATIENCE_SECONDS = 60.0
"""Of what takes milliseconds. A busy machine may take long for it, or stand still meanwhile."""
TRIES = 10
"""Of what has to come in time. A machine may stand still for longer than a request may take here."""
RECORD = [NewRecord(b"k", b"v", [], 1)]


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("schemas.kafka.client.CONNECT_SECONDS", 0.2)
    monkeypatch.setattr("schemas.kafka.client.REQUEST_SECONDS", REQUEST_SECONDS)
    monkeypatch.setattr("schemas.kafka.client.READ_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("schemas.kafka.silence.REFUSED_SECONDS", 0.1)
    monkeypatch.setattr("schemas.kafka.producer_client.END_SECONDS", 0.5)
    SILENT._refused_until.clear()
    yield
    SILENT._refused_until.clear()


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(1) as cluster:
        yield cluster


@pytest.fixture
async def pair() -> AsyncIterator[Cluster]:
    """Broker 0 leads partition 0, broker 1 leads partition 1."""
    async with Cluster(2) as cluster:
        yield cluster


def event_log(cluster: Cluster, seconds: float) -> KafkaEventLog:
    servers = cluster.settings.kafka_bootstrap_servers
    settings = EngineSettings(kafka_bootstrap_servers=servers, append_timeout_seconds=seconds)
    return KafkaEventLog(clients_of(settings), settings, RecordCodec())


def client_tasks() -> list[str]:
    """The tasks of aiokafka that run now."""
    coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
    return [c.__qualname__ for c in coroutines if "aiokafka" in c.cr_code.co_filename]


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the condition is that background tasks have come to rest
            await asyncio.sleep(0.001)


# Appends


async def test_an_append_that_was_given_up_never_reaches_the_log(cluster: Cluster) -> None:
    (broker,) = cluster.brokers
    async with complaints() as heard:
        log = event_log(cluster, PATIENCE_SECONDS)
        assert await log.append(0, RECORD) == 0
        await log.close()
        log = event_log(cluster, 1.0)
        broker.withheld = {PRODUCE}
        with pytest.raises(AppendFailed):
            await log.append(0, RECORD)
        await log.close()
        await eventually(lambda: client_tasks() == [])
        await eventually(lambda: broker.connections == 0)
        broker.withheld = set()
        gc.collect()
        await asyncio.sleep(0)
    assert cluster.logs[0] == [b"v"]
    assert heard == []


async def test_a_producer_is_ended_while_its_broker_hangs(cluster: Cluster) -> None:
    (broker,) = cluster.brokers
    async with complaints() as heard:
        producer = ProducerClient(cluster.settings, enable_idempotence=True)
        await producer.start()
        broker.silent = True
        acknowledged = [await producer.send(TOPIC, b"v", partition=partition) for partition in (0, 1)]
        await broker.received(PRODUCE)
        started = asyncio.get_running_loop().time()
        await end(producer)
        assert asyncio.get_running_loop().time() - started < PATIENCE_SECONDS / 2
        await eventually(lambda: client_tasks() == [])
        for future in acknowledged:
            future.cancel()
        del producer, acknowledged, future
        gc.collect()
        await asyncio.sleep(0)
    await eventually(lambda: broker.connections == 0)
    assert heard == []


async def test_a_request_without_an_answer_is_repeated_within_the_deadline_of_its_append(cluster: Cluster) -> None:
    (broker,) = cluster.brokers
    log = event_log(cluster, PATIENCE_SECONDS)
    broker.withheld = {PRODUCE}
    appending = asyncio.create_task(log.append(0, RECORD))
    await broker.received(PRODUCE)
    broker.withheld = set()
    assert await appending == 0
    assert cluster.producers == 1, "by the same producer"
    await log.close()


async def test_replicas_that_are_late_cost_no_connection(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.kafka.producer_client.BROKER_PRODUCE_MS", int(REQUEST_SECONDS * 1000 / 3))
    (broker,) = cluster.brokers
    asked = Counter[int]()
    for number in range(TRIES):
        broker.asked.clear()
        log = event_log(cluster, PATIENCE_SECONDS)
        cluster.late_appends = 2
        assert await log.append(0, RECORD) == number
        await log.close()
        asked = Counter(broker.asked)
        if asked[PRODUCE] == 3:
            break
    assert asked[PRODUCE] == 3
    assert asked[API_VERSIONS] == 2, "to get to know the brokers, and to append"


async def test_an_append_goes_on_with_the_next_leader_while_the_last_one_hangs(pair: Cluster) -> None:
    silent, other = pair.brokers
    log = event_log(pair, PATIENCE_SECONDS)
    assert await log.append(0, RECORD) == 0
    silent.silent = True
    appending = asyncio.create_task(log.append(0, RECORD))
    await silent.received(PRODUCE, 2)
    pair.leaders[0] = other.node
    assert await appending == 1
    await log.close()


async def test_appends_wait_or_fail_at_once_while_kafka_is_away(cluster: Cluster) -> None:
    (broker,) = cluster.brokers
    await broker.stop()
    sizes: dict[str, Any] = {"max_batch_bytes": 1000, "max_request_bytes": 1000}
    loop = asyncio.get_running_loop()
    eager = IdempotentProducer(cluster.settings, TOPIC, waits=False, **sizes)
    patient = IdempotentProducer(cluster.settings, TOPIC, waits=True, **sizes)

    async def append(producer: IdempotentProducer, seconds: float) -> int:
        return await producer.append(TOPIC, 0, RECORD[0], loop.time() + seconds)

    with pytest.raises(KafkaAway):
        await append(eager, 60)
    with pytest.raises(KafkaAway):
        await append(patient, 0.05)
    waiting = asyncio.create_task(append(patient, 60))
    await broker.start()
    assert await waiting == 0
    await asyncio.gather(eager.close(), patient.close())
    with pytest.raises(KafkaAway):
        await append(patient, 60)


async def test_appends_side_by_side_fail_and_recover_together(cluster: Cluster) -> None:
    (broker,) = cluster.brokers
    async with complaints() as heard:
        log = event_log(cluster, 2.0)
        broker.withheld = {PRODUCE}
        failed = await asyncio.gather(*(log.append(n % 2, RECORD) for n in range(20)), return_exceptions=True)
        assert {type(error) for error in failed} == {AppendFailed}
        broker.withheld = set()
        assert await log.append(0, RECORD) == 0
        await eventually(lambda: cluster.producers == 2)
        await log.close()
        await eventually(lambda: client_tasks() == [])
        gc.collect()
        await asyncio.sleep(0)
    assert heard == []


async def test_an_error_of_kafka_retires_the_producer_once(cluster: Cluster) -> None:
    producer = IdempotentProducer(cluster.settings, TOPIC, max_batch_bytes=1000, max_request_bytes=1000, waits=True)
    loop = asyncio.get_running_loop()

    async def append() -> int:
        return await producer.append(TOPIC, 0, RECORD[0], loop.time() + PATIENCE_SECONDS)

    cluster.refusals = [45]  # out of order sequence number
    with pytest.raises(NotAcknowledged):
        await append()
    assert await append() == 0
    assert cluster.producers == 2
    await producer.close()


@pytest.mark.parametrize("code", [10, 17, 18, 29, 31, 32, 44, 87])
async def test_what_is_refused_at_once_is_not_appended(cluster: Cluster, code: int) -> None:
    loop = asyncio.get_running_loop()
    async with complaints() as heard:
        producer = IdempotentProducer(cluster.settings, TOPIC, max_batch_bytes=1000, max_request_bytes=1000, waits=True)
        cluster.refusals = [code]
        with pytest.raises(Refused, match=f"Error {code}"):
            await producer.append(TOPIC, 0, RECORD[0], loop.time() + 5)
        cluster.refusals = [code]
        with pytest.raises(Refused, match=f"Error {code}"):
            await producer.append_batch(TOPIC, 0, RECORD, loop.time() + 5)
        assert await producer.append(TOPIC, 0, RECORD[0], loop.time() + 5) == 0
        await producer.close()
        gc.collect()
        await asyncio.sleep(0)
    assert heard == []


@pytest.mark.parametrize("codes", [[7, 29], [20, 10], [-1], [45], [47], [56, 29]])
async def test_what_may_have_been_appended_is_not_said_to_be_refused(cluster: Cluster, codes: list[int]) -> None:
    """An earlier try may have been, or the error says nothing about it."""
    producer = IdempotentProducer(cluster.settings, TOPIC, max_batch_bytes=1000, max_request_bytes=1000, waits=True)
    cluster.refusals = [*codes]
    with pytest.raises(NotAcknowledged) as caught:
        await producer.append(TOPIC, 0, RECORD[0], asyncio.get_running_loop().time() + 5)
    assert caught.type is NotAcknowledged
    assert cluster.refusals == []
    await producer.close()


async def test_batches_of_which_one_is_refused_are_not_all_refused(cluster: Cluster) -> None:
    producer = IdempotentProducer(cluster.settings, TOPIC, max_batch_bytes=1000, max_request_bytes=1000, waits=True)
    cluster.refusals = [0, 29]
    with pytest.raises(NotAcknowledged) as caught:
        await producer.append_all(TOPIC, {0: RECORD, 1: RECORD}, asyncio.get_running_loop().time() + 5)
    assert caught.type is NotAcknowledged
    await producer.close()


# Silent brokers


async def started(cluster: Cluster) -> ConsumerClient:
    consumer = ConsumerClient(cluster.settings)
    await consumer.start()
    return consumer


async def test_what_one_client_found_out_costs_the_next_one_nothing(pair: Cluster) -> None:
    silent, other = pair.brokers
    silent.silent = True
    while not SILENT._refused_until:  # until one happened to try the silent one first
        await close(await started(pair))
    asked = len(silent.asked)
    for _ in range(20):
        async with closing(ConsumerClient(pair.settings)) as consumer:
            await consumer.start()
            await consumer._client.fetch_all_metadata()
            await consumer._client.coordinator_lookup(0, "group")
    assert len(silent.asked) == asked
    assert other.asked.count(FIND_COORDINATOR) == 20


async def test_a_broker_that_stops_answering_is_left_out_until_it_answers(pair: Cluster) -> None:
    silent, other = pair.brokers
    async with closing(await started(pair)) as consumer:
        client = consumer._client
        for node in (0, 1):
            assert await client.ready(node)
        silent.silent = True
        for _ in range(10):
            await client.fetch_all_metadata()
        answered = other.asked.count(METADATA)
        assert silent.asked.count(METADATA) <= 2
        for _ in range(10):
            await client.fetch_all_metadata()
        assert other.asked.count(METADATA) == answered + 10
        silent.silent = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await client.ready(0):  # noqa: ASYNC110 - nobody tells that the pause is over
                await asyncio.sleep(0.01)


async def test_connections_are_opened_side_by_side(pair: Cluster) -> None:
    silent, _ = pair.brokers
    async with closing(await started(pair)) as consumer:
        silent.silent = True
        to_silent = asyncio.create_task(consumer._client.ready(0))
        await asyncio.sleep(0)
        assert await consumer._client.ready(1)
        assert not to_silent.done()
        assert not await to_silent


async def test_a_connection_that_breaks_while_it_is_used_is_a_fault_of_kafka(cluster: Cluster) -> None:
    """Uvloop refuses to write into a transport that was just closed, by an error which is not the system's."""
    consumer = ConsumerClient(cluster.settings)
    await consumer._client.bootstrap()
    connection = await consumer._client._get_conn(0)
    request = MetadataRequest([])

    def refuse(_: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    connection._writer.write = refuse
    with pytest.raises(KafkaConnectionError, match="the handler is closed"):
        await consumer._client.send(0, request)
    assert not connection.connected()
    assert await consumer._client.send(0, request), "over a new connection"
    await consumer._client.close()
    consumer._closed = True  # nothing else to stop


async def test_an_answer_that_is_arriving_is_waited_for(cluster: Cluster) -> None:
    (broker,) = cluster.brokers
    async with closing(await started(cluster)) as consumer:
        assert await consumer._client.ready(0)
        broker.part_seconds = REQUEST_SECONDS * 0.5
        times = []
        for _ in range(TRIES):
            broker.asked.clear()
            assert (await consumer._client.fetch_all_metadata()).brokers()
            times.append(broker.asked.count(METADATA))
            if times[-1] == 1:
                break
        assert times[-1] == 1, times


def test_silence_is_forgotten_when_a_broker_is_heard() -> None:
    now = 100.0
    silent = SilentBrokers(lambda: now)
    address = ("kafka", 9092)
    silent.noticed(address, TimeoutError())
    assert silent.suspects(address)
    assert silent.refuses(address)
    now += REFUSED_SECONDS
    assert silent.suspects(address)
    assert not silent.refuses(address)
    silent.heard(address)
    assert not silent.suspects(address)


def test_a_refused_connection_is_tried_again_at_once() -> None:
    silent = SilentBrokers(lambda: 100.0)
    silent.noticed(("kafka", 9092), ConnectionRefusedError())
    assert silent.suspects(("kafka", 9092))
    assert not silent.refuses(("kafka", 9092))


# The end of a member


async def test_a_member_that_can_not_join_is_closed_in_time(cluster: Cluster) -> None:
    (broker,) = cluster.brokers
    async with complaints() as heard:
        broker.withheld = {FIND_COORDINATOR}
        member = GroupMember(cluster.settings, TOPIC, Membership(group="group", session_timeout_seconds=6.0))
        starting = asyncio.create_task(member.start())
        await broker.received(FIND_COORDINATOR)
        starting.cancel()
        await asyncio.wait({starting})
        loop = asyncio.get_running_loop()
        began = loop.time()
        await member.close(0.1, leave=True)
        assert loop.time() - began < PATIENCE_SECONDS / 2
        await eventually(lambda: client_tasks() == [])
        del member, starting
        gc.collect()
        await asyncio.sleep(0)
    await eventually(lambda: broker.connections == 0)
    assert heard == []


async def test_nothing_of_a_member_that_can_not_join_is_left(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.kafka.member.JOIN_SECONDS", 0.0)
    (broker,) = cluster.brokers
    broker.withheld = {FIND_COORDINATOR}
    member = GroupMember(cluster.settings, TOPIC, Membership(group="group", session_timeout_seconds=0.2))
    with pytest.raises(KafkaFault):
        await member.start()
    await member.close()
    assert member._patience is None, "the client library begins to join while it ends"


async def test_nobody_complains_about_a_commit_that_was_given_up(cluster: Cluster) -> None:
    place = TopicPartition(TOPIC, 0)
    async with complaints() as heard:
        membership = Membership(group="group", session_timeout_seconds=6.0)
        seat = Seat(cluster.settings, TOPIC, membership, rebalancing=lambda: None, seated=lambda *_: None)
        coordinator = seat._coordinator = _Coordinator(seat._client, seat._subscription, membership)
        coordinator.coordinator_id = 0
        asked, answer = asyncio.Event(), asyncio.Event()

        async def fails(request: Any) -> None:
            asked.set()
            await answer.wait()
            raise GroupCoordinatorNotAvailableError

        coordinator._send_req = fails  # type: ignore[method-assign]
        committing = asyncio.create_task(seat.commit({place: 1}))
        await asked.wait()
        committing.cancel()
        await asyncio.wait({committing})
        answer.set()
        await eventually(lambda: "_Coordinator._do_commit_offsets" not in client_tasks())
        await close(seat, 0.1)
        gc.collect()
        await asyncio.sleep(0)
    assert heard == []


async def test_nobody_complains_when_several_partitions_of_the_publisher_fail_at_once() -> None:
    async def fails() -> None:
        raise KafkaConnectionError

    nobody: Any = None
    async with complaints() as heard:
        publisher = Publisher(nobody, ProjectionsSettings(), CollectorRegistry())
        publisher._owners = {partition: asyncio.create_task(fails()) for partition in range(3)}
        await asyncio.wait(publisher._owners.values())
        with pytest.raises(KafkaConnectionError):
            await publisher._watch(nobody)
        await publisher._release()
        gc.collect()
        await asyncio.sleep(0)
    assert heard == []


async def test_a_group_that_does_not_answer_is_not_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.kafka.faults.ANSWER_SECONDS", 0.05)
    member = GroupMember(cluster.settings, TOPIC, Membership(group="group", session_timeout_seconds=6.0))
    never = asyncio.Event()

    async def committed(place: TopicPartition) -> None:
        await never.wait()

    monkeypatch.setattr(member._seat, "committed", committed)
    with pytest.raises(KafkaFault):
        await member.committed(Place(TOPIC, 0))
    member._reader._closed = True  # nothing to stop


def test_a_connection_that_is_gone_already_can_be_aborted() -> None:
    """Uvloop's transports have no socket any more then."""

    async def scenario() -> None:
        async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        server = await asyncio.start_server(reset, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        server.close()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        assert writer.get_extra_info("socket") is None
        connection = Mock(_writer=writer)
        abort(connection)
        connection.close.assert_called_once()

    uvloop.run(scenario())
