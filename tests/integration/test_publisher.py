"""The publisher against a real Kafka: order, content, and every event once whatever happens to it."""

import asyncio
import json
import os
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from prometheus_client import CollectorRegistry

from deploy.embedded.child import Child
from deploy.embedded.kafka import EmbeddedKafka
from deploy.topics import create_topics
from projections.metrics import Metrics
from projections.migrate import migrate
from projections.process import Projections
from projections.publisher import publisher as publisher_module
from projections.publisher.positions import PublishedPosition, position_record
from projections.publisher.public_events import PublicEvent
from projections.publisher.public_writer import PublicWriter
from schemas import events
from schemas.kafka import Fenced, Place, TransactionFailed, clients_of, transactions
from schemas.kafka.batches import batches
from schemas.records import NewRecord
from schemas.settings import ProjectionsSettings, environment_of
from schemas.topics import EVENTS, public_topic, topic_name
from tests.happened import at, run
from tests.integration.broker_faults import configure
from tests.integration.projection_world import Log, Tables, rebuilt, until
from tests.integration.publisher_world import Public, Running, publishing
from tests.integration.waiting import DEADLINE_SECONDS

PARTITIONS = 4
RUN = ["STARTED_WORKFLOW", "STARTED_WORKFLOW_STAGE", "SUCCEEDED_WORKFLOW_STAGE", "SUCCEEDED_WORKFLOW"]
KILLS = 4
HANDOVERS = 3
MAX_BACKLOG = 2000
Step = Callable[[PublicWriter], Awaitable[None]]
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def settings(kafka_bootstrap_servers: str, topic_prefix: str) -> ProjectionsSettings:
    settings = ProjectionsSettings(
        kafka_bootstrap_servers=kafka_bootstrap_servers, topic_prefix=topic_prefix, partitions=PARTITIONS
    )
    await create_topics(settings)
    return settings


@pytest.fixture
async def log(settings: ProjectionsSettings) -> AsyncIterator[Log]:
    async with Log(settings) as log:
        yield log


@pytest.fixture
async def public(settings: ProjectionsSettings) -> AsyncIterator[Public]:
    async with Public(settings) as public:
        yield public


def of_instance(kind: type[Any], seconds: float = 0, **fields: Any) -> Any:
    return kind(at=at(seconds), workflow_id="w", **fields)


def stage_started(number: int) -> events.StageStarted:
    return of_instance(events.StageStarted, number=number, name="RunNoop", input={})  # type: ignore[no-any-return]


class Fed:
    """What is put into the log during a test: one run after the other, on partitions in turn."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.enough = asyncio.Event()

    async def feed(self, log: Log, public: Public) -> None:
        while not self.enough.is_set():
            if 4 * len(self.ids) - len(public.records) > MAX_BACKLOG:
                await asyncio.sleep(0.01)
                continue
            self.ids.append(str(uuid.uuid4()))
            await log.append(len(self.ids) % PARTITIONS, self.ids[-1], *run())


@asynccontextmanager
async def feeding(log: Log, public: Public) -> AsyncIterator[Fed]:
    fed = Fed()
    task = asyncio.create_task(fed.feed(log, public))
    try:
        yield fed
    finally:
        fed.enough.set()
        await task


def check_complete(public: Public, fed: Fed) -> None:
    published: dict[str, list[str]] = {}
    for record in public.records:
        published.setdefault(record.key.decode(), []).append(json.loads(record.value)["type"])
    assert published == dict.fromkeys(fed.ids, RUN)
    assert len(set(public.keys)) == len(public.keys)


async def test_what_happened_is_published_in_order(settings: ProjectionsSettings, log: Log, public: Public) -> None:
    succeeded, failed, aborted, trigger = (uuid.uuid4() for _ in range(4))
    await log.append(0, succeeded, *run(), cause=1)
    started = of_instance(events.InstanceStarted, stages=[], variables={})
    activity = events.ActivityFailed(at=at(1), stage=1, index=0, attempt=1, error="503", retry_at=at(2))
    first = [started, stage_started(0), of_instance(events.StageEnded, number=0), stage_started(1), activity]
    ended = [
        of_instance(events.StageEnded, number=1, error="no funds"),
        of_instance(events.InstanceEnded, error="no funds"),
    ]
    await log.append(1, failed, *first, *ended)
    canceled = [
        of_instance(events.StageEnded, number=0, error="canceled"),
        of_instance(events.InstanceEnded, error="canceled"),
    ]
    await log.append(1, aborted, started, stage_started(0), *canceled)
    occurrence: dict[str, Any] = {"at": at(0), "occurrence_id": "o", "event": {}, "source": "ledger", "offset": 1}
    await log.append(2, trigger, events.TriggerFailed(**occurrence, error="no link"))
    async with publishing(settings) as running:
        await public.until(4 + 6 + 4 + 1)
        # Who is told of a transaction's end first, its publisher or its readers, is not said.
        await until(lambda: running.count("events_total", type="STARTED_WORKFLOW") == 3)
        await until(lambda: running.count("transaction_seconds_count") >= 3)
        await until(lambda: running.count("lag_records", partition="1") == 0)
    base = {"id": "w", "instanceID": str(failed)}
    assert public.of(failed) == [
        {"type": "STARTED_WORKFLOW", **base},
        {"type": "STARTED_WORKFLOW_STAGE", **base, "number": 0},
        {"type": "SUCCEEDED_WORKFLOW_STAGE", **base, "number": 0},
        {"type": "STARTED_WORKFLOW_STAGE", **base, "number": 1},
        {"type": "FAILED_WORKFLOW_STAGE", **base, "number": 1, "error": "no funds"},
        {"type": "FAILED_WORKFLOW", **base, "error": "no funds"},
    ]
    assert [(event["type"], event.get("error")) for event in public.of(aborted)] == [
        ("STARTED_WORKFLOW", None),
        ("STARTED_WORKFLOW_STAGE", None),
        ("FAILED_WORKFLOW_STAGE", "canceled"),
        ("FAILED_WORKFLOW", "canceled"),
    ]
    assert [event["type"] for event in public.of(succeeded)] == RUN
    assert public.of(trigger) == [{"type": "FAILED_TRIGGER", "id": "o", "triggerID": str(trigger), "error": "no link"}]
    assert {record.partition for record in public.records if record.key == str(failed).encode()} == {1}
    # The claim is at offset 0, so the first event at 1.
    assert "orchestration-2-1" in public.keys


async def test_a_publisher_goes_on_where_the_last_one_was(
    settings: ProjectionsSettings, log: Log, public: Public
) -> None:
    for n in range(3):
        await log.append(0, uuid.uuid4(), *run(n))
        async with publishing(settings):
            await public.until(4 * (n + 1))
    assert public.keys == [f"orchestration-0-{offset}" for offset in range(1, 13)]


async def test_what_a_superseded_engine_wrote_is_not_published(
    settings: ProjectionsSettings, log: Log, public: Public
) -> None:
    id, stale = uuid.uuid4(), of_instance(events.InstanceEnded, error="stale")
    old = await log.claim(0)
    await log.append(0, id, of_instance(events.InstanceStarted, stages=[], variables={}))
    await log.claim(0)
    await log.append(0, id, stale, epoch=old)
    await log.append(0, id, stage_started(0))
    async with publishing(settings):
        await public.until(2)
    # The epoch is remembered with the position, so it holds for the next publisher as well.
    await log.append(0, id, stale, epoch=old)
    await log.append(0, id, of_instance(events.InstanceEnded))
    async with publishing(settings):
        await public.until(3)
    assert [event["type"] for event in public.of(id)] == [
        "STARTED_WORKFLOW",
        "STARTED_WORKFLOW_STAGE",
        "SUCCEEDED_WORKFLOW",
    ]


async def test_what_cannot_be_read_is_counted_and_skipped(
    settings: ProjectionsSettings, log: Log, public: Public
) -> None:
    epoch = await log.claim(0)
    headers = [("type", b"StageStarted"), ("epoch", b"%d" % epoch)]
    await log.put(0, NewRecord(b"x", b"{", headers, 0), NewRecord(b"x", b"{}", [("epoch", b"%d" % epoch)], 0))
    await log.append(0, uuid.uuid4(), *run())
    async with publishing(settings) as running:
        await public.until(4)
        assert running.count("undecodable_events_total") == 2
    assert len(public.records) == 4


def numbered(number: int) -> PublicEvent:
    return PublicEvent("T", b"key", json.dumps({"idempotency_key": str(number)}).encode())


def producer_of(publisher: PublicWriter) -> Any:
    """The client library's, so that a transaction can be left unfinished."""
    return publisher._transactions._producer  # type: ignore[attr-defined]


async def begin(publisher: PublicWriter) -> None:
    await producer_of(publisher).begin_transaction()


async def put(publisher: PublicWriter, place: Place, *records: NewRecord) -> None:
    producer = producer_of(publisher)
    sent = [await producer.send_batch(b, place.topic, partition=place.partition) for b in batches(producer, records)]
    await asyncio.gather(*sent)


async def send(publisher: PublicWriter) -> None:
    """What is sent between the begin and the commit of a transaction."""
    await put(publisher, publisher._public, NewRecord(b"key", numbered(2).value, [], 0))
    await put(publisher, publisher._published, position_record(0, PublishedPosition(8, 3), 0))


async def commit(publisher: PublicWriter) -> None:
    await producer_of(publisher).commit_transaction()


@pytest.mark.parametrize(
    ("done", "left"),
    [([], [begin, send]), ([begin], [send]), ([begin, send], [commit]), ([begin, send, commit], [begin, send])],
)
async def test_the_next_publisher_settles_what_a_stale_one_has_begun(
    settings: ProjectionsSettings, public: Public, done: list[Step], left: list[Step]
) -> None:
    async def go_on() -> None:
        async with transactions._failures(producer_of(stale)):
            for step in left:
                await step(stale)

    kafka = clients_of(settings)
    stale, new = PublicWriter(kafka, settings, 0), PublicWriter(kafka, settings, 0)
    try:
        assert await stale.open() == PublishedPosition()
        await stale.publish([numbered(1)], PublishedPosition(7, 3))
        for step in done:
            await step(stale)
        assert await new.open() == PublishedPosition(8 if commit in done else 7, 3)
        with pytest.raises(Fenced):
            await go_on()
        if commit not in done:
            await new.publish([numbered(2)], PublishedPosition(8, 3))
        await new.publish([numbered(3)], PublishedPosition(9, 3))
    finally:
        await stale.close()
        await new.close()
    await public.until(3)
    assert public.keys == ["1", "2", "3"]


async def test_many_aborted_transactions_do_not_hide_the_position(settings: ProjectionsSettings) -> None:
    kafka = clients_of(settings)
    for n in range(7):
        publisher = PublicWriter(kafka, settings, 0)
        try:
            assert await publisher.open() == (PublishedPosition(5, 1) if n else PublishedPosition())
            if not n:
                await publisher.publish([], PublishedPosition(5, 1))
            await begin(publisher)
            await put(publisher, publisher._published, *2 * [NewRecord(b"0", b"{}", [], 0)])
        finally:
            await publisher.close()


def fault(running: Running, reason: str) -> bool:
    labels = {"topic": "events", "partition": "0", "reason": reason}
    return running.registry.get_sample_value("orchestration_log_fault", labels) == 1


async def position(settings: ProjectionsSettings, then: PublishedPosition | None = None) -> PublishedPosition:
    """How far partition 0 is published; moved, if wanted."""
    writer = PublicWriter(clients_of(settings), settings, 0)
    try:
        position = await writer.open()
        if then is not None:
            await writer.publish([], then)
    finally:
        await writer.close()
    return position


async def test_what_expired_unpublished_stops_its_partition_until_the_loss_is_accepted(
    settings: ProjectionsSettings, log: Log, public: Public, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "LOOK_SECONDS", 0.2)
    await log.append(0, uuid.uuid4(), *run())
    await log.append(0, uuid.uuid4(), *run())
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    place = TopicPartition(topic_name(settings, EVENTS), 0)
    await admin.delete_records({place: RecordsToDelete(before_offset=5)})
    await admin.close()
    await log.append(1, uuid.uuid4(), *run())
    async with publishing(settings) as running:
        await public.until(4)
        await until(lambda: fault(running, "gap"))
    assert {record.partition for record in public.records} == {1}
    assert await position(settings, PublishedPosition(5, 0)) == PublishedPosition()
    async with publishing(settings) as running:
        await public.until(8)
        await until(lambda: not fault(running, "gap"))
    found = await position(settings)
    assert (found.next_offset, found.epoch) == (9, 0)
    assert found.topic_id


async def test_a_log_that_was_created_again_is_not_published(settings: ProjectionsSettings, log: Log) -> None:
    await position(settings, PublishedPosition(100, 1))
    await log.append(0, uuid.uuid4(), *run())
    async with publishing(settings) as running, Public(settings) as public:
        await until(lambda: fault(running, "cut"))
        await public.drain()
        assert not public.records
    await position(settings, PublishedPosition(1, 0, "another"))
    async with publishing(settings) as running, Public(settings) as public:
        await until(lambda: fault(running, "remade"))
        await public.drain()
        assert not public.records


async def test_what_kafka_refuses_to_take_is_behind(settings: ProjectionsSettings, log: Log, public: Public) -> None:
    topic = public_topic(settings)
    async with publishing(settings) as running:
        await until(lambda: running.has("lag_records", partition="0"))
        # Larger than the mark of a transaction that ends, which has to be taken.
        await configure(settings, topic, {"max.message.bytes": "200"})
        await log.append(0, uuid.uuid4(), *run())
        await until(lambda: running.count("lag_records", partition="0") > 0)
        await until(lambda: running.count("failures_total", reason="transaction") > 0)
        await configure(settings, topic, {})
        await public.until(4)
        await until(lambda: running.count("lag_records", partition="0") == 0)


async def test_partitions_are_shared_and_handed_over(settings: ProjectionsSettings, log: Log, public: Public) -> None:
    def owned(running: Running) -> set[int]:
        return {p for p in range(PARTITIONS) if running.has("lag_records", partition=str(p))}

    async with feeding(log, public) as fed, publishing(settings) as first:
        for _ in range(HANDOVERS):
            async with publishing(settings) as second:
                await public.while_polling(lambda: len(owned(first)) == len(owned(second)) == PARTITIONS // 2)
                assert not owned(first) & owned(second)
            await public.while_polling(lambda: len(owned(first)) == PARTITIONS)
        fed.enough.set()
        await public.until(4 * len(fed.ids))
        assert first.count("failures_total", reason="fenced") == 0
    check_complete(public, fed)


async def test_what_is_assigned_while_a_publisher_leaves_is_not_owned(settings: ProjectionsSettings) -> None:
    async with publishing(settings) as running:
        await until(lambda: running.has("lag_records", partition="0"))
    running.publisher._assigned(frozenset({Place(topic_name(settings, EVENTS), 0)}))
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("publish-")]


async def test_every_event_is_published_once_though_publishers_are_killed(
    settings: ProjectionsSettings, log: Log, public: Public, tmp_path: Path
) -> None:
    chance = random.Random(20260301)

    def child() -> Child:
        # A name of its own: the next one takes the partitions over at once, without waiting for a session to time out.
        named = msgspec.structs.replace(settings, projections_id="publisher")
        environment = {**os.environ, **environment_of(named)}
        command = [sys.executable, "-m", "tests.integration.publisher_process"]
        return Child(
            command, pid_file=tmp_path / "pid", output=tmp_path / "log", environment=environment, directory=ROOT
        )

    async with feeding(log, public) as fed:
        for _ in range(KILLS):
            publisher = await asyncio.to_thread(child)
            try:
                await public.until(len(public.records) + chance.randint(1, 400))
                # Publishing goes on all the time: this is anywhere in a transaction, which takes about as long.
                await asyncio.sleep(chance.uniform(0, 0.05))
            finally:
                await asyncio.to_thread(publisher.kill)
    async with publishing(settings):
        await public.until(4 * len(fed.ids))
    check_complete(public, fed)


async def test_kafka_may_stand_still_or_go_away(
    topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = EmbeddedKafka(tmp_path)
    try:
        servers = await asyncio.to_thread(embedded.start)
        settings = ProjectionsSettings(kafka_bootstrap_servers=servers, topic_prefix=topic_prefix, partitions=1)
        await create_topics(settings)
        kafka = clients_of(settings)
        stalled, next_one = PublicWriter(kafka, settings, 0), PublicWriter(kafka, settings, 0)
        try:
            await stalled.open()
            monkeypatch.setattr(transactions, "TRANSACTION_SECONDS", 3.0)
            broker = psutil.Process(int((tmp_path / "pid").read_text()))
            broker.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(TransactionFailed, match="Timeout"):
                    await stalled.publish([numbered(0)], PublishedPosition(1, 0))
                with pytest.raises(TransactionFailed):
                    await next_one.open()
            finally:
                broker.send_signal(signal.SIGCONT)
        finally:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await stalled.close()
                await next_one.close()
        async with Log(settings) as log, Public(settings) as public, publishing(settings) as running:
            await log.append(0, uuid.uuid4(), *run())
            await public.until(4)
            await asyncio.to_thread(embedded.kill)
            await asyncio.to_thread(embedded.start)
            await log.append(0, uuid.uuid4(), *run())
            await public.until(8, seconds=2 * DEADLINE_SECONDS)
            assert public.keys == [f"orchestration-0-{offset}" for offset in range(1, 9)]
            assert running.count("failures_total", reason="defect") == 0
    finally:
        await asyncio.to_thread(embedded.stop)


async def test_a_rebuild_of_the_read_model_publishes_nothing(
    settings: ProjectionsSettings, log: Log, public: Public, database_url: str, database_schema: str
) -> None:
    settings = msgspec.structs.replace(settings, database_url=database_url, database_schema=database_schema)
    migrate(settings)
    tables = Tables(settings)
    stop = asyncio.Event()
    projections = asyncio.create_task(Projections(settings, Metrics(CollectorRegistry())).run(stop))
    try:
        await log.append(0, uuid.uuid4(), *run())
        await public.until(4)
        await rebuilt(settings)
        await log.append(0, uuid.uuid4(), *run())
        await public.until(8)
    finally:
        stop.set()
        await projections
        tables.drop()
    assert public.keys == [f"orchestration-0-{offset}" for offset in range(1, 9)]
