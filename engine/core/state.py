"""What the log of one partition says, and the only code that changes it. Pure: no await, clock, randomness or IO.

    replay(key, events, offset)  takes events over, live and at a restore
    cut()                        what changed since the last one, for a snapshot (see `engine.core.snapshots`)

So live state and restored state are made by one function, and there is nothing to be kept equal.

What it holds is in sections (`engine.core.sections`), which note what changes.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar, get_args

from engine.core import instance as instances
from engine.core import submissions
from engine.core import trigger as triggers
from engine.core import workflow as workflows
from engine.core.bulk import PAGE_EVENTS, Bulks
from engine.core.definition import Definitions
from engine.core.duplicates import DEFAULT_BOUNDS, Bounds, Duplicates
from engine.core.errors import TooManySetAside
from engine.core.instance import Instance
from engine.core.instances import Instances
from engine.core.log_time import LogTime
from engine.core.occurrences import PendingInstances, Triggers, WaitingMessages, subject_of
from engine.core.sections import Section, Table
from engine.core.snapshots import Cut, Summary, has_entry
from engine.core.submissions import Held, HeldSubmissions
from engine.core.trigger import Trigger
from engine.core.workflow import Workflow
from schemas import events as ev
from schemas.error_texts import cut_error
from schemas.late_aborts import late_abort

MAX_SET_ASIDE: Final = 100
"""Most aggregates of a partition that are set aside. If more do not fold, the build is wrong: without a limit, an older
one that reads the log of a newer one would set aside all that lives."""

MICROSECOND: Final = timedelta(microseconds=1)

S = TypeVar("S")
E = TypeVar("E")


class State:
    """What the log of one partition says.

    Args:
        bounds: how much is remembered of what is over.
    """

    def __init__(self, bounds: Bounds = DEFAULT_BOUNDS):
        self._definitions = Definitions()
        self._workflows: Table[Workflow] = Table("workflow", Workflow)
        self._triggers = Triggers()
        self._waiting = WaitingMessages(self._triggers)
        self._pending = PendingInstances(self._definitions)
        self._held = HeldSubmissions()
        self._instances = Instances(self._definitions)
        self._aside: Table[str] = Table("aside", str)
        self._is_aside = self._aside.states
        self._find = self._instances.find
        self._bulks = Bulks()
        self.duplicates = Duplicates(bounds)
        self._time = LogTime(bounds.longest_step)
        self._cut: Cut | None = None
        self.sections: Sequence[Section[Any]] = (
            self._definitions,
            self._workflows,
            self._triggers,
            self._waiting,
            self._pending,
            self._held,
            self._instances,
            self._aside,
            *self._bulks.sections,
            *self.duplicates.sections,
        )
        """All that it holds by id, those first that others refer to."""

    # What it holds

    @property
    def instances(self) -> int:
        """How many instances have not ended."""
        return self._instances.count

    @property
    def paused(self) -> int:
        """How many instances wait for a person to resume an activity, as far as states are settled."""
        return self._instances.paused

    @property
    def waiting(self) -> int:
        """How many messages wait for links."""
        return len(self._waiting)

    @property
    def held(self) -> int:
        """How many submissions are held."""
        return len(self._held)

    @property
    def aside(self) -> Mapping[str, str]:
        """The aggregates that were set aside, each with the reason."""
        return self._aside.states

    def instance(self, instance_id: str) -> Instance | None:
        """An instance; None when it is unknown or has ended."""
        return self._find(instance_id)

    def trigger(self, trigger_id: str) -> Trigger | None:
        """A trigger; None when it is unknown."""
        return self._triggers.get(trigger_id)

    def first_held(self, key: str) -> Held | None:
        """The first submission to an instance that is held."""
        return self._held.first(key)

    def stamp(self, now: datetime) -> datetime:
        """The time that events carry now: never earlier than an event before them, even if the clock was set back."""
        return self._time.stamp(now)

    def contents(self) -> dict[str, object]:
        """All of it, to be compared with another state's by `==`; settles it."""
        self.settle()
        return {
            "definitions": self._definitions.contents(),
            "workflows": self._workflows.states.copy(),
            "triggers": self._triggers.states.copy(),
            "waiting": self._waiting.states.copy(),
            "waiting_bytes": self._waiting.size_bytes,
            "pending": list(self._pending.states.items()),
            "held": list(self._held.states.items()),
            "instances": {id: self.instance(id) for id in self._instances.all_ids()},
            "bulks": self._bulks.contents(),
            "duplicates": self.duplicates.contents(),
            "aside": self._aside.states.copy(),
            "time": (self._time.last_at, self._time.uncounted),
        }

    # Snapshots

    @property
    def changes(self) -> int:
        """How many entries the next cut hands out, as far as states are settled."""
        return sum(section.changes for section in self.sections)

    @property
    def entries(self) -> int:
        """How many entries there are, likewise."""
        return sum(map(len, self.sections))

    def cut(self) -> Cut:
        """Fix the state as it is now, for a snapshot.

        Raises:
            RuntimeError: the last cut is still open.
        """
        if self._cut is not None and self._cut.is_open:
            raise RuntimeError("the last cut is still open")
        self.settle()
        known = self.duplicates.summary()
        uncounted_us = self._time.uncounted // MICROSECOND
        summary = Summary(
            entries=self.entries, last_at=self._time.last_at, uncounted_us=uncounted_us, **known._asdict()
        )
        self._cut = Cut(self.sections, summary)
        return self._cut

    def rebase(self) -> None:
        """Nothing is known any more of what the topic holds: the next cut hands out everything. Ends an open cut."""
        if self._cut is not None:
            self._cut.close(written=False)
        for section in self.sections:
            section.rebase(known=False)

    def has(self, key: str) -> bool:
        """Whether there is an entry of a key: at the open cut if one is open, and otherwise now."""
        return has_entry(self.sections, key)

    def restore_summary(self, summary: Summary) -> None:
        """Take over what a snapshot says beside its entries, which have been taken over.

        Raises:
            ValueError: it does not fit to them.
        """
        unused = self._definitions.unused()
        if unused:
            raise ValueError(f"nothing names the definitions {', '.join(unused)}")
        self._time.last_at, self._time.uncounted = summary.last_at, summary.uncounted_us * MICROSECOND
        for section in self.sections:
            section.rebase(known=True)
        alive = {id for id, trigger in self._triggers.states.items() if not trigger.deleted}
        self.duplicates.restore_summary(summary, alive)

    # Set aside

    def set_aside(self, key: str, error: str) -> None:
        """Forget an aggregate whose event can't be read or does not follow, so that it does not hold up all others.

        Its later events are passed over, its commands are rejected and nothing of it starts any more, also after the
        next restore. A build that can read its events finds it again in the whole log.

        Args:
            key: of the aggregate.
            error: why.

        Raises:
            TooManySetAside: so many were that it can't be the aggregates.
        """
        if len(self._aside) >= MAX_SET_ASIDE and key not in self._aside.states:
            raise TooManySetAside(f"{MAX_SET_ASIDE} aggregates are set aside already, and {key} does not fold: {error}")
        instance, trigger = self.instance(key), self._triggers.pop(key)
        self._workflows.pop(key)
        self._bulks.remove(key)
        if instance is not None:
            self._instances.remove(instance)
        self._waiting.follow(key, trigger, None)
        for subject in [subject for subject, of in self._pending.states.items() if of.trigger_id == key]:
            self._pending.remove(subject)
        self._held.remove_all(key)
        self.duplicates.note_deleted(key)
        self.duplicates.forget_late(key)
        self._aside.put(key, cut_error(error))

    # Replay

    def replay(self, key: str, events: Sequence[Any], offset: int) -> Sequence[str]:
        """Take over events of one aggregate that follow each other in the log: all of them, or none if one is wrong.

        Args:
            key: of the aggregate.
            events: those that count (see `schemas.epochs`).
            offset: of the first.

        Returns:
            Subjects whose effect may be another one now.

        Raises:
            IllegalTransition: an event does not follow from those before it.
            UndecodableRecord: a definition can't be decoded.
        """
        if not events:
            return ()
        replay = _REPLAYS.get(type(events[0]))
        aside = key in self._is_aside and not isinstance(events[0], ev.CommandRejected)
        changed = () if replay is None or aside else replay(self, key, events, offset)
        self._time.note(event.at for event in events)
        return changed

    def _replay_workflow(self, key: str, events: Sequence[ev.WorkflowEvent], offset: int) -> Sequence[str]:
        after = _fold(workflows.evolve, self._workflows.get(key), events, key)
        self._workflows.put(key, after)
        return ()

    def _replay_submission(self, key: str, events: Sequence[ev.SubmissionEvent], offset: int) -> Sequence[str]:
        for place, event in enumerate(events, offset):
            match event:
                case ev.SubmissionHeld():
                    self._held.add(Held(key, place, event))
                case ev.SubmissionReleased():
                    self._held.release(key)
                case ev.SubmissionRejected() if (request := late_abort(key, event)) is not None:
                    self.duplicates.note_late_abort(key, *request, place)
        return (submissions.subject_of(key),)

    def _replay_bulk(self, key: str, events: Sequence[ev.BulkEvent], offset: int) -> Sequence[str]:
        self._bulks.replay(key, events, offset)
        return ()

    def _replay_rejected(self, key: str, events: Sequence[ev.CommandRejected], offset: int) -> Sequence[str]:
        """Only commands of bulk operations are known by their rejection, too, and aborts that came after the end."""
        for place, event in enumerate(events, offset):
            if event.bulk_id is not None:
                self._bulks.note_decided(key, event.bulk_id, event.bulk_page, place)
            elif (request := late_abort(key, event)) is not None:
                self.duplicates.note_late_abort(key, *request, place)
        return ()

    def _replay_instance(self, key: str, events: Sequence[ev.InstanceEvent], offset: int) -> Sequence[str]:
        before, first = self._find(key), events[0]
        if isinstance(first, ev.LateResultRecorded):
            self.duplicates.note_late_result(key, first.retries)
            if before is None:
                return ()
        after = _fold(instances.evolve, before, events, key)
        if isinstance(first, ev.InstanceStarted) and first.source is not None:
            self.duplicates.note_sent(first.source, first.sequence)
        if isinstance(first, ev.InstanceRetried):
            self.duplicates.note_retried(key, first.retries, offset)
        if after.ended:
            self._instances.remove(after)
            self.duplicates.note_ended(after, offset + len(events) - 1)
        else:
            self._instances.put(after)
        for place, event in enumerate(events, offset):
            if isinstance(event, PAGE_EVENTS) and event.bulk_id is not None:
                self._bulks.note_decided(key, event.bulk_id, event.bulk_page, place)
        return (key,)

    def _replay_trigger(self, key: str, events: Sequence[ev.TriggerEvent], offset: int) -> Sequence[str]:
        before = self._triggers.get(key)
        after = _fold(triggers.evolve, before, events, key)
        fired = [
            triggers.pending(event, place)
            for place, event in enumerate(events, offset)
            if isinstance(event, ev.TriggerFired)
        ]
        self._triggers.put(key, after)
        for pending in fired:
            self._pending.add(key, pending)
        changed = [*self._waiting.follow(key, before, after)]
        for event in events:
            changed += self._note_occurrence(key, event)
        return changed

    def _note_occurrence(self, key: str, event: ev.TriggerEvent) -> Sequence[str]:
        """Follow which instances are to be started, and which messages were judged."""
        match event:
            case ev.TriggerDeleted():
                self.duplicates.note_deleted(key)
                return ()
            case ev.TriggerCreated():
                return ()
            case ev.InstanceRequested():
                self._pending.remove(subject_of(key, event.occurrence_id))
            case ev.TriggerFired():
                if event.once_key is not None:
                    self.duplicates.note_fired(key, event.once_key)
        if isinstance(event, ev.TriggerFired | ev.TriggerFailed | ev.EvaluationStarted) and event.identity is not None:
            self.duplicates.note_judged(key, event.identity, self._time.counted(event.at))
        return (subject_of(key, event.occurrence_id),)

    def settle(self) -> None:
        """Encode the states of instances that events have come for, and go on to forget deleted triggers."""
        self._instances.settle()
        self.duplicates.settle()


# Not of each state: one that refers to itself stays in memory until Python looks for cycles, which may be long after
# its successor was restored.
_REPLAYS: Final[dict[type, Callable[[State, str, Sequence[Any], int], Sequence[str]]]] = {
    **dict.fromkeys(get_args(ev.InstanceEvent), State._replay_instance),  # noqa: SLF001
    **dict.fromkeys(get_args(ev.TriggerEvent), State._replay_trigger),  # noqa: SLF001
    **dict.fromkeys(get_args(ev.WorkflowEvent), State._replay_workflow),  # noqa: SLF001
    **dict.fromkeys(get_args(ev.BulkEvent), State._replay_bulk),  # noqa: SLF001
    **dict.fromkeys(get_args(ev.SubmissionEvent), State._replay_submission),  # noqa: SLF001
    ev.CommandRejected: State._replay_rejected,  # noqa: SLF001
}


def _fold(evolve: Callable[[S | None, E, str], S], before: S | None, events: Sequence[E], key: str) -> S:
    """The state after events, of which there is at least one."""
    after = evolve(before, events[0], key)
    for event in events[1:]:
        after = evolve(after, event, key)
    return after
