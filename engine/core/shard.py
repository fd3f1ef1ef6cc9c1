"""One partition: the state that its log says, what follows from it, and what it wants done. Pure, as the state is.

    decide(key, given, now)      what follows from an input, as events; changes nothing
    replay(key, events, offset)  the only thing that changes state (see `engine.core.state`)
    effect(subject)              what the present state wants done outside

A *key* is the id of an aggregate: a workflow, a trigger or an instance. A *subject* is what an effect belongs to: an
instance, an occurrence of a trigger, or what is held for an instance.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from msgspec.structs import replace

from engine.core import decisions, effects, retrying, submissions
from engine.core import trigger as triggers
from engine.core import workflow as workflows
from engine.core.bulk import PAGE_COMMANDS
from engine.core.decisions import ActivityDone, Due
from engine.core.duplicates import DEFAULT_BOUNDS, Bounds
from engine.core.effects import Effect
from engine.core.errors import Rejected
from engine.core.evaluation import Evaluated, failing, size_bytes
from engine.core.instance import Instance
from engine.core.occurrences import subject_of
from engine.core.requests import came_before, check_same_request
from engine.core.retries import Failure
from engine.core.state import State
from engine.core.submissions import Resolved
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

MAX_WAITING: Final = 1000
MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
"""How many messages of a partition may wait for links, and what they take together. They wait for up to a day when a
service is away: without a bound they would fill the memory. One more is a failed occurrence.

A trigger may have as much of both as it leaves for others. Else messages for one trigger whose links never answer would
make those of all others fail."""

Input = Command | Due | ActivityDone | Requested | Evaluated | Resolved


class Decision(NamedTuple):
    """What follows from an input: the aggregate's version before, and the events, of which there may be none."""

    version: int
    events: Sequence[ev.Event]


class Shard(State):
    """One partition.

    Args:
        bounds: how much is remembered of what is over.
        max_attempts: how often activities are tried before they are paused, where the workflow does not say; None for
            ever. It is not part of the state: what follows from it is in the events.
    """

    def __init__(self, bounds: Bounds = DEFAULT_BOUNDS, max_attempts: int | None = None):
        super().__init__(bounds)
        self._max_attempts = max_attempts

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
            case ActivityDone() if state is None or not decisions.waits_for(state, given):
                return Decision(0, ()) if bare else self._late_failure(key, state, given, at, error)
            case Due() | ActivityDone() if state is not None:
                result = given if isinstance(given, ActivityDone) and not bare else None
                return Decision(state.version, decisions.give_up(state, at, error, result))
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
            if self._was_submitted(key, state, given, at):
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

    def _was_submitted(self, key: str, state: Instance | None, command: SubmitRun, at: datetime) -> bool:
        """Whether a submitted run repeats one.

        Raises:
            Rejected: the id was used for another run, or nobody can tell.
        """
        known = self.duplicates.ended_request(key) if state is None else state.request_digest
        if state is None and known is None and not self.duplicates.has_ended_lately(key):
            if self._workflows.get(key) is not None or self._triggers.get(key) is not None:
                # The next run with it would be taken for a repetition.
                raise Rejected(rejections.WRONG_ID, "this is the id of a workflow or trigger: an instance has its own")
            submissions.check_new_id(key, self.duplicates.forgotten_until_ms, at)
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
            check_same_request(known, digest)
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
            if came_before(state, command):
                return Decision(0, ())
            raise Rejected(rejections.NOT_RETRYABLE, "the instance is running")
        if came_before(command, command):
            # It was carried out, and the pass has ended, between the API's look for the request and that at the end.
            return Decision(0, ())
        last = self.duplicates.retried(key)
        if last is not None and last.retries != command.retries:
            text = "the instance was retried meanwhile, and has ended again: look at it before you retry it once more"
            raise Rejected(rejections.NOT_RETRYABLE, text)
        if last is None and not self.duplicates.knows_retries_since(command.seen_offset):
            raise Rejected(rejections.RETRY, "the read model is too far behind to tell whether this was retried before")
        command = self._with_late_aborts(key, command)
        late = self.duplicates.late(key)
        version = command.version if late is None else max(command.version, late.version)
        return Decision(version, retrying.retry(command, version, at, now, key))

    def _with_late_aborts(self, key: str, command: RetryInstance) -> RetryInstance:
        """A retry that takes along, too, which aborts have come since the read model of its command.

        Raises:
            Rejected: what is remembered does not reach back far enough to tell.
        """
        if not self.duplicates.knows_late_aborts_since(command.seen_offset):
            raise Rejected(rejections.RETRY, "the read model is too far behind to tell which requests came before")
        known = {request_key for request_key, _ in command.requests}
        more = [one for one in self.duplicates.late_aborts(key, command.seen_offset) if one[0] not in known]
        return replace(command, requests=[*command.requests, *more]) if more else command

    def _late_result(self, key: str, given: ActivityDone, at: datetime) -> Decision:
        """The result of a call whose instance was aborted meanwhile."""
        late = self.duplicates.late(key)
        if late is None or decisions.attempt_of(given.token) not in late.awaited:
            return Decision(0, ())
        return Decision(late.version, (decisions.late_result(given, at),))

    def _late_failure(
        self, key: str, state: Instance | None, given: ActivityDone, at: datetime, error: str
    ) -> Decision:
        """Likewise, of a call whose result can't be written down."""
        failed = ActivityDone(given.token, failure=Failure(error))
        if state is None:
            return self._late_result(key, failed, at)
        return Decision(state.version, (decisions.late_result(failed, at),))

    def _decide_trigger(self, key: str, given: triggers.TriggerInput, at: datetime, now: datetime) -> Decision:
        state = self._triggers.get(key)
        if isinstance(given, Requested) and subject_of(key, given.occurrence_id) not in self._pending.states:
            return Decision(0, ())
        if isinstance(given, EvaluateTrigger) and (full := self._no_room_for(state, given)) is not None:
            given = failing(given, full)
        is_judged = self._is_judged(state, given, at)
        return Decision(_version(state), triggers.decide(state, given, at, is_judged, now))

    def _no_room_for(self, state: Trigger | None, given: EvaluateTrigger) -> str | None:
        """Why a message can't wait for links; None if it can."""
        waiting, size = len(self._waiting), self._waiting.size_bytes
        own = [] if state is None else [message.size_bytes for message in state.waiting.values()]
        if waiting + len(own) < MAX_WAITING and size + sum(own) + size_bytes(given) <= MAX_WAITING_BYTES:
            return None
        return (
            f"too many messages wait for links: {waiting} with {size} bytes, of which {len(own)} with {sum(own)} bytes "
            f"are for this trigger; at most {MAX_WAITING} with {MAX_WAITING_BYTES} may, half of them for one trigger"
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
        return identity is not None and self.duplicates.has_judged(state.id, identity, self._time.counted(at))

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
        if clock is None or self._time.last_at is None or self._time.last_at <= clock:
            return found  # no event is ahead of the clock, so no wait began ahead of it
        return effects.bounded(found, state, clock)

    def subjects(self) -> Iterator[str]:
        """All that have an effect, and maybe others. Instances to be started come in the order of the log."""
        yield from list(self._pending.ids())
        yield from list(self._waiting.ids())
        yield from self._held.subjects()
        yield from self._instances.restless_ids()


def _version(state: Trigger | Workflow | None) -> int:
    return 0 if state is None else state.version
