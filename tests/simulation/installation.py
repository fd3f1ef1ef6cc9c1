"""Everything of one seed, made and put together: processes, cluster, stack, clients, and what checks them."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from schemas.events import EvaluationStarted
from schemas.kafka import Place
from schemas.kafka.memory import StoredRecord
from schemas.records import NewRecord, RecordCodec
from schemas.settings import ProjectionsSettings
from tests.simulation.bad import BadRecord
from tests.simulation.checkers import Observer
from tests.simulation.chosen import BOUNDS, chosen
from tests.simulation.clients import Clients
from tests.simulation.engines import Engines, engine_settings
from tests.simulation.front import Front
from tests.simulation.growth import Growth
from tests.simulation.harm import Harm
from tests.simulation.intake import Marks
from tests.simulation.limits import Limits
from tests.simulation.listening import Listening
from tests.simulation.memories import Memories
from tests.simulation.network import FaultyNetwork
from tests.simulation.processes import SimulatedProcess
from tests.simulation.producing import Producing, Transaction
from tests.simulation.retention import Retention
from tests.simulation.secrecy import Secrecy
from tests.simulation.sends import Sends
from tests.simulation.snapshot_writers import SnapshotWriters
from tests.simulation.sources import Sources, link_matches
from tests.simulation.stack import LATE_PAYMENT, LEDGERS, PAYMENTS, MemoryStack, wallet_id
from tests.simulation.topics import Topics
from tests.simulation.trace import Trace
from tests.simulation.trouble import Trouble

PARTITIONS: Final = 3
MAX_FETCHED: Final = 10
"""How many commands of a partition one fetch brings at most."""
OPEN_SECONDS: Final = (0.0, 3.0)
"""How long transactions of other services are open."""
GROUP: Final = "orchestration-engine"
CALLS_AT_ONCE: Final = (2, 1024)
"""How many calls an engine makes at once to each service of the stack."""
SNAPSHOT_SECONDS: Final = (0.05, 1.0, 1.0, 10.0)
"""How often engines write snapshots."""


class Installation:
    """See the module.

    Args:
        seed: decides all that happens.
        engines: how many engine processes.
    """

    def __init__(self, seed: int, engines: int = 3):
        self.rng = random.Random(seed)
        self.codec, self.trace = RecordCodec(), Trace()
        self.clocks_are_wrong = seed % 4 == 0
        self.limits = chosen(self.rng)
        """What is set to what in the product."""
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
        self.growth = Growth(random.Random(f"growth {seed}"), self.topics, self.engines)
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
        self.limits |= self.front.limits
        self.observer.calls = self.front.calls
        for process in self.processes:
            process.connect = self.secrecy.connect
        self.memories = Memories(self.observer, self.topics, self.engines, self.harm, self.bounds)

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


def _fires(waiting: EvaluationStarted) -> bool:
    """Whether it is certain that a message fires: with its link, if its trigger has a filter, else at once."""
    return link_matches(int(msgspec.json.decode(waiting.event)["payload"]["n"]))
