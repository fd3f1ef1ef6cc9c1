"""The owner of a partition: which calls it starts, and when."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.core.retries import Failure
from engine.errors import Superseded
from engine.metrics import Metrics
from engine.partition import MAX_UNPROVEN_SECONDS, Partition
from engine.ports import MayStart
from schemas.commands import AbortInstance, Command, RunWorkflow
from schemas.epochs import header
from schemas.events import ClaimConfirmed, PartitionClaimed
from schemas.records import Record, RecordCodec
from tests.simulation.loop import START, VirtualClock, simulate
from tests.simulation.memory import Faults, Log, MemoryEventLog

CODEC = RecordCodec()
UPDATE: dict[str, Any] = {"update": {"account": {"id": "users:7", "metadata": {"k": "v"}}}}
RUN = RunWorkflow(workflow_id="w", stages=[UPDATE], variables={})


class Feed:
    """A feed that is fed by the test."""

    async def open(self, partition: int, next_offset: int) -> None:
        pass

    def pause(self, partition: int) -> None:
        pass

    def resume(self, partition: int) -> None:
        pass

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

    async def call(self, activity: CallActivity, may_start: MayStart) -> ActivityDone | None:
        await self.free.acquire()
        if not await may_start():
            self.refused += 1
            return None
        self.started.append(activity.token[2])
        return ActivityDone(activity.token, failure=Failure("HTTP 503", 503) if self.fails else None)


class Owner:
    """A partition at work on a quiet log."""

    def __init__(self) -> None:
        self.log, self.caller = Log(1), Caller()
        self.commands = 0
        self.partition = Partition(
            0,
            log=MemoryEventLog(self.log, random.Random(1), Faults()),
            feed=Feed(),
            caller=self.caller,
            clock=VirtualClock(),
            owner="engine-1",
            codec=CODEC,
            metrics=Metrics(CollectorRegistry()),
        )
        self.task = asyncio.create_task(self.partition.run())

    async def command(self, command: Command) -> None:
        """Have a command for the one instance decided."""
        self.log.append_command(0, CODEC.encode("i", command, timestamp_ms=0))
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
        assert owner.partition.instances == 1  # a late result might still come
        owner.caller.free.release()
        await asyncio.sleep(0.1)
        assert (owner.caller.started, owner.caller.refused) == ([], 1)
        assert owner.partition.instances == 0
        assert "LateResultRecorded" not in owner.events()

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
