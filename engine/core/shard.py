"""The state of one partition: what its log says. Pure: no await, clock, randomness or IO.

    decide(key, given, now)      what follows from an input, as events; changes nothing
    replay(key, events, offset)  the only thing that changes state, live and at a restore
    effect(subject)              what the present state wants done outside
    cut()                        what changed since the last one, for a snapshot (see `engine.core.snapshots`)

So live state and restored state are made by one function, and there is nothing to be kept equal.

A *key* is the id of an aggregate: a workflow, a trigger or an instance. A *subject* is what an effect belongs to: an
instance, an occurrence of a trigger, or what is held for an instance.

What it holds is in sections (`engine.core.sections`), which note what changes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar, get_args

from engine.core import decisions, effects, retrying, submissions
from engine.core import instance as instances
from engine.core import trigger as triggers
from engine.core import workflow as workflows
from engine.core.bulk import PAGE_COMMANDS, PAGE_EVENTS, Bulks
from engine.core.decisions import ActivityDone, Due
from engine.core.definition import Definitions
from engine.core.duplicates import DEFAULT_BOUNDS, Bounds, Duplicates, Remembered
from engine.core.effects import Effect
from engine.core.errors import Rejected, TooManySetAside
from engine.core.evaluation import Evaluated, failing, size_bytes
from engine.core.instance import Instance
from engine.core.instances import Instances
from engine.core.occurrences import PendingInstances, Triggers, WaitingMessages, subject_of
from engine.core.retries import Failure
from engine.core.sections import Section, Table
from engine.core.snapshots import Cut, Summary, has_entry
from engine.core.submissions import Held, HeldSubmissions, Resolved
from engine.core.trigger import Requested, Trigger
from engine.core.workflow import Workflow
from schemas import events as ev
from schemas import rejections
from schemas.commands import (
    AbortInstance,
    AdvanceBulk,
    Command,
    CreateWorkflow,
    DeleteWorkflow,
    EndBulk,
    EvaluateTrigger,
    FireTrigger,
    PageCommand,
    PassOverInstance,
    ResumeActivity,
    RetryInstance,
    RunWorkflow,
    SendEvent,
    StartBulk,
    StopBulk,
    Submission,
    SubmitAbort,
    SubmitEvent,
    SubmitRun,
)
from schemas.error_texts import cut_error

MAX_WAITING: Final = 1000
MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
"""How many messages of a partition may wait for links, and what they take together. They wait for up to a day when a
service is away: without a bound they would fill the memory. One more is a failed occurrence."""

MAX_SET_ASIDE: Final = 100
"""Most aggregates of a partition that are set aside. If more do not fold, the build is wrong: without a limit, an older
one that reads the log of a newer one would set aside all that lives."""

S = TypeVar("S")
E = TypeVar("E")

Input = Command | Due | ActivityDone | Requested | Evaluated | Resolved


class Decision(NamedTuple):
    """What follows from an input: the aggregate's version before, and the events, of which there may be none."""

    version: int
    events: Sequence[ev.Event]


class Shard:
    """What the log of one partition says.

    Args:
        bounds: how much is remembered of what is over.
        max_attempts: how often activities are tried before they are paused, where the workflow does not say; None for
            ever. It is no part of the state: what follows from it is in the events.
    """

    def __init__(self, bounds: Bounds = DEFAULT_BOUNDS, max_attempts: int | None = None):
        self._max_attempts = max_attempts
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
        self._last_at: datetime | None = None
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
        return now if self._last_at is None else max(now, self._last_at)

    def contents(self) -> dict[str, object]:
        """All of it, to be compared with another shard's by `==`; settles it."""
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
            "last_at": self._last_at,
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
        summary = Summary(
            entries=self.entries,
            last_at=self._last_at,
            sequences=known.sequences,
            ended_unkeyed=known.ended_unkeyed,
            forgotten_before=known.forgotten_before,
            retries_forgotten_before=known.retries_forgotten_before,
            forgotten_until_ms=known.forgotten_until_ms,
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
        self._last_at = summary.last_at
        for section in self.sections:
            section.rebase(known=True)
        alive = {id for id, trigger in self._triggers.states.items() if not trigger.deleted}
        known = Remembered(
            summary.sequences,
            summary.ended_unkeyed,
            summary.forgotten_before,
            summary.retries_forgotten_before,
            summary.forgotten_until_ms,
        )
        self.duplicates.restore_summary(known, alive)

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

    def _reject_set_aside(self, key: str, given: Input) -> None:
        """Reject a command to an aggregate that was set aside; what its effects end with is passed over.

        Raises:
            Rejected: it is a command, so its sender has to know.
        """
        if isinstance(given, Command):
            raise Rejected(
                rejections.SET_ASIDE,
                f"{key} is set aside, since its events can't be read: the operators have to look at the engine's log",
            )

    # Decide

    def decide(self, key: str, given: Input, now: datetime) -> Decision:
        """The events that follow from an input, in order.

        Args:
            key: of the aggregate.
            given: a command, or what an effect has ended with.
            now: what the clock says; UTC.

        Raises:
            Rejected: the command changes nothing, and its sender has to know why.
            UndecodableRecord: the command carries a definition that can't be decoded.
        """
        if isinstance(given, PAGE_COMMANDS) and given.bulk_id is not None:
            return self._decide_in_page(key, given, now)
        return self._decide(key, given, now)

    def _decide_in_page(self, key: str, given: PageCommand, now: datetime) -> Decision:
        """What follows from a command that a bulk operation has sent; nothing if that was decided before.

        Raises:
            Rejected: it has no effect. Each of them is decided or rejected once: they are counted.
        """
        if self._bulks.is_repeated(key, given):
            return Decision(0, ())
        if isinstance(given, PassOverInstance):
            raise Rejected(given.code, given.message)
        decision = self._decide(key, given, now)
        if not decision.events:
            raise Rejected(rejections.NOTHING_TO_DO, "this has been done already")
        return decision

    def _decide(self, key: str, given: Input, now: datetime) -> Decision:
        if key in self._is_aside:
            self._reject_set_aside(key, given)
            return Decision(0, ())
        at = self.stamp(now)
        match given:
            case CreateWorkflow() | DeleteWorkflow():
                workflow = self._workflows.get(key)
                return Decision(_version(workflow), workflows.decide(workflow, given, at))
            case RunWorkflow() if self._is_duplicate(given):
                return Decision(0, ())
            case RunWorkflow() | SendEvent() | ResumeActivity() | AbortInstance() | Due() | ActivityDone():
                state = self._find(key)
                if state is not None:
                    return Decision(state.version, decisions.decide(state, given, at, key, now, self._max_attempts))
                if isinstance(given, RunWorkflow) and self._ran_before(key, given):
                    return Decision(0, ())
                if isinstance(given, ActivityDone):
                    return self._late_result(key, given, at)
                return Decision(0, decisions.decide(None, given, at, key, now))
            case RetryInstance():
                return self._retry(key, given, at, now)
            case SubmitRun() | SubmitEvent() | SubmitAbort():
                return self._submit(key, given, at, now)
            case Resolved():
                return self._release(key, given, at, now)
            case StartBulk() | AdvanceBulk() | StopBulk() | EndBulk():
                return Decision(*self._bulks.decide(key, given, at))
            case PassOverInstance():  # it belongs to a page
                return Decision(0, ())
            case _:
                return self._decide_trigger(key, given, at, now)

    def fail(self, key: str, given: Input, now: datetime, error: str, *, bare: bool = False) -> Decision:
        """What follows from an input that can't be decided, or whose events would be too large.

        Nobody waits for the outcome of what came from a message: it becomes an instance or an occurrence that failed.
        What an instance or a message waited for does not come again: without an end they would wait for ever. Of a late
        result it is recorded at least that the call has returned.

        Args:
            key: of the aggregate.
            given: the input.
            now: what the clock says; UTC.
            error: why.
            bare: whether the result of a call is left out too: it may be what can't be decided about.

        Returns:
            The events; none if the sender is to be told instead.
        """
        if key in self._is_aside:
            return Decision(0, ())
        at, state = self.stamp(now), self.instance(key)
        match given:
            case RunWorkflow() if given.source is not None and state is None and not self._is_duplicate(given):
                return Decision(0, decisions.start_in_vain(given, at, error))
            case Due() | ActivityDone() if state is not None:
                result = given if isinstance(given, ActivityDone) and not bare else None
                return Decision(state.version, decisions.give_up(state, at, error, result))
            case ActivityDone() if not bare:
                return self._late_result(key, ActivityDone(given.token, failure=Failure(error)), at)
            case FireTrigger() | EvaluateTrigger() | Evaluated():
                failed = triggers.as_failed(given, error)
                if failed is not None:
                    return self._decide_trigger(key, failed, at, now)
        return Decision(0, ())

    def _submit(
        self, key: str, given: Submission, at: datetime, now: datetime, resolved: Resolved | None = None
    ) -> Decision:
        """What follows from a submission. One that has to wait is held.

        Args:
            key: id of the instance.
            given: the submission.
            at: the time of the turn.
            now: what the clock says.
            resolved: what was looked up for it, if it was held.

        Raises:
            Rejected: it changes nothing, and its sender has to know why.
        """
        state = self._find(key)
        if resolved is None and self._held.first(key) is not None:
            return self._hold(given, at)
        if isinstance(given, SubmitRun):
            if self._was_submitted(key, state, given, now):
                return Decision(0, ())
            if resolved is None:
                return self._hold(given, at)
            run = submissions.as_run(given, resolved.workflow)
            return Decision(0, decisions.decide(None, run, at, key, now, self._max_attempts))
        state = submissions.check_alive(state)
        request = submissions.as_request(key, given)
        submissions.check_known(state, request)
        return Decision(state.version, decisions.decide(state, request, at, key, now, self._max_attempts))

    def _hold(self, given: Submission, at: datetime) -> Decision:
        self._held.check_room(given, at)
        return Decision(0, (submissions.hold(given, at),))

    def _release(self, key: str, given: Resolved, at: datetime, now: datetime) -> Decision:
        """What follows from a submission that was held; nothing if it is not the first any more."""
        held = self._held.first(key)
        if held is None or held.offset != given.offset:
            return Decision(0, ())
        return self._submit(key, held.submission, at, now, given)

    def _was_submitted(self, key: str, state: Instance | None, command: SubmitRun, now: datetime) -> bool:
        """Whether a submitted run repeats one.

        Raises:
            Rejected: the id was used for another run, or nobody can tell.
        """
        known = self.duplicates.ended_request(key) if state is None else state.request_digest
        if state is None and known is None and not self.duplicates.has_ended_lately(key):
            submissions.check_new_id(key, self.duplicates.forgotten_until_ms, now)
            return False
        if known != submissions.digest_of_run(command):
            raise Rejected(rejections.CONFLICT, "this id was used for another run")
        return True

    def _ran_before(self, key: str, command: RunWorkflow) -> bool:
        """Whether a run command repeats one whose instance has ended.

        Raises:
            Rejected: it came with another body, or what is remembered does not reach back far enough to tell.
        """
        digest = command.request_digest
        known = self.duplicates.ended_request(key)
        if known is not None:
            decisions.check_same_request(known, digest)
            return True
        if digest is None:
            return self.duplicates.has_ended_lately(key)
        if not self.duplicates.knows_since(command.seen_offset):
            raise Rejected(rejections.RETRY, "the read model is too far behind to tell whether this ran before")
        return False

    def _is_duplicate(self, command: RunWorkflow) -> bool:
        """Whether another owner of the trigger's partition has sent this run before (see `RunWorkflow.sequence`)."""
        return command.source is not None and self.duplicates.is_sent_before(command.source, command.sequence)

    def _retry(self, key: str, command: RetryInstance, at: datetime, now: datetime) -> Decision:
        """Run an instance that has ended once more, if nobody has done so since it was looked at.

        Raises:
            Rejected: it runs, was retried meanwhile, or what is remembered does not reach back far enough to tell.
        """
        state = self._find(key)
        if state is not None:
            if decisions.came_before(state, command):
                return Decision(0, ())
            raise Rejected(rejections.NOT_RETRYABLE, "the instance is running")
        last = self.duplicates.retried(key)
        if last is not None and last.retries != command.retries:
            text = "the instance was retried meanwhile, and has ended again: look at it before you retry it once more"
            raise Rejected(rejections.NOT_RETRYABLE, text)
        if last is None and not self.duplicates.knows_retries_since(command.seen_offset):
            raise Rejected(rejections.RETRY, "the read model is too far behind to tell whether this was retried before")
        late = self.duplicates.late(key)
        version = command.version if late is None else max(command.version, late.version)
        return Decision(version, retrying.retry(command, version, at, now, key))

    def _late_result(self, key: str, given: ActivityDone, at: datetime) -> Decision:
        """The result of a call whose instance was aborted meanwhile."""
        late = self.duplicates.late(key)
        if late is None or decisions.attempt_of(given.token) not in late.awaited:
            return Decision(0, ())
        return Decision(late.version, (decisions.late_result(given, at),))

    def _decide_trigger(self, key: str, given: triggers.TriggerInput, at: datetime, now: datetime) -> Decision:
        state = self._triggers.get(key)
        if isinstance(given, Requested) and subject_of(key, given.occurrence_id) not in self._pending.states:
            return Decision(0, ())
        if isinstance(given, EvaluateTrigger) and (full := self._no_room_for(given)) is not None:
            given = failing(given, full)
        is_judged = self._is_judged(state, given, at)
        return Decision(_version(state), triggers.decide(state, given, at, is_judged, now))

    def _no_room_for(self, given: EvaluateTrigger) -> str | None:
        """Why a message can't wait for links; None if it can."""
        waiting, size = len(self._waiting), self._waiting.size_bytes
        if waiting < MAX_WAITING and size + size_bytes(given) <= MAX_WAITING_BYTES:
            return None
        return (
            f"too many messages wait for links: {waiting} with {size} bytes; "
            f"at most {MAX_WAITING} with {MAX_WAITING_BYTES} may"
        )

    def _is_judged(self, state: Trigger | None, given: triggers.TriggerInput, at: datetime) -> bool:
        """Whether the trigger has fired for what it fires for once, ever, or has judged this message."""
        if state is None or not isinstance(given, FireTrigger | EvaluateTrigger | Evaluated):
            return False
        once_key, identity = None, None
        if not isinstance(given, Evaluated):
            once_key, identity = given.once_key, given.identity
        elif given.occurrence_id in state.waiting:
            once_key = state.waiting[given.occurrence_id].message.once_key
        if once_key is not None and self.duplicates.has_fired_for(state.id, once_key):
            return True
        return identity is not None and self.duplicates.has_judged(state.id, identity, at)

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
        at = events[-1].at
        if self._last_at is None or at > self._last_at:
            self._last_at = at
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
        return (submissions.subject_of(key),)

    def _replay_bulk(self, key: str, events: Sequence[ev.BulkEvent], offset: int) -> Sequence[str]:
        self._bulks.replay(key, events, offset)
        return ()

    def _replay_rejected(self, key: str, events: Sequence[ev.CommandRejected], offset: int) -> Sequence[str]:
        """Only commands of bulk operations are known by their rejection, too."""
        for place, event in enumerate(events, offset):
            if event.bulk_id is not None:
                self._bulks.note_decided(key, event.bulk_id, event.bulk_page, place)
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
            self.duplicates.note_judged(key, event.identity, event.at)
        return (subject_of(key, event.occurrence_id),)

    def settle(self) -> None:
        """Encode the states of instances that events have come for, and go on to forget deleted triggers."""
        self._instances.settle()
        self.duplicates.settle()

    # Effects

    def effect(self, subject: str, clock: datetime | None = None) -> Effect | None:
        """The one thing that has to happen outside for an instance or an occurrence to go on.

        Args:
            subject: the instance's id, or `subject_of` the occurrence.
            clock: what the clock says. With it, a wait is bounded by its whole length from now on: the times in the log
                were made by a clock that may have been wrong.

        Returns:
            The effect; None when it waits for nothing, or for an event.
        """
        state, found = self._find(subject), None
        if state is not None:
            found = effects.effect(state)
        elif (pending := self._pending.states.get(subject)) is not None:
            found = effects.start(*pending)
        elif (message := self._waiting.states.get(subject)) is not None:
            found = effects.evaluation(self._triggers.states[message.trigger_id], message.waiting)
        elif (held := self._held.first_of(subject)) is not None:
            found = effects.find_workflow(held)
        if clock is None or self._last_at is None or self._last_at <= clock:
            return found  # no event is ahead of the clock, so no wait began ahead of it
        return effects.bounded(found, state, clock)

    def subjects(self) -> Iterator[str]:
        """All that have an effect, and maybe others. Instances to be started come in the order of the log."""
        yield from list(self._pending.ids())
        yield from list(self._waiting.ids())
        yield from self._held.subjects()
        yield from self._instances.restless_ids()


# Not of each shard: one that refers to itself stays in memory until Python looks for cycles, which may be long after
# its successor was restored.
_REPLAYS: Final[dict[type, Callable[[Shard, str, Sequence[Any], int], Sequence[str]]]] = {
    **dict.fromkeys(get_args(ev.InstanceEvent), Shard._replay_instance),  # noqa: SLF001
    **dict.fromkeys(get_args(ev.TriggerEvent), Shard._replay_trigger),  # noqa: SLF001
    **dict.fromkeys(get_args(ev.WorkflowEvent), Shard._replay_workflow),  # noqa: SLF001
    **dict.fromkeys(get_args(ev.BulkEvent), Shard._replay_bulk),  # noqa: SLF001
    **dict.fromkeys(get_args(ev.SubmissionEvent), Shard._replay_submission),  # noqa: SLF001
    ev.CommandRejected: Shard._replay_rejected,  # noqa: SLF001
}


def _fold(evolve: Callable[[S | None, E, str], S], before: S | None, events: Sequence[E], key: str) -> S:
    """The state after events, of which there is at least one."""
    after = evolve(before, events[0], key)
    for event in events[1:]:
        after = evolve(after, event, key)
    return after


def _version(state: Trigger | Workflow | None) -> int:
    return 0 if state is None else state.version
