"""All topics that are listened to: a listener for each, and what they share."""

import asyncio
from collections.abc import Awaitable, Callable

from engine.metrics import Metrics
from engine.ports import Clock, EventLog
from engine.triggers.definitions import DefinitionsReader
from engine.triggers.failures import FilterFailures
from engine.triggers.listener import Listener
from engine.triggers.positions import Positions
from schemas.kafka import Kafka
from schemas.process_name import ProcessName
from schemas.settings import EngineSettings
from schemas.topics import trigger_topics


class Listeners:
    """Listens for triggers on the topics of the settings.

    Args:
        kafka: where the topics are.
        settings: which topics.
        name: of the engine in the topics' groups.
        log: appends the commands.
        reader: the current triggers and workflows; it runs as long as the listeners do.
        positions: where listening goes on.
        failures: is told of filters that could not be evaluated.
        check: raises if the settings do not fit the log.
        metrics: what the engine counts.
        clock: the time.
    """

    def __init__(
        self,
        kafka: Kafka,
        settings: EngineSettings,
        *,
        name: ProcessName,
        log: EventLog,
        reader: DefinitionsReader,
        positions: Positions,
        failures: FilterFailures,
        check: Callable[[], Awaitable[None]],
        metrics: Metrics,
        clock: Clock,
    ):
        self._reader = reader
        self._positions = positions
        self._finder = kafka.topic_finder()
        self.topics = trigger_topics(settings)
        self._listeners = [
            Listener(
                topic,
                kafka,
                settings,
                name=name,
                log=log,
                reader=self._reader,
                positions=positions,
                finder=self._finder,
                failures=failures,
                check=check,
                metrics=metrics,
                clock=clock,
            )
            for topic in self.topics
        ]

    @property
    def settled(self) -> bool:
        """Whether each topic is listened to, or known to be in trouble."""
        return all(listener.settled for listener in self._listeners)

    @property
    def troubles(self) -> dict[str, str]:
        """The topics that are not listened to at the moment, and why."""
        return {listener.topic: listener.trouble for listener in self._listeners if listener.trouble is not None}

    @property
    def states(self) -> dict[str, str]:
        """Each topic, with its trouble, `ok` or `starting`."""
        return {
            listener.topic: listener.trouble or ("ok" if listener.settled else "starting")
            for listener in self._listeners
        }

    async def workflow_deleted(self, workflow_id: str) -> bool:
        """Whether a workflow was deleted, as of now.

        Raises:
            KafkaFault: Kafka is away.
        """
        await self._reader.catch_up()
        return self._reader.definitions.workflow(workflow_id) is None

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._positions.run(self._finder), name="trigger-positions")
                for listener in self._listeners:
                    group.create_task(listener.run(), name=f"listen-{listener.topic}")
        finally:
            self._finder.close()
