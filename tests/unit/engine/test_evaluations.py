"""Messages that wait for links, in a partition at work: when each is evaluated, and what holds up nothing else."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from msgspec import Raw
from prometheus_client import CollectorRegistry

from engine.activities import service_of
from engine.core.evaluation import Evaluated, Waiting
from engine.core.trigger import Trigger
from engine.errors import Superseded
from engine.metrics import Metrics
from engine.partition import MAX_UNPROVEN_SECONDS, Partition
from engine.ports import MayStart
from engine.shared import Shared
from engine.slots import CallSlots
from schemas.commands import Command, CreateTrigger, DeleteTrigger, EvaluateTrigger, FireTrigger
from schemas.events import PartitionClaimed
from schemas.records import Record, RecordCodec
from tests.ports.log import Log, MemoryEventLog
from tests.ports.snapshots import MemorySnapshots
from tests.ports.workflows import MemoryWorkflows
from tests.simulation.loop import START, VirtualClock, simulate
from tests.unit.engine.test_partition import Caller, Feed

CODEC = RecordCodec()


TRIGGER = str(UUID(int=2**64))
CREATE = CreateTrigger(name="", event="X", workflow_id=TRIGGER, filter="true", vars={"a": "1"})


def id_of(offset: int) -> str:
    """Of the occurrence of a message."""
    return str(UUID(int=offset))


def name_of(occurrence_id: str) -> str:
    """`o1` for the occurrence of message 1."""
    return f"o{UUID(occurrence_id).int}"


def evaluate(offset: int, **fields: Any) -> EvaluateTrigger:
    return EvaluateTrigger(
        occurrence_id=id_of(offset),
        event=Raw(b"{}"),
        source="ledger/0",
        offset=offset,
        stages=Raw(b"[]"),
        **fields,
    )


class Links:
    """Answers as a test says, after so many seconds; remembers when each attempt started."""

    def __init__(self, seconds: float = 0.0, may_pass: Callable[[], bool] = lambda: False):
        self.seconds, self.may_pass = seconds, may_pass
        self.started: list[tuple[float, str, int]] = []
        self.refused = 0

    async def evaluate(self, trigger: Trigger, waiting: Waiting, may_start: MayStart) -> Evaluated | None:
        if not await may_start():
            self.refused += 1
            return None
        assert (trigger.filter, trigger.vars) == ("true", {"a": "1"})
        id = waiting.message.occurrence_id
        self.started.append((round(asyncio.get_running_loop().time(), 1), name_of(id), waiting.attempt))
        await asyncio.sleep(self.seconds)
        if self.may_pass():
            return Evaluated(id, waiting.attempt, error="HTTP 503", may_pass=True)
        return Evaluated(id, waiting.attempt, matches=True)


class Owner:
    """A partition at work on a quiet log."""

    def __init__(self, links: Links, log: Log | None = None):
        self.log, self.links, self.clock = log or Log(1), links, VirtualClock()
        shared = Shared(
            log=MemoryEventLog(self.log),
            snapshots=MemorySnapshots(),
            snapshot_seconds=10.0,
            caller=Caller(),
            slots=CallSlots(100, service_of),
            evaluator=links,
            workflows=MemoryWorkflows(),
            clock=self.clock,
            owner="engine-1",
            codec=CODEC,
            metrics=Metrics(CollectorRegistry()),
        )
        self.partition = Partition(0, shared, Feed())
        self.task = asyncio.create_task(self.partition.run())

    async def commands(self, *commands: Command) -> None:
        """Have commands for the one trigger decided."""
        before = len(self.log.commands[0])
        for command in commands:
            self.log.append_command(0, CODEC.encode(TRIGGER, command, timestamp_ms=0))
        self.partition.feed_commands(self.log.commands[0][before:])
        await asyncio.sleep(0.1)

    async def crash(self) -> None:
        """Stop in the middle of whatever it does."""
        self.task.cancel()
        await asyncio.wait([self.task])

    def events(self) -> list[str]:
        """Types of all events of the trigger and their occurrences."""
        records: Sequence[Record] = self.log.events[0]
        found = [CODEC.decode_event(record).event for record in records if record.key == TRIGGER.encode()]
        names = [name_of(event.occurrence_id) if hasattr(event, "occurrence_id") else "" for event in found]
        return [f"{type(event).__name__} {name}".strip() for event, name in zip(found, names, strict=True)]


async def start(links: Links, log: Log | None = None) -> Owner:
    owner = Owner(links, log)
    await asyncio.sleep(0.1)
    if log is None:
        await owner.commands(CREATE)
    return owner


def test_slow_links_hold_up_no_other_message() -> None:
    async def scenario() -> None:
        owner = await start(Links(seconds=6))
        await owner.commands(*(evaluate(n) for n in range(3)))
        fire = FireTrigger(occurrence_id=id_of(9), event=Raw(b"{}"), source="ledger/0", offset=9, stages=Raw(b"[]"))
        await owner.commands(fire)
        assert "TriggerFired o9" in owner.events()
        assert not any(f"TriggerFired o{n}" in owner.events() for n in range(3))
        await asyncio.sleep(6)
        assert [f"TriggerFired o{n}" in owner.events() for n in range(3)] == [True] * 3
        assert len({at for at, _, _ in owner.links.started}) == 1, "side by side"

    simulate(scenario())


def test_a_link_that_fails_is_asked_again_until_it_answers() -> None:
    async def scenario() -> None:
        failing = True
        owner = await start(Links(may_pass=lambda: failing))
        await owner.commands(evaluate(1, once_key="P:1"))
        await asyncio.sleep(300)
        times = [at for at, _, _ in owner.links.started]
        assert [round(later - at) for at, later in pairwise(times)] == [1, 2, 4, 8, 16, 32, 64, 100]
        assert [attempt for _, _, attempt in owner.links.started] == list(range(1, 10))
        assert not any(word.startswith("Trigger") for word in owner.events()[1:]), "no occurrence meanwhile"
        failing = False
        await asyncio.sleep(100)
        assert owner.events()[-2:] == ["TriggerFired o1", "InstanceRequested o1"]
        assert owner.partition.shard.waiting == 0

    simulate(scenario())


def test_a_new_owner_goes_on_with_the_same_schedule() -> None:
    async def scenario() -> None:
        links = Links(may_pass=lambda: True)
        owner = await start(links)
        await owner.commands(evaluate(1))
        await asyncio.sleep(20)  # attempts at 0, 1, 3, 7 and 15 s; the next at 31 s
        await owner.crash()
        second = Links()
        owner = await start(second, owner.log)
        assert owner.partition.shard.waiting == 1
        await asyncio.sleep(20)
        ((at, id, attempt),) = second.started
        assert (id, attempt) == ("o1", 6)
        assert round(at - links.started[0][0]) == 31
        assert owner.events()[-2:] == ["TriggerFired o1", "InstanceRequested o1"]

    simulate(scenario())


def test_an_attempt_that_was_under_way_is_made_again_by_the_next_owner() -> None:
    async def scenario() -> None:
        owner = await start(Links(seconds=60))
        await owner.commands(evaluate(1))
        await owner.crash()
        second = Links()
        owner = await start(second, owner.log)
        await asyncio.sleep(1)
        assert [(id, attempt) for _, id, attempt in second.started] == [("o1", 1)]
        assert owner.events().count("TriggerFired o1") == 1

    simulate(scenario())


def test_a_deleted_trigger_waits_for_nothing() -> None:
    async def scenario() -> None:
        owner = await start(Links(seconds=5))
        await owner.commands(evaluate(1), evaluate(2))
        await owner.commands(DeleteTrigger())
        assert owner.partition.shard.waiting == 0
        await asyncio.sleep(10)
        assert owner.events()[-1] == "TriggerDeleted"

    simulate(scenario())


def test_the_second_of_two_messages_about_one_payment_fires_nothing() -> None:
    async def scenario() -> None:
        owner = await start(Links(seconds=5))
        await owner.commands(evaluate(1, once_key="P:1"), evaluate(2, once_key="P:1"))
        await asyncio.sleep(10)
        assert sorted(owner.events()[3:]) == ["EvaluationEnded o2", "InstanceRequested o1", "TriggerFired o1"]

    simulate(scenario())


def test_nothing_is_evaluated_under_a_claim_that_another_engine_has_taken() -> None:
    async def scenario() -> None:
        owner = await start(Links(may_pass=lambda: True))
        await owner.commands(evaluate(1))
        await asyncio.sleep(2 * MAX_UNPROVEN_SECONDS)  # the latest proof is old, and so would be the next
        before = len(owner.links.started)
        claim = CODEC.encode("", PartitionClaimed(at=START, owner="engine-2"), timestamp_ms=0)
        owner.log.append_events(0, [claim])
        await asyncio.sleep(20)
        assert isinstance(owner.task.exception(), Superseded)
        assert len(owner.links.started) == before

    simulate(scenario())


def test_a_retry_waits_no_longer_than_its_pause_whatever_the_clock_said() -> None:
    async def scenario() -> None:
        failing = True
        owner = await start(Links(may_pass=lambda: failing))
        owner.clock.ahead = timedelta(days=1)
        await owner.commands(evaluate(1))
        owner.clock.ahead = timedelta(0)
        failing = False
        await asyncio.sleep(2)
        assert "TriggerFired o1" in owner.events()

    simulate(scenario())


def test_an_evaluation_that_raises_leaves_a_failed_occurrence() -> None:
    class Broken(Links):
        async def evaluate(self, trigger: Trigger, waiting: Waiting, may_start: MayStart) -> Evaluated | None:
            raise RuntimeError("bug")

    async def scenario() -> None:
        owner = await start(Broken())
        await owner.commands(evaluate(1))
        await asyncio.sleep(1)
        assert owner.events() == ["TriggerCreated", "EvaluationStarted o1", "TriggerFailed o1"]
        await owner.crash()

    simulate(scenario())
