"""Restores: what they read, which snapshots they leave aside, and what one event that can't be used may stop."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from engine import restore as restoring
from engine.core.duplicates import DEFAULT_BOUNDS
from engine.core.shard import Shard
from engine.errors import SnapshotUnusable
from engine.metrics import Metrics
from engine.ports import Clock, LogState
from engine.restore import Restore, Restored
from engine.snapshot_records import MARKER_KEY
from schemas.commands import AbortInstance
from schemas.events import EventReceived, PartitionClaimed
from schemas.fillers import filler, notice
from schemas.log_integrity import LogFault
from schemas.records import NewRecord, Record, RecordCodec
from tests.ports.log import Log, MemoryEventLog, StoredRecord
from tests.ports.snapshots import MemorySnapshots, SnapshotTopic
from tests.simulation.loop import START, VirtualClock, simulate
from tests.unit.engine.test_partition import HeldLog, Owner, id_of
from tests.unit.engine.test_snapshot_rounds import GO, SECONDS, WAITING, World, inspected, simulated

CODEC = RecordCodec()


class CountingLog(MemoryEventLog):
    """A quiet log that notes what is read."""

    def __init__(self, log: Log):
        super().__init__(log)
        self.read_offsets: list[int] = []

    async def read(self, partition: int, start: int, stop: int) -> AsyncIterator[Sequence[Record]]:
        async for records in super().read(partition, start, stop):
            self.read_offsets += [record.offset for record in records]
            yield records


async def restore(
    log: Log, topic: SnapshotTopic | None = None, clock: Clock | None = None, reader: MemoryEventLog | None = None
) -> Restored:
    """A restore of partition 0 for an owner that claims it now."""
    return await Restore(
        0,
        log=reader or CountingLog(log),
        snapshots=MemorySnapshots(topic),
        codec=CODEC,
        clock=clock or VirtualClock(),
        metrics=Metrics(CollectorRegistry()),
        bounds=DEFAULT_BOUNDS,
    ).run(len(log.events[0]), inspected(log, topic))


async def world_with_snapshot() -> World:
    """A log with two owners, a snapshot in its middle, and events behind it."""
    world = World()
    first = await world.owner()
    for name in "abc":
        await first.command(WAITING, name)
    await first.command(AbortInstance(), "b")
    first.task.cancel()
    await asyncio.wait([first.task])
    owner = await world.owner()
    await owner.command(GO, "a")
    await asyncio.sleep(SECONDS)
    assert world.markers
    await owner.command(WAITING, "d")
    await owner.command(AbortInstance(), "c")
    await world.end()
    return world


# From a snapshot


@simulated
async def test_only_the_snapshot_and_the_events_behind_it_are_read() -> None:
    world = await world_with_snapshot()
    log = CountingLog(world.log)
    restored = await restore(world.log, world.topic, reader=log)
    whole = await restore(world.log)
    assert restored.marker == world.markers[-1]
    assert whole.marker is None
    assert restored.shard.contents() == whole.shard.contents()
    assert restored.next_command == whole.next_command == 7
    at = world.markers[-1].next_offset
    assert at > 5
    assert log.read_offsets == list(range(at - 1, len(world.log.events[0]))), "and the record before it, to check it"


@simulated
async def test_a_snapshot_is_enough_where_older_events_have_expired() -> None:
    world = await world_with_snapshot()
    whole = await restore(world.log)
    at = world.markers[-1].next_offset
    for oldest in (at - 1, at):
        world.log.expire(0, oldest)
        restored = await restore(world.log, world.topic)
        assert restored.shard.contents() == whole.shard.contents()
    world.log.expire(0, at + 1)
    with pytest.raises(LogFault, match=f"the 1 records from offset {at} on were deleted"):
        await restore(world.log, world.topic)


@simulated
async def test_a_snapshot_of_all_events_has_nothing_behind_it() -> None:
    world = await world_with_snapshot()
    owner = await world.owner()
    await asyncio.sleep(SECONDS)
    await world.end()
    assert world.markers[-1].next_offset == len(world.log.events[0])
    restored = await restore(world.log, world.topic)
    assert restored.shard.contents() == owner.partition.shard.contents()


@simulated
async def test_where_others_have_ended_transactions_no_events_are_missing() -> None:
    world = await world_with_snapshot()
    end = len(world.log.events[0])
    owner = await world.owner()
    await asyncio.sleep(SECONDS)
    await world.end()
    assert world.markers[-1].next_offset > end
    world.log.expire(0, world.markers[-1].next_offset - 1)
    append_marks(world.log, 3)
    restored = await restore(world.log, world.topic)
    assert restored.shard.contents() == owner.partition.shard.contents()
    await (await world.owner()).command(WAITING, "e")
    append_marks(world.log, 2)
    await (await world.owner()).command(WAITING, "f")
    await world.end()
    assert (await restore(world.log, world.topic)).shard.instances == restored.shard.instances + 2
    await (await world.owner()).command(WAITING, "g")
    await world.end()
    lacking = LackingLog(world.log, range(len(world.log.events[0]) - 4, len(world.log.events[0]) - 1))
    with pytest.raises(LogFault, match="are missing"):
        await restore(world.log, world.topic, reader=lacking)
    world.log.append_events(0, [filler(0)])  # somebody knows it
    assert (await restore(world.log, world.topic, reader=lacking)).shard.instances >= restored.shard.instances + 2


class LackingLog(CountingLog):
    """A log that lacks records."""

    def __init__(self, log: Log, missing: range):
        super().__init__(log)
        self._missing = missing

    async def read(self, partition: int, start: int, stop: int) -> AsyncIterator[Sequence[Record]]:
        async for records in super().read(partition, start, stop):
            if kept := [record for record in records if record.offset not in self._missing]:
                yield kept


def append_marks(log: Log, count: int) -> None:
    """Let others end so many transactions side by side."""
    for _ in range(count):
        offset = len(log.events[0])
        log.events[0].append(StoredRecord(offset, None, None, ()))
        log.marks[0].add(offset)


def _marker(**changed: object) -> Callable[[World], None]:
    """Change the last marker."""

    def change(world: World) -> None:
        record = world.topic[0].records[-1]
        value = {**msgspec.json.decode(record.value or b""), **changed}
        world.topic[0].records[-1] = StoredRecord(record.offset, record.key, msgspec.json.encode(value), ())

    return change


def _record(key: bytes, value: bytes | None) -> Callable[[World], None]:
    """Put a record before the last marker, as whatever loses or makes one might."""

    def change(world: World) -> None:
        world.topic[0].records.insert(-1, StoredRecord(0, key, value, ()))

    return change


def _other_epoch(world: World) -> None:
    at = world.markers[-1].next_offset - 1
    record = world.log.events[0][at]
    headers = tuple((name, b"0" if name == "epoch" else value) for name, value in record.headers)
    world.log.events[0][at] = StoredRecord(at, record.key, record.value, headers)


UNUSABLE = [
    pytest.param(lambda world: world.topic[0].records.pop(), "does not end with a marker", id="no marker"),
    pytest.param(_marker(schema=6), "schemas 1 to 5: a newer build has written it", id="newer schema"),
    pytest.param(_marker(schema=0), "it is of schema 0, and this build reads schemas 1 to 5\n", id="another schema"),
    pytest.param(_marker(schema=None), "its marker can't be read", id="no schema"),
    pytest.param(_marker(next_offset=0), "its marker can't be read", id="damaged marker"),
    pytest.param(lambda world: world.topic[0].records.pop(0), "entries, but its marker says", id="lost entry"),
    pytest.param(_record(f"instance/{id_of('z')}".encode(), b"{}"), "entries, but its marker says", id="another entry"),
    pytest.param(_record(f"instance/{id_of('a')}".encode(), b"{"), "section instance: ", id="damaged entry"),
    pytest.param(_record(f"instance/{id_of('a')}".encode(), None), "entries, but its marker says", id="gone entry"),
    pytest.param(_record(b"\xff\xfe", b"1"), "entries, but its marker says", id="foreign key"),
]


@pytest.mark.parametrize(("damage", "reason"), UNUSABLE)
def test_a_snapshot_that_is_not_whole_is_left_aside(
    damage: Callable[[World], None], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        world = await world_with_snapshot()
        whole = await restore(world.log)
        damage(world)
        restored = await restore(world.log, world.topic)
        assert restored.marker is None
        assert restored.shard.contents() == whole.shard.contents()
        assert reason in caplog.text
        assert "the snapshot of partition 0 is left aside" in caplog.text
        world.log.expire(0, 1)
        with pytest.raises(SnapshotUnusable, match="the event at offset 0 any more, and its snapshot can't be used"):
            await restore(world.log, world.topic)
        with pytest.raises(SnapshotUnusable, match="and it has no snapshot"):
            await restore(world.log)

    with caplog.at_level(logging.WARNING):
        simulate(scenario())


@pytest.mark.parametrize(
    ("damage", "reason", "text"),
    [
        pytest.param(_marker(next_offset=1000), "cut", "but had records up to 1000", id="beyond the claim"),
        pytest.param(_marker(epoch=1), "claim", "is not of the claim at 1", id="another claim"),
        pytest.param(_other_epoch, "claim", "the log was cut, and has grown again", id="another log"),
    ],
)
def test_a_log_that_does_not_go_on_where_the_snapshot_ends_is_not_restored_without_it(
    damage: Callable[[World], None], reason: str, text: str
) -> None:
    async def scenario() -> None:
        world = await world_with_snapshot()
        damage(world)
        with pytest.raises(LogFault, match=text) as caught:
            await restore(world.log, world.topic)
        assert caught.value.reason == reason
        if reason == "claim":
            world.log.append_events(0, [filler(0)])
            assert (await restore(world.log, world.topic)).marker is not None

    simulate(scenario())


@simulated
async def test_fillers_take_the_place_of_what_was_lost() -> None:
    world = await world_with_snapshot()
    whole = await restore(world.log, world.topic)
    at = world.markers[-1].next_offset
    del world.log.events[0][at - 3 :]
    world.log.append_events(0, [filler(0)] * 5)
    restored = await restore(world.log, world.topic)
    assert restored.marker == whole.marker
    assert restored.next_command == world.markers[-1].next_command
    owner = await world.owner()
    await owner.command(WAITING, "e")
    await world.end()
    found = await restore(world.log, world.topic)
    assert found.shard.instance(id_of("e")) is not None


@simulated
async def test_behind_a_gap_that_is_known_the_events_count_that_are_there() -> None:
    world = await world_with_snapshot()
    owner = await world.owner()
    await owner.command(WAITING, "e")
    await world.end()
    claim = owner.partition.epoch
    world.log.expire(0, claim + 1)
    with pytest.raises(LogFault, match="were deleted before they were read"):
        await restore(world.log, world.topic)
    world.log.append_events(0, [filler(0)])
    restored = await restore(world.log, world.topic)
    assert restored.shard.instance(id_of("e")) is not None, "the claim is deleted, but it is known by what follows it"
    assert restored.shard.instance(id_of("d")) is None


@simulated
async def test_a_record_without_its_claim_stops_a_restore_until_a_filler_is_behind_it() -> None:
    world, owner = await waiting("a")
    _put(world.log, id_of("a"), _event("a"))
    at = len(world.log.events[0]) - 1
    record = world.log.events[0][at]
    headers = tuple((name, b"%d" % (at - 1) if name == "epoch" else value) for name, value in record.headers)
    world.log.events[0][at] = StoredRecord(at, record.key, record.value, headers)
    with pytest.raises(LogFault, match=f"the record at offset {at} belongs to a claim at offset {at - 1}"):
        await restore(world.log)
    world.log.append_events(0, [filler(0)])
    restored = await restore(world.log)
    assert restored.shard.contents() == owner.partition.shard.contents()


def test_an_owner_that_goes_on_until_the_claim_has_cut_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        world = World()
        before = await world.owner()
        await before.command(WAITING, "a")
        owner, looks = Owner(world.log), 0

        async def look(partition: int) -> LogState:
            nonlocal looks
            looks += 1
            state = await HeldLog.look(owner.event_log, partition)
            if looks == 1:
                await before.command(GO, "a")
            return state

        monkeypatch.setattr(owner.event_log, "look", look)
        await asyncio.sleep(1.0)
        assert not owner.task.done()
        assert owner.partition.next_command == len(world.log.commands[0])
        owner.task.cancel()
        await asyncio.wait([owner.task])
        await world.end()

    simulate(scenario())


@simulated
async def test_claims_know_of_commands_that_were_lost() -> None:
    world, _ = await waiting("a", "b")
    claim = PartitionClaimed(at=START, owner="e", commands_end=1001)
    world.log.append_events(0, [CODEC.encode("", claim, timestamp_ms=0)])
    with pytest.raises(LogFault, match="topic commands, partition 0: it ends at offset 2, but had commands up to 1001"):
        await restore(world.log)


@simulated
async def test_what_is_gone_in_a_topic_that_is_not_compacted_stays_gone() -> None:
    world = await world_with_snapshot()
    world.topic[0].records.insert(-1, StoredRecord(0, b"\xff\xfe", b"1", ()))
    world.topic[0].records.insert(-1, StoredRecord(0, b"\xff\xfe", None, ()))
    assert (await restore(world.log, world.topic)).marker is not None
    world.topic[0].compact()
    assert (await restore(world.log, world.topic)).marker is not None


@simulated
async def test_an_owner_whose_snapshot_could_not_be_used_writes_it_whole() -> None:
    world = await world_with_snapshot()
    world.topic[0].records.pop()
    owner = await world.owner()
    await asyncio.sleep(2 * SECONDS)
    await world.check(owner)
    await world.end()


# Events that can't be used


def _put(log: Log, key: str, value: bytes | None, kind: str = "EventReceived", cause: int | None = 99) -> None:
    headers = [("type", kind.encode()), ("version", b"3"), ("epoch", b"%d" % _epoch(log))]
    if cause is not None:
        headers.append(("cause", b"%d" % cause))
    log.append_events(0, [NewRecord(key.encode(), value, headers, 0)])


def _epoch(log: Log) -> int:
    return max(record.offset for record in log.events[0] if dict(record.headers)["type"] == b"PartitionClaimed")


async def waiting(*names: str) -> tuple[World, Owner]:
    """A log with instances that wait; its owner has ended."""
    world = World()
    owner = await world.owner()
    for name in names:
        await owner.command(WAITING, name)
    await world.end()
    return world, owner


def _event(name: str) -> bytes:
    return CODEC.encode(id_of(name), EventReceived(at=START, name="go", payload={}), timestamp_ms=0).value or b""


@simulated
async def test_a_log_whose_events_were_lost_is_not_whole_without_a_snapshot() -> None:
    world, _ = await waiting("a")
    world.log.events[0].clear()
    world.log.append_events(0, [filler(0)] * 5)
    assert (await restore(world.log)).shard.instances == 0, "somebody knows it, and nothing has happened since"
    owner = await world.owner()
    await owner.command(WAITING, "b")
    await world.end()
    with pytest.raises(SnapshotUnusable, match="events are lost, in whose place are fillers from 0 on, and it has no"):
        await restore(world.log)
    world.log.append_events(0, [notice(0)])
    assert (await restore(world.log)).shard.instances == 1


@simulated
async def test_a_notice_takes_the_place_of_no_event() -> None:
    world, owner = await waiting("a")
    world.log.append_events(0, [notice(0)])
    _put(world.log, id_of("a"), _event("a"))
    assert (await restore(world.log)).shard.instances == owner.partition.shard.instances


@pytest.mark.parametrize(
    ("value", "kind"), [(b"{", "EventReceived"), (None, "EventReceived"), (b'{"at": 1}', "EventReceived")]
)
def test_an_event_that_can_not_be_decoded_sets_its_aggregate_aside(
    value: bytes | None, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        world, _ = await waiting("a", "b")
        _put(world.log, id_of("a"), value, kind)
        restored = await restore(world.log)
        assert set(restored.shard.aside) == {id_of("a")}
        assert restored.shard.instance(id_of("a")) is None
        assert restored.shard.instance(id_of("b")) is not None
        assert restored.next_command == 100, "the command was decided all the same"
        assert f"aggregate {id_of('a')} of partition 0 is set aside: the event at offset 5 can't be used" in caplog.text

    simulate(scenario())


@simulated
async def test_an_event_of_no_aggregate_that_can_not_be_decoded_sets_nothing_aside() -> None:
    world, owner = await waiting("a")
    _put(world.log, "", b"{", "ClaimConfirmed")
    restored = await restore(world.log)
    assert restored.shard.aside == {}
    assert restored.shard.instances == owner.partition.shard.instances
    assert restored.next_command == 100, "the command was decided all the same"


@simulated
async def test_an_event_that_does_not_follow_sets_its_aggregate_aside_also_in_snapshots() -> None:
    world, _ = await waiting("a")
    _put(world.log, id_of("nobody"), _event("nobody"), cause=None)
    owner = await world.owner()
    assert set(owner.partition.shard.aside) == {id_of("nobody")}
    await owner.command(AbortInstance(), "nobody")
    await owner.command(AbortInstance(), "a")
    assert owner.events()[-3:] == ["CommandRejected", "StageEnded", "InstanceEnded"]
    await asyncio.sleep(2 * SECONDS)
    await world.end()
    world.log.expire(0, world.markers[-1].next_offset)
    restored = await restore(world.log, world.topic)
    assert set(restored.shard.aside) == {id_of("nobody")}


@simulated
async def test_an_event_of_a_newer_build_stops_the_partition() -> None:
    world, _ = await waiting("a", "b")
    _put(world.log, id_of("a"), b"{}", "InstancePaused")
    with pytest.raises(LogFault, match=r"unknown type 'InstancePaused'.*upgraded") as caught:
        await restore(world.log)
    assert caught.value.reason == "newer"


# Others meanwhile


class InstantLog(CountingLog):
    """A log that takes no time: the time of the simulation stands still while anything is ready to run."""

    async def _latency(self) -> None:
        pass


class SteppingClock(VirtualClock):
    """A clock by which every look at it takes a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def monotonic(self) -> float:
        self.steps += 1
        return self.steps / 1000


@simulated
async def test_others_run_every_few_milliseconds_of_a_restore() -> None:
    world = World()
    owner = await world.owner()
    for n in range(1000):
        await owner.command(WAITING, str(n))
    await world.end()
    assert len(world.topic[0].content) > 900
    for topic in (None, world.topic):
        clock, seen = SteppingClock(), list[int]()

        async def look(clock: SteppingClock = clock, seen: list[int] = seen) -> None:
            while True:
                seen.append(clock.steps)
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        await restore(world.log, topic, clock, InstantLog(world.log))
        looking.cancel()
        assert len(seen) > 5
        assert max(after - before for before, after in itertools.pairwise(seen)) <= 10


def test_the_progress_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "LOG_SECONDS", 0.005)

    async def scenario() -> None:
        world = await world_with_snapshot()
        await restore(world.log, world.topic, SteppingClock())

    with caplog.at_level(logging.INFO):
        simulate(scenario())
    assert "partition 0 is being restored:" in caplog.text
    assert "partition 0 is restored from" in caplog.messages[-1]


@simulated
async def test_a_log_whose_records_are_all_gone_is_not_an_empty_one() -> None:
    log = Log(1)
    log.append_events(0, [CODEC.encode("", PartitionClaimed(at=START, owner="e"), timestamp_ms=0)] * 4)
    log.expire(0, 4)
    with pytest.raises(SnapshotUnusable, match="and it has no snapshot"):
        await restore(log)
    assert (await restore(Log(1))).next_command == 0


def test_markers_have_a_key_of_their_own() -> None:
    assert all(section.name != MARKER_KEY.decode() for section in Shard().sections)
