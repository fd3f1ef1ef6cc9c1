"""One simulated installation: engines that crash and go stale, clients that send commands, and a quiet end."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from prometheus_client import CollectorRegistry

from engine.activities import service_of
from engine.core.duplicates import DEFAULT_BOUNDS, Bounds
from engine.metrics import Metrics
from engine.slots import CallSlots
from engine.supervisor import Supervisor
from schemas.commands import AbortInstance, RunWorkflow, SendEvent
from schemas.definition import WaitEvent
from schemas.records import Record, RecordCodec
from tests.definitions import definition
from tests.simulation.bad import BadRecord
from tests.simulation.checkers import Observer
from tests.simulation.clients import Clients
from tests.simulation.harm import Harm
from tests.simulation.links import LinkFaults, MemoryLinks, link_matches
from tests.simulation.loop import VirtualClock
from tests.simulation.memory import MAX_HANDED, Faults, Log, MemoryEventLog, MemoryFeed
from tests.simulation.restoring import check_restorable, check_snapshot
from tests.simulation.sends import Sends
from tests.simulation.snapshots import MemorySnapshots, SnapshotFaults, SnapshotTopic
from tests.simulation.stack import LATE_PAYMENT, LEDGERS, PAYMENTS, Line, MemoryStack, StackFaults, wallet_id

PARTITIONS = 3
SETTLE_SECONDS = 20.0
"""Time for the turns that take in the last results."""
LIMITS: dict[str, tuple[Any, ...]] = {
    "engine.partition.MAX_INBOX": (3, 2000),
    "engine.partition.MAX_TURN_INPUTS": (2, 100),
    "engine.run_commands.MAX_BATCH": (1, 2, 100),
    "engine.runner.MAX_PORTION": (1, 50),
    "engine.slots.MIN_SWEPT": (0, 1000),
    "engine.timers.MIN_SWEPT": (0, 1000),
    "engine.core.duplicates.MAX_UNKEYED": (0, 1000),
    "engine.core.shard.MAX_WAITING": (2, 1000, 1000),
    "engine.snapshot_rounds.SNAPSHOT_EVENTS": (1, 10, 20_000),
    "engine.snapshot_rounds.BYTES_PER_SECOND": (5000, 50_000, 2**23),
    "engine.snapshot_rounds.FIRST_PAUSE_SECONDS": (0.1, 1.0),
    "engine.snapshot_rounds.MAX_PAUSE_SECONDS": (0.1, 60.0),
    "engine.snapshot_records.SLICE_ENTRIES": (1, 20, 500),
    "engine.core.shard.MAX_WAITING_BYTES": (10, 2**25, 2**25),
}
"""What limits of the engine are set to: small enough to be reached, or so large that they are not."""

PAUSES = {"engine.pauses.MAX_SLICE_SECONDS": (0.0, 1.0), "engine.pauses.PAUSE_SECONDS": (0.0, 0.0, 0.002)}
"""Long work pauses after each step or never, since it takes no virtual time; others run meanwhile, or for longer."""

CALLS_AT_ONCE = (2, 1024)
"""How many calls an engine makes at once to each service of the stack."""

BOUNDS = (
    DEFAULT_BOUNDS,
    Bounds(max_ended=1, identity_seconds=3.0),
    Bounds(max_ended=3, max_identities=2),
)
"""How much engines remember of what is over: so little that it is forgotten, or so much that it is not."""

SNAPSHOT_SECONDS = (0.05, 1.0, 1.0, 10.0)
"""How often engines write snapshots."""

MAX_QUIET_CLAIMS = 15
"""How often a partition is claimed when nothing goes wrong any more, but one engine may not know of it. Seeds come to
7; engines that at once claim back what they have lost come to 50."""


@dataclass
class Engine:
    """One engine process: its own view of assignment and log; a crash throws all of it away."""

    supervisor: Supervisor
    feed: MemoryFeed
    log: MemoryEventLog
    snapshots: MemorySnapshots
    clock: VirtualClock
    registry: CollectorRegistry
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def crash(self) -> None:
        """Stop at once, in the middle of whatever it does."""
        self.feed.assigned = set()
        self.supervisor.assigned(set())
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class World:
    """Everything of one seed.

    Args:
        seed: decides all that happens.
        engines: how many engine processes.
    """

    def __init__(self, seed: int, engines: int = 3):
        self.rng = random.Random(seed)
        self.codec = RecordCodec()
        self.clocks_are_wrong = seed % 4 == 0
        self.limits = {name: self.rng.choice(values) for name, values in LIMITS.items()}
        self.pauses = {name: self.rng.choice(values) for name, values in PAUSES.items()}
        self.calls_at_once = self.rng.choice(CALLS_AT_ONCE)
        self.bounds = self.rng.choice(BOUNDS)
        self.observer = Observer(
            PARTITIONS,
            self.codec,
            self.clocks_are_wrong,
            self.bounds,
            lambda partition, offset: self.log.commands[partition][offset],
            link_matches,
            self.limits["engine.partition.MAX_INBOX"] + self.limits["engine.partition.MAX_TURN_INPUTS"] + MAX_HANDED,
        )
        self.log = Log(PARTITIONS, self.observer.observe)
        self.snapshots, self.snapshot_rng = SnapshotTopic(), random.Random(seed + 2)
        self.snapshot_seconds = self.snapshot_rng.choice(SNAPSHOT_SECONDS)
        self.harm = Harm(self.snapshot_rng, self.log, self.snapshots, self.bounds)
        self.stack = MemoryStack(random.Random(seed + 1), self.observer)
        self.link_faults = LinkFaults()
        self.engines = [self._new_engine(number) for number in range(engines)]
        wallets = {name: wallet_id(name) for name in ("alice", "bob", "carol-abroad", "dave-abroad")}
        sends = Sends(self.rng, LEDGERS, wallets, PAYMENTS, LATE_PAYMENT)
        self.clients = Clients(self.rng, self.codec, self.log, self.observer, sends, self.stack.queued)
        self.bad: BadRecord | None = None
        if self.snapshot_rng.random() < 0.3:
            self.bad = BadRecord(self.snapshot_rng, self.codec, self.log, self.observer, self.clients)
        self.helped: set[str] = set()
        self.met: Counter[str] = Counter()
        """How often each situation of snapshots was met."""

    # Engines and their group

    def _new_engine(self, number: int) -> Engine:
        supervisor: Supervisor
        clock, log, registry = VirtualClock(), MemoryEventLog(self.log, self.rng, Faults()), CollectorRegistry()
        snapshots = MemorySnapshots(self.snapshots, self.snapshot_rng)

        def epochs() -> dict[int, int]:
            return {p.number: p.epoch for p in supervisor.partitions}

        def received(partition: int, records: Sequence[Record]) -> None:
            supervisor.received(partition, records)
            self.observer.handed(feed.ahead(partition))

        feed = MemoryFeed(
            self.log,
            self.rng,
            received,
            lambda: supervisor.assigned(set()),
            self.observer.done,
        )
        supervisor = Supervisor(
            log=log,
            snapshots=snapshots,
            snapshot_seconds=self.snapshot_seconds,
            feed=feed,
            caller=Line(self.stack, epochs),
            slots=CallSlots(self.calls_at_once, service_of),
            evaluator=MemoryLinks(self.rng, self.link_faults, self.observer, epochs),
            clock=clock,
            owner=f"engine-{number}",
            codec=self.codec,
            metrics=Metrics(registry),
            bounds=self.bounds,
        )
        return Engine(supervisor, feed, log, snapshots, clock, registry)

    def _count(self, engine: Engine) -> None:
        """Count what an engine has met, which has ended."""
        for outcome in ("written", "failed", "fenced", "fault"):
            count = engine.registry.get_sample_value("orchestration_engine_snapshots_total", {"outcome": outcome})
            self.met[f"a snapshot was {outcome}"] += int(count or 0)
        count = engine.registry.get_sample_value("orchestration_engine_restored_records_total", {"source": "snapshot"})
        self.met["records were restored from snapshots"] += int(count or 0)

    def _assign(self, stale_chance: float, without: Engine | None = None) -> None:
        """A rebalance. An engine that does not hear of it goes on with partitions that are another's."""
        members = [engine for engine in self.engines if engine is not without]
        owners = [self.rng.choice(members) for _ in range(PARTITIONS)]
        for engine in self.engines:
            mine = {partition for partition, owner in enumerate(owners) if owner is engine}
            engine.feed.silent_since = None
            if self.rng.random() < stale_chance:
                mine |= engine.feed.assigned
                engine.feed.silent_since = asyncio.get_running_loop().time()
            engine.feed.assigned = mine
            if self.rng.random() < stale_chance:
                engine.supervisor.assigned(set())  # it has joined the group anew, and gets back what it had
            engine.supervisor.assigned(mine)

    async def _trouble(self, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(self.rng.uniform(0.1, 8.0))
            number = self.rng.randrange(len(self.engines))
            if self.rng.random() < 0.4:
                await self.engines[number].crash()
                self._count(self.engines[number])
                crashed, self.engines[number] = self.engines[number], self._new_engine(number)
                self.engines[number].log.faults = crashed.log.faults
                self.engines[number].snapshots.faults = crashed.snapshots.faults
                self.engines[number].feed.again = crashed.feed.again
                self._start(self.engines[number])
            self._assign(stale_chance=0.5)
            if self.clocks_are_wrong and self.rng.random() < 0.3:
                self.engines[number].clock.ahead = timedelta(days=self.rng.choice((-1, 1, 1, 400)))
                await asyncio.sleep(self.rng.uniform(0.1, 2.0))
                self.engines[number].clock.ahead = timedelta(0)
            self.harm.compact()
            self.harm.do(self.observer.admitted)
            if self.bad is not None:
                self.bad.maybe(0.3)
            self._check_restorable()

    def _start(self, engine: Engine) -> None:
        engine.tasks = [asyncio.create_task(engine.feed.run())]

    # The run

    async def run(self, actions: int = 60, trouble_seconds: float = 60.0) -> None:
        """Trouble for a while, then quiet; then every accepted command must be decided and every instance ended."""
        with ExitStack() as patched:
            for name, limit in {**self.limits, **self.pauses}.items():
                patched.enter_context(patch(name, limit))
            await self._run(actions, trouble_seconds)

    async def _run(self, actions: int, trouble_seconds: float) -> None:
        for engine in self.engines:
            engine.log.faults = Faults(
                lost_ack=0.05, refused=0.03, late=0.05, unplaced=0.02, unreadable=0.02, slow=0.03, slow_ack=0.15
            )
            engine.snapshots.faults = SnapshotFaults(
                unopened=0.15, refused=0.02, lost_ack=0.1, late=0.15, unreadable=0.02, slow=0.03
            )
            engine.feed.again = 0.02
            self._start(engine)
        self.stack.faults = StackFaults(before=0.15, after=0.15, late=0.1, final=0.01)
        self.link_faults.passing = 0.5
        self._assign(stale_chance=0.0)
        if self.bad is not None:
            self.bad.begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.clients.run(actions))
            group.create_task(self._trouble(trouble_seconds))
        await self._quiet()
        claimed = self.observer.claimed.copy()
        if self.clocks_are_wrong:
            await self._set_clocks()
        await self._converge()
        claims = [now - before for now, before in zip(self.observer.claimed, claimed, strict=True)]
        assert max(claims) <= MAX_QUIET_CLAIMS, f"engines take partitions from each other: {claims} times"
        self._check_memory()
        for engine in self.engines:
            await engine.crash()
            self._count(engine)

    async def _quiet(self) -> None:
        for engine in self.engines:
            engine.log.faults, engine.snapshots.faults, engine.feed.again = Faults(), SnapshotFaults(), 0.0
        self.stack.faults = StackFaults()
        self.link_faults.passing = 0.0
        self.stack.add_payment(LATE_PAYMENT)
        for instance_id in self.clients.runs:
            if self.rng.random() < 0.2:
                self.clients.send(instance_id, AbortInstance())
        cut_off = self.rng.choice([None, None, *self.engines])
        kept = set() if cut_off is None else cut_off.feed.assigned
        for engine in self.engines:
            engine.feed.assigned = set()
        self._assign(stale_chance=0.0, without=cut_off)
        if cut_off is not None:
            # The coordinator alone can't reach it, and has given its partitions to others.
            cut_off.feed.assigned, cut_off.feed.silent_since = kept, asyncio.get_running_loop().time()
            cut_off.supervisor.assigned(kept)
        for _ in range(3):
            self.clients.start(long_chance=0.3)  # no restart comes to the aid of these

    async def _set_clocks(self) -> None:
        """All clocks are wrong for a moment. No restart comes to the aid of what has come to wait meanwhile."""
        for engine in self.engines:
            engine.clock.ahead = timedelta(days=self.rng.choice((1, 400)))
        for _ in range(4):
            self.clients.start({"delay": {"duration": "5s"}})
        await asyncio.sleep(self.rng.uniform(1.0, 3.0))
        for engine in self.engines:
            engine.clock.ahead = timedelta(0)

    async def _converge(self) -> None:
        """Nothing goes wrong any more: what does not wait for an event must end, and what does ends when it comes."""
        begin = asyncio.get_running_loop().time()
        deadline, help_at = begin + 1800, begin + self.rng.choice((0, 0, 0, 400))
        while not self._settled():
            self.observer.check()
            assert asyncio.get_running_loop().time() < deadline, f"not settled: {self.unsettled()}"
            await asyncio.sleep(30.0)
            self._check_restorable()
            self.clients.start_refused()
            for instance_id in self.waiting():
                if self._waits_for_event(instance_id):  # an event would let a delay end that was forgotten
                    for name in ("approved", "paid", "ann"):
                        self.clients.send(instance_id, SendEvent(name=name))
                if asyncio.get_running_loop().time() >= help_at:
                    self._help(instance_id)
        settling = asyncio.get_running_loop().time()
        await asyncio.sleep(SETTLE_SECONDS)
        self.observer.check()
        self._check_restorable()
        assert all(claim.at <= settling for claim in self.observer.claims), "engines take partitions from each other"

    def _waits_for_event(self, instance_id: str) -> bool:
        stages = self.observer.histories[instance_id].stages
        return bool(stages) and not stages[-1].ended and stages[-1].name == WaitEvent.name

    def _help(self, instance_id: str) -> None:
        """Let another instance bring the money that this one may be short of, once per stage."""
        stages = self.observer.histories[instance_id].stages
        if not stages or stages[-1].ended or stages[-1].name != "RunSend" or not stages[-1].activities:
            return
        mark = f"for {stages[-1].input['metadata']['mark']}"
        if stages[-1].activities[-1].failures and mark not in self.helped:
            self.helped.add(mark)
            deposits = self.clients.sends.deposits(stages[-1].input, mark)
            run = RunWorkflow(workflow_id=self.clients.new_id(), stages=definition(deposits), variables={})
            self.clients.send(self.clients.new_id(), run)

    def _check_restorable(self) -> None:
        """What engines have in memory is what a restore would come to."""
        self.observer.check()
        for engine in self.engines:
            for partition in engine.supervisor.partitions:
                check_restorable(partition, self.observer.admitted[partition.number], self.bounds)
        for number, admitted in enumerate(self.observer.admitted):
            is_harmed, broken = number in self.harm.harmed, self.snapshots[number].broken
            assert not broken, broken[0]
            check_snapshot(self.snapshots[number], admitted, self.bounds, is_harmed=is_harmed)

    def _check_memory(self) -> None:
        """No engine keeps what has ended."""
        partitions = [partition for engine in self.engines for partition in engine.supervisor.partitions]
        assert sum(partition.shard.instances for partition in partitions) == len(self.waiting())

    def waiting(self) -> list[str]:
        """Instances that are known and have not ended."""
        aside = self.observer.aside
        return [id for id, instance in self.observer.instances.items() if not instance.ended and id not in aside]

    def _settled(self) -> bool:
        is_bad_known = self.bad is None or self.bad.is_known()  # first: its instance waits until it is set aside
        return is_bad_known and not self.unsettled()

    def unsettled(self) -> list[str]:
        """What is still to come, in words."""
        open_commands = [
            f"partition {p}: {len(self.log.commands[p]) - len(self.observer.causes[p])} commands"
            for p in range(PARTITIONS)
            if len(self.log.commands[p]) != len(self.observer.causes[p])
        ]
        requested = [f"{instance} has to be started for {o}" for o, instance in self.observer.to_start.items()]
        waiting = [f"{t.id} waits for links of {o}" for t in self.observer.triggers.values() for o in t.waiting]
        calls = [f"{self.stack.under_way} calls"] if self.stack.under_way else []
        return (
            open_commands
            + calls
            + requested
            + waiting
            + self.waiting()
            + [i for i in self.clients.runs if i not in self.observer.instances]
        )
