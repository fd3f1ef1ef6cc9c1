"""What has to become of the messages of other services: none is lost that came when its trigger was there."""

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID, uuid5

import msgspec

from schemas.current import CurrentTrigger, decode_current
from schemas.events import EvaluationStarted, TriggerDeleted, TriggerFailed, TriggerFired
from schemas.kafka import Place
from schemas.kafka.memory import StoredRecord
from schemas.records import Recorded
from schemas.topics import DEFINITIONS, TRIGGERS_POSITIONS
from schemas.trigger_positions import ListeningBegan, decode_listening
from tests.simulation.topics import OTHERS, OTHERS_PARTITIONS, Topics


class Listening:
    """Follows the messages, and the triggers that listen to them.

    Args:
        topics: of the installation.
        event: the type of message that is looked at. All of them fire, or are to be evaluated.
    """

    def __init__(self, topics: Topics, event: str):
        self._topics, self._event = topics, event
        self._count = 0
        self._begins: Sequence[int] | None = None
        self._defined: dict[str, int] = {}
        """When each trigger was there for all to know."""
        self._messages: list[tuple[int, str, int, int]] = []
        """When each came; what tells it from others; partition and offset."""
        self._ids: dict[tuple[str, int, int], str] = {}
        """The occurrence of a message for a trigger, by the trigger, partition and offset."""
        self._judged: set[str] = set()
        self._deleted: set[str] = set()
        self._read = Counter[int]()
        """How many events of each partition were looked at."""
        topics.listeners.append(self._appended)

    def _appended(self, place: Place, records: Sequence[StoredRecord]) -> None:
        for record in records:
            self._count += 1
            if place.topic == DEFINITIONS:
                current = decode_current(record)
                if isinstance(current.definition, CurrentTrigger) and current.definition.event == self._event:
                    self._defined.setdefault(current.id, self._count)
            elif place.topic == OTHERS:
                self._note(place.partition, record)
            elif place.topic == TRIGGERS_POSITIONS and self._begins is None:
                _, _, row = decode_listening(record)
                if isinstance(row, ListeningBegan):
                    self._begins = row.begins

    def _note(self, partition: int, record: StoredRecord) -> None:
        try:
            message = msgspec.json.decode(record.value or b"")
        except msgspec.DecodeError:
            return
        if message["type"] == self._event:
            self._messages.append((self._count, message["idempotency_key"], partition, record.offset))

    def lost(self, admitted: Sequence[Sequence[Recorded]]) -> list[str]:
        """The messages that no trigger has heard of yet although it has to, in words.

        Nothing has to come any more to a trigger that was deleted.

        Args:
            admitted: the events of each partition that count.
        """
        for partition, events in enumerate(admitted):
            self._follow(events[self._read[partition] :])
            self._read[partition] = len(events)
        begins = self._begins or [0] * OTHERS_PARTITIONS
        heard: set[tuple[str, str]] = set()
        expected: dict[tuple[str, str], str] = {}
        for came, identity, partition, offset in self._messages:
            for trigger_id, defined in self._defined.items():
                if self._id(trigger_id, partition, offset) in self._judged:
                    heard.add((trigger_id, identity))
                elif trigger_id not in self._deleted and came > defined and offset >= begins[partition]:
                    expected[trigger_id, identity] = f"message {partition}/{offset} for trigger {trigger_id}"
        return [words for key, words in expected.items() if key not in heard]

    def _follow(self, events: Iterable[Recorded]) -> None:
        for recorded in events:
            if isinstance(recorded.event, TriggerFired | EvaluationStarted | TriggerFailed):
                self._judged.add(recorded.event.occurrence_id)
            elif isinstance(recorded.event, TriggerDeleted):
                self._deleted.add(recorded.aggregate_id)

    def _id(self, trigger_id: str, partition: int, offset: int) -> str:
        key = (trigger_id, partition, offset)
        if key not in self._ids:
            source = f"{OTHERS}:{self._topics.cluster.topics[OTHERS].id}"
            self._ids[key] = str(uuid5(UUID(trigger_id), f"{source}/{partition}/{offset}"))
        return self._ids[key]
