"""What an engine does when a partition's owner ends: when it claims the partition again."""

import asyncio
import gc
import itertools
import logging
import random
import weakref
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from engine.activities import service_of
from engine.core.shard import Shard
from engine.errors import AppendFailed
from engine.metrics import Metrics
from engine.shared import Shared
from engine.slots import CallSlots
from engine.supervisor import MAX_FAULT_PAUSE_SECONDS, Supervisor
from schemas.commands import AbortInstance, RunWorkflow
from schemas.encryption.keys import Keys
from schemas.encryption.vault import Vault
from schemas.epochs import is_claim
from schemas.events import PartitionClaimed
from schemas.fillers import filler
from schemas.log_integrity import LogFault
from schemas.records import NewRecord, RecordCodec
from tests.definitions import definition
from tests.ports.log import HEARTBEAT_SECONDS, Log, MemoryEventLog, MemoryFeed, StoredRecord
from tests.ports.snapshots import MemorySnapshots, SnapshotTopic
from tests.ports.workflows import MemoryWorkflows
from tests.simulation.checkers import Observer
from tests.simulation.links import LinkFaults, MemoryLinks
from tests.simulation.loop import START, VirtualClock, simulate
from tests.unit.engine.test_partition import Caller

CODEC = RecordCodec()
WAITING = RunWorkflow(workflow_id=str(UUID(int=1)), stages=definition([{"wait_event": {"event": "go"}}]), variables={})


class AwayLog(MemoryEventLog):
    """A log that is away for a while."""

    def __init__(self, log: Log):
        super().__init__(log)
        self.away = False
        self.tries: list[float] = []

    async def append(self, partition: int, records: Sequence[NewRecord]) -> int:
        if self.away:
            self.tries.append(asyncio.get_running_loop().time())
            raise AppendFailed("Kafka is away")
        return await super().append(partition, records)


class Engine:
    """A supervisor with one partition."""

    def __init__(self) -> None:
        self.shared = Log(1)
        self.log = AwayLog(self.shared)
        self.feed = MemoryFeed(self.shared, lambda partition, records: None)
        self.metrics = Metrics(CollectorRegistry())
        self.topic = SnapshotTopic()
        shared = Shared(
            log=self.log,
            snapshots=MemorySnapshots(self.topic),
            snapshot_seconds=10.0,
            caller=Caller(),
            slots=CallSlots(100, service_of),
            evaluator=MemoryLinks(random.Random(1), LinkFaults(), Observer(1, CODEC), dict),
            workflows=MemoryWorkflows(),
            clock=VirtualClock(),
            owner="engine-1",
            codec=CODEC,
            metrics=self.metrics,
        )
        self.supervisor = Supervisor(shared, self.feed)

    def assign(self) -> None:
        """Give the partition to the engine."""
        self.feed.assigned = {0}
        self.supervisor.assigned({0})

    def command(self) -> None:
        """Have the partition take a turn."""
        self.shared.append_command(0, CODEC.encode(str(UUID(int=1)), AbortInstance(), timestamp_ms=0))
        self.supervisor.received(0, self.shared.commands[0])

    @property
    def faults(self) -> dict[str, str]:
        """What the gauge shows: reasons by topic."""
        (metric,) = self.metrics.log_faults._gauge.collect()
        return {sample.labels["topic"]: sample.labels["reason"] for sample in metric.samples}

    def claims(self) -> list[str]:
        """Who has claimed the partition, in order."""
        records = [record for record in self.shared.events[0] if is_claim(record)]
        return [CODEC.decode_event(record).event.owner for record in records]


def test_a_partition_is_claimed_at_most_two_seconds_after_kafka_is_back() -> None:
    async def scenario() -> None:
        engine = Engine()
        engine.log.away = True
        engine.assign()
        await asyncio.sleep(300)
        tries = engine.log.tries
        pauses = [after - before for before, after in itertools.pairwise(tries)]
        assert max(pauses) < 2.01
        assert len(tries) < 200
        engine.log.away = False
        await asyncio.sleep(2.1)
        assert engine.supervisor.restored
        assert engine.supervisor.partitions[0].restored
        await engine.supervisor.stop(1.0)

    simulate(scenario())


def test_an_engine_without_heartbeats_does_not_take_a_partition_back() -> None:
    """Its group has given the partition to another engine, which it can't learn."""

    async def scenario() -> None:
        engine = Engine()
        engine.assign()
        await asyncio.sleep(1.0)
        engine.feed.silent_since = 1.0
        claim = CODEC.encode("", PartitionClaimed(at=START, owner="engine-2"), timestamp_ms=0)
        engine.shared.append_events(0, [claim])
        engine.command()
        await asyncio.sleep(60.0)
        assert engine.claims() == ["engine-1", "engine-2"]
        await engine.supervisor.stop(1.0)

    simulate(scenario())


def test_an_engine_that_its_group_confirms_takes_its_partition_back() -> None:
    async def scenario() -> None:
        engine = Engine()
        engine.assign()
        await asyncio.sleep(1.0)
        claim = CODEC.encode("", PartitionClaimed(at=START, owner="engine-2"), timestamp_ms=0)
        engine.shared.append_events(0, [claim])
        engine.command()
        await asyncio.sleep(HEARTBEAT_SECONDS + 1.0)
        assert engine.claims() == ["engine-1", "engine-2", "engine-1"]
        await engine.supervisor.stop(1.0)

    simulate(scenario())


def test_a_log_that_was_cut_under_its_owner_stands_still_until_it_is_filled() -> None:
    async def scenario() -> None:
        engine = Engine()
        engine.assign()
        await asyncio.sleep(1.0)
        for _ in range(3):
            engine.command()
            await asyncio.sleep(1.0)
        end = len(engine.shared.events[0])
        del engine.shared.events[0][end - 2 :]
        engine.command()
        await asyncio.sleep(1.0)
        assert engine.faults == {"events": "cut"}
        assert engine.supervisor.standing_still == {"0": "cut"}
        assert engine.supervisor.restored, "it does what it can"
        told = engine.shared.events[0][end - 1]
        assert CODEC.decode_event(told).event.events_end == end
        await asyncio.sleep(3600)
        assert engine.faults == {"events": "cut"}, "also when claims have made it as long as it was"
        assert len(engine.shared.events[0]) < end + 3600 / MAX_FAULT_PAUSE_SECONDS + 10
        assert not any(partition.restored for partition in engine.supervisor.partitions)
        engine.shared.append_events(0, [filler(0)])
        await asyncio.sleep(MAX_FAULT_PAUSE_SECONDS + 1)
        assert engine.faults == {}
        assert engine.supervisor.standing_still == {}
        assert engine.supervisor.partitions[0].restored
        await engine.supervisor.stop(1.0)

    simulate(scenario())


def test_another_engine_learns_from_the_log_that_it_was_cut() -> None:
    async def scenario() -> None:
        engine = Engine()
        claim = CODEC.encode("", PartitionClaimed(at=START, owner="e", events_end=5), timestamp_ms=0)
        engine.shared.append_events(0, [claim])
        engine.assign()
        await asyncio.sleep(60.0)
        assert engine.faults == {"events": "cut"}
        await engine.supervisor.stop(1.0)

    simulate(scenario())


def test_nothing_is_appended_to_a_log_that_is_not_the_one_of_its_snapshot() -> None:
    async def scenario() -> None:
        engine = Engine()
        engine.assign()
        await asyncio.sleep(1.0)
        for _ in range(3):
            engine.command()
            await asyncio.sleep(15.0)
        assert engine.topic[0].records
        engine.feed.assigned = set()
        engine.supervisor.assigned(set())
        await asyncio.sleep(1.0)
        end = len(engine.shared.events[0])
        engine.shared.events_id = "events-2"
        engine.assign()
        await asyncio.sleep(100.0)
        assert engine.faults == {"events": "remade"}
        assert len(engine.shared.events[0]) == end
        engine.supervisor.assigned(set())
        await asyncio.sleep(1.0)
        assert engine.faults == {}, "it is another engine's"
        engine.shared.append_events(0, [filler(0)])
        engine.assign()
        await asyncio.sleep(1.0)
        assert engine.faults == {}
        assert engine.supervisor.partitions[0].restored
        await engine.supervisor.stop(1.0)

    simulate(scenario())


def test_what_is_wrong_with_commands_stops_their_partition() -> None:
    async def scenario() -> None:
        engine = Engine()
        engine.assign()
        await asyncio.sleep(1.0)
        engine.command()
        await asyncio.sleep(1.0)
        engine.shared.commands[0].clear()
        engine.supervisor.failed(0, LogFault("commands", "commands", 0, "it is short"))
        await asyncio.sleep(60.0)
        assert engine.faults == {"commands": "commands"}
        engine.shared.append_command(0, filler(0))
        await asyncio.sleep(MAX_FAULT_PAUSE_SECONDS + 1)
        assert engine.faults == {}
        engine.shared.append_command(0, filler(0))
        engine.supervisor.received(0, engine.shared.commands[0])
        await asyncio.sleep(1.0)
        last = CODEC.decode_event(engine.shared.events[0][-1])
        assert (type(last.event).__name__, last.cause) == ("CommandSkipped", 1)
        await engine.supervisor.stop(1.0)

    simulate(scenario())


def test_a_command_whose_key_is_missing_is_neither_rejected_nor_passed_over() -> None:
    """What came before it is decided; nothing behind it is, and its sender may still get an answer."""

    async def scenario() -> None:
        vault, engine = Vault(Keys({"new": b"2" * 32}, "new")), Engine()
        engine.assign()
        await asyncio.sleep(1.0)
        commands = engine.shared.commands[0]
        plain = CODEC.encode(str(UUID(int=1)), AbortInstance(), timestamp_ms=0)
        for record in (plain, vault.seal("commands", 0, plain), plain):
            engine.shared.append_command(0, record)  # type: ignore[arg-type]
        engine.supervisor.received(0, commands)
        begun = len(engine.claims())
        for _ in range(600):
            await asyncio.sleep(0.5)
            engine.supervisor.received(0, commands)
        decided = {CODEC.decode_event(record).cause for record in engine.shared.events[0]}
        assert decided == {None, 0}
        assert engine.shared.buried == []
        assert engine.supervisor.standing_still == {"0": "key"}
        assert len(engine.claims()) - begun < 300 / MAX_FAULT_PAUSE_SECONDS + 12, "it is tried ever more seldom"
        # The engine is started again with the key.
        opened = vault.open("commands", 0, commands[1])
        commands[1] = StoredRecord(1, opened.key, opened.value, tuple(opened.headers))
        for _ in range(100):
            await asyncio.sleep(0.5)
            engine.supervisor.received(0, commands)
        assert CODEC.decode_event(engine.shared.events[0][-1]).cause == 2
        assert engine.faults == {}
        await engine.supervisor.stop(1.0)

    simulate(scenario())


def test_an_engine_that_is_told_to_stop_does_not_wait_for_a_partition_that_stands_still() -> None:
    async def scenario() -> None:
        engine = Engine()
        engine.log.away = True
        engine.assign()
        await asyncio.sleep(60.0)
        begin = asyncio.get_running_loop().time()
        await engine.supervisor.stop(5.0)
        assert asyncio.get_running_loop().time() - begin < 0.1

    simulate(scenario())


class LateLog(AwayLog):
    """It acknowledges a second later."""

    async def append(self, partition: int, records: Sequence[NewRecord]) -> int:
        await asyncio.sleep(1.0)
        return await super().append(partition, records)


def test_an_engine_that_stops_claims_nothing_that_a_rebalance_gives_it_meanwhile() -> None:
    async def scenario() -> None:
        engine = Engine()
        engine.assign()
        await asyncio.sleep(1.0)
        engine.log.__class__ = LateLog
        engine.command()
        await asyncio.sleep(0.1)
        stopping = asyncio.create_task(engine.supervisor.stop(5.0))
        await asyncio.sleep(0.1)
        engine.assign()  # another engine has left
        await stopping
        await asyncio.sleep(60.0)
        assert engine.claims() == ["engine-1"]
        assert engine.supervisor.partitions == []

    simulate(scenario())


@pytest.mark.parametrize(("ends_with", "left"), [("outage", 1), ("fault", 0)])
def test_the_state_of_a_partition_that_ends_is_given_back_before_the_next_is_built(
    ends_with: str, left: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "engine.supervisor")  # pytest keeps what is logged, errors too

    async def scenario() -> None:
        engine, shards, make = Engine(), weakref.WeakSet[Shard](), Shard.__init__

        def noting(shard: Shard, *given: Any) -> None:
            make(shard, *given)
            shards.add(shard)

        monkeypatch.setattr(Shard, "__init__", noting)
        engine.assign()
        await asyncio.sleep(1.0)
        engine.shared.append_command(0, CODEC.encode(str(UUID(int=1)), WAITING, timestamp_ms=0))
        engine.supervisor.received(0, engine.shared.commands[0])
        await asyncio.sleep(15.0)
        if ends_with == "outage":
            engine.log.away = True
        else:
            claim = CODEC.encode("", PartitionClaimed(at=START, owner="e", events_end=100), timestamp_ms=0)
            engine.shared.append_events(0, [claim])
        engine.command()
        await asyncio.sleep(10.0)
        assert [shard.instances for shard in shards if shard.instances] == []
        engine.log.away = False
        await asyncio.sleep(100.0)
        assert sum(shard.instances for shard in shards) == left
        await engine.supervisor.stop(1.0)

    gc.collect()
    gc.disable()
    try:
        simulate(scenario())
    finally:
        gc.enable()
