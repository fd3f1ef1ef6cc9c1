"""One simulated installation: processes that are killed, stopped and cut off, clients, and a quiet end."""

import asyncio
import random
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import msgspec

from engine.core.duplicates import DEFAULT_BOUNDS, Bounds
from schemas import rejections
from schemas.commands import AbortInstance, RunWorkflow, SendEvent
from schemas.definition import WaitEvent
from schemas.events import EvaluationStarted
from schemas.kafka import Place
from schemas.kafka.memory import StoredRecord
from schemas.records import NewRecord, RecordCodec
from schemas.settings import ProjectionsSettings
from tests.definitions import definition
from tests.simulation.bad import BadRecord
from tests.simulation.checkers import Observer
from tests.simulation.clients import Clients
from tests.simulation.engines import EngineProcess, Engines, engine_settings
from tests.simulation.front import Front
from tests.simulation.harm import Harm
from tests.simulation.intake import Marks
from tests.simulation.limits import Limits
from tests.simulation.listening import Listening
from tests.simulation.network import FaultyNetwork
from tests.simulation.processes import SimulatedProcess
from tests.simulation.producing import Producing, Transaction
from tests.simulation.restoring import Restored, check_restorable, check_snapshot
from tests.simulation.retention import Retention
from tests.simulation.secrecy import Secrecy
from tests.simulation.sends import Sends
from tests.simulation.snapshot_writers import SnapshotWriters
from tests.simulation.sources import Sources, link_matches
from tests.simulation.stack import LATE_PAYMENT, LEDGERS, PAYMENTS, MemoryStack, StackFaults, wallet_id
from tests.simulation.topics import Topics
from tests.simulation.trace import Trace
from tests.simulation.trouble import NETWORK_FAULTS, Trouble, cut_off

PARTITIONS = 3
LOOK_SECONDS = 20.0
"""How often is looked whether everything has ended, and helped if not."""
SETTLE_SECONDS = 20.0
"""Time for the turns that take in the last results."""
MAX_FETCHED = 10
"""How many commands of a partition one fetch brings at most."""
OPEN_SECONDS = (0.0, 3.0)
"""How long transactions of other services are open."""
GROUP = "orchestration-engine"
LIMITS: dict[str, tuple[Any, ...]] = {
    "engine.partition.MAX_INBOX": (3, 2000),
    "engine.partition.MAX_TURN_INPUTS": (2, 100),
    "engine.run_commands.MAX_BATCH": (1, 2, 100),
    "engine.runner.MAX_PORTION": (1, 50),
    "engine.slots.MIN_SWEPT": (0, 1000),
    "engine.triggers.evaluator.MAX_OF_TRIGGER": (2, 8),
    "engine.timers.MIN_SWEPT": (0, 1000),
    "engine.core.duplicates.MAX_UNKEYED": (0, 1000),
    "engine.core.instance.MAX_REQUESTS": (2, 3, 100),
    "engine.core.shard.MAX_WAITING": (2, 1000, 1000),
    "engine.snapshot_rounds.SNAPSHOT_EVENTS": (1, 10, 20_000),
    "engine.snapshot_rounds.BYTES_PER_SECOND": (5000, 50_000, 2**23),
    "engine.snapshot_rounds.FIRST_PAUSE_SECONDS": (0.1, 1.0),
    "engine.snapshot_rounds.MAX_PAUSE_SECONDS": (0.1, 60.0),
    "engine.snapshot_records.SLICE_ENTRIES": (1, 20, 500),
    "engine.core.shard.MAX_WAITING_BYTES": (10, 2**25, 2**25),
}
"""What limits are set to: small enough to be reached, or so large that they are not."""

RHYTHMS: dict[str, tuple[Any, ...]] = {
    "schemas.kafka.ports.HEARTBEAT_SECONDS": (0.5, 1.5, 1.5, 1.5, 1.5, 1.5),
    "schemas.kafka.table.TAKE_SECONDS": (10.0,),
    "schemas.kafka.table.RECONNECT_SECONDS": (1.0, 1.0, 8.0),
    "engine.command_feed.POLL_SECONDS": (1.0, 5.0, 5.0),
    "engine.command_feed.WATCH_SECONDS": (0.5, 3.0, 3.0),
    "engine.triggers.listener.TAKE_SECONDS": (1.0, 5.0, 5.0),
}
"""How often is looked at what mostly has not changed. With what is right in real time, hours of virtual time would be
spent on nothing else."""

PAUSES = {"engine.pauses.MAX_SLICE_SECONDS": (0.0, 1.0), "engine.pauses.PAUSE_SECONDS": (0.0, 0.0, 0.002)}
"""Long work pauses after each step or never, since it takes no virtual time; others run meanwhile, or for longer."""

BEGINS = {"schemas.expressions.turns._steps_here": 0}
"""What a process counts from its start on. Else a seed would be another one behind others."""

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

BEHIND = timedelta(days=-2)
"""By how much all clocks may be wrong from the beginning on: then what is new is shown as older than what is kept."""

LATE_RETRIES = 2
"""How many instances are retried that were deleted while the retry was on its way."""

KNOCKS, KNOCK_SECONDS = 50, 0.3
"""How many commands come, and how often, while one engine does not know what it has lost."""

STARTS, START_SECONDS = 20, 0.3
"""How many instances are started around the loss of a snapshot, and how often."""
WRITTEN_SECONDS = 4.0
"""After so long, a partition that commands come for has written snapshots, unless it does that rarely."""
HIDDEN_SECONDS = (2.0, 9.0)
"""For how long its owner does not learn where it appends: long enough for some snapshots that fail."""

MAX_QUIET_CLAIMS = 12
"""How often a partition is claimed when nothing goes wrong any more, but one engine may not know of it: mostly twice,
and up to 9 times while records of older claims are late. Engines that at once claim back what they have lost come to
15."""


class World:
    """Everything of one seed.

    Args:
        seed: decides all that happens.
        engines: how many engine processes.
    """

    def __init__(self, seed: int, engines: int = 3):
        self.rng = random.Random(seed)
        self.codec, self.trace = RecordCodec(), Trace()
        self.clocks_are_wrong = seed % 4 == 0
        self.limits = {name: self.rng.choice(values) for name, values in LIMITS.items()}
        self.pauses = {name: self.rng.choice(values) for name, values in PAUSES.items()}
        self.rhythms = {name: self.rng.choice(values) for name, values in RHYTHMS.items()}
        self.bounds = self.rng.choice(BOUNDS)
        self.observer = Observer(
            PARTITIONS,
            self.codec,
            self.clocks_are_wrong,
            self.bounds,
            None,
            _fires,
            max_waiting=self.limits["engine.partition.MAX_INBOX"],
        )
        self.harm_rng = random.Random(seed + 2)
        self.secrecy = Secrecy(random.Random(f"secrecy {seed}"))
        self.sources = Sources(random.Random(f"sources {seed}"))
        snapshot_seconds, calls_at_once = self.harm_rng.choice(SNAPSHOT_SECONDS), self.rng.choice(CALLS_AT_ONCE)
        settings = engine_settings(PARTITIONS, snapshot_seconds, calls_at_once, self.sources.listened)
        self.topics = Topics(settings, self.sources.present, self.secrecy, self.trace, self._observe, self._told)
        self.cluster = self.topics.cluster
        self.observer.commands = self.topics.commands
        self.harm = Harm(self.harm_rng, self.topics, self.bounds)
        self.marks = Marks(self.cluster)
        self.topics.witnesses += [self.harm, SnapshotWriters(self._newest_claims), self.marks]
        self.stack = MemoryStack(random.Random(seed + 1), self.observer)
        self.network = FaultyNetwork(random.Random(seed + 3), self.trace, max_fetched=MAX_FETCHED)
        self.engines = Engines(settings, self.bounds, self.stack, self.rng, self.observer)
        self.engines.processes += [
            SimulatedProcess(f"engine-{number}", self.cluster, self.network, self.engines.make, self.trace)
            for number in range(engines)
        ]
        self.trouble = Trouble(random.Random(seed + 4), self.topics, self.network)
        quiet = FaultyNetwork(random.Random(seed + 5), self.trace)
        self.producing = SimulatedProcess("clients", self.cluster, quiet, Producing, self.trace)
        wallets = {name: wallet_id(name) for name in ("alice", "bob", "carol-abroad", "dave-abroad")}
        sends = Sends(self.rng, LEDGERS, wallets, PAYMENTS, LATE_PAYMENT)
        self.clients = Clients(
            self.rng,
            self.codec,
            self.topics,
            self.observer,
            self._append,
            sends,
            self.sources,
            self.engines.queued,
            self.engines.calling,
            self._append_in_transactions,
        )
        self.topics.listeners += [self.clients.repeat, self.clients.retrying.regret]
        self.extremes = Limits(random.Random(f"limits {seed}"), self.clients)
        self.limits["projections.queries.retryable.MAX_REQUESTS"] = self.limits["engine.core.instance.MAX_REQUESTS"]
        self.limits |= self.extremes.limits
        self.listening = Listening(self.topics, self.sources)
        self.bad: BadRecord | None = None
        if self.harm_rng.random() < 0.3:
            self.bad = BadRecord(self.harm_rng, self.codec, self.topics, self.observer, self.clients)
        self.front = Front(
            random.Random(seed + 6),
            self.cluster,
            self.network,
            ProjectionsSettings(partitions=PARTITIONS),
            lambda: self.clients.stage("${mark}.m"),
            self.observer.broken,
            self.secrecy,
            Retention(seed, is_possible=not self.clocks_are_wrong),
            self.trace,
        )
        self.observer.calls = self.front.calls
        for process in self.processes:
            process.connect = self.secrecy.connect
        self.helped: set[str] = set()
        admitted = self.observer.admitted
        self._live = [Restored(events, self.bounds) for events in admitted]
        """What engines must have in memory, as far as they have come."""
        self._whole = [Restored(events, self.bounds) for events in admitted]
        """What a restore comes to now."""
        self._checked: dict[Hashable, object] = {}
        self.met: Counter[str] = Counter()
        """How often each situation was met, once the seed has come to its end."""

    @property
    def processes(self) -> Sequence[SimulatedProcess[Any]]:
        """All of them, but the one that sends commands."""
        return (*self.engines.processes, *self.front.processes)

    # What happens

    def _observe(self, partition: int, records: Sequence[StoredRecord]) -> None:
        self.observer.observe(partition, records)
        self.extremes.appended(records)

    def _newest_claims(self) -> Sequence[int]:
        return [claim.offset for claim in self.observer.claims]

    def _told(self, group: str, offsets: Mapping[Place, int]) -> None:
        if group == GROUP:
            for place, offset in offsets.items():
                self.observer.done(place.partition, offset)

    def _append(self, place: Place, record: NewRecord) -> None:
        (sealed,) = self.secrecy.sealed(place, [record])
        self.producing.program.append(place, sealed)

    def _append_in_transactions(self, transactions: Sequence[Transaction]) -> None:
        sealed = [
            one._replace(records={place: self.secrecy.sealed(place, some) for place, some in one.records.items()})
            for one in transactions
        ]
        self.producing.program.append_in_transactions(sealed, self.rng.uniform(*OPEN_SECONDS))

    # The run

    async def run(self, actions: int = 60, trouble_seconds: float = 60.0) -> None:
        """Trouble for a while, then quiet; then every accepted command must be decided and every instance ended."""
        with ExitStack() as patched:
            for name, limit in {**BEGINS, **self.limits, **self.pauses, **self.rhythms, **self.front.limits}.items():
                patched.enter_context(patch(name, limit))
            patched.enter_context(patch("engine.supervisor.Partition", self.engines.own))
            await self._run(actions, trouble_seconds)

    async def _run(self, actions: int, trouble_seconds: float) -> None:
        self.producing.start()
        if self.clocks_are_wrong and self.rng.random() < 0.5:
            for process in self.engines.processes:
                process.clock.ahead = BEHIND  # until somebody sets it
        for process in self.processes:
            process.start()
        self.front.trouble()
        self.network.faults.update(NETWORK_FAULTS)
        self.network.unplaced, self.network.slow_closing = 0.3, 0.3
        # The others read from positions of their own. What comes from before these, they take for a log that was cut.
        self.network.again = {engine.name: 0.05 for engine in self.engines.processes}
        self.stack.faults = StackFaults(before=0.15, after=0.15, late=0.1, final=0.01, large=0.3)
        self.engines.link_faults.passing = 0.5
        self.clients.listen()
        if self.bad is not None:
            self.bad.begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.clients.run(actions))
            group.create_task(self._trouble(trouble_seconds))
            group.create_task(self.front.use())
            group.create_task(self.extremes.run())
            group.create_task(self.sources.run(self.cluster, self._append))
            group.create_task(self._roll_out())
        claimed = self.observer.claimed.copy()
        cut = self._quiet()
        losing = self.harm.choose()
        if losing is not None and cut is None:
            await self._lose_snapshot(losing)
        async with asyncio.TaskGroup() as group:
            if cut is not None:
                group.create_task(self._knock(self.rng.randrange(PARTITIONS)))
            if self.clocks_are_wrong:
                await self._set_clocks()
            await self._converge()
        await self.front.act()
        for instance_id in self.front.deleted(LATE_RETRIES):
            self.clients.retrying.retry_again_and_again(instance_id)
        await self._converge()
        await self.front.look()
        claims = [now - before for now, before in zip(self.observer.claimed, claimed, strict=True)]
        assert max(claims) <= MAX_QUIET_CLAIMS, f"engines take partitions from each other: {claims} times"
        self._check_memory()
        for process in self.processes:
            assert not process.failures, f"{process.name} ended by itself: {process.failures[0]!r}"
            process.kill()
        self.extremes.ended(self.observer.histories.values())
        self.met["an instance was reached by a bulk operation"] = self.observer.reach.reached
        self.met += self.engines.count() + self.harm.met + self.trouble.met + self.front.met + self.extremes.met
        self.met += self.sources.met + self.secrecy.met + self.marks.met + self.stack.met

    async def _trouble(self, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(self.rng.uniform(0.1, 6.0))
            process = self.rng.choice(self.processes)
            self.trouble.strike(process)
            self.front.strike()
            if self.clocks_are_wrong and self.rng.random() < 0.3:
                await self._set_clock(process)
            self.harm.compact()
            self.harm.do(self.observer.admitted, self._whole, self.front.needed)
            if self.bad is not None:
                self.bad.maybe(0.3)
            self._check_restorable()

    async def _roll_out(self) -> None:
        """Start all processes again, one by one, each time that there is something new about keys."""
        rng = self.secrecy.rng
        await asyncio.sleep(rng.uniform(1.0, 20.0))
        while self.secrecy.advance():
            for process in rng.sample(self.processes, len(self.processes)):
                await asyncio.sleep(rng.uniform(0.0, 3.0))
                if rng.random() < 0.3:
                    await process.end()
                process.kill()
                process.start()

    async def _set_clock(self, process: SimulatedProcess[Any]) -> None:
        """Let a clock be wrong for a moment. What ends meanwhile is retried at once: at the same time, or before it."""
        process.clock.ahead = timedelta(days=self.rng.choice((-1, 1, 1, 400)))
        runs = list(self.clients.runs)
        ended = self.rng.sample(runs, min(len(runs), PARTITIONS))
        for instance_id in ended:
            self.clients.send(instance_id, AbortInstance())
        await asyncio.sleep(self.rng.uniform(0.1, 2.0))
        process.clock.ahead = timedelta(0)
        for instance_id in ended:
            self.clients.retrying.retry_again_and_again(instance_id)

    def _quiet(self) -> EngineProcess | None:
        """Nothing goes wrong any more, except that one engine may not reach the coordinator of its groups: which."""
        self.trace.add("", "the faults stop")
        self.trouble.quiet(self.processes)
        self.front.quiet()
        self.stack.faults = StackFaults()
        self.engines.link_faults.passing = 0.0
        self.stack.add_payment(LATE_PAYMENT)
        for instance_id in self.clients.runs:
            if self.rng.random() < 0.2:
                self.clients.send(instance_id, AbortInstance())
        cut = self.rng.choice([None, None, *self.engines.processes])
        if cut is not None:
            cut_off(self.network, cut.name)
        for _ in range(3):
            self.clients.start(long_chance=0.3)  # no restart comes to the aid of these
            self.clients.intake.submit()
        for _ in self.sources.listened:
            self.clients.publish()
        return cut

    async def _knock(self, partition: int) -> None:
        """Commands for a partition. Where two engines take it for theirs, one may claim it back at each of them."""
        while self.clients.partition(instance_id := self.clients.new_id()) != partition:
            pass
        for _ in range(KNOCKS):
            await asyncio.sleep(KNOCK_SECONDS)
            self.clients.send(instance_id, AbortInstance())

    async def _lose_snapshot(self, partition: int) -> None:
        """Lose the last snapshot, and let its owner not learn where in the topic it appends.

        What it writes meanwhile fails, and fills the place of what was lost.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_many())
            await asyncio.sleep(WRITTEN_SECONDS)
            if self.harm.lose_last(partition):
                self.network.hides_places = True
                await asyncio.sleep(self.harm_rng.uniform(*HIDDEN_SECONDS))
                self.network.hides_places = False

    async def _start_many(self) -> None:
        """Start instances, so that there is something new in each snapshot."""
        for _ in range(STARTS):
            await asyncio.sleep(START_SECONDS)
            self.clients.start({"wait_event": {"event": "approved"}})

    async def _set_clocks(self) -> None:
        """All clocks are wrong for a moment. No restart comes to the aid of what has come to wait meanwhile."""
        for process in self.engines.processes:
            process.clock.ahead = timedelta(days=self.rng.choice((1, 400)))
        for _ in range(4):
            self.clients.start({"delay": {"duration": "5s"}})
        await asyncio.sleep(self.rng.uniform(1.0, 3.0))
        for process in self.engines.processes:
            process.clock.ahead = timedelta(0)

    async def _converge(self) -> None:
        """Nothing goes wrong any more: what does not wait for an event must end, and what does ends when it comes."""
        begin = asyncio.get_running_loop().time()
        deadline, help_at = begin + 1800, begin + self.rng.choice((0, 0, 0, 0, 0, 400))
        while not self._settled():
            self.observer.check()
            assert asyncio.get_running_loop().time() < deadline, f"not settled: {self.unsettled()}"
            await asyncio.sleep(LOOK_SECONDS)
            self._check_restorable()
            self.clients.start_refused()
            for instance_id in self.waiting():
                if self._waits_for_event(instance_id):  # an event would let a delay end that was forgotten
                    for name in ("approved", "paid", "ann"):
                        self.clients.send(instance_id, SendEvent(name=name))
                if asyncio.get_running_loop().time() >= help_at:
                    self._help(instance_id)
                if self.observer.instances[instance_id].paused:
                    self.clients.resume(instance_id)
        settling = asyncio.get_running_loop().time()
        await asyncio.sleep(SETTLE_SECONDS)
        self.observer.check()
        self._check_restorable()
        for restored in (*self._live, *self._whole):
            restored.check()
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
        for partition in self.engines.partitions():
            if partition.restored and not partition.in_turn and self._is_new(partition, partition.end):
                check_restorable(partition, self._live[partition.number])
        for number, admitted in enumerate(self.observer.admitted):
            snapshot = self.topics.snapshot(number)
            if self._is_new(number, (len(admitted), len(snapshot), snapshot[-1] if snapshot else None)):
                whole, is_harmed = self._whole[number], number in self.harm.harmed
                check_snapshot(snapshot, admitted, whole, self.bounds, is_harmed=is_harmed)

    def _is_new(self, subject: Hashable, state: object) -> bool:
        """Whether a subject was not checked in this state."""
        known, self._checked[subject] = self._checked.get(subject), state
        return known != state

    def _check_memory(self) -> None:
        """No engine keeps what has ended."""
        held = sum(partition.shard.instances for partition in self.engines.partitions())
        assert held == len(self.waiting())

    def waiting(self) -> list[str]:
        """Instances that are known and have not ended."""
        aside = self.observer.aside
        return [id for id, instance in self.observer.instances.items() if not instance.ended and id not in aside]

    def _settled(self) -> bool:
        is_bad_known = self.bad is None or self.bad.is_known()  # first: its instance waits until it is set aside
        return is_bad_known and not self.unsettled()

    def _was_answered(self, instance_id: str) -> bool:
        """Whether a submitted run of a workflow that exists has started, or is too old to tell whether it had."""
        refused = self.observer.refused.get(instance_id, ())
        return instance_id in self.observer.instances or rejections.TOO_OLD in refused

    def unsettled(self) -> list[str]:
        """What is still to come, in words."""
        open_commands = [
            f"partition {p}: {len(self.topics.commands[p]) - len(self.observer.causes[p])} commands"
            for p in range(PARTITIONS)
            if len(self.topics.commands[p]) != len(self.observer.causes[p])
        ]
        requested = [f"{instance} has to be started for {o}" for o, instance in self.observer.to_start.items()]
        waiting = [f"{t.id} waits for links of {o}" for t in self.observer.triggers.values() for o in t.waiting]
        calls = [f"{self.stack.under_way} calls"] if self.stack.under_way else []
        unsent = [f"{self.producing.program.under_way} appends"] if self.producing.program.under_way else []
        return (
            open_commands
            + self.listening.lost(self.observer.admitted)
            + calls
            + unsent
            + requested
            + waiting
            + self.waiting()
            + [i for i in self.clients.runs if i not in self.observer.instances]
            + [f"submissions to {i}" for some in self.observer.outcomes for i, held in some.held.items() if held]
            + [f"the submitted run {i}" for i in self.clients.intake.sure if not self._was_answered(i)]
            + self.front.unsettled()
        )


def _fires(waiting: EvaluationStarted) -> bool:
    """Whether it is certain that a message fires: with its link, if its trigger has a filter, else at once."""
    return link_matches(int(msgspec.json.decode(waiting.event)["payload"]["n"]))
