"""The comparison of log and read model, both in memory."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from projections.errors import StoreAway
from projections.memory import MemoryDatabase, MemoryStore, Tables
from projections.metrics import Metrics
from projections.projector import Projector
from projections.rows import ReadPosition
from projections.verification import Report, replay, verify
from projections.verification.buckets import COUNT, Buckets, Fingerprints, bucket_of
from projections.verification.errors import CannotVerify, ReadModelMoved
from projections.verification.folded import FoldedStore
from projections.verification.read_model import Look, MemoryReadModel, MemorySnapshot
from schemas import events
from schemas.fillers import filler
from schemas.kafka import KafkaFault, NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.log_integrity import LogFault
from schemas.records import NewRecord, RecordCodec
from schemas.settings import ProjectionsSettings
from tests.definitions import definition

START: Final = datetime(2026, 3, 1, 10, tzinfo=UTC)
NOW: Final = START + timedelta(hours=30)
PARTITIONS: Final = 2
SETTINGS: Final = ProjectionsSettings(rejections_retention_seconds=24 * 3600)
CODEC: Final = RecordCodec()
WORKFLOW: Final = str(UUID(int=1))
TRIGGER: Final = str(UUID(int=2))


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def id(number: int) -> str:
    return str(UUID(int=number))


def instance(*, ended: bool = True, error: str | None = None) -> list[Any]:
    """The events of an instance with one stage that needs a call."""
    stage: dict[str, Any] = {"stage": 0, "index": 0}
    going = [
        events.InstanceStarted(at=at(1), workflow_id=WORKFLOW, stages=Raw(b"[]"), variables={}),
        events.StageStarted(at=at(1), workflow_id=WORKFLOW, number=0, name="RunSend", input={"n": 10**30}),
        events.ActivityStarted(at=at(1), **stage, name="GetWallet", input={"id": "w"}),
        events.ActivityFailed(at=at(2), **stage, attempt=1, error="503", retry_at=at(3)),
        events.EventReceived(at=at(2), name="x", request_key=id(77), request_digest="d"),
    ]
    end = [
        events.ActivityEnded(at=at(3), **stage, attempt=2, output={"data": 1}),
        events.StageEnded(at=at(3), workflow_id=WORKFLOW, number=0, error=error),
        events.InstanceEnded(at=at(3), workflow_id=WORKFLOW, error=error),
    ]
    return [*going, *end] if ended else going


class World:
    """A log, and the read model that is made of it."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.create(NewTopic("events", PARTITIONS, 1))
        self.database = MemoryDatabase(lambda: NOW)
        self.projector = Projector(MemoryStore(self.database), Metrics(CollectorRegistry()), 3)
        self.causes = 0

    def claim(self, partition: int) -> None:
        claim = events.PartitionClaimed(at=START, owner="engine")
        self.put(partition, CODEC.encode("", claim, timestamp_ms=0))

    def put(self, partition: int, *records: NewRecord) -> None:
        self.cluster.append(Place("events", partition), records)

    def append(self, partition: int, id: str, *happened: Any, epoch: int = 0) -> None:
        self.causes += 1
        for version, event in enumerate(happened, 1):
            cause = self.causes
            self.put(partition, CODEC.encode(id, event, timestamp_ms=0, version=version, cause=cause, epoch=epoch))

    async def project(self, *, at_most: int | None = None) -> None:
        """Bring the read model up to the end of the log, or so many records of each partition further."""
        await self.projector.load(range(PARTITIONS))
        for partition, records in self.cluster.records("events").items():
            start = self.projector.positions[partition].next_offset
            await self.projector.project({partition: records[start:][:at_most]})

    async def verify(self, **options: Any) -> Report:
        model = options.pop("read_model", None) or MemoryReadModel(self.database)
        return await verify(SETTINGS, kafka=MemoryKafka(self.cluster), read_model=model, **options)


@pytest.fixture
async def world() -> World:
    """Something of everything."""
    world = World()
    for partition in range(PARTITIONS):
        world.claim(partition)
    world.append(0, WORKFLOW, events.WorkflowCreated(at=at(0), name="payout", stages=[{"noop": {}}]))
    for number in range(100, 130):
        world.append(
            number % PARTITIONS, id(number), *instance(ended=number % 3 > 0, error="x" if number > 120 else None)
        )
    trigger = events.TriggerCreated(at=at(1), name="T", event="X", workflow_id=WORKFLOW, vars={"a": "1"})
    occurred: dict[str, Any] = {"event": {"n": 1}, "source": "s", "offset": 1}
    fired: dict[str, Any] = {"workflow_id": WORKFLOW, "instance_id": id(100), "stages": Raw(b"[]"), "variables": {}}
    world.append(
        1,
        TRIGGER,
        trigger,
        events.TriggerFired(at=at(2), occurrence_id=id(40), **occurred, **fired),
        events.TriggerFailed(at=at(2), occurrence_id=id(41), **occurred, error="no link"),
    )
    world.append(0, id(500), events.CommandRejected(at=at(1), code="ENDED", message="old"))
    world.append(0, id(500), events.CommandRejected(at=at(20), code="ENDED", message="new"))
    world.claim(1)
    end = len(world.cluster.records("events")[1])
    world.append(1, id(100), events.InstanceEnded(at=at(9), workflow_id=WORKFLOW), epoch=0)  # of a superseded owner
    world.append(1, id(101), events.LateResultRecorded(at=at(9), stage=0, index=0, attempt=1), epoch=end - 1)
    await world.project()
    return world


async def test_a_read_model_that_equals_the_log(world: World) -> None:
    report = await world.verify()
    assert list(report.lines()) == [
        "equal: log and Postgres at 2026-03-02 16:00:00 UTC, with 1 workflows, 30 instances, 30 stages, 30 activities,"
        " 0 past_stages, 0 past_activities, 30 event_requests, 60 instance_keys, 1 triggers, 2 occurrences,"
        " 2 rejections, 0 bulks, 0 bulk_outcomes, 0 deleted_instances",
        "compared up to these offsets, by partition: 0:109 1:112",
    ]
    assert report.equal
    assert not report.more
    assert report.positions == {p: len(records) for p, records in world.cluster.records("events").items()}


Damage = Callable[[Tables], None]


RETRIED: Final = id(700)


def failing(seconds: int, *, key_number: int = 0) -> list[Any]:
    """The events of a pass that fails."""
    call: dict[str, Any] = {"stage": 0, "index": 0}
    return [
        events.StageStarted(at=at(seconds), workflow_id=WORKFLOW, number=0, name="RunSend", input={}),
        events.ActivityStarted(at=at(seconds), **call, name="DebitWallet", input={}, key_number=key_number),
        events.ActivityEnded(at=at(seconds), **call, attempt=1, error="no", code="VALIDATION"),
        events.StageEnded(at=at(seconds), workflow_id=WORKFLOW, number=0, error="no"),
        events.InstanceEnded(at=at(seconds), workflow_id=WORKFLOW, error="no"),
    ]


def retry(number: int, seconds: int) -> events.InstanceRetried:
    return events.InstanceRetried(
        at=at(seconds),
        workflow_id=WORKFLOW,
        stages=definition([{"noop": {}}]),
        variables={},
        version=9,
        retries=number,
        stage=0,
    )


@pytest.mark.parametrize("at_once", [True, False])
async def test_all_passes_of_an_instance_are_compared(world: World, at_once: bool) -> None:
    start = events.InstanceStarted(
        at=at(4), workflow_id=WORKFLOW, stages=definition([{"noop": {}}]), variables={"order": "A-1"}
    )
    passes = [[start, *failing(4)], [retry(1, 5), *failing(5, key_number=1)], [retry(2, 6), *failing(6)[:2]]]
    for happened in [[event for some in passes for event in some]] if at_once else passes:
        world.append(0, RETRIED, *happened)
        await world.project()
    tables = world.database.tables
    assert sorted(tables.past_stages) == [(RETRIED, 0, 0), (RETRIED, 0, 1)]
    assert [row.key_number for row in tables.past_activities.values()] == [None, 1]
    instance = tables.instances[RETRIED]
    assert (instance.terminated_at, instance.error, instance.retries, instance.state) == (None, None, 2, "running")
    assert (await world.verify()).equal
    for damage in (
        changed("past_stages", (RETRIED, 0, 1), error="yes"),
        missing("past_activities", (RETRIED, 0, 0, 0)),
        changed("instances", RETRIED, retries=1),
    ):
        whole = tables.copy()
        damage(tables)
        report = await world.verify()
        assert len(report.differences) >= 1
        assert not report.equal
        for name, table in vars(whole).items():
            setattr(tables, name, table)


def changed(table: str, key: Any, /, **values: Any) -> Damage:
    def damage(tables: Tables) -> None:
        rows = getattr(tables, table)
        rows[key] = replace(rows[key], **values)

    return damage


def missing(table: str, key: Any) -> Damage:
    return lambda tables: getattr(tables, table).pop(key)


def too_many(table: str, place: Any, of: Any, /, **values: Any) -> Damage:
    def damage(tables: Tables) -> None:
        rows = getattr(tables, table)
        rows[place] = replace(rows[of], **values)

    return damage


OTHER: Final = at(29)
DAMAGES: Final = {
    "workflows": [
        changed("workflows", WORKFLOW, name="paYout"),
        changed("workflows", WORKFLOW, definition="[]"),
        changed("workflows", WORKFLOW, deleted_at=OTHER),
        missing("workflows", WORKFLOW),
        too_many("workflows", id(9), WORKFLOW, id=id(9)),
    ],
    "instances": [
        changed("instances", id(100), updated_at=OTHER),
        changed("instances", id(102), terminated_at=OTHER),
        changed("instances", id(102), error="x"),
        changed("instances", id(101), workflow_id=id(9)),
        changed("instances", id(101), request="d"),
        missing("instances", id(101)),
        missing("instances", id(102)),
        too_many("instances", id(9), id(100), id=id(9)),
    ],
    "stages": [
        changed("stages", (id(100), 0), input='{"n": 1}'),
        changed("stages", (id(103), 0), terminated_at=None),
        missing("stages", (id(101), 0)),
        too_many("stages", (id(101), 1), (id(101), 0), number=1),
    ],
    "activities": [
        changed("activities", (id(100), 0, 0), attempt=3),
        changed("activities", (id(102), 0, 0), next_execution=OTHER),
        changed("activities", (id(102), 0, 0), last_failure="504"),
        changed("activities", (id(103), 0, 0), output=None),
        missing("activities", (id(101), 0, 0)),
        too_many("activities", (id(101), 0, 1), (id(101), 0, 0), index=1),
    ],
    "event_requests": [
        changed("event_requests", (id(101), id(77)), request="e"),
        missing("event_requests", (id(102), id(77))),
        too_many("event_requests", (id(101), id(78)), (id(101), id(77)), key=id(78)),
    ],
    "triggers": [
        changed("triggers", TRIGGER, folded_name="T"),
        changed("triggers", TRIGGER, vars='{"a":"2"}'),
        missing("triggers", TRIGGER),
    ],
    "occurrences": [
        changed("occurrences", id(40), workflow_instance_id=None),
        changed("occurrences", id(41), error="a link"),
        missing("occurrences", id(41)),
        too_many("occurrences", id(42), id(41), id=id(42)),
    ],
    "rejections": [
        changed("rejections", (0, 34), message="newer"),
        missing("rejections", (0, 34)),
        too_many("rejections", (0, 35), (0, 34), cause=35),
    ],
    "positions": [
        changed("positions", 0, cause=35),
        changed("positions", 1, epoch=0),
    ],
}


@pytest.mark.parametrize(
    ("table", "damage"),
    [
        pytest.param(table, damage, id=f"{table} {n}")
        for table, some in DAMAGES.items()
        for n, damage in enumerate(some)
    ],
)
async def test_every_kind_of_difference_is_found(world: World, table: str, damage: Damage) -> None:
    damage(world.database.tables)
    report = await world.verify()
    assert [difference.table for difference in report.differences] == [table], list(report.lines())
    assert not report.equal
    assert not report.more


async def test_counts_are_compared_where_the_rows_are_right(world: World) -> None:
    counts = world.database.tables.counts
    now = next(key for key in counts if key.what == "waiting" or key.what == "retrying")
    counts[now] += 1
    del counts[next(key for key in counts if key.stage == 0 and key.what == "failed")]
    lines = list((await world.verify()).lines())
    assert lines[:4] == [
        "counts, what failed, stage 0, day 2026-03-01, bucket 35:",
        "  count: the log says 6, Postgres says 0",
        f"counts, what retrying, workflow {WORKFLOW}:",
        "  count: the log says 10, Postgres says 11",
    ]
    missing("instances", id(101))(world.database.tables)
    assert {difference.table for difference in (await world.verify()).differences} == {"instances"}


async def test_differences_are_told_by_row_and_column(world: World) -> None:
    tables = world.database.tables
    changed("instances", id(101), error="lost", terminated_at=None)(tables)
    changed("stages", (id(101), 0), input='{"n":1000000000000000000000000000000,"text":"' + "x" * 500 + '"}')(tables)
    missing("activities", (id(104), 0, 0))(tables)
    too_many("occurrences", id(42), id(41), id=id(42))(tables)
    changed("positions", 1, cause=99)(tables)
    lines = list((await world.verify()).lines())
    assert lines[:-2] == [
        "positions, partition 1:",
        "  cause: the log says 36, Postgres says 99",
        f"instances, id {id(101)}:",
        "  terminated_at: the log says 2026-03-01T13:00:00+00:00, Postgres says nothing",
        "  error: the log says nothing, Postgres says lost",
        f"stages, instance_id {id(101)}, number 0:",
        '  input: the log says …00000000000000000000}, Postgres says …00000000000000000000,"text":"' + "x" * 131 + "…",
        f"activities, instance_id {id(104)}, stage 0, index 0: the row is missing in Postgres",
        f"occurrences, id {id(42)}: the row is not in the log",
    ]
    assert lines[-2].startswith(
        "DIFFERENT: log and Postgres at 2026-03-02 16:00:00 UTC, with 1 workflows, 30 instances"
    )


async def test_only_the_first_differences_are_told(world: World) -> None:
    world.database.tables.stages.clear()
    report = await world.verify(limit=5)
    assert len(report.differences) == 5
    assert report.more
    assert "there may be more differences; --limit shows more of them" in report.lines()
    assert not (await world.verify(limit=30)).more


@pytest.mark.parametrize("max_bytes", [1, 20_000])
async def test_little_memory_means_more_passes(world: World, max_bytes: int) -> None:
    told: list[str] = []
    report = await world.verify(max_bytes=max_bytes, progress=lambda done, total, what: told.append(what))
    assert report.equal
    assert "pass 2: records of the log" in told
    for damages in DAMAGES.values():
        damages[0](world.database.tables)
    report = await world.verify(max_bytes=max_bytes)
    assert {difference.table for difference in report.differences} == set(DAMAGES)


async def test_both_go_on_while_it_looks(world: World) -> None:
    """Whatever it reads next, log and read model have moved on a little."""
    numbers = iter(range(1000, 10_000))

    class MovingModel(MemoryReadModel):
        async def _move(self) -> None:
            for _ in range(3):
                number = next(numbers)
                world.append(0, id(number), *instance(ended=number % 2 > 0))
                world.append(0, id(number - 1), *instance()[5:])
            await world.project(at_most=7)

        async def now(self) -> Look:
            before = await super().now()
            await self._move()
            return before

        def snapshot(self) -> Any:
            return Moving(super().snapshot(), self._move)

    class Moving:
        def __init__(self, snapshot: Any, move: Callable[[], Any]):
            self._snapshot, self._move = snapshot, move

        async def __aenter__(self) -> MemorySnapshot:
            await self._move()
            taken: MemorySnapshot = await self._snapshot.__aenter__()
            await self._move()
            return taken

        async def __aexit__(self, *error: Any) -> None:
            await self._snapshot.__aexit__(*error)

    model = MovingModel(world.database)
    for _ in range(5):
        report = await world.verify(read_model=model)
        assert report.equal, list(report.lines())
    changed("instances", id(101), error="lost")(world.database.tables)
    report = await world.verify(read_model=model, max_bytes=20_000)
    assert [difference.key for difference in report.differences] == [{"id": id(101)}]


async def test_rejections_that_were_deleted_are_none_of_its_business(world: World) -> None:
    store = MemoryStore(world.database)
    world.database.rejected_at = dict.fromkeys(world.database.rejected_at, at(0))
    await store.prune_rejections(SETTINGS.rejections_retention_seconds)
    assert len(world.database.tables.rejections) == 1
    assert (await world.verify()).equal
    # Those that may go at any moment aren't compared either.
    too_many("rejections", (0, 90), (0, 34), cause=90, at=at(1))(world.database.tables)
    assert (await world.verify()).equal


async def test_rejections_may_be_deleted_while_it_looks(world: World) -> None:
    del world.database.tables.rejections[0, 34]
    times = [at(43.9), at(43.9), at(44.1)]
    world.database.now = lambda: times.pop(0)
    assert (await world.verify()).equal
    assert times == []


async def test_what_changes_after_its_end_is_compared_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MAX_RECORDS", 3)
    stray = events.StageEnded(at=at(9), workflow_id=WORKFLOW, number=0, error="late")
    epoch = world.projector.positions[1].epoch
    world.append(1, id(101), stray, epoch=epoch)
    world.append(1, id(103), *instance()[2:], epoch=epoch)
    world.append(1, TRIGGER, events.TriggerDeleted(at=at(9)), epoch=epoch)
    world.append(0, id(800), stray)
    await world.project()
    assert world.database.tables.stages[id(101), 0].error == "late"
    assert (await world.verify()).equal
    # The rows are as they were when the instance had ended, so their fingerprints are right.
    changed("stages", (id(101), 0), error=None, terminated_at=at(3))(world.database.tables)
    changed("instances", id(101), updated_at=at(3))(world.database.tables)
    assert {d.table for d in (await world.verify()).differences} == {"instances", "stages"}


async def test_keys_are_compared_and_left_out_where_they_are_turned_off(world: World) -> None:
    del world.database.tables.instance_keys[id(101), "w"]
    (difference,) = (await world.verify()).differences
    assert (difference.table, difference.key) == ("instance_keys", {"instance_id": id(101), "key": "w"})
    world.database.tables.instance_keys.clear()
    for number, row in world.database.tables.instances.items():
        world.database.tables.instances[number] = msgspec.structs.replace(row, keys=None)
    off = msgspec.structs.replace(SETTINGS, search_keys=False)
    report = await verify(off, kafka=MemoryKafka(world.cluster), read_model=MemoryReadModel(world.database))
    assert report.equal


async def test_records_that_cannot_be_read_or_stored_are_left_out(world: World) -> None:
    world.append(0, "not-a-uuid", *instance())
    world.put(0, NewRecord(id(3).encode(), b"{", [("type", b"InstanceEnded"), ("epoch", b"0")], 0))
    await world.project()
    report = await world.verify()
    assert report.equal
    assert "records of the log that can't be decoded or stored are left out, as the projections do" in report.lines()


async def test_a_read_model_that_is_behind_is_compared_up_to_where_it_is(world: World) -> None:
    world.append(0, id(900), *instance())
    await world.project(at_most=3)
    assert (await world.verify()).equal
    empty = MemoryDatabase(lambda: NOW)
    report = await world.verify(read_model=MemoryReadModel(empty))
    assert report.equal
    assert report.positions == {0: 0, 1: 0}
    assert list(report.lines())[-1] == (
        "compared up to these offsets, by partition: 0:0 1:0; the read model has yet to take 229 records behind them"
    )


async def test_a_log_without_its_beginning_cannot_be_compared(world: World) -> None:
    world.cluster.log(Place("events", 1)).expire(5)
    with pytest.raises(CannotVerify, match="partition 1 of events begins at offset 5: what was before is deleted"):
        await world.verify()


async def test_a_log_that_has_lost_records_cannot_be_compared(world: World) -> None:
    world.put(1, filler(0))
    await world.project()
    with pytest.raises(CannotVerify, match="partition 1 of events has a filler at offset 112"):
        await world.verify()
    world.append(0, id(900), *instance(), epoch=105)
    changed("positions", 0, next_offset=110)(world.database.tables)
    with pytest.raises(LogFault, match="belongs to a claim at offset 105, which is not in the log"):
        await world.verify()


async def test_a_log_that_was_cut_or_is_another_one_cannot_be_compared(world: World) -> None:
    found = await MemoryKafka(world.cluster).topic_finder().find("events")
    assert found is not None
    await MemoryStore(world.database).note_topic(found.id, range(PARTITIONS))
    assert (await world.verify()).equal
    changed("positions", 0, topic_id="another")(world.database.tables)
    with pytest.raises(LogFault, match="deleted and created again"):
        await world.verify()
    changed("positions", 0, topic_id=found.id)(world.database.tables)
    world.database.tables.positions[7] = ReadPosition(1)
    with pytest.raises(CannotVerify, match="position of partition 7, but events has 2 partitions"):
        await world.verify()
    del world.database.tables.positions[7]
    world.cluster.log(Place("events", 0)).cut(50)
    with pytest.raises(LogFault, match="ends at offset 50, but had records up to 109"):
        await world.verify()
    world.cluster.delete("events")
    with pytest.raises(CannotVerify, match="topic events does not exist"):
        await world.verify()


class Restless(MemoryReadModel):
    """Goes back to older data between two looks, some times."""

    def __init__(self, database: MemoryDatabase, times: int):
        super().__init__(database)
        self._times, self.older = times, database.backup()

    def snapshot(self) -> Any:
        self._times -= 1
        return MemoryReadModel(self._database if self._times < 0 else self._earlier()).snapshot()

    def _earlier(self) -> MemoryDatabase:
        earlier = MemoryDatabase(self._database.now)
        earlier.tables = self.older
        return earlier


@pytest.mark.parametrize(("times", "finds"), [(2, True), (3, False)])
async def test_a_read_model_that_goes_back_is_looked_at_again(world: World, times: int, finds: bool) -> None:
    model = Restless(world.database, times)
    world.append(0, id(900), *instance())
    await world.project()
    if finds:
        assert (await world.verify(read_model=model)).equal
        return
    with pytest.raises(ReadModelMoved):
        await world.verify(read_model=model)


async def test_a_service_that_is_away_is_told(world: World) -> None:
    class Away(MemoryReadModel):
        async def now(self) -> Look:
            raise StoreAway

    with pytest.raises(StoreAway):
        await world.verify(read_model=Away(world.database))
    with pytest.raises(KafkaFault):
        async with asyncio.timeout(60):
            await verify(SETTINGS, kafka=_Unreachable(world.cluster), read_model=MemoryReadModel(world.database))


class _Unreachable(MemoryKafka):
    def reader(self, *, committed_only: bool = False) -> Any:
        raise KafkaFault("away")


def test_buckets_and_fingerprints() -> None:
    some = Buckets([1, 5, COUNT - 1])
    other = some.copy().without(Buckets([5, 7]))
    other.add(6)
    assert (list(some), list(other)) == ([1, 5, COUNT - 1], [1, 6, COUNT - 1])
    assert (len(some), len(Buckets.every()), len(Buckets())) == (3, COUNT, 0)
    other.end_behind(5)
    assert list(other) == [1]
    assert 5 in some
    assert 5 not in other
    prints = Fingerprints()
    for bucket, hash in [(3, 2**64 - 1), (4, 7), (3, 2**64 - 1), (4, 8)]:
        prints.note(bucket, hash)
    assert list(prints.different()) == [4]


async def test_memory_does_not_grow_with_what_has_ended(world: World) -> None:
    """What has ended leaves nothing behind but its share in the fingerprints."""
    store = FoldedStore(Buckets.every(), 10**9, whole=False, rejected_since=START)
    projector = Projector(store, Metrics(CollectorRegistry()), 100)
    await projector.load(range(PARTITIONS))
    for partition, records in world.cluster.records("events").items():
        await projector.project({partition: records})
    left = [
        values[0] for table in ("instances", "stages", "activities", "event_requests") for values in store.rows(table)
    ]
    assert sorted(set(left)) == [id(number) for number in range(102, 130, 3)]
    assert list(store.rows("occurrences")) == []
    assert set(store._places) == {*left, WORKFLOW, TRIGGER, "0/33", "0/34"}
    assert store._total == sum(store._bytes.values())


def test_ids_fall_into_buckets_evenly() -> None:
    found = {bucket_of(id(number)) for number in range(10_000)}
    assert len(found) > 9_900
