"""The projections' processes of the simulation: the real ones, with their publishers."""

import random

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from projections.memory import MemoryStore
from projections.memory_queries import MemoryQueries
from projections.metrics import Metrics
from projections.process import Projections
from schemas.kafka.memory import MemoryCluster, Network
from schemas.process_name import ProcessName
from schemas.settings import ProjectionsSettings
from tests.simulation.database import SimulatedDatabase
from tests.simulation.processes import SimulatedProcess
from tests.simulation.trace import Trace


def simulated_projections(
    name: str,
    rng: random.Random,
    cluster: MemoryCluster,
    network: Network,
    database: SimulatedDatabase,
    settings: ProjectionsSettings,
    trace: Trace,
) -> SimulatedProcess[Projections]:
    """A process of the projections, not started.

    Args:
        name: of the process, and in its groups.
        rng: makes names, where another process has this one's.
        cluster: Kafka.
        network: the way to it.
        database: Postgres.
        settings: of the projections.
        trace: is told what happens to it.
    """
    settings = replace(settings, projections_id=name)

    def make(process: SimulatedProcess[Projections]) -> Projections:
        return Projections(
            settings,
            Metrics(CollectorRegistry()),
            kafka=process.kafka,
            store=MemoryStore(database, name),
            database=MemoryQueries(database, name),
            name=ProcessName("projections", name, settings, lambda: f"{name}-{rng.getrandbits(32):x}"),
            clock=lambda: process.clock.now().timestamp(),
        )

    return SimulatedProcess(name, cluster, network, make, trace)
