"""Snapshots of a partition at work: what they hold, when they are written, and who may write them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import wraps
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from engine import snapshot_rounds
from engine.core.duplicates import DEFAULT_BOUNDS
from engine.errors import Displaced, SnapshotFailed, Superseded
from engine.log_checks import Inspected, Known, known_by
from engine.metrics import Metrics
from engine.ports import LogState, SnapshotWriter
from engine.restore import Restore, Restored
from engine.snapshot_records import MARKER_KEY, Marker, read_marker, slices
from schemas.commands import AbortInstance, RunWorkflow, SendEvent
from schemas.encryption_marks import KeyMissing
from schemas.events import ClaimConfirmed
from schemas.kafka import Limits
from schemas.log_integrity import key_missing
from schemas.records import NewRecord, Record, RecordCodec
from schemas.topics import MAX_RECORD_BATCH_BYTES, SNAPSHOTS
from tests.definitions import definition
from tests.ports.log import Log
from tests.ports.snapshots import MemorySnapshots, SnapshotTopic
from tests.simulation.loop import VirtualClock, simulate
from tests.unit.engine.test_partition import HeldLog, Owner, id_of

CODEC = RecordCodec()
SECONDS = 10.0
"""When snapshots are due."""
WAITING = RunWorkflow(
    workflow_id=str(UUID(int=1)), stages=definition([{"wait_event": {"event": "go"}}] * 2), variables={}
)
GO = SendEvent(name="go", payload={})


def simulated(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in virtual time."""

    @wraps(test)
    def wrapped(**given: Any) -> None:
        simulate(test(**given))

    return wrapped


class HeldWriter:
    """A writer that does what the test says."""

    def __init__(self, inner: SnapshotWriter, rules: "HeldSnapshots"):
        self._inner, self._rules = inner, rules

    async def append(self, records: Sequence[NewRecord]) -> int:
        self._rules.appended.append([record.key.decode(errors="replace") for record in records])
        await self._rules.appends.wait()
        if self._rules.refuses:
            raise SnapshotFailed("refused")
        base = await self._inner.append(records)
        if self._rules.loses_places:
            raise SnapshotFailed("lost")
        return -1 if self._rules.places_unknown else base

    async def commit(self) -> None:
        await self._rules.commits.wait()
        if self._rules.loses == "commit":
            raise SnapshotFailed("lost")
        await self._inner.commit()
        if self._rules.loses == "answer":
            raise SnapshotFailed("lost")

    async def close(self) -> None:
        await self._inner.close()


class HeldSnapshots(MemorySnapshots):
    """Snapshots that can be held back, refused or lost."""

    def __init__(self, topic: SnapshotTopic | None = None) -> None:
        super().__init__(topic)
        self.appends, self.commits = asyncio.Event(), asyncio.Event()
        self.appends.set()
        self.commits.set()
        self.refuses = False
        self.places_unknown = False
        """Whether nobody learns where records are that were appended."""
        self.loses_places = False
        """Whether what is appended is there, but the answer is lost."""
        self.loses: str | None = None
        """Of a commit: itself, or its answer."""
        self.lacks_key = False
        """Whether another process has written with a key that this one does not have."""
        self.appended: list[list[str]] = []
        """Keys of what was appended at once."""
        self.opened: list[float] = []

    async def open(self, partition: int) -> Any:
        self.opened.append(asyncio.get_running_loop().time())
        return HeldWriter(await super().open(partition), self)

    async def read(self, partition: int) -> AsyncIterator[Sequence[Record]]:
        self._check_key(partition)
        async for records in super().read(partition):
            yield records

    async def last(self, partition: int) -> Record | None:
        self._check_key(partition)
        return await super().last(partition)

    def _check_key(self, partition: int) -> None:
        if self.lacks_key:
            raise key_missing(SNAPSHOTS, partition, KeyMissing("a key is missing"))


def inspected(log: Log, topic: SnapshotTopic | None) -> Inspected:
    """Partition 0 as an owner finds it that is about to claim it; `commands` has more than what was decided."""
    records = topic[0].records if topic else []
    known = known_by(records[-1] if records else None)
    events = Limits(log.starts[0], len(log.events[0]))
    return Inspected(
        LogState(events, Limits(0, 1000), log.events_id, log.commands_id, 1),
        known or Known(),
        has_snapshot=known is not None,
    )


class World:
    """Owners of one partition, one after another or side by side, and their topic of snapshots."""

    def __init__(self) -> None:
        self.log, self.topic = Log(1), SnapshotTopic()
        self.owners: list[Owner] = []

    async def owner(self, snapshots: MemorySnapshots | None = None) -> Owner:
        """One more owner, at work."""
        owner = Owner(self.log, snapshots=snapshots or MemorySnapshots(self.topic))
        self.owners.append(owner)
        await asyncio.sleep(0.1)
        return owner

    @property
    def markers(self) -> list[Marker]:
        """All markers of the topic, in order."""
        return [read_marker(record.value) for record in self.topic[0].records if record.key == MARKER_KEY]

    @property
    def instances(self) -> set[str]:
        """The instances of the newest snapshot."""
        return {(key or b"").decode()[9:] for key in self.topic[0].content if (key or b"").startswith(b"instance/")}

    async def restored(self) -> Restored:
        """What a restore comes to."""
        restore = Restore(
            0,
            log=HeldLog(self.log),
            snapshots=MemorySnapshots(self.topic),
            codec=CODEC,
            clock=VirtualClock(),
            metrics=Metrics(CollectorRegistry()),
            bounds=DEFAULT_BOUNDS,
        )
        return await restore.run(len(self.log.events[0]), inspected(self.log, self.topic))

    async def check(self, owner: Owner) -> None:
        """A restore from the newest snapshot comes to the state of an owner, whole."""
        restored = await self.restored()
        assert restored.marker is not None
        assert restored.shard.contents() == owner.partition.shard.contents()
        assert restored.next_command == len(self.log.commands[0])

    async def end(self) -> None:
        for owner in self.owners:
            owner.task.cancel()
        await asyncio.wait([owner.task for owner in self.owners])


async def with_snapshot_of(names: str) -> tuple[World, HeldSnapshots, Owner]:
    """An owner with instances of these names that wait, all of them in the topic of snapshots."""
    world = World()
    snapshots = HeldSnapshots(world.topic)
    owner = await world.owner(snapshots)
    for name in names:
        await owner.command(WAITING, name)
    await asyncio.sleep(SECONDS)
    return world, snapshots, owner


# What a snapshot holds, and when it is written


@simulated
async def test_a_round_writes_what_changed_since_the_last_one() -> None:
    world, snapshots, owner = await with_snapshot_of("abc")
    assert world.instances == {id_of(name) for name in "abc"}
    assert snapshots.appended[-1] == ["marker"]
    first = len(snapshots.appended)
    await owner.command(GO, "a")
    await owner.command(AbortInstance(), "b")
    await owner.command(WAITING, "d")
    await owner.command(WAITING, "e")
    await owner.command(AbortInstance(), "e")
    await asyncio.sleep(SECONDS)
    keys = {key for some in snapshots.appended[first:] for key in some if key.startswith("instance/")}
    assert keys == {f"instance/{id_of(name)}" for name in "abd"}, "e came and went"
    assert world.instances == {id_of(name) for name in "acd"}
    marker = world.markers[-1]
    assert (marker.next_offset, marker.epoch, marker.next_command) == (owner.partition.end, owner.partition.epoch, 8)
    await world.check(owner)
    await owner.command(GO, "c")
    await world.check(owner)
    await world.end()


@simulated
async def test_without_events_no_snapshot_is_written() -> None:
    world = World()
    owner = await world.owner()
    await asyncio.sleep(100 * SECONDS)
    assert len(world.markers) == 1, "the claim itself"
    await owner.command(WAITING)
    await asyncio.sleep(100 * SECONDS)
    assert len(world.markers) == 2
    await world.end()


@simulated
async def test_after_many_events_a_round_is_due_at_once() -> None:
    world = World()
    owner = await world.owner()
    await asyncio.sleep(2 * SECONDS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(snapshot_rounds, "SNAPSHOT_EVENTS", 6)
        counts = []
        for name in "abcd":
            await owner.command(WAITING, name)  # two events
            counts.append(len(world.markers))
        assert counts == [2, 2, 2, 3]
    await world.end()


@simulated
async def test_a_snapshot_is_of_one_moment_although_its_owner_goes_on() -> None:
    world = World()
    snapshots = HeldSnapshots(world.topic)
    owner = await world.owner(snapshots)
    for name in "abc":
        await owner.command(WAITING, name)
    snapshots.appends.clear()
    await asyncio.sleep(SECONDS)
    assert snapshots.appended, "the round is under way"
    at = owner.partition.end
    await owner.command(GO, "a")
    await owner.command(AbortInstance(), "b")
    await owner.command(WAITING, "d")
    assert owner.partition.end > at, "turns go on"
    snapshots.appends.set()
    await asyncio.sleep(0.5)
    assert world.markers[-1].next_offset == at
    assert world.instances == {id_of(name) for name in "abc"}
    await world.check(owner)
    await asyncio.sleep(SECONDS)
    assert world.markers[-1].next_offset == owner.partition.end
    await world.check(owner)
    await world.end()


@simulated
async def test_no_round_begins_before_what_a_turn_has_decided_is_in_the_log() -> None:
    world = World()
    owner = await world.owner()
    owner.event_log.acknowledges.clear()
    await owner.command(WAITING, "a")
    await asyncio.sleep(1.5 * SECONDS)
    assert world.markers == []
    owner.event_log.acknowledges.set()
    await asyncio.sleep(0.5)
    assert world.markers[-1].next_offset == owner.partition.end
    await world.check(owner)
    await world.end()


# Rounds that fail


@pytest.mark.parametrize("fault", ["append", "commit", "answer"])
def test_what_a_failed_round_should_have_written_is_written_by_the_next_one(fault: str) -> None:
    async def scenario() -> None:
        world, snapshots, owner = await with_snapshot_of("ab")
        await owner.command(WAITING, "c")
        await owner.command(GO, "a")
        snapshots.refuses, snapshots.loses = fault == "append", fault
        await asyncio.sleep(SECONDS)
        snapshots.refuses, snapshots.loses = False, None
        await world.check(owner)
        for name in "bc":
            await owner.command(AbortInstance(), name)  # c may be in the topic, and may not
        await asyncio.sleep(2 * SECONDS)
        assert world.instances == {id_of("a")}
        await world.check(owner)
        await world.end()

    simulate(scenario())


@pytest.mark.parametrize("loses", ["records", "answer"])
def test_a_key_that_is_missing_is_no_defect_and_waited_for(loses: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world, snapshots, owner = await with_snapshot_of("ab")
        if loses == "records":
            world.topic[0].tear(2)  # the next round but one is full: it reads what the topic holds
        else:
            snapshots.loses = loses  # the next round but one looks at the last snapshot
        snapshots.lacks_key = True
        await owner.command(WAITING, "c")
        await asyncio.sleep(2 * SECONDS)
        snapshots.loses = None
        await asyncio.sleep(2 * SECONDS)
        assert not owner.task.done(), "turns go on"
        assert f"a key is missing. {snapshot_rounds.WITHOUT_KEY}" in caplog.text
        assert "stands still" not in caplog.text, "only snapshots do"
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
        snapshots.lacks_key = False
        await asyncio.sleep(snapshot_rounds.MAX_PAUSE_SECONDS)
        assert world.instances == {id_of(name) for name in "abc"}
        await world.check(owner)
        await world.end()

    simulate(scenario())


@simulated
async def test_tries_get_rarer_while_rounds_fail() -> None:
    world = World()
    snapshots = HeldSnapshots(world.topic)
    snapshots.refuses = True
    owner = await world.owner(snapshots)
    await owner.command(WAITING)
    await asyncio.sleep(1000)
    assert 15 < len(snapshots.opened) < 25
    snapshots.refuses = False
    await asyncio.sleep(70)
    await world.check(owner)
    await world.end()


def test_rounds_that_fail_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        world, snapshots, owner = await with_snapshot_of("a")
        snapshots.refuses = True
        most = 0
        for number in range(50):
            await owner.command(WAITING, f"b{number}")
            await asyncio.sleep(2 * snapshot_rounds.MAX_PAUSE_SECONDS)  # so that a round has it
            await owner.command(AbortInstance(), f"b{number}")
            most = max(most, owner.partition.shard.changes)
        assert most < 20
        snapshots.refuses = False
        await asyncio.sleep(2 * snapshot_rounds.MAX_PAUSE_SECONDS)
        assert world.instances == {id_of("a")}
        await world.check(owner)
        await world.end()

    monkeypatch.setattr(snapshot_rounds, "MAX_GONE", 5)
    simulate(scenario())


@simulated
async def test_a_round_that_hangs_is_given_up() -> None:
    world = World()
    snapshots = HeldSnapshots(world.topic)
    owner = await world.owner(snapshots)
    await owner.command(WAITING)
    snapshots.appends.clear()
    await asyncio.sleep(SECONDS + snapshot_rounds.ROUND_SECONDS)
    snapshots.appends.set()
    await asyncio.sleep(SECONDS)
    await world.check(owner)
    await world.end()


@simulated
async def test_an_owner_that_dies_in_a_round_leaves_the_last_snapshot() -> None:
    world, snapshots, owner = await with_snapshot_of("a")
    await owner.command(WAITING, "b")
    snapshots.commits.clear()
    await asyncio.sleep(SECONDS)
    owner.task.cancel()
    await asyncio.wait([owner.task])
    assert world.instances == {id_of("a")}
    await world.check(await world.owner())
    await world.end()


# Who may write


@simulated
async def test_an_owner_that_wakes_up_between_its_cut_and_its_commit_writes_nothing() -> None:
    world = World()
    snapshots = HeldSnapshots(world.topic)
    stale = await world.owner(snapshots)
    await stale.command(WAITING, "a")
    snapshots.commits.clear()
    await asyncio.sleep(SECONDS)
    assert snapshots.appended[-1] == ["marker"]
    owner = await world.owner()
    await owner.command(AbortInstance(), "a")
    await asyncio.sleep(SECONDS)
    await world.check(owner)
    snapshots.commits.set()
    await asyncio.sleep(SECONDS)
    assert isinstance(stale.task.exception(), Superseded), "it proves its claim when it is shut out"
    assert len(snapshots.opened) == 1, "it shuts nobody out in turn"
    assert world.instances == set()
    await world.check(owner)
    await world.end()


@simulated
async def test_what_an_owner_has_read_nobody_changes_any_more() -> None:
    world = World()
    snapshots = HeldSnapshots(world.topic)
    stale = await world.owner(snapshots)
    await stale.command(WAITING, "a")
    await asyncio.sleep(SECONDS)
    await stale.command(WAITING, "c")
    snapshots.commits.clear()
    await asyncio.sleep(SECONDS)
    assert snapshots.appended[-1] == ["marker"]
    stale.event_log.is_away = True

    class Slow(MemorySnapshots):
        async def read(self, partition: int) -> AsyncIterator[Sequence[Record]]:
            async for records in super().read(partition):
                yield records
            snapshots.commits.set()
            await asyncio.sleep(1.0)

    owner = await world.owner(Slow(world.topic))
    await asyncio.sleep(2.0)
    await owner.command(AbortInstance(), "c")  # it came and went since the snapshot that was read
    await asyncio.sleep(2 * SECONDS)
    assert world.instances == {id_of("a")}
    await world.check(owner)
    await world.end()


@simulated
async def test_an_owner_that_opens_late_proves_its_claim_before_it_writes() -> None:
    world = World()
    stale_snapshots = MemorySnapshots(world.topic)
    stale_snapshots.refuses_writers = True
    stale = await world.owner(stale_snapshots)
    await stale.command(WAITING, "a")
    owner = await world.owner()
    await owner.command(AbortInstance(), "a")
    await asyncio.sleep(SECONDS)
    assert world.topic[0].writer == 1
    stale_snapshots.refuses_writers = False
    await asyncio.sleep(30)
    assert world.topic[0].writer > 1, "it has shut the other one out"
    assert isinstance(stale.task.exception(), Superseded)
    assert {marker.epoch for marker in world.markers} == {owner.partition.epoch}
    await owner.command(WAITING, "b")
    assert isinstance(owner.task.exception(), Displaced), "the proof came between"
    owner = await world.owner()
    await asyncio.sleep(2 * SECONDS)
    assert {marker.epoch for marker in world.markers[1:]} == {owner.partition.epoch}
    await world.check(owner)
    await world.end()


@simulated
async def test_an_owner_that_could_not_shut_others_out_writes_everything_anew() -> None:
    world = World()
    first = await world.owner()
    for name in "abc":
        await first.command(WAITING, name)
    await asyncio.sleep(SECONDS)
    first.task.cancel()
    await asyncio.wait([first.task])
    snapshots = HeldSnapshots(world.topic)
    snapshots.refuses_writers = True
    owner = await world.owner(snapshots)
    snapshots.refuses_writers = False
    # What nobody knows of, as if an earlier owner had written it meanwhile.
    world.topic[0].commit([NewRecord(b"instance/stranger", b"{}", [], 0), NewRecord(b"\xff", b"{}", [], 0)])
    await owner.command(AbortInstance(), "b")
    assert ClaimConfirmed.__name__ not in owner.events()
    await asyncio.sleep(SECONDS)
    keys = {key for some in snapshots.appended for key in some if key.startswith("instance/")}
    assert keys == {f"instance/{id_of(name)}" for name in "abc"} | {"instance/stranger"}, "b has a tombstone"
    assert world.instances == {id_of(name) for name in "ac"}
    assert b"\xff" not in world.topic[0].content
    await world.check(owner)
    await world.end()


@simulated
async def test_what_the_topic_loses_is_noticed_also_behind_records_whose_place_was_unknown() -> None:
    world, snapshots, owner = await with_snapshot_of("abc")
    snapshots.places_unknown = True
    await owner.command(WAITING, "d")
    await asyncio.sleep(SECONDS)
    snapshots.places_unknown = False
    world.topic[0].tear(2)
    await owner.command(WAITING, "e")
    await asyncio.sleep(2 * SECONDS)
    assert world.instances == {id_of(name) for name in "abcde"}
    await world.check(owner)
    await world.end()


@simulated
@pytest.mark.parametrize("foreign", [0, 2, 4])
async def test_what_another_build_has_written_is_noticed_behind_a_round_that_has_failed(foreign: int) -> None:
    world, snapshots, owner = await with_snapshot_of("abcd")
    topic = world.topic[0]
    known, kept = topic.end, topic.records[:foreign]
    topic.tear(0)
    marker = NewRecord(MARKER_KEY, b'{"schema": 99}', [], 0)
    topic.commit([*(NewRecord(record.key or b"", b"{}", [], 0) for record in kept), marker])
    snapshots.loses_places = True
    await owner.command(WAITING, "e")
    await owner.command(WAITING, "f")
    while topic.end <= known:  # noqa: ASYNC110 - what was appended in vain hides that the topic had ended before
        await asyncio.sleep(0.1)
    snapshots.loses_places = False
    await asyncio.sleep(2 * SECONDS)
    assert world.instances == {id_of(name) for name in "abcdef"}
    await world.check(owner)
    await world.end()


@simulated
async def test_a_round_whose_commit_was_not_answered_needs_no_whole_snapshot_behind_it() -> None:
    for loses in ("commit", "answer"):
        world, snapshots, owner = await with_snapshot_of("abcd")
        snapshots.loses = loses
        await owner.command(WAITING, "e")
        await asyncio.sleep(SECONDS)
        snapshots.loses = None
        first = len(snapshots.appended)
        await asyncio.sleep(SECONDS)
        written = {key for some in snapshots.appended[first:] for key in some if key.startswith("instance/")}
        assert written == {f"instance/{id_of('e')}"}
        await world.check(owner)
        await world.end()


@simulated
@pytest.mark.parametrize("restart", [False, True])
async def test_when_the_topic_loses_records_everything_is_written_anew(restart: bool) -> None:
    world = World()
    owner = await world.owner()
    for names in ("ab", "cd"):
        for name in names:
            await owner.command(WAITING, name)
        await asyncio.sleep(SECONDS)
    if restart:
        owner.task.cancel()
        await asyncio.wait([owner.task])
        owner = await world.owner()
    # The broker comes back without c, d and their marker. The rest looks like a snapshot.
    world.topic[0].tear(next(r.offset for r in world.topic[0].records if r.key == MARKER_KEY) + 1)
    assert world.instances == {id_of("a"), id_of("b")}
    for name in "ae":
        await owner.command(AbortInstance() if name == "a" else WAITING, name)
    await asyncio.sleep(2 * SECONDS)
    assert world.instances == {id_of(name) for name in "bcde"}
    await world.check(owner)
    await world.end()


@simulated
async def test_an_engine_writes_one_snapshot_at_a_time() -> None:
    worlds = [World(), World()]
    held = [HeldSnapshots(world.topic) for world in worlds]
    writing = asyncio.Lock()
    for world, snapshots in zip(worlds, held, strict=True):
        owner = await world.owner(snapshots)
        owner.partition._rounds._writing = writing
        await owner.command(WAITING)
        snapshots.appends.clear()
    await asyncio.sleep(2 * SECONDS)
    assert [bool(snapshots.appended) for snapshots in held] == [True, False]
    held[0].appends.set()
    await asyncio.sleep(0.5)
    assert [bool(snapshots.appended) for snapshots in held] == [True, True]
    for world in worlds:
        await world.end()


def test_an_entry_that_does_not_fit_into_the_topic_is_named() -> None:
    large = NewRecord(b"instance/large", b"x" * MAX_RECORD_BATCH_BYTES, [], 0)
    with pytest.raises(SnapshotFailed, match=r"entry instance/large has 8\d+ bytes; at most 8\d+ fit"):
        list(slices([large]))
