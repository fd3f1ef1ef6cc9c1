"""What has to become of the messages of other services.

None is lost that came when its trigger was there, nor behind where listening to its topic began; none fires a trigger
whose filter says no; and what fires starts the trigger's workflow, with the trigger's variables.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec

from schemas import events as ev
from schemas.current import CurrentTrigger, CurrentWorkflow, decode_current
from schemas.kafka import Place
from schemas.kafka.memory import StoredRecord
from schemas.records import Recorded
from schemas.topics import DEFINITIONS, TRIGGERS_POSITIONS
from schemas.trigger_positions import ListeningBegan, decode_listening
from tests.simulation.sources import Sources, Wanted, needs_links, wanted
from tests.simulation.topics import Topics


class Message(NamedTuple):
    """A message of another service."""

    came: int
    """When, in comparison with definitions."""
    envelope: dict[str, Any]
    place: Place
    offset: int

    @property
    def identity(self) -> tuple[str, str]:
        """What tells it from others, of all topics."""
        return self.envelope["app"], self.envelope["idempotency_key"]


class Known(NamedTuple):
    """A trigger or workflow that is there."""

    since: int
    definition: CurrentTrigger | CurrentWorkflow


class Listening:
    """Follows the messages, and the triggers that listen to them.

    Args:
        topics: of the installation.
        sources: where the messages are.
    """

    def __init__(self, topics: Topics, sources: Sources):
        self._topics, self._sources = topics, sources
        self._count = 0
        self._begins: dict[str, Sequence[int]] = {}
        """Where listening to each topic began, by partition."""
        self._defined: dict[str, Known] = {}
        """Triggers and workflows, since when all may know them."""
        self._removed: set[str] = set()
        """Those of them that were deleted by now."""
        self._messages: list[Message] = []
        self._by_place: dict[tuple[str, int], Message] = {}
        """By source, as events name it, and offset."""
        self._ids: dict[tuple[str, Place, int], str] = {}
        """The occurrence of a message for a trigger, by the trigger, partition and offset."""
        self._judged: set[str] = set()
        self._waited: set[str] = set()
        """Occurrences that had to wait for links."""
        self._deleted: set[str] = set()
        self._read = Counter[int]()
        """How many events of each partition were looked at."""
        topics.listeners.append(self._appended)

    def _appended(self, place: Place, records: Sequence[StoredRecord]) -> None:
        for record in records:
            self._count += 1
            if place.topic == DEFINITIONS:
                current = decode_current(record)
                if current.definition is None:
                    self._removed.add(current.id)
                else:
                    self._defined.setdefault(current.id, Known(self._count, current.definition))
            elif place.topic in self._sources.listened:
                self._note(place, record)
            elif place.topic == TRIGGERS_POSITIONS:
                topic, _, row = decode_listening(record)
                if isinstance(row, ListeningBegan):
                    self._begins.setdefault(topic, row.begins)

    def _note(self, place: Place, record: StoredRecord) -> None:
        try:
            envelope = msgspec.json.decode(record.value or b"")
        except msgspec.DecodeError:
            return
        message = Message(self._count, envelope, place, record.offset)
        self._messages.append(message)
        self._by_place[self._source(place), record.offset] = message

    def lost(self, admitted: Sequence[Sequence[Recorded]]) -> list[str]:
        """The messages that no trigger has heard of yet although it has to, in words.

        Nothing has to come any more to a trigger that was deleted.

        Args:
            admitted: the events of each partition that count.

        Raises:
            AssertionError: a message came to something else than it has to.
        """
        for partition, events in enumerate(admitted):
            self._follow(events[self._read[partition] :])
            self._read[partition] = len(events)
        heard: set[tuple[str, tuple[str, str]]] = set()
        expected: dict[tuple[str, tuple[str, str]], str] = {}
        for message in self._messages:
            begins = self._begins.get(message.place.topic, ())
            number = message.place.partition
            is_new = number >= len(begins) or message.offset >= begins[number]
            for trigger_id, known in self._defined.items():
                if not isinstance(known.definition, CurrentTrigger):
                    continue
                if known.definition.event != message.envelope["type"]:
                    continue
                if self._id(trigger_id, message.place, message.offset) in self._judged:
                    heard.add((trigger_id, message.identity))
                elif is_new and message.came > known.since and self._has_to_hear(trigger_id, known.definition, message):
                    words = f"message {message.place}/{message.offset} for trigger {trigger_id}"
                    expected[trigger_id, message.identity] = words
        return [words for key, words in expected.items() if key not in heard]

    def _has_to_hear(self, trigger_id: str, trigger: CurrentTrigger, message: Message) -> bool:
        if trigger_id in self._deleted:
            return False
        return needs_links(trigger.filter, trigger.vars) or _wanted(trigger, message).matches

    def _follow(self, events: Iterable[Recorded]) -> None:
        for recorded in events:
            match recorded.event:
                case ev.EvaluationStarted(occurrence_id=id):
                    self._waited.add(id)
                    self._judged.add(id)
                case ev.TriggerFired() | ev.TriggerFailed():
                    self._check(recorded.aggregate_id, recorded.event)
                    self._judged.add(recorded.event.occurrence_id)
                case ev.TriggerDeleted():
                    self._deleted.add(recorded.aggregate_id)

    def _check(self, trigger_id: str, event: ev.TriggerFired | ev.TriggerFailed) -> None:
        """A message has fired a trigger, or should have."""
        message = self._by_place.get((event.source, event.offset))
        if message is None:
            assert not any(event.source.startswith(f"{topic}:") for topic in self._sources.listened), event.source
            return  # of those who send such commands themselves
        words = f"message {message.place}/{message.offset} for trigger {trigger_id}"
        known = self._defined[trigger_id]
        assert isinstance(known.definition, CurrentTrigger)
        trigger = known.definition
        assert trigger.event == message.envelope["type"], f"{words} is of another type"
        assert event.occurrence_id == self._id(trigger_id, message.place, message.offset), f"{words} is another one"
        assert event.event == message.envelope, f"{words} is told otherwise"
        came_to = _wanted(trigger, message)
        needs = needs_links(trigger.filter, trigger.vars)
        if isinstance(event, ev.TriggerFailed):
            was_refused = needs and event.occurrence_id not in self._waited
            workflow = self._defined.get(trigger.workflow_id)
            is_gone = workflow is None or workflow.since > message.came or trigger.workflow_id in self._removed
            failed = came_to.matches and came_to.variables is None
            assert was_refused or is_gone or failed, f"{words} has failed: {event.error}"
            return
        assert came_to.matches, f"{words} has fired, and its filter says no"
        assert event.variables == came_to.variables, f"{words} has variables {event.variables}, not {came_to.variables}"
        assert event.workflow_id == trigger.workflow_id, f"{words} starts another workflow"
        workflow = self._defined[trigger.workflow_id]
        assert isinstance(workflow.definition, CurrentWorkflow)
        assert event.stages == workflow.definition.stages, f"{words} starts other stages than its workflow's"

    def _source(self, place: Place) -> str:
        """What events call a partition."""
        return f"{place.topic}:{self._topics.cluster.topics[place.topic].id}/{place.partition}"

    def _id(self, trigger_id: str, place: Place, offset: int) -> str:
        key = (trigger_id, place, offset)
        if key not in self._ids:
            self._ids[key] = str(uuid5(UUID(trigger_id), f"{self._source(place)}/{offset}"))
        return self._ids[key]


def _wanted(trigger: CurrentTrigger, message: Message) -> Wanted:
    return wanted(trigger.filter, trigger.vars, int(message.envelope["payload"]["n"]))
