"""The engines of a simulation: the process as it is, on the Kafka in memory, with the stack and links beside it."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from engine.core.duplicates import Bounds
from engine.lateness import Lateness
from engine.partition import Partition
from engine.ports import CommandFeed
from engine.process import Engine
from engine.shared import Shared
from schemas.records import Record
from schemas.settings import EngineSettings
from tests.simulation.checkers import Observer
from tests.simulation.links import LinkFaults, MemoryLinks
from tests.simulation.loop import VirtualClock
from tests.simulation.processes import SimulatedProcess
from tests.simulation.stack import Line, MemoryStack

COUNTED = ("orchestration_engine_snapshots_total", "orchestration_engine_restored_records_total")
"""Metrics that tell what engines have met."""

EngineProcess = SimulatedProcess[Engine]


class InTime(Lateness):
    """In virtual time nothing is late, and to measure it twenty times a second would be most of what happens."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    def worst_seconds(self) -> float:
        return 0.0


class WatchedPartition(Partition):
    """A partition as it is, seen from outside.

    Args:
        handed: is told how many commands wait whenever more are handed over.
        number: see `Partition`, as all that follows.
    """

    def __init__(self, handed: Callable[[int], None], number: int, shared: Shared, feed: CommandFeed):
        super().__init__(number, shared, feed)
        self._handed = handed

    def feed_commands(self, records: Sequence[Record]) -> None:
        self._handed(self.waiting)
        super().feed_commands(records)


@dataclass
class Engines:
    """Makes engines, and tells what is in them.

    Args:
        settings: of all of them.
        bounds: how much they remember.
        stack: that they call.
        rng: decides how links go.
        observer: is told of their calls.
    """

    settings: EngineSettings
    bounds: Bounds
    stack: MemoryStack
    rng: random.Random
    observer: Observer
    link_faults: LinkFaults = field(default_factory=LinkFaults)
    processes: list[EngineProcess] = field(default_factory=list)
    misled: dict[str, int] = field(default_factory=dict)
    """Processes whose settings tell another number of partitions: which."""
    _registries: list[CollectorRegistry] = field(default_factory=list)
    _lines: dict[str, Line] = field(default_factory=dict)

    def make(self, process: EngineProcess) -> Engine:
        """The program of a process, for its next life."""
        made: list[Engine] = []

        def epochs() -> Mapping[int, int]:
            return {partition.number: partition.epoch for partition in made[0].partitions}

        line = self._lines[process.name] = Line(self.stack, epochs)
        registry = CollectorRegistry()
        self._registries.append(registry)
        engine = Engine(
            settings_of(self.settings, process.name, self.misled.get(process.name)),
            process.kafka,
            caller=line,
            evaluator=MemoryLinks(
                self.rng,
                self.link_faults,
                self.observer,
                epochs,
                lambda workflow_id: made[0].listeners.workflow_deleted(workflow_id),
                process.clock,
            ),
            clock=process.clock,
            registry=registry,
            lateness=InTime(VirtualClock().monotonic),
            bounds=self.bounds,
        )
        made.append(engine)
        return engine

    def own(self, number: int, shared: Shared, feed: CommandFeed) -> Partition:
        """What an engine makes to own a partition."""
        return WatchedPartition(self.observer.handed, number, shared, feed)

    def queued(self) -> list[str]:
        """Instances whose call waits for a slot."""
        return [instance for line in self._lines.values() for instance in line.queued]

    def calling(self) -> list[str]:
        """Instances whose call is under way."""
        return [instance for line in self._lines.values() for instance in line.calling]

    def partitions(self) -> Iterator[Partition]:
        """What the engines that are alive own, or take themselves for the owner of."""
        for process in self.processes:
            if process.is_alive:
                yield from process.program.partitions

    def count(self) -> Counter[str]:
        """How often engines have met what, in all their lives."""
        met: Counter[str] = Counter()
        for registry in self._registries:
            for metric in registry.restricted_registry(COUNTED).collect():
                for sample in metric.samples:
                    if sample.name == "orchestration_engine_snapshots_total":
                        met[f"a snapshot was {sample.labels['outcome']}"] += int(sample.value)
                    elif sample.labels == {"source": "snapshot"}:
                        met["records were restored from snapshots"] += int(sample.value)
        return met


def settings_of(settings: EngineSettings, name: str, partitions: int | None = None) -> EngineSettings:
    """The settings of one engine, which may tell another number of partitions."""
    return replace(settings, engine_id=name, partitions=partitions or settings.partitions)


def engine_settings(
    partitions: int, snapshot_seconds: float, calls_at_once: int, listened: Iterable[str]
) -> EngineSettings:
    """Settings of all engines of an installation."""
    return EngineSettings(
        partitions=partitions,
        snapshot_seconds=snapshot_seconds,
        max_activities_in_flight=calls_at_once,
        trigger_topics=",".join(listened),
    )
