"""What strikes processes and the cluster, now and then, as long as there are faults."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any, Final

from schemas.kafka import Place
from schemas.kafka.memory import Request
from tests.simulation.network import GROUP, TRANSACTIONS, Cut, Faults, FaultyNetwork
from tests.simulation.processes import SimulatedProcess
from tests.simulation.topics import Topics

NETWORK_FAULTS: Final[dict[Request, Faults]] = {
    "append": Faults(lost=0.03, unanswered=0.05, refused=0.02, late=0.04, twice=0.03, slow=0.03, slow_answer=0.1),
    "fetch": Faults(lost=0.02, refused=0.003, slow_answer=0.03),
    "append to transaction": Faults(lost=0.03, unanswered=0.05, refused=0.02, late=0.04, twice=0.03, slow=0.03),
    "offsets": Faults(lost=0.02, refused=0.01),
    "topics": Faults(lost=0.01, refused=0.005),
    "connect": Faults(lost=0.02, refused=0.01),
    "join": Faults(lost=0.03, unanswered=0.03),
    "heartbeat": Faults(lost=0.05),
    "commit": Faults(lost=0.05, late=0.05),
    "open transaction": Faults(lost=0.05, unanswered=0.1, refused=0.15),
    "end transaction": Faults(lost=0.05, unanswered=0.1, late=0.15, refused=0.02, slow=0.05),
}
STOPPED_SECONDS: Final = (0.5, 20.0)
"""How long a process is stopped: from less than a heartbeat to more than its session."""
LAPSE_SECONDS: Final = (15.0, 20.0)
"""How long a coordinator is away that comes back about when engines let go of everything (`engine.command_feed`)."""
TAKEOVER_SECONDS: Final = (4.0, 14.0)
"""How long transactions can be neither opened nor ended. Whoever takes over waits for them for 5 s."""
DOWN_SECONDS: Final = (0.0, 10.0)
"""How long a process is down that does not come back at once."""


class Trouble:
    """Strikes.

    Args:
        rng: decides how.
        topics: of the cluster that is struck.
        network: between processes and cluster.
    """

    def __init__(self, rng: random.Random, topics: Topics, network: FaultyNetwork):
        self.met: Counter[str] = Counter()
        """How often what was done."""
        self._rng, self._topics, self._network = rng, topics, network
        self._context, self._over = Context(), False
        cluster = topics.cluster
        cluster.replication_seconds = self._replication_seconds
        cluster.marker_seconds = self._marker_seconds

    def strike(self, process: SimulatedProcess[Any]) -> None:
        """Do something to a process, or to the cluster."""
        strikes: list[tuple[float, Callable[[SimulatedProcess[Any]], str]]] = [
            (0.22, self._kill),
            (0.06, self._end),
            (0.17, self._stop),
            (0.14, self._cut_off),
            (0.10, self._evict),
            (0.06, self._rebalance),
            (0.12, self._fail_over),
            (0.06, self._lose_coordinator),
            (0.07, self._lose_transactions),
        ]
        chance = self._rng.random()
        for share, strike in strikes:
            if chance < share:
                self.met[strike(process)] += 1
                return
            chance -= share

    def quiet(self, processes: Iterable[SimulatedProcess[Any]]) -> None:
        """No trouble any more: what was down comes back, and who was stopped goes on."""
        self._over = True
        self._network.quiet()
        for process in processes:
            process.go_on()
            if not process.is_alive:
                process.start()

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        def act() -> None:
            if not self._over:
                do()

        asyncio.get_running_loop().call_later(seconds, act, context=self._context)

    def _replication_seconds(self) -> float:
        return 0.0 if self._over or self._rng.random() < 0.5 else self._rng.expovariate(20.0)

    def _marker_seconds(self) -> float:
        return self._rng.uniform(0.01, 10.0) if not self._over and self._rng.random() < 0.15 else 0.0

    # Processes

    def _kill(self, process: SimulatedProcess[Any]) -> str:
        process.kill()
        if self._rng.random() < 0.5:
            process.start()
            return "killed and back"
        self._later(self._rng.uniform(*DOWN_SECONDS), lambda: None if process.is_alive else process.start())
        return "killed"

    def _end(self, process: SimulatedProcess[Any]) -> str:
        async def end_and_start() -> None:
            await process.end()
            process.start()

        self._ending = asyncio.create_task(end_and_start())
        return "ended"

    def _stop(self, process: SimulatedProcess[Any]) -> str:
        process.stop()
        self._later(self._rng.uniform(*STOPPED_SECONDS), process.go_on)
        return "stopped"

    def _cut_off(self, process: SimulatedProcess[Any]) -> str:
        requests, answers = self._rng.choice(((True, True), (True, False), (False, True)))
        cut = Cut(GROUP if self._rng.random() < 0.5 else None, requests, answers)
        self._network.trace.add(process.name, "is cut off")
        self._network.cuts[process.name] = cut
        self._later(self._rng.uniform(*STOPPED_SECONDS), lambda: self._network.mend(process.name))
        return "cut off"

    # The cluster

    def _evict(self, process: SimulatedProcess[Any]) -> str:
        for name in self._topics.cluster.committed:
            self._topics.cluster.group(name).leave(process.name)
        self._network.trace.add(process.name, "has lost its sessions")
        return "evicted"

    def _rebalance(self, process: SimulatedProcess[Any]) -> str:
        for name in self._topics.cluster.committed:
            self._topics.cluster.group(name).rebalance()
        return "rebalanced"

    def _fail_over(self, process: SimulatedProcess[Any]) -> str:
        for name, topic in self._topics.cluster.topics.items():
            for number in range(len(topic.partitions)):
                if self._rng.random() < 0.5:
                    self._topics.cluster.fail_over(Place(name, number))
        return "failed over"

    def _lose_coordinator(self, process: SimulatedProcess[Any]) -> str:
        self._network.trace.add("network", "nobody reaches the coordinator of groups")
        self._go_away(GROUP, self._rng.uniform(*self._rng.choice((STOPPED_SECONDS, LAPSE_SECONDS))))
        return "without coordinator"

    def _lose_transactions(self, process: SimulatedProcess[Any]) -> str:
        """Meanwhile another process takes over from one that stands still, and can't shut it out."""
        self._network.trace.add("network", "nobody reaches the coordinator of transactions")
        seconds = self._rng.uniform(*TAKEOVER_SECONDS)

        def take_over() -> None:
            self._evict(process)
            process.stop()

        self._later(self._rng.uniform(0.0, seconds / 2), take_over)
        self._later(seconds, process.go_on)
        self._go_away(TRANSACTIONS, seconds)
        return "without transactions"

    def _go_away(self, kinds: frozenset[Request], seconds: float) -> None:
        """Let nobody reach a coordinator for so long."""

        def come_back() -> None:
            self._network.away -= kinds

        self._network.away |= kinds
        self._later(seconds, come_back)


def cut_off(network: FaultyNetwork, client: str) -> None:
    """Let a client reach the coordinator of its groups no more."""
    network.cuts[client] = Cut(GROUP)
