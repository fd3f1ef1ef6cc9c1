"""The engine process: wires the supervisor to Kafka and to the stack."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from prometheus_client import REGISTRY, CollectorRegistry

from engine.activities import service_of
from engine.activities.caller import StackCaller
from engine.clock import SystemClock
from engine.command_feed import KafkaCommandFeed
from engine.core.duplicates import Bounds
from engine.errors import ReadFailed
from engine.kafka_log import KafkaEventLog
from engine.kafka_snapshots import KafkaSnapshots
from engine.lateness import Lateness
from engine.log_checks import check_number
from engine.metrics import Metrics
from engine.partition import Partition
from engine.ports import ActivityCaller, Clock, MessageEvaluator
from engine.shared import Shared
from engine.slots import CallSlots
from engine.supervisor import Supervisor
from engine.triggers.definitions import DefinitionsReader
from engine.triggers.evaluator import LinkEvaluator
from engine.triggers.failures import FilterFailures
from engine.triggers.listeners import Listeners
from engine.triggers.positions import Positions
from schemas.kafka import Kafka, clients_of
from schemas.log_integrity import LogFault
from schemas.process_name import ProcessName
from schemas.records import RecordCodec
from schemas.settings import EngineSettings
from schemas.stack.links import LinkFetcher

C = TypeVar("C", bound=StackCaller | LinkFetcher)


class Engine:
    """Decides commands and runs instances for its share of the partitions.

    Args:
        settings: the engine's settings.
        kafka: where the topics are; as the settings say when not given.
        caller: calls the stack, and is open; by default over HTTP, as the settings say.
        evaluator: evaluates messages that need links, and is open; by default over HTTP.
        clock: the time; that of the machine when not given.
        registry: gets the metrics.
        lateness: measures how late the event loop is.
        bounds: how much partitions remember of what is over; as the settings say when not given.
    """

    def __init__(
        self,
        settings: EngineSettings,
        kafka: Kafka | None = None,
        *,
        caller: ActivityCaller | None = None,
        evaluator: MessageEvaluator | None = None,
        clock: Clock | None = None,
        registry: CollectorRegistry = REGISTRY,
        lateness: Lateness | None = None,
        bounds: Bounds | None = None,
    ):
        kafka, clock = kafka or clients_of(settings), clock or SystemClock()
        metrics, codec = Metrics(registry), RecordCodec()
        self._timeout = settings.shutdown_timeout_seconds
        self._log = KafkaEventLog(kafka, settings, codec)
        self._snapshots = KafkaSnapshots(kafka, settings)
        self._connections: list[StackCaller | LinkFetcher] = []
        self._name = ProcessName("engine", settings.engine_id, settings)
        self._feed = KafkaCommandFeed(kafka, settings, metrics, self._name)
        self._lateness = lateness or Lateness(time.monotonic)
        self._definitions = DefinitionsReader(kafka, settings)
        failures = FilterFailures(metrics)
        self.listeners = self._new_listeners(kafka, settings, failures, metrics, clock)
        if caller is None:
            caller = self._connected(StackCaller(settings, metrics))
        if evaluator is None:
            evaluator = self._new_evaluator(settings, failures, metrics, clock)
        slots = CallSlots(settings.max_activities_in_flight, service_of)
        shared = Shared(
            owner=settings.engine_id or f"{socket.gethostname()}-{os.getpid()}",
            log=self._log,
            snapshots=self._snapshots,
            snapshot_seconds=settings.snapshot_seconds,
            caller=caller,
            slots=slots,
            evaluator=evaluator,
            workflows=self._definitions,
            clock=clock,
            codec=codec,
            metrics=metrics,
            bounds=bounds or _bounds(settings),
            max_attempts=settings.activity_max_attempts,
        )
        self._supervisor = Supervisor(shared, self._feed)
        metrics.configured_partitions.set(settings.partitions)
        self._show(metrics, slots)

    def _new_listeners(
        self, kafka: Kafka, settings: EngineSettings, failures: FilterFailures, metrics: Metrics, clock: Clock
    ) -> Listeners:
        return Listeners(
            kafka,
            settings,
            name=self._name,
            log=self._log,
            reader=self._definitions,
            positions=Positions(kafka, settings, self._log.note),
            failures=failures,
            check=lambda: check_number(self._log, self._snapshots),
            metrics=metrics,
            clock=clock,
        )

    def _new_evaluator(
        self, settings: EngineSettings, failures: FilterFailures, metrics: Metrics, clock: Clock
    ) -> LinkEvaluator:
        return LinkEvaluator(
            self._connected(LinkFetcher(settings)),
            self.listeners.workflow_deleted,
            failures,
            metrics,
            clock,
            settings.link_retry_seconds,
        )

    def _show(self, metrics: Metrics, slots: CallSlots) -> None:
        """Have the gauges show what is here whenever somebody looks."""
        metrics.instances.set_function(self._sum(lambda partition: partition.shard.instances))
        metrics.paused_activities.set_function(self._sum(lambda partition: partition.shard.paused))
        metrics.waiting_evaluations.set_function(self._sum(lambda partition: partition.shard.waiting))
        metrics.held_submissions.set_function(self._sum(lambda partition: partition.shard.held))
        metrics.timers.set_function(self._sum(lambda partition: partition.timers))
        metrics.loop_late_seconds.set_function(self._lateness.worst_seconds)
        metrics.calls_waiting.set_function(lambda: slots.waiting)
        metrics.set_aside.set_function(self._sum(lambda partition: len(partition.shard.aside)))
        metrics.partitions.set_function(self._sum(lambda partition: int(partition.restored)))

    def _connected(self, connection: C) -> C:
        """Have a connection opened and closed with the engine."""
        self._connections.append(connection)
        return connection

    @property
    def partitions(self) -> Sequence[Partition]:
        """The partitions at work or being restored."""
        return self._supervisor.partitions

    @property
    def ready(self) -> bool:
        """Whether the group is joined and every partition assigned here is restored."""
        return self._feed.joined and self._supervisor.restored and self.listeners.settled

    @property
    def checks(self) -> dict[str, object]:
        """What is behind `ready`, and how it is with each topic that is listened to."""
        return {
            "group": self._feed.joined,
            "partitions": self._supervisor.restored,
            "standing_still": self._supervisor.standing_still,
            "triggers": self.listeners.settled,
            "trigger_topics": self.listeners.states,
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then end the turns under way and leave the group."""
        for connection in self._connections:
            await connection.open()
        work = [
            self._feed.run(self._supervisor.assigned, self._supervisor.received, self._supervisor.failed),
            self._lateness.run(),
            self._definitions.run(),
        ]
        if self.listeners.topics:
            work.append(self.listeners.run())
        tasks = [asyncio.create_task(coroutine) for coroutine in work]
        connecting = asyncio.create_task(self._connect())
        stopped = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            stopped.cancel()
            connecting.cancel()
            await self._supervisor.stop(self._timeout / 3)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=self._timeout / 3)
            await self._log.close()
            await self._snapshots.close()
            for connection in reversed(self._connections):
                await connection.close()
            self._name.release()

    async def _connect(self) -> None:
        """Connect what takeovers ask, while the group is joined: else the first ones would wait for it."""
        with contextlib.suppress(ReadFailed, LogFault):  # the owner of the partition tells
            await asyncio.gather(self._log.look(0), self._snapshots.last(0))

    def _sum(self, value: Callable[[Partition], int]) -> Callable[[], float]:
        return lambda: float(sum(value(partition) for partition in self._supervisor.partitions))


def _bounds(settings: EngineSettings) -> Bounds:
    """How much partitions remember of what is over, as the settings say."""
    return Bounds(identity_seconds=settings.trigger_identity_seconds, max_identities=settings.max_trigger_identities)
