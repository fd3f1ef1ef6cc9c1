"""The course of one seed: trouble, then quiet, then everything must have ended."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Final
from unittest.mock import patch

from schemas.commands import AbortInstance
from tests.simulation.engines import EngineProcess
from tests.simulation.installation import PARTITIONS, Installation
from tests.simulation.processes import SimulatedProcess
from tests.simulation.settling import Settling
from tests.simulation.stack import LATE_PAYMENT, StackFaults
from tests.simulation.trouble import NETWORK_FAULTS, cut_off

BEHIND: Final = timedelta(days=-2)
"""By how much all clocks may be wrong from the beginning on: then what is new is shown as older than what is kept."""

CALLS_CAUGHT: Final = 0.5
"""How often trouble is followed by the abort and the retry of an instance whose call is under way."""
LATE_RETRIES: Final = 2
"""How many instances are retried that were deleted while the retry was on its way."""

KNOCKS: Final = 50
KNOCK_SECONDS: Final = 0.3
"""How many commands come, and how often, while one engine does not know what it has lost."""

STARTS: Final = 20
START_SECONDS: Final = 0.3
"""How many instances are started around the loss of a snapshot, and how often."""
WRITTEN_SECONDS: Final = 4.0
"""After so long, a partition that commands come for has written snapshots, unless it does that rarely."""
HIDDEN_SECONDS: Final = (2.0, 9.0)
"""For how long its owner does not learn where it appends: long enough for some snapshots that fail."""

MAX_QUIET_CLAIMS: Final = 12
"""How often a partition is claimed when nothing goes wrong any more, but one engine may not know of it: mostly twice,
and up to 9 times while records of older claims are late. Engines that at once claim back what they have lost come to
15."""


class World(Installation):
    """An installation, with all that happens to it.

    Args:
        seed: decides all that happens.
        engines: how many engine processes.
    """

    def __init__(self, seed: int, engines: int = 3):
        super().__init__(seed, engines)
        self._settling = Settling(self)
        self.met: Counter[str] = Counter()
        """How often each situation was met, once the seed has come to its end."""

    async def run(self, actions: int = 60, trouble_seconds: float = 60.0) -> None:
        """Trouble for a while, then quiet; then every accepted command must be decided and every instance ended."""
        with ExitStack() as patched:
            for name, limit in self.limits.items():
                patched.enter_context(patch(name, limit))
            patched.enter_context(patch("engine.supervisor.Partition", self.engines.own))
            await self._run(actions, trouble_seconds)

    async def _run(self, actions: int, trouble_seconds: float) -> None:
        self._begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.clients.run(actions))
            group.create_task(self._trouble(trouble_seconds))
            group.create_task(self.front.use())
            group.create_task(self.extremes.run())
            group.create_task(self.sources.run(self.cluster, self._append))
            group.create_task(self._roll_out())
            group.create_task(self.growth.run(is_snapshot_safe=not self.harm.is_harmful))
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
            await self._settling.converge()
        await self.front.act()
        self.clients.fire_idle(3)  # in some seeds it is forgotten by now that there was one
        for instance_id in self.front.deleted(LATE_RETRIES):
            self.clients.retrying.retry_again_and_again(instance_id)
        await self._settling.converge()
        await self.front.look()
        claims = [now - before for now, before in zip(self.observer.claimed, claimed, strict=True)]
        assert max(claims) <= MAX_QUIET_CLAIMS, f"engines take partitions from each other: {claims} times"
        self.memories.check_size(len(self._settling.waiting()))
        for process in self.processes:
            assert not process.failures, f"{process.name} ended by itself: {process.failures[0]!r}"
            process.kill()
        self._count()

    def _begin(self) -> None:
        """Start everything. From now on things go wrong."""
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
        self.stack.faults = StackFaults(before=0.15, after=0.15, late=0.1, final=0.01, large=0.5)
        self.engines.link_faults.passing = 0.5
        self.clients.listen()
        if self.bad is not None:
            self.bad.begin()

    def _count(self) -> None:
        """Note what was met."""
        self.extremes.ended(self.observer.histories.values())
        self.met["an instance was reached by a bulk operation"] = self.observer.reach.reached
        self.met += self.engines.count() + self.harm.met + self.trouble.met + self.front.met + self.extremes.met
        self.met += self.sources.met + self.secrecy.met + self.marks.met + self.stack.met + self.growth.met
        for outcomes in self.observer.outcomes:
            self.met += outcomes.met

    async def _trouble(self, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(self.rng.uniform(0.1, 6.0))
            process = self.rng.choice(self.processes)
            self.trouble.strike(process)
            self.front.strike()
            if self.rng.random() < CALLS_CAUGHT:
                await self.clients.retrying.retry_what_is_called()
            if self.clocks_are_wrong and self.rng.random() < 0.3:
                await self._set_clock(process)
            self.harm.compact()
            self.harm.do(self.observer.admitted, self.memories.whole, self.front.needed)
            if self.bad is not None:
                self.bad.maybe(0.3)
            self.memories.check()

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
        self.clients.fire_idle(2)
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
        await _again(KNOCKS, KNOCK_SECONDS, lambda: self.clients.send(instance_id, AbortInstance()))

    async def _lose_snapshot(self, partition: int) -> None:
        """Lose the last snapshot, and let its owner not learn where in the topic it appends.

        What it writes meanwhile fails, and fills the place of what was lost.
        """
        waits = {"wait_event": {"event": "approved"}}
        async with asyncio.TaskGroup() as group:
            # So there is something new in each snapshot.
            group.create_task(_again(STARTS, START_SECONDS, lambda: self.clients.start(waits)))
            await asyncio.sleep(WRITTEN_SECONDS)
            if self.harm.lose_last(partition):
                self.network.hides_places = True
                await asyncio.sleep(self.harm_rng.uniform(*HIDDEN_SECONDS))
                self.network.hides_places = False

    async def _set_clocks(self) -> None:
        """All clocks are wrong for a moment. No restart comes to the aid of what has come to wait meanwhile."""
        for process in self.engines.processes:
            process.clock.ahead = timedelta(days=self.rng.choice((1, 400)))
        for _ in range(4):
            self.clients.start({"delay": {"duration": "5s"}})
        await asyncio.sleep(self.rng.uniform(1.0, 3.0))
        for process in self.engines.processes:
            process.clock.ahead = timedelta(0)


async def _again(times: int, seconds: float, do: Callable[[], None]) -> None:
    """Do something so many times, after a pause each."""
    for _ in range(times):
        await asyncio.sleep(seconds)
        do()
