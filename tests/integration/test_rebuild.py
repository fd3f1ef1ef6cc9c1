"""A rebuild beside a live read model, on a real Kafka and a real Postgres."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from msgspec.structs import replace
from psycopg.conninfo import make_conninfo

from projections.errors import RebuildInProgress, RowsWouldBeLost, SchemaTooNew
from projections.migrate import migrate, shipped
from projections.queries.positions import ReadPositions
from projections.queries.read_model import ReadModel
from projections.rebuild import indexes, rebuild, rebuilding
from projections.sql import statement
from schemas import events
from schemas.fillers import filler
from schemas.kafka import KafkaFault
from schemas.kafka.reader import PartitionReader
from schemas.settings import ProjectionsSettings
from schemas.topics import EVENTS, topic_name
from tests.happened import CREATED, LISTENS, WORKFLOW, at, fired, run, started
from tests.integration.projection_world import Log, Tables, prepared, rebuilt, until
from tests.integration.test_projections import caught_up, running
from tests.integration.waiting import DEADLINE_SECONDS
from tests.unit.projections.test_changes import Heard

PARTITIONS = 4
SNAPSHOT = {
    "workflows": "SELECT * FROM workflows ORDER BY id",
    "instances": "SELECT * FROM instances ORDER BY id",
    "stages": "SELECT * FROM stages ORDER BY instance_id, number",
    "activities": "SELECT * FROM activities ORDER BY instance_id, stage, index",
    "triggers": "SELECT * FROM triggers ORDER BY id",
    "occurrences": "SELECT * FROM occurrences ORDER BY id",
    # All but the time at which they came into the read model.
    "rejections": "SELECT partition, cause, code, message, at FROM rejections ORDER BY partition, cause",
    "positions": "SELECT * FROM positions ORDER BY partition",
}


@pytest.fixture
async def settings(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, database_schema: str
) -> AsyncIterator[ProjectionsSettings]:
    names = (kafka_bootstrap_servers, database_url, topic_prefix, database_schema)
    async with prepared(*names, partitions=PARTITIONS, max_batch_events=7) as settings:
        yield settings


@pytest.fixture
def tables(settings: ProjectionsSettings) -> Tables:
    return Tables(settings)


@pytest.fixture
async def log(settings: ProjectionsSettings) -> AsyncIterator[Log]:
    """Some history in the log."""
    async with Log(settings) as log:
        for partition in range(PARTITIONS):
            await log.claim(partition)
        await log.append(0, WORKFLOW, CREATED, cause=0)
        for n in range(1, 21):
            await log.append(n % PARTITIONS, uuid.uuid4(), *run(n), cause=n)
        id = uuid.uuid4()
        rejected = events.CommandRejected(at=at(9), code="ENDED", message="has ended")
        call = events.ActivityStarted(at=at(2), stage=0, index=0, name="GetWallet", input={})
        failed = events.ActivityFailed(at=at(3), stage=0, index=0, attempt=1, error="x", retry_at=at(4))
        stage = events.StageStarted(workflow_id="w", at=at(1), number=0, name="RunSend", input={})
        await log.append(1, id, started(), stage, call, failed, cause=30)
        await log.append(1, id, rejected, cause=31)
        await log.append(2, uuid.uuid4(), LISTENS, fired(uuid.uuid4(), 1), cause=40)
        yield log


def snapshot(tables: Tables) -> dict[str, list[tuple[object, ...]]]:
    return {name: tables.rows(query) for name, query in SNAPSHOT.items()}


def leftovers(settings: ProjectionsSettings) -> list[tuple[object, ...]]:
    name = settings.database_schema
    return Tables(settings).rows(f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '{name}\\_%'")  # noqa: S608


async def test_a_rebuild_equals_what_was_projected(settings: ProjectionsSettings, log: Log, tables: Tables) -> None:
    readable = statement("all_caught_up").decode()
    async with running(settings):
        await until(lambda: tables.rows(readable) == [(True,)])
    assert caught_up(log, tables)
    live = snapshot(tables)
    tables.rows("DELETE FROM stages")
    tables.rows("UPDATE instances SET error = 'damaged'")
    tables.rows(f'CREATE SCHEMA "{settings.database_schema}_rebuild"')
    tables.rows(f'CREATE TABLE "{settings.database_schema}_rebuild".leftover ()')
    seen: list[tuple[int, int]] = []
    notes: list[str] = []

    def progress(done: int, total: int, *, note: str = "") -> None:
        seen.append((done, total))
        notes.append(note)

    await rebuild(settings, progress)
    rebuilt = snapshot(tables)
    # The running projections may have pruned this one already.
    assert len(rebuilt.pop("rejections")) == 1
    assert rebuilt == {name: rows for name, rows in live.items() if name != "rejections"}
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] == sum(log.ends.values())
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert [note for note in notes if note] == ["making indexes"]
    # Readers that come now need not wait for the projections, which are gone.
    assert tables.rows(readable) == [(True,)]
    assert leftovers(settings) == []


async def test_indexes_for_readers_are_made_when_the_rows_are_there(
    settings: ProjectionsSettings, log: Log, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = '{}' ORDER BY indexname"
    live = tables.rows(query.format(settings.database_schema))
    make = indexes.make
    before: list[tuple[str, ...]] = []
    rows: list[tuple[int]] = []

    async def watched(*args: object) -> None:
        shadow = f"{settings.database_schema}_rebuild"
        before.extend(tables.rows(query.format(shadow)))
        rows.extend(tables.rows(f'SELECT count(*) FROM "{shadow}".instances'))  # noqa: S608
        await make(*args)  # type: ignore[arg-type]

    async with running(settings):
        await until(lambda: caught_up(log, tables))
    monkeypatch.setattr(indexes, "make", watched)
    await rebuild(settings)
    grows = [index for index in before if index[0] in {"instances", "stages", "instance_keys", "occurrences"}]
    assert rows == [(21,)]
    assert len(grows) == 4
    assert all("CREATE UNIQUE INDEX" in definition for _, _, definition in grows)
    assert tables.rows(query.format(settings.database_schema)) == live


async def test_the_swap_waits_until_readers_can_use_the_indexes(
    settings: ProjectionsSettings,
    log: Log,
    tables: Tables,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shadow = f"{settings.database_schema}_rebuild"
    unusable = f"SELECT 1 FROM pg_index WHERE indcheckxmin AND indrelid = '\"{shadow}\".instances'::regclass"  # noqa: S608
    monkeypatch.setattr(indexes, "TOLD_SECONDS", 0.0)
    id = uuid.uuid4()
    begin, *rest = run(50)
    await log.append(1, id, begin, cause=50)
    for n in range(10):  # so that it is changed by another batch
        await log.append(1, uuid.uuid4(), *run(60 + n), cause=60 + n)
    await log.append(1, id, *rest, cause=80)
    async with running(settings):
        await until(lambda: caught_up(log, tables))
    with psycopg.connect(settings.database_url) as other:
        other.execute("SELECT txid_current()")  # its transaction is open
        task = asyncio.create_task(rebuild(settings))
        await until(lambda: task.done() or "a transaction of another program" in caplog.text)
        assert not task.done()
        assert tables.rows(unusable)
        other.rollback()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await task
    assert leftovers(settings) == []


async def test_a_fault_of_kafka_in_a_rebuild_is_told_as_it_is(
    settings: ProjectionsSettings, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: object) -> object:
        raise KafkaFault("no partition is read") from ConnectionError("Connect call failed")

    async with running(settings):
        await until(lambda: caught_up(log, Tables(settings)))
    monkeypatch.setattr(PartitionReader, "take", away)
    with pytest.raises(KafkaFault, match="no partition is read") as raised:
        await rebuild(settings)
    assert repr(raised.value.__cause__) == repr(ConnectionError("Connect call failed"))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_readers_and_projectors_go_on_during_a_rebuild(
    settings: ProjectionsSettings, log: Log, tables: Tables
) -> None:
    model, positions = ReadModel(settings), ReadPositions(settings)
    await model.open()
    await positions.open()
    heard = Heard()
    positions.changes.listen(heard)
    stop = asyncio.Event()
    written: list[uuid.UUID] = []

    async def write() -> None:
        cause = 100
        while not stop.is_set():
            cause += 1
            id = uuid.uuid4()
            await log.append(cause % PARTITIONS, id, *run(cause), cause=cause)
            # Every client reads its own writes, on the old tables as on the new ones.
            await positions.wait_cause(cause % PARTITIONS, cause, asyncio.get_running_loop().time() + DEADLINE_SECONDS)
            row = await model.instance(id)
            assert row is not None
            assert row.terminated_at is not None
            assert len(row.stages) == 1
            written.append(id)

    async with running(settings) as process:
        await until(lambda: caught_up(log, tables))
        writing = asyncio.create_task(write())
        oid = tables.rows("SELECT 'instances'::regclass::oid")
        await until(lambda: len(written) > 5)
        for _ in range(2):
            before = heard.misses
            await rebuilt(settings)
            await until(lambda before=before: heard.misses > before)  # type: ignore[misc]
            assert tables.rows("SELECT 'instances'::regclass::oid") != oid
            after = len(written)
            await until(lambda after=after: len(written) > after + 5)  # type: ignore[misc]
        stop.set()
        await writing
        await until(lambda: caught_up(log, tables))
        await until(lambda: process.projections.ready)
    shown = {row.id for part in [part async for part in model.instances()] for row in part.rows}
    assert shown >= set(written)
    assert len(shown) == 21 + len(written)
    assert leftovers(settings) == []
    await model.close()
    await positions.close()


async def test_the_swap_takes_what_the_live_model_got_meanwhile(
    settings: ProjectionsSettings, log: Log, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap, rename = rebuilding._swap, rebuilding._rename
    behind: list[tuple[object, ...]] = []

    async def late_swap(*args: object) -> bool:
        await log.append(3, uuid.uuid4(), *run(60), cause=60)
        await until(lambda: caught_up(log, tables))
        return await swap(*args)  # type: ignore[arg-type]

    async def checked_rename(*args: object) -> None:
        if str(args[2]).endswith("_replaced"):
            behind.extend(
                tables.rows(
                    "SELECT partition FROM positions live"  # noqa: S608
                    f' JOIN "{settings.database_schema}_rebuild".positions new USING (partition)'
                    " WHERE new.next_offset < live.next_offset"
                )
            )
        await rename(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(rebuilding, "_swap", late_swap)
    monkeypatch.setattr(rebuilding, "_rename", checked_rename)
    async with running(settings):
        await until(lambda: caught_up(log, tables))
        await rebuild(settings)
    assert behind == []


async def test_what_is_written_while_the_live_positions_are_locked_waits_for_the_swap(
    settings: ProjectionsSettings, log: Log, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = rebuilding._rename

    async def slow_rename(*args: object) -> None:
        # The live projector's write is blocked by now, with a plan over the old tables.
        if str(args[2]).endswith("_replaced"):
            await log.append(2, late, *run(50), cause=50)
            await until(
                lambda: tables.rows(
                    "SELECT 1 FROM pg_stat_activity WHERE application_name = 'orchestration projections'"
                    " AND wait_event_type = 'Lock'"
                )
            )
        await rename(*args)  # type: ignore[arg-type]

    late = uuid.uuid4()
    monkeypatch.setattr(rebuilding, "_rename", slow_rename)
    async with running(settings):
        await until(lambda: caught_up(log, tables))
        await rebuild(settings)
        await until(lambda: caught_up(log, tables))
    assert tables.rows(f"SELECT error FROM instances WHERE id = '{late}' AND terminated_at IS NOT NULL") == [(None,)]  # noqa: S608


@pytest.mark.parametrize(
    "limit", ["idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout"]
)
async def test_a_rebuild_may_take_longer_than_the_database_lets_others(
    settings: ProjectionsSettings, log: Log, tables: Tables, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    rename, make = rebuilding._rename, indexes.make

    async def slow_rename(*args: object) -> None:
        await asyncio.to_thread(tables.rows, "SELECT pg_sleep(0.5)")
        await rename(*args)  # type: ignore[arg-type]

    async def slow_make(*args: object) -> None:
        await make(*args)  # type: ignore[arg-type]
        await asyncio.to_thread(tables.rows, "SELECT pg_sleep(0.5)")

    monkeypatch.setattr(rebuilding, "_rename", slow_rename)
    monkeypatch.setattr(indexes, "make", slow_make)
    async with running(settings):
        await until(lambda: caught_up(log, tables))
    await rebuild(replace(settings, database_url=make_conninfo(settings.database_url, options=f"-c {limit}=300")))
    assert caught_up(log, tables)
    assert leftovers(settings) == []


async def test_an_interrupted_rebuild_leaves_the_live_model_alone(
    settings: ProjectionsSettings, log: Log, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings):
        await until(lambda: caught_up(log, tables))
        await until(lambda: not tables.rows("SELECT 1 FROM positions WHERE topic_id = ''"))
    live = snapshot(tables)
    rename = rebuilding._rename

    async def crash(*args: object) -> None:
        await rename(*args)  # type: ignore[arg-type]
        raise ConnectionError("gone")

    monkeypatch.setattr(rebuilding, "_rename", crash)
    with pytest.raises(ConnectionError):
        await rebuild(settings)
    assert snapshot(tables) == live
    monkeypatch.undo()
    await rebuild(settings)
    assert snapshot(tables) == live | {"rejections": tables.rows(SNAPSHOT["rejections"])}


async def delete_records(settings: ProjectionsSettings, log: Log) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    place = TopicPartition(topic_name(settings, EVENTS), 2)
    await admin.delete_records({place: RecordsToDelete(before_offset=5)})
    await admin.close()


async def be_ahead(settings: ProjectionsSettings, log: Log) -> None:
    Tables(settings).rows("UPDATE positions SET next_offset = next_offset + 1 WHERE partition = 2")


async def be_of_another_topic(settings: ProjectionsSettings, log: Log) -> None:
    Tables(settings).rows("UPDATE positions SET topic_id = 'another' WHERE partition = 2")


async def fill(settings: ProjectionsSettings, log: Log) -> None:
    await log.put(2, filler(0))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (delete_records, "begins at offset 5"),
        (be_ahead, r"ends at offset \d+, but the read model has what came up to"),
        (be_of_another_topic, "was created again since"),
        (fill, r"has a filler at offset \d+"),
    ],
)
async def test_what_the_log_does_not_hold_is_not_lost(
    settings: ProjectionsSettings,
    log: Log,
    tables: Tables,
    harm: Callable[[ProjectionsSettings, Log], Awaitable[None]],
    reason: str,
) -> None:
    async with running(settings):
        await until(lambda: caught_up(log, tables))
    await harm(settings, log)
    live = snapshot(tables)
    with pytest.raises(RowsWouldBeLost, match=rf"events, partition 2 {reason}.* would lose these rows"):
        await rebuild(settings)
    assert snapshot(tables) == live


async def test_the_read_model_of_a_newer_build_is_not_replaced(
    settings: ProjectionsSettings, log: Log, tables: Tables
) -> None:
    assert sum(log.ends.values()) > 0
    migrate(settings, {**shipped(), "9001_later.sql": b"ALTER TABLE instances ADD COLUMN later text"})
    with pytest.raises(SchemaTooNew, match=r"9001_later\.sql"):
        await rebuild(settings)
    assert tables.rows("SELECT later FROM instances") == []


async def test_one_rebuild_at_a_time(settings: ProjectionsSettings, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(log.ends.values()) > 0
    swap, one_has_ended = rebuilding._swap, asyncio.Event()

    async def late_swap(*args: object) -> bool:
        await one_has_ended.wait()  # the other one, which meets this one under way
        return await swap(*args)  # type: ignore[arg-type]

    async def rebuild_here() -> None:
        try:
            await rebuild(settings)
        finally:
            one_has_ended.set()

    monkeypatch.setattr(rebuilding, "_swap", late_swap)
    async with asyncio.timeout(DEADLINE_SECONDS):
        results = await asyncio.gather(rebuild_here(), rebuild_here(), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType", RebuildInProgress.__name__]
