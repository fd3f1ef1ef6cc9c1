"""What is still to be done for occurrences of triggers: messages that wait for links, instances that are to be started.

Both are known by their *subject*, `<trigger>/<occurrence>`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from engine.core.definition import Definitions
from engine.core.evaluation import Waiting, kept
from engine.core.sections import Table
from engine.core.trigger import Pending, Trigger


class PendingOf(NamedTuple):
    """An instance that is to be started, and the trigger whose occurrence it is."""

    trigger_id: str
    pending: Pending


class WaitingOf(NamedTuple):
    """A message that waits, and its trigger."""

    trigger_id: str
    waiting: Waiting


def subject_of(trigger_id: str, occurrence_id: str) -> str:
    """The subject of an occurrence. Whoever can write commands may give two triggers occurrences of one id."""
    return f"{trigger_id}/{occurrence_id}"


class Triggers(Table[Trigger]):
    """Triggers. The messages that wait are entries of their own: all those of a trigger could be too large for one."""

    def __init__(self) -> None:
        super().__init__("trigger", Trigger)

    def encode(self, state: Trigger) -> bytes:
        """The value of an entry."""
        return super().encode(replace(state, waiting={}))


class WaitingMessages(Table[WaitingOf]):
    """Messages that wait for links, which are also in their triggers.

    Args:
        triggers: those.
    """

    def __init__(self, triggers: Triggers):
        super().__init__("waiting", WaitingOf)
        self._triggers = triggers
        self.size_bytes = 0
        """What they take together."""

    def follow(self, trigger_id: str, before: Trigger | None, after: Trigger | None) -> Sequence[str]:
        """Follow a change of a trigger; the subjects of those that wait no more."""
        earlier = {} if before is None else before.waiting
        later = {} if after is None else after.waiting
        if earlier is later:
            return ()
        gone = [id for id in earlier if id not in later]
        for id in gone:
            self.pop(subject_of(trigger_id, id))
            self.size_bytes -= earlier[id].size_bytes
        for id, waiting in later.items():
            if (replaced := earlier.get(id)) is not waiting:
                self.put(subject_of(trigger_id, id), WaitingOf(trigger_id, waiting))
                self.size_bytes += waiting.size_bytes - (0 if replaced is None else replaced.size_bytes)
        return [subject_of(trigger_id, id) for id in gone]

    def restore(self, values: dict[str, bytes]) -> Iterator[None]:
        """Take over entries, and give them to their triggers; yields after each.

        Raises:
            MsgspecError: one can't be decoded.
            KeyError: its trigger is missing.
        """
        by_trigger: dict[str, dict[str, Waiting]] = {}
        for subject, value in values.items():
            trigger_id, read = self.decode(value)
            waiting = replace(read, message=kept(read.message))
            self.states[subject] = WaitingOf(trigger_id, waiting)
            by_trigger.setdefault(trigger_id, {})[waiting.message.occurrence_id] = waiting
            self.size_bytes += waiting.size_bytes
            yield
        for trigger_id, messages in by_trigger.items():
            self._triggers.states[trigger_id] = replace(self._triggers.states[trigger_id], waiting=messages)


class PendingInstances(Table[PendingOf]):
    """Instances that are to be started, in the order of the log.

    Args:
        definitions: those of the partition's states at rest.
    """

    def __init__(self, definitions: Definitions):
        super().__init__(
            "pending",
            PendingOf,
            order=lambda state: state.pending.sequence,
            enc_hook=definitions.enc_hook,
            dec_hook=definitions.dec_hook,
        )
        self._definitions = definitions

    def add(self, trigger_id: str, pending: Pending) -> None:
        """Add an instance. One of the same subject starts the same; the first keeps its place in the order."""
        subject = subject_of(trigger_id, pending.occurrence_id)
        if subject not in self.states:
            self.put(subject, PendingOf(trigger_id, pending))
            self._definitions.hold(pending.stages)

    def remove(self, subject: str) -> None:
        """An instance was started, or is not to be started any more."""
        state = self.pop(subject)
        if state is not None:
            self._definitions.release(state.pending.stages)

    def insert(self, id: str, state: PendingOf) -> None:
        """Take over the state of one entry."""
        super().insert(id, state)
        self._definitions.hold(state.pending.stages)
