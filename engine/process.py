"""The engine process: wires the supervisor to Kafka and to the stack."""

import asyncio
import os
import socket
from collections.abc import Callable

from engine.activities import StackCaller
from engine.clock import SystemClock
from engine.command_feed import KafkaCommandFeed
from engine.kafka_log import KafkaEventLog
from engine.metrics import Metrics
from engine.partition import Partition
from engine.supervisor import Supervisor
from schemas.records import RecordCodec
from schemas.settings import EngineSettings


class Engine:
    """Decides commands and runs instances for its share of the partitions.

    Args:
        settings: the engine's settings.
    """

    def __init__(self, settings: EngineSettings):
        self._timeout = settings.shutdown_timeout_seconds
        metrics = Metrics()
        codec = RecordCodec()
        self._log = KafkaEventLog(settings, codec)
        self._caller = StackCaller(settings, metrics)
        self._feed = KafkaCommandFeed(settings, metrics)
        self._supervisor = Supervisor(
            log=self._log,
            feed=self._feed,
            caller=self._caller,
            clock=SystemClock(),
            owner=settings.engine_id or f"{socket.gethostname()}-{os.getpid()}",
            codec=codec,
            metrics=metrics,
        )
        metrics.instances.set_function(self._sum(lambda partition: partition.instances))
        metrics.timers.set_function(self._sum(lambda partition: partition.timers))
        metrics.partitions.set_function(self._sum(lambda partition: int(partition.restored)))

    @property
    def ready(self) -> bool:
        """Whether the group is joined and every partition assigned here is restored."""
        return self._feed.joined and self._supervisor.restored

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then end the turns under way and leave the group."""
        await self._caller.open()
        feeding = asyncio.create_task(self._feed.run(self._supervisor.assigned, self._supervisor.received))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({feeding, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
        finally:
            stopped.cancel()
            await self._supervisor.stop(self._timeout / 3)
            feeding.cancel()
            await asyncio.wait({feeding}, timeout=self._timeout / 3)
            await self._log.close()
            await self._caller.close()

    def _sum(self, value: Callable[[Partition], int]) -> Callable[[], float]:
        return lambda: float(sum(value(partition) for partition in self._supervisor.partitions))
