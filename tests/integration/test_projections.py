"""The projections' process against a real Kafka and a real Postgres."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import CollectorRegistry

from deploy.errors import TopicsError
from deploy.topics import create_topics
from projections import admission
from projections import process as process_module
from projections.errors import PositionConflict
from projections.fold import Batch
from projections.metrics import Metrics
from projections.migrate import migrate
from projections.process import GROUP, Projections
from projections.publisher import publisher
from projections.rows import Advance, Instance
from projections.store import PostgresStore
from schemas import events, rejections
from schemas.kafka import clients_of
from schemas.records import NewRecord
from schemas.settings import ProjectionsSettings
from schemas.topics import EVENTS, topic_name
from tests.happened import CREATED, WORKFLOW, at, run, started
from tests.integration.projection_world import Log, Tables, Writer, prepared, until
from tests.integration.waiting import DEADLINE_SECONDS

PARTITIONS = 4


@pytest.fixture
async def settings(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, database_schema: str
) -> AsyncIterator[ProjectionsSettings]:
    names = (kafka_bootstrap_servers, database_url, topic_prefix, database_schema)
    # A step under way and a commit come to their end before a process stops, also on a busy machine.
    async with prepared(*names, partitions=PARTITIONS, shutdown_timeout_seconds=DEADLINE_SECONDS) as settings:
        yield settings


@pytest.fixture
def tables(settings: ProjectionsSettings) -> Tables:
    return Tables(settings)


@pytest.fixture
async def log(settings: ProjectionsSettings) -> AsyncIterator[Log]:
    async with Log(settings) as log:
        yield log


class Process:
    """Projections that run."""

    def __init__(self, settings: ProjectionsSettings, clock: Callable[[], float] = time.time):
        self.registry = CollectorRegistry()
        self.projections = Projections(settings, Metrics(self.registry), clock=clock)
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.projections.run(self.stop))

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"orchestration_projections_{name}", labels) or 0.0


@asynccontextmanager
async def running(settings: ProjectionsSettings, clock: Callable[[], float] = time.time) -> AsyncIterator[Process]:
    process = Process(settings, clock)
    try:
        yield process
    finally:
        process.stop.set()
        async with asyncio.timeout(2 * DEADLINE_SECONDS):
            await process.task


def caught_up(log: Log, tables: Tables) -> bool:
    positions = {partition: next_offset for partition, (next_offset, _, _) in tables.positions().items()}
    return all(positions.get(partition) == end for partition, end in log.ends.items())


async def test_events_become_rows(settings: ProjectionsSettings, log: Log, tables: Tables) -> None:
    ids = [uuid.uuid4() for _ in range(PARTITIONS)]
    await log.append(0, WORKFLOW, CREATED, cause=3)
    async with running(settings) as process:
        for partition, id in enumerate(ids):
            await log.append(partition, id, *run(partition), cause=5)
        await until(lambda: caught_up(log, tables))
        await until(lambda: process.projections.ready)
    assert tables.positions() == {p: (log.ends[p], log.epochs[p], 5) for p in range(PARTITIONS)}
    assert sorted(tables.rows("SELECT id FROM instances WHERE terminated_at IS NOT NULL")) == sorted(
        (id,) for id in ids
    )
    assert len(tables.rows("SELECT 1 FROM stages WHERE terminated_at IS NOT NULL")) == PARTITIONS
    assert process.count("events_total") == 1 + 4 * PARTITIONS
    assert not process.projections.ready


async def test_what_a_superseded_engine_wrote_is_not_shown(
    settings: ProjectionsSettings, log: Log, tables: Tables
) -> None:
    id = uuid.uuid4()
    old = await log.claim(0)
    await log.append(0, id, started(), cause=1)
    new = await log.claim(0)
    await log.append(0, id, events.InstanceEnded(workflow_id="w", at=at(1), error="stale"), cause=2, epoch=old)
    async with running(settings):
        await until(lambda: caught_up(log, tables))
        # The epoch is remembered with the position, so it holds for the next process as well.
    await log.append(0, id, events.InstanceEnded(workflow_id="w", at=at(1), error="stale"), cause=2, epoch=old)
    async with running(settings):
        await until(lambda: caught_up(log, tables))
    assert tables.rows("SELECT terminated_at FROM instances") == [(None,)]
    assert tables.positions() == {0: (log.ends[0], new, 1)} | dict.fromkeys(range(1, PARTITIONS), (0, -1, -1))


async def test_events_that_cannot_be_read_or_stored_are_skipped(
    settings: ProjectionsSettings, log: Log, tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [uuid.uuid4() for _ in range(6)]
    await log.claim(0)
    headers = [("type", b"StageStarted"), ("epoch", b"%d" % log.epochs[0]), ("cause", b"9")]
    with caplog.at_level(logging.ERROR):
        for n, id in enumerate(ids):
            await log.append(0, id, *run(n), cause=n)
            if n == 2:
                await log.put(0, NewRecord(b"key", b"{", headers, 0))
            if n == 3:
                await log.append(0, "no-uuid", started(), cause=10)
        async with running(settings) as process:
            await until(lambda: caught_up(log, tables))
            assert process.count("undecodable_events_total") >= 2
    assert len(tables.rows("SELECT 1 FROM instances WHERE terminated_at IS NOT NULL")) == len(ids)
    assert tables.positions()[0] == (log.ends[0], log.epochs[0], 10)
    assert "Postgres can't hold it" in caplog.text
    assert "StageStarted" in caplog.text


async def test_a_batch_counts_whole_or_not_at_all(settings: ProjectionsSettings, tables: Tables) -> None:
    store = PostgresStore(settings)
    await store.positions([0, 1])

    def batch(*advances: Advance) -> Batch:
        batch = Batch()
        batch.advances = list(advances)
        batch.instances["x"] = Instance(str(uuid.uuid4()), at(0), str(WORKFLOW), at(0))
        return batch

    await store.write(batch(Advance(0, 0, 5, 1, 2)))
    before = tables.positions()
    for advances in (
        [Advance(0, 0, 5, 1, 2)],
        [Advance(1, 0, 3, 1, 1), Advance(0, 4, 6, 1, 3)],
        [Advance(7, 0, 1, 1, 1)],
    ):
        with pytest.raises(PositionConflict):
            await store.write(batch(*advances))
    assert tables.positions() == before
    assert len(tables.rows("SELECT 1 FROM instances")) == 1
    await store.write(batch(Advance(1, 0, 3, 1, 1), Advance(0, 5, 6, 1, 3)))
    assert tables.positions() == {0: (6, 1, 3), 1: (3, 1, 1)}
    await store.close()


async def test_positions_in_postgres_are_the_truth(settings: ProjectionsSettings, log: Log, tables: Tables) -> None:
    await log.append(0, uuid.uuid4(), *run(), cause=1)
    async with running(settings):
        await until(lambda: caught_up(log, tables))
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    committed = await admin.list_consumer_group_offsets(settings.topic_prefix + GROUP)
    await admin.close()
    assert {tp.partition: offset.offset for tp, offset in committed.items()}[0] == log.ends[0]

    # A read model that lost its rows with their positions, as after a crash of Postgres.
    tables.rows("UPDATE positions SET next_offset = 0, epoch = -1, cause = -1")
    tables.rows("DELETE FROM instances")
    async with running(settings):
        await until(lambda: caught_up(log, tables))
    assert len(tables.rows("SELECT 1 FROM instances WHERE terminated_at IS NOT NULL")) == 1


async def test_another_projectors_write_is_noticed(settings: ProjectionsSettings, log: Log, tables: Tables) -> None:
    await log.append(0, uuid.uuid4(), *run(), cause=1)
    async with running(settings) as process:
        await until(lambda: caught_up(log, tables))
        # As if another projector had been first with the next four records.
        tables.rows("UPDATE positions SET next_offset = next_offset + 4 WHERE partition = 0")
        await log.append(0, uuid.uuid4(), *run(), cause=2)
        await log.append(0, uuid.uuid4(), *run(), cause=3)
        await until(lambda: caught_up(log, tables))
        assert process.count("position_conflicts_total") >= 1
    assert len(tables.rows("SELECT 1 FROM instances")) == 2
    assert tables.positions()[0][2] == 3


async def test_two_owners_of_the_same_partitions_give_way(
    settings: ProjectionsSettings,
    log: Log,
    tables: Tables,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As when one of them does not learn that the group gave its partitions away. Here it is in a group of its own.

    All batches are of one partition: how often each of the two may fail there is bounded by the pauses, which double,
    however long it takes.
    """
    ids = [uuid.uuid4() for _ in range(100)]
    with caplog.at_level(logging.INFO):
        async with running(settings) as first:
            await until(lambda: first.projections.ready)
            monkeypatch.setattr(process_module, "GROUP", "another-group")
            async with running(settings) as second:
                await until(lambda: second.projections.ready)
                for n, id in enumerate(ids):
                    await log.append(0, id, *run(n % 20), cause=n)
                    await until(lambda: caught_up(log, tables))
                conflicts = first.count("position_conflicts_total") + second.count("position_conflicts_total")
    assert len(tables.rows("SELECT 1 FROM instances WHERE terminated_at IS NOT NULL")) == len(ids)
    told = [record for record in caplog.records if "moved positions" in record.message]
    assert 0 < conflicts < 30
    assert 0 < len(told) <= 4


async def test_a_projector_without_partitions_ends_in_order(settings: ProjectionsSettings) -> None:
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(running(settings)) for _ in range(PARTITIONS + 1)]
        await until(lambda: all(process.projections.ready for process in processes))


async def test_a_cut_connection_loses_nothing(settings: ProjectionsSettings, log: Log, tables: Tables) -> None:
    async with running(settings):
        for n in range(30):
            await log.append(n % PARTITIONS, uuid.uuid4(), *run(), cause=n)
            if n % 10 == 5:
                await until(lambda: tables.cut_connections("projections"))  # after an earlier cut it comes back
        await until(lambda: caught_up(log, tables))
    assert len(tables.rows("SELECT 1 FROM instances WHERE terminated_at IS NOT NULL")) == 30


async def test_postgres_may_come_later(settings: ProjectionsSettings, log: Log, tables: Tables) -> None:
    tables.drop()  # an empty database is as bad as an absent one
    await log.append(0, uuid.uuid4(), *run(), cause=1)
    async with running(settings) as process:
        await until(
            lambda: process.registry.get_sample_value("orchestration_projections_faults_total", {"service": "Postgres"})
        )
        assert not process.projections.ready
        migrate(settings)
        await until(lambda: caught_up(log, tables))
        await until(lambda: process.projections.ready)


async def test_partitions_are_shared_and_handed_over(settings: ProjectionsSettings, log: Log, tables: Tables) -> None:
    ids = [uuid.uuid4() for _ in range(40)]
    async with running(settings) as first:
        for n, id in enumerate(ids[:20]):
            await log.append(n % PARTITIONS, id, *run(n), cause=n)
        await until(lambda: caught_up(log, tables))
        async with running(settings) as second:
            for n, id in enumerate(ids[20:40]):
                await log.append(n % PARTITIONS, id, *run(n), cause=100 + n)
            await until(lambda: caught_up(log, tables))
            await until(lambda: second.projections.ready and first.projections.ready)
            async with asyncio.timeout(60):
                cause = 200
                while not second.count("events_total"):  # the group may need more than one rebalance to share
                    ids.append(uuid.uuid4())
                    await log.append(cause % PARTITIONS, ids[-1], *run(cause % 20), cause=cause)
                    await until(lambda: caught_up(log, tables))
                    cause += 1
        await log.append(0, uuid.uuid4(), *run(), cause=10_000)
        await until(lambda: caught_up(log, tables))
    assert len(tables.rows("SELECT 1 FROM instances WHERE terminated_at IS NOT NULL")) == len(ids) + 1
    assert len(tables.rows("SELECT 1 FROM stages WHERE terminated_at IS NOT NULL")) == len(ids) + 1


async def test_a_partition_behind_its_position_stands_still_alone(
    settings: ProjectionsSettings, log: Log, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "LOOK_SECONDS", 0.2)
    for partition in (0, 1):
        await log.append(partition, uuid.uuid4(), *run(), cause=1)
    tables.rows("INSERT INTO positions VALUES (0, 1000, 900, 900)")
    async with running(settings) as process:

        def fault() -> float | None:
            labels = {"topic": "events", "partition": "0", "reason": "cut"}
            return process.registry.get_sample_value("orchestration_log_fault", labels)

        await until(lambda: fault() == 1 and tables.positions().get(1, (0,))[0] == log.ends[1])
        await until(lambda: process.projections.ready)
        assert len(tables.rows("SELECT 1 FROM instances")) == 1
        tables.rows("UPDATE positions SET next_offset = 1, epoch = 0, cause = 0 WHERE partition = 0")
        await until(lambda: caught_up(log, tables) and not fault())
    assert len(tables.rows("SELECT 1 FROM instances")) == 2


async def test_a_topic_that_was_created_again_stops_both_readers(
    settings: ProjectionsSettings, log: Log, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (admission, publisher):
        monkeypatch.setattr(module, "LOOK_SECONDS", 0.2)
    for partition in range(PARTITIONS):
        await log.append(partition, uuid.uuid4(), *run(), *run(), cause=1)
    async with running(settings) as process:

        def published() -> float:
            labels = {"type": "SUCCEEDED_WORKFLOW"}
            return process.registry.get_sample_value("orchestration_publisher_events_total", labels) or 0.0

        def reasons(reader: str) -> list[str]:
            return list(process.projections._standstills.of(reader).values())

        await until(lambda: caught_up(log, tables) and published() == 2 * PARTITIONS)
        before = tables.positions()
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
        await admin.start()
        await admin.delete_topics([topic_name(settings, EVENTS)])
        await admin.close()
        await until_created(settings)
        log.epochs.clear()
        for partition in range(PARTITIONS):
            await log.append(partition, uuid.uuid4(), *run(), cause=2)
        for reader in ("the read model", "the publisher"):
            await until(lambda reader=reader: reasons(reader) == PARTITIONS * ["remade"])  # type: ignore[misc]
        assert (tables.positions(), published()) == (before, 2 * PARTITIONS)


async def until_created(settings: ProjectionsSettings) -> None:
    """Make the topics again. Kafka may take its time to delete one."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            with contextlib.suppress(TopicsError):
                if await create_topics(settings):
                    return
            await asyncio.sleep(0.05)


async def test_positions_name_their_topic(settings: ProjectionsSettings, log: Log, tables: Tables) -> None:
    async with running(settings):
        await log.append(0, uuid.uuid4(), *run(), cause=1)
        await until(lambda: caught_up(log, tables))
        finder = clients_of(settings).topic_finder()
        found = await finder.find(topic_name(settings, EVENTS))
        finder.close()
        assert found is not None
        await until(lambda: set(tables.rows("SELECT topic_id FROM positions")) == {(found.id,)})


async def test_an_absent_kafka_is_waited_for(settings: ProjectionsSettings) -> None:
    away = msgspec.structs.replace(settings, kafka_bootstrap_servers="127.0.0.1:1")
    async with running(away) as process:
        await until(
            lambda: process.registry.get_sample_value("orchestration_projections_faults_total", {"service": "Kafka"})
        )
        assert not process.projections.ready


async def test_old_rejections_are_pruned_in_the_background(settings: ProjectionsSettings, tables: Tables) -> None:
    writer = Writer(settings)
    old = events.CommandRejected(at=at(0), code=rejections.ENDED, message="")
    await writer.write((uuid.uuid4(), old), cause=1)
    await writer.store.close()
    tables.rows("INSERT INTO rejections VALUES (0, 2, 'ENDED', '', now())")
    tables.rows(
        "INSERT INTO rejections SELECT 1, n, 'ENDED', '', now() - interval '2 days' FROM generate_series(1, 2500) n"
    )
    tables.rows("UPDATE rejections SET stored_at = at")
    async with running(settings):
        await until(lambda: tables.rows("SELECT partition, cause FROM rejections") == [(0, 2)])
