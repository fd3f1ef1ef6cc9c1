"""The current triggers and workflows in memory, followed from topic `definitions`."""

from msgspec import Struct

from schemas.current import Current, CurrentTrigger, CurrentWorkflow, decode_current
from schemas.expressions import Expression, Variable
from schemas.expressions.limits import excess
from schemas.kafka import Kafka, TableReader
from schemas.records import Record
from schemas.settings import EngineSettings
from schemas.topics import DEFINITIONS, topic_name


class CompiledTrigger(Struct, frozen=True):
    """A trigger that can be asked.

    Its expressions are compiled by the first message: to compile those of all triggers would take minutes of a start.
    """

    id: str
    definition: CurrentTrigger
    filter: Expression | None
    vars: dict[str, Variable]
    problem: str | None = None
    """Why its variables can't be evaluated, whatever the message."""


class Definitions:
    """Triggers by the type of message that they listen to, and workflows by id."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self._workflows: dict[str, CurrentWorkflow] = {}
        self._triggers: dict[str, CompiledTrigger] = {}
        self._by_event: dict[str, dict[str, CompiledTrigger]] = {}

    def workflow(self, workflow_id: str) -> CurrentWorkflow | None:
        """What a run of a workflow starts with; None when it is unknown or was deleted."""
        return self._workflows.get(workflow_id)

    def triggers(self, event: str) -> list[CompiledTrigger]:
        """The triggers that listen to a type of message, in a fixed order."""
        return [trigger for _, trigger in sorted(self._by_event.get(event, {}).items())]

    def apply(self, current: Current) -> None:
        """Take over a definition, unless a newer one of the same id is known."""
        if current.version <= self._versions.get(current.id, 0):
            return
        self._versions[current.id] = current.version
        if current.definition is None:
            self._workflows.pop(current.id, None)
            trigger = self._triggers.pop(current.id, None)
            if trigger is not None:
                del self._by_event[trigger.definition.event][trigger.id]
        elif isinstance(current.definition, CurrentWorkflow):
            self._workflows[current.id] = current.definition
        else:
            trigger = compile_trigger(current.id, current.definition)
            self._triggers[trigger.id] = trigger
            self._by_event.setdefault(current.definition.event, {})[trigger.id] = trigger


def compile_trigger(trigger_id: str, definition: CurrentTrigger) -> CompiledTrigger:
    """Make a trigger that can be asked."""
    given = definition.vars or {}
    problem = excess(definition.filter, given)
    return CompiledTrigger(
        id=trigger_id,
        definition=definition,
        filter=Expression(definition.filter) if definition.filter else None,
        vars={} if problem else {name: Variable(text) for name, text in given.items()},
        problem=problem,
    )


class DefinitionsReader:
    """Follows topic `definitions` for as long as it runs (implements `engine.ports.Workflows`).

    Args:
        kafka: where the topic is.
        settings: its prefix.
    """

    def __init__(self, kafka: Kafka, settings: EngineSettings):
        self.definitions = Definitions()
        self._table = TableReader(kafka, topic_name(settings, DEFINITIONS), self._apply)

    async def run(self) -> None:
        """Follow the topic until cancelled, beginning again after faults."""
        await self._table.run()

    async def catch_up(self) -> None:
        """Wait until everything that the topic holds now is known.

        Raises:
            KafkaFault: Kafka is away.
        """
        await self._table.catch_up()

    def workflow(self, workflow_id: str) -> CurrentWorkflow | None:
        """See `Definitions.workflow`."""
        return self.definitions.workflow(workflow_id)

    def _apply(self, record: Record) -> None:
        self.definitions.apply(decode_current(record))
