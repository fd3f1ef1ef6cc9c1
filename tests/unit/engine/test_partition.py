"""The owner of a partition: which calls it starts, and when."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry

from engine.activities import service_of
from engine.core import duplicates
from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.core.retries import Failure
from engine.core.stages import MAX_STAGES_PER_DECISION
from engine.errors import AppendFailed, Displaced, Superseded
from engine.metrics import Metrics
from engine.partition import MAX_INBOX_BYTES, MAX_UNPROVEN_SECONDS, Partition
from engine.ports import ActivityCaller, MayStart, Snapshots
from engine.shared import Shared
from engine.slots import CallSlots
from schemas.commands import (
    AbortInstance,
    Command,
    CreateTrigger,
    DeleteTrigger,
    EvaluateTrigger,
    FireTrigger,
    RunWorkflow,
)
from schemas.epochs import header
from schemas.events import ClaimConfirmed, InstanceEnded, PartitionClaimed
from schemas.log_integrity import LogFault
from schemas.records import NewRecord, Record, RecordCodec
from tests.definitions import definition
from tests.ports.log import Log, MemoryEventLog
from tests.ports.snapshots import MemorySnapshots
from tests.ports.workflows import MemoryWorkflows
from tests.simulation.checkers import Observer
from tests.simulation.links import LinkFaults, MemoryLinks
from tests.simulation.loop import START, VirtualClock, simulate

CODEC = RecordCodec()
UPDATE: dict[str, Any] = {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}
RUN = RunWorkflow(workflow_id=str(UUID(int=1)), stages=definition([UPDATE]), variables={})


class Feed:
    """A feed that is fed by the test."""

    def __init__(self) -> None:
        self.opened_at: list[int] = []
        """The next command, at each opening."""
        self.asked: list[str] = []

    async def open(self, partition: int, next_offset: int) -> None:
        self.opened_at.append(next_offset)

    def pause(self, partition: int) -> None:
        self.asked.append("pause")

    def resume(self, partition: int) -> None:
        self.asked.append("resume")

    def done(self, partition: int, next_offset: int) -> None:
        pass


class Caller:
    """Calls that wait for a slot until the test frees one, and then fail or succeed as the test says."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(0)
        self.started: list[int] = []
        """Attempts, by their numbers."""
        self.refused = 0
        self.fails = False
        self.raises = False

    async def call(self, activity: CallActivity, may_start: MayStart) -> ActivityDone | None:
        await self.free.acquire()
        if not await may_start():
            self.refused += 1
            return None
        if self.raises:
            raise RuntimeError("bug")
        self.started.append(activity.token.attempt)
        return ActivityDone(activity.token, failure=Failure("HTTP 503", 503) if self.fails else None)


class HeldLog(MemoryEventLog):
    """A quiet log whose acknowledgements can be held back or changed."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.acknowledges = asyncio.Event()
        self.acknowledges.set()
        self.batches: list[Sequence[NewRecord]] = []
        self.buried: list[tuple[int, int]] = []
        """How many commands were at once, and how many rejections there were before."""
        self.says: int | None = None
        """The offset that acknowledgements tell; the right one if None."""

    async def append(self, partition: int, records: Sequence[NewRecord]) -> int:
        base = await super().append(partition, records)
        self.batches.append(records)
        await self.acknowledges.wait()
        return base if self.says is None else self.says

    async def bury(self, partition: int, commands: Sequence[tuple[Record, str]]) -> None:
        types = [header(record.headers, "type") for record in self._log.events[0]]
        self.buried.append((len(commands), types.count(b"CommandRejected")))
        await super().bury(partition, commands)


def id_of(name: str) -> str:
    """The id of an instance that a test gives a name."""
    return str(uuid5(NAMESPACE_OID, name))


class Owner:
    """A partition at work on a quiet log, which may be that of an earlier owner."""

    def __init__(
        self,
        log: Log | None = None,
        feed: Feed | None = None,
        caller: ActivityCaller | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        self.log, self.caller, self.clock, self.feed = log or Log(1), Caller(), VirtualClock(), feed or Feed()
        self.event_log, self.workflows = HeldLog(self.log), MemoryWorkflows()
        self.commands = len(self.log.commands[0])
        shared = Shared(
            log=self.event_log,
            snapshots=snapshots or MemorySnapshots(),
            snapshot_seconds=10.0,
            caller=caller or self.caller,
            slots=CallSlots(100, service_of),
            evaluator=MemoryLinks(random.Random(1), LinkFaults(), Observer(1, CODEC), dict),
            workflows=self.workflows,
            clock=self.clock,
            owner="engine-1",
            codec=CODEC,
            metrics=Metrics(CollectorRegistry()),
        )
        self.partition = Partition(0, shared, self.feed)
        self.task = asyncio.create_task(self.partition.run())

    async def command(self, command: Command, name: str = "i") -> None:
        """Have a command for an instance decided."""
        self.log.append_command(0, CODEC.encode(id_of(name), command, timestamp_ms=0))
        self.partition.feed_commands(self.log.commands[0][self.commands :])
        self.commands += 1
        await asyncio.sleep(0.1)

    def claim_elsewhere(self) -> None:
        """Another engine takes over."""
        claim = CODEC.encode("", PartitionClaimed(at=START, owner="engine-2"), timestamp_ms=0)
        self.log.append_events(0, [claim])

    def events(self) -> list[str]:
        """Types of all that stands in the log."""
        records: Sequence[Record] = self.log.events[0]
        return [(header(record.headers, "type") or b"").decode() for record in records]


def test_a_call_that_its_instance_does_not_want_any_more_is_not_started() -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        await owner.command(RUN)
        await owner.command(AbortInstance())
        owner.caller.free.release()
        await asyncio.sleep(0.1)
        assert (owner.caller.started, owner.caller.refused) == ([], 1)
        assert owner.partition.shard.instances == 0
        assert "LateResultRecorded" not in owner.events()

    simulate(scenario())


def test_no_call_starts_between_an_abort_in_the_log_and_its_acknowledgement() -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        await owner.command(RUN)
        owner.event_log.acknowledges.clear()
        await owner.command(AbortInstance())
        assert owner.events()[-1] == "InstanceEnded"
        owner.caller.free.release()
        await asyncio.sleep(0.1)
        owner.event_log.acknowledges.set()
        await asyncio.sleep(0.1)
        assert (owner.caller.started, owner.caller.refused) == ([], 1)
        assert owner.partition.shard.instances == 0

    simulate(scenario())


def test_commands_that_can_not_be_decoded_are_kept_together_before_they_are_rejected() -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        for number in range(3):
            owner.log.append_command(0, NewRecord(b"k%d" % number, b"{", [("type", b"RunWorkflow")], 0))
        owner.partition.feed_commands(owner.log.commands[0])
        await asyncio.sleep(0.1)
        assert owner.event_log.buried == [(3, 0)]
        assert [offset for _, offset, _ in owner.log.dead] == [0, 1, 2]
        assert owner.events().count("CommandRejected") == 3

    simulate(scenario())


class HeldCaller:
    """Calls that start at once, and end when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, asyncio.Future[Failure | None]]] = []
        """Attempts, by their numbers, and what ends them."""

    async def call(self, activity: CallActivity, may_start: MayStart) -> ActivityDone | None:
        assert await may_start()
        self.calls.append((activity.token.attempt, ended := asyncio.get_running_loop().create_future()))
        return ActivityDone(activity.token, failure=await ended)


def test_an_attempt_is_made_once_although_its_run_came_twice_and_the_clock_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duplicates, "MAX_UNKEYED", 0)

    async def scenario() -> None:
        owner = Owner(caller=(caller := HeldCaller()))
        await asyncio.sleep(0.1)
        for command in (RUN, AbortInstance(), RUN):
            await owner.command(command)
        caller.calls[1][1].set_result(Failure("HTTP 503", 503))
        await asyncio.sleep(1.1)
        caller.calls[0][1].set_result(None)
        owner.clock.ahead -= timedelta(hours=1)
        await owner.command(RUN, "another")
        await asyncio.sleep(5.0)
        assert [attempt for attempt, _ in caller.calls] == [1, 1, 2, 1]
        owner.task.cancel()
        await asyncio.wait([owner.task])

    simulate(scenario())


def test_nothing_starts_after_the_end_of_an_owner() -> None:
    class Deaf(Caller):
        async def call(self, activity: CallActivity, may_start: MayStart) -> ActivityDone | None:
            try:
                await self.free.acquire()
            except asyncio.CancelledError:
                await asyncio.sleep(0.1)
            self.started += [activity.token.attempt] * await may_start()
            return None

    async def scenario() -> None:
        owner = Owner(caller=(caller := Deaf()))
        await asyncio.sleep(0.1)
        await owner.command(RUN)
        owner.partition.stop()
        await owner.task
        assert caller.started == []

    simulate(scenario())


def test_a_call_long_after_the_last_proof_is_started_behind_a_new_one() -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        await owner.command(RUN)
        assert ClaimConfirmed.__name__ not in owner.events()
        await asyncio.sleep(MAX_UNPROVEN_SECONDS)
        owner.caller.free.release()
        await asyncio.sleep(0.1)
        assert owner.caller.started == [1]
        assert owner.events()[-4:] == [ClaimConfirmed.__name__, "ActivityEnded", "StageEnded", "InstanceEnded"]

    simulate(scenario())


def test_a_call_right_after_a_proof_needs_no_other() -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        owner.caller.free.release()
        await owner.command(RUN)
        assert owner.caller.started == [1]
        assert ClaimConfirmed.__name__ not in owner.events()

    simulate(scenario())


def test_an_owner_that_stood_still_and_was_superseded_starts_no_retry() -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        owner.caller.fails = True
        for _ in range(4):
            owner.caller.free.release()
        await owner.command(RUN)
        await asyncio.sleep(4.0)  # attempts at 0, 1 and 3 s; the next one is due later than a proof may be old
        assert len(owner.caller.started) == 3
        owner.claim_elsewhere()
        await asyncio.wait([owner.task])
        assert isinstance(owner.task.exception(), Superseded)
        assert len(owner.caller.started) == 3

    simulate(scenario())


@pytest.mark.parametrize("claimed", [False, True])
def test_who_was_displaced_learns_also_of_a_claim_that_came_later(claimed: bool) -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        stale = CODEC.encode("", ClaimConfirmed(at=START), timestamp_ms=0, epoch=-1)
        owner.log.append_events(0, [stale])
        owner.event_log.acknowledges.clear()
        await owner.command(RUN)
        if claimed:
            owner.claim_elsewhere()
        owner.event_log.acknowledges.set()
        await asyncio.wait([owner.task])
        assert isinstance(owner.task.exception(), Superseded if claimed else Displaced)

    simulate(scenario())


def test_a_delay_behind_more_stages_than_one_turn_runs_ends_in_time() -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        stages: list[dict[str, Any]] = [{"noop": {}}] * MAX_STAGES_PER_DECISION
        await owner.command(
            RunWorkflow(
                workflow_id=str(UUID(int=1)), stages=definition([*stages, {"delay": {"duration": "1s"}}]), variables={}
            )
        )
        assert owner.partition.shard.instances == 1
        await asyncio.sleep(1.0)
        assert owner.partition.shard.instances == 0
        assert owner.events()[-1] == "InstanceEnded"

    simulate(scenario())


@pytest.mark.parametrize(("offset", "error"), [(-1, AppendFailed), (0, LogFault), (1, LogFault)])
def test_no_effect_follows_a_batch_that_is_not_where_the_log_ended(offset: int, error: type[Exception]) -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        await owner.command(RunWorkflow(workflow_id=str(UUID(int=1)), stages=definition([]), variables={}))
        assert owner.partition.end == 3
        owner.caller.free.release()
        owner.event_log.says = offset
        await owner.command(RUN)
        await asyncio.wait([owner.task], timeout=10)
        assert isinstance(owner.task.exception(), error)
        assert owner.caller.started == []
        assert owner.partition.end == 3

    simulate(scenario())


def test_a_claim_whose_place_is_unknown_is_none() -> None:
    async def scenario() -> None:
        owner = Owner()
        owner.event_log.says = -1
        await asyncio.wait([owner.task], timeout=10)
        assert isinstance(owner.task.exception(), AppendFailed)
        assert not owner.partition.restored

    simulate(scenario())


NOTHING = RunWorkflow(workflow_id=str(UUID(int=1)), stages=definition([]), variables={})
DELAY = RunWorkflow(workflow_id=str(UUID(int=1)), stages=definition([{"delay": {"duration": "1s"}}]), variables={})


@pytest.mark.parametrize("restarted", [False, True])
def test_delays_and_retries_go_on_when_the_clock_was_a_day_ahead_for_a_second(restarted: bool) -> None:
    async def scenario() -> None:
        owner = Owner()
        owner.caller.fails = True
        await asyncio.sleep(0.1)
        await owner.command(RUN, "early")  # waits for its call
        owner.clock.ahead = timedelta(days=1)
        await owner.command(DELAY, "wrong")
        await owner.command(RUN, "retry")
        owner.caller.free.release()
        owner.caller.free.release()
        await asyncio.sleep(0.1)
        assert owner.caller.started == [1, 1]
        owner.clock.ahead = timedelta(0)
        if restarted:
            owner.task.cancel()
            owner = Owner(owner.log)
            await asyncio.sleep(0.1)
        owner.caller.fails = False
        await owner.command(DELAY, "right")
        owner.caller.free.release()
        owner.caller.free.release()
        await asyncio.sleep(1.3)
        assert owner.partition.shard.instances == 0
        assert sorted(owner.caller.started[-2:]) == [2, 2]
        recorded = [CODEC.decode_event(record) for record in owner.log.events[0] if record.key]
        times = [event.event.at for event in recorded]
        assert times == sorted(times)
        ended = {event.aggregate_id for event in recorded if isinstance(event.event, InstanceEnded)}
        assert ended == {id_of(name) for name in ("early", "wrong", "retry", "right")}

    simulate(scenario())


def test_a_delay_that_was_due_when_the_clock_was_set_back_ends() -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        await owner.command(DELAY)
        owner.event_log.acknowledges.clear()
        await owner.command(NOTHING, "other")  # the turn under way when the timer rings
        await asyncio.sleep(1.0)
        owner.clock.ahead = timedelta(days=-1)
        owner.event_log.acknowledges.set()
        await asyncio.sleep(1.1)
        assert owner.partition.shard.instances == 0

    simulate(scenario())


def test_a_call_that_raises_is_a_failure() -> None:
    async def scenario() -> None:
        owner = Owner()
        owner.caller.raises = True
        owner.caller.free.release()
        await asyncio.sleep(0.1)
        await owner.command(RUN)
        assert owner.events()[-1] == "ActivityFailed"

    simulate(scenario())


def test_commands_do_not_wait_behind_long_runs() -> None:
    """20 runs of 2,000 stages are 400 inputs and 16 MB of events. Whatever comes meanwhile is in the next turn."""

    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        owner.event_log.acknowledges.clear()
        long = RunWorkflow(workflow_id=str(UUID(int=1)), stages=definition([{"noop": {}}] * 2000), variables={})
        for number in range(20):
            await owner.command(long, f"long-{number}")
        assert len(owner.event_log.batches) == 2  # the claim, and a turn under way
        await owner.command(NOTHING, "other")
        await owner.command(AbortInstance(), "long-0")
        owner.event_log.acknowledges.set()
        await asyncio.sleep(10.0)
        assert owner.partition.shard.instances == 0
        turns = [{record.key.decode() for record in batch} for batch in owner.event_log.batches]
        assert turns.index({id_of("long-0")}) == 1
        first = next(n for n, ids in enumerate(turns) if id_of("other") in ids)
        assert first <= 4
        aborted = [n for n, ids in enumerate(turns) if id_of("long-0") in ids]
        assert aborted[-1] <= first + 1
        assert len(turns) > 20

    simulate(scenario())


def test_the_inbox_is_bounded_in_bytes() -> None:
    async def scenario() -> None:
        owner = Owner()
        await asyncio.sleep(0.1)
        owner.event_log.acknowledges.clear()
        large = RunWorkflow(
            workflow_id=str(UUID(int=1)), stages=definition([]), variables={"v": "x" * (MAX_INBOX_BYTES // 4)}
        )
        for number in range(4):
            await owner.command(large, f"{number}")  # the first is in the turn under way
        assert owner.feed.asked == []
        await owner.command(large, "last")
        assert owner.feed.asked == ["pause"]
        owner.event_log.acknowledges.set()
        await asyncio.sleep(0.5)
        assert owner.feed.asked == ["pause", "resume"]
        assert owner.events().count("InstanceEnded") == 5

    simulate(scenario())


@pytest.mark.parametrize("kind", [FireTrigger, EvaluateTrigger])
@pytest.mark.parametrize("field", ["event", "stages"])
@pytest.mark.parametrize(
    "damaged", [b'[{"a":"\xff"}]', b'[{"a":1e999}]', b'[{"a":%s}]' % (b"9" * 5000)], ids=["utf-8", "float", "int"]
)
def test_a_command_that_wraps_what_can_not_be_decoded_stops_nobody(kind: Any, field: str, damaged: bytes) -> None:
    async def scenario() -> None:
        owner, trigger = Owner(), CreateTrigger(name="", event="X", workflow_id=id_of("w"), filter="true")
        wrapped = {"event": Raw(b'{"type":"X"}'), "stages": Raw(b"[]"), field: Raw(damaged)}
        await owner.command(trigger, "t")
        await owner.command(kind(occurrence_id=id_of("o"), source="s/0", offset=1, **wrapped), "t")
        await owner.command(DeleteTrigger(), "t")
        assert not owner.task.done()
        assert owner.events()[-1] == "TriggerDeleted"
        await asyncio.sleep(5)
        owner.partition.stop()
        await owner.task
        restored = Owner(owner.log)
        await asyncio.sleep(1)
        assert restored.partition.restored
        restored.partition.stop()
        await restored.task

    simulate(scenario())
