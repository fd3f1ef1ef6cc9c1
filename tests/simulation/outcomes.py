"""What every command has to come to, told from the log alone: decided, skipped or rejected, and with which code.

It follows the contract's rules about keys and duplicates by a few dictionaries of its own, without the engine's code,
so that a duplicate that is taken for a new command shows, and a new command that is taken for a duplicate too.
"""

from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from engine.core import instance, shard
from engine.core.duplicates import Bounds
from schemas import commands as cm
from schemas import events as ev
from schemas import rejections
from schemas.idempotency import digest_of, id_for_key
from schemas.records import Recorded
from tests.simulation.bulk_outcomes import BulkOutcomes

DECIDED, SKIPPED, HELD = "decided", "skipped", "held"
Keyed = cm.SendEvent | cm.AbortInstance | cm.ResumeActivity | cm.RetryInstance
CarriedOut = ev.EventReceived | ev.InstanceEnded | ev.ActivityResumed | ev.InstanceRetried


@dataclass
class Pausable:
    """An activity as far as resumes look at it."""

    paused_at: datetime | None = None
    paused: bool = False


@dataclass
class Run:
    """An instance as far as commands look at it."""

    digest: str | None
    ended: bool = False
    keys: dict[str, str | None] = field(default_factory=dict)
    """Digests of the events, resumes and retries that came with a key: the last ones, as many as engines know."""
    earlier: int = 0
    """How many came before them, which the read model alone knows."""
    carried_out: set[str] = field(default_factory=set)
    """Keys of all of them, from the beginning."""
    again: int = 0
    """How many aborts came again that had come when it had ended. Engines count one that they have forgotten again."""
    stage: int = -1
    """The one that was started last."""
    running: bool = False
    activities: list[Pausable] = field(default_factory=list)
    """Those of that stage."""
    retries: int = 0
    failed: bool = False
    """Whether it has ended with an error."""
    kept: int = 0
    """How many activities of the next stage are not done again."""

    @property
    def count(self) -> int:
        """How many requests with a key have had their effect."""
        return self.earlier + len(self.keys)

    def note(self, key: str, digest: str | None) -> None:
        """A request with a key has had its effect.

        Raises:
            AssertionError: for the second time.
        """
        assert key not in self.carried_out, f"the request {key} was carried out twice"
        self.carried_out.add(key)
        self.keys[key] = digest
        if len(self.keys) > instance.MAX_REQUESTS:
            # What a retry has brought along is in no order.
            forgotten = list(self.keys)[: -1 if self.retries else 1]
            for earlier in forgotten:
                del self.keys[earlier]
            self.earlier += len(forgotten)

    def wanted(self, command: Keyed) -> Set[str] | None:
        """What has to become of a command by its key; None if it is a new one."""
        if command.request_key is None:
            return None
        if command.request_key in self.keys:
            return _repeated(self.keys[command.request_key], command.request_digest)
        is_in_doubt = command.seen_requests is not None and command.seen_requests < self.earlier
        return {rejections.RETRY} if is_in_doubt else None


@dataclass
class Listening:
    """A trigger as far as messages look at it."""

    digest: str | None
    deleted: bool = False
    positions: dict[str, int] = field(default_factory=dict)
    fired_once: set[str] = field(default_factory=set)
    judged: dict[str, timedelta] = field(default_factory=dict)
    """Which identities, at which age of the log."""
    waiting: dict[str, ev.EvaluationStarted] = field(default_factory=dict)


@dataclass
class Outcomes:
    """The outcomes that commands of one partition must have."""

    bounds: Bounds
    matches: Callable[[ev.EvaluationStarted], bool] = lambda message: False
    """Whether it is certain that the links of a message say that it fires."""
    runs: dict[str, Run] = field(default_factory=dict)
    started_at: dict[str, int] = field(default_factory=dict)
    """Offsets of the events with which instances started."""
    workflows: dict[str, tuple[str | None, bool]] = field(default_factory=dict)
    """Digest, and whether it was deleted."""
    triggers: dict[str, Listening] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    ended_keyed: list[int] = field(default_factory=list)
    """Where keyed instances ended."""
    retried: list[int] = field(default_factory=list)
    """Where instances were retried."""
    late_aborts: list[int] = field(default_factory=list)
    """Where aborts with a key came to instances that had ended."""
    held: dict[str, list[ev.SubmissionHeld]] = field(default_factory=dict)
    """Submissions to each instance that wait, in order."""
    bulks: BulkOutcomes = field(default_factory=BulkOutcomes)
    met: Counter[str] = field(default_factory=Counter)
    last_at: datetime | None = None
    """Of the last event."""
    age: timedelta = timedelta()
    """The time that has passed in the log; of a longer step between two events, a hundredth of an identity's time."""

    def tick(self, at: datetime) -> None:
        """The next event is of this time. `judge` and `fold` follow."""
        longest = timedelta(seconds=self.bounds.identity_seconds / 100)
        self.age += min(at - (self.last_at or at), longest)
        self.last_at = at

    def judge(self, aggregate_id: str, command: cm.Command | None, first: Recorded) -> None:
        """Hold the first record of a command against what it has to be; `fold` follows.

        Args:
            aggregate_id: whose command it is.
            command: the command; None if it can't be decoded.
            first: the first record that it has caused.
        """
        self._meet(aggregate_id, command)
        outcome, wanted = _outcome(first.event), self._wanted(aggregate_id, command)
        assert outcome in wanted, f"{type(command).__name__} {aggregate_id} was {outcome}, not {' or '.join(wanted)}"
        if isinstance(command, cm.AbortInstance) and outcome == rejections.ENDED and command.request_key is not None:
            self._note_late(aggregate_id, command.request_key, command.request_digest, first.offset)
        if isinstance(command, cm.SubmitEvent) and outcome == DECIDED:
            key = str(id_for_key("event", aggregate_id, command.idempotency_key))
            assert first.event.request_key == key, f"{aggregate_id}: a submitted event would not be known again"
        if isinstance(command, cm.EvaluateTrigger) and outcome == DECIDED:
            waiting = [message for trigger in self.triggers.values() for message in trigger.waiting.values()]
            own = [*self.triggers[aggregate_id].waiting.values()] if aggregate_id in self.triggers else []
            size = sum(map(_size, waiting + own)) + _size(command)
            is_full = len(waiting + own) >= shard.MAX_WAITING or size > shard.MAX_WAITING_BYTES
            refused = isinstance(first.event, ev.TriggerFailed)
            assert refused == is_full, f"a message was {'' if refused else 'not '}refused when {len(waiting)} waited"

    def _meet(self, id: str, command: cm.Command | None) -> None:
        run = self.runs.get(id)
        if run is not None and isinstance(command, Keyed) and not run.ended:
            is_forgotten = command.request_key in run.carried_out and command.request_key not in run.keys
            self.met["a forgotten request came again"] += is_forgotten
        if isinstance(command, cm.PassOverInstance):
            self.met["a bulk operation left alone what was aborted"] += "it is aborted now" in command.message

    def _wanted(self, id: str, command: cm.Command | None) -> Set[str]:
        if isinstance(command, cm.PageCommand) and command.bulk_id is not None:
            if self.bulks.is_repeated(id, command):
                return {SKIPPED}
            if isinstance(command, cm.PassOverInstance):
                return {command.code}
            wanted = self._wanted_of(id, command)
            return {rejections.NOTHING_TO_DO if outcome == SKIPPED else outcome for outcome in wanted}
        return self._wanted_of(id, command)

    def _wanted_of(self, id: str, command: cm.Command | None) -> Set[str]:
        match command:
            case None:
                return {rejections.UNDECODABLE}
            case cm.RunWorkflow():
                return self._wanted_run(id, command)
            case cm.SendEvent() | cm.AbortInstance():
                run = self.runs.get(id)
                if run is None or run.ended:
                    return {rejections.ENDED}
                return run.wanted(command) or {DECIDED}
            case cm.ResumeActivity():
                return self._wanted_resume(self.runs.get(id), command)
            case cm.RetryInstance():
                return self._wanted_retry(self.runs[id], command)
            case cm.CreateWorkflow():
                known = self.workflows.get(id)
                return {DECIDED} if known is None else _repeated(known[0], command.request_digest)
            case cm.DeleteWorkflow():
                return {DECIDED} if self.workflows.get(id, (None, True))[1] is False else {SKIPPED}
            case cm.CreateTrigger():
                trigger = self.triggers.get(id)
                return {DECIDED} if trigger is None else _repeated(trigger.digest, command.request_digest)
            case cm.DeleteTrigger():
                trigger = self.triggers.get(id)
                return {SKIPPED} if trigger is None or trigger.deleted else {DECIDED}
            case cm.FireTrigger() | cm.EvaluateTrigger():
                return {SKIPPED} if self._is_known(self.triggers.get(id), command) else {DECIDED}
            case cm.StartBulk() | cm.AdvanceBulk() | cm.StopBulk() | cm.EndBulk():
                return self.bulks.wanted(id, command)
            case cm.PassOverInstance():
                return {SKIPPED}
            case cm.SubmitRun() | cm.SubmitEvent() | cm.SubmitAbort():
                return {HELD} if self.held.get(id) else self._wanted_submission(id, command)

    def _wanted_submission(self, id: str, command: cm.Submission) -> Set[str]:
        run, forgets = self.runs.get(id), len(self.ended_keyed) > self.bounds.max_ended
        if isinstance(command, cm.SubmitRun):
            digest = digest_of({"workflow_id": command.workflow_id, "variables": command.variables})
            wanted = {HELD} if run is None else _repeated(run.digest, digest)
            return wanted | {rejections.TOO_OLD} if forgets and (run is None or run.ended) else wanted
        if run is None or run.ended:
            return {rejections.ENDED}
        event = isinstance(command, cm.SubmitEvent)
        key = str(id_for_key("event" if event else "abort", id, command.idempotency_key))
        if key in run.keys:
            content = {**command.payload, "name": command.name} if isinstance(command, cm.SubmitEvent) else None
            return _repeated(run.keys[key], digest_of(content))
        return {rejections.TOO_OLD} if run.earlier else {DECIDED}

    def _wanted_run(self, id: str, command: cm.RunWorkflow) -> Set[str]:
        if command.source is not None:
            return {SKIPPED} if command.sequence <= self.sequences.get(command.source, -1) else {DECIDED}
        run = self.runs.get(id)
        wanted = {DECIDED} if run is None else _repeated(run.digest, command.request_digest)
        if command.request_digest is not None and (run is None or run.ended):
            # Those that are remembered are the last ones: one was forgotten that the client can't have seen either.
            unseen = [offset for offset in self.ended_keyed if offset >= command.seen_offset]
            if len(unseen) > self.bounds.max_ended:
                return wanted | {rejections.RETRY}
        return wanted

    def _wanted_resume(self, run: Run | None, command: cm.ResumeActivity) -> Set[str]:
        if run is None or run.ended:
            return {rejections.ENDED}
        if (wanted := run.wanted(command)) is not None:
            return wanted
        if command.stage < run.stage or (command.stage == run.stage and not run.running):
            return {rejections.ENDED}
        if command.stage > run.stage or command.index >= len(run.activities):
            return {rejections.NO_ACTIVITY}
        activity = run.activities[command.index]
        if activity.paused_at != command.paused_at:
            return {rejections.OTHER_PAUSE}
        return {DECIDED} if activity.paused else {SKIPPED}

    def _wanted_retry(self, run: Run, command: cm.RetryInstance) -> Set[str]:
        """Of several that have seen the same end, one counts; and of several with one key, whatever they have seen."""
        known = Run(None, keys=dict(command.requests), earlier=command.earlier_requests) if run.ended else run
        if (repeated := known.wanted(command)) is not None:
            return repeated
        wanted = {DECIDED} if run.ended and run.retries == command.retries else {rejections.NOT_RETRYABLE}
        retries, aborts = (
            sum(offset >= command.seen_offset for offset in some) for some in (self.retried, self.late_aborts)
        )
        forgets = retries > self.bounds.max_retried
        forgets |= aborts > min(self.bounds.max_late_aborts, instance.MAX_REQUESTS)
        return wanted | {rejections.RETRY} if run.ended and forgets else wanted

    def _is_known(self, trigger: Listening | None, message: cm.FireTrigger | cm.EvaluateTrigger) -> bool:
        if trigger is None or trigger.deleted or message.offset <= trigger.positions.get(message.source, -1):
            return True
        if message.once_key in trigger.fired_once:
            return True
        return message.identity is not None and self._is_judged(trigger, message.identity)

    def _is_judged(self, trigger: Listening, identity: str) -> bool:
        at = trigger.judged.get(identity)
        return at is not None and self._is_young(at)

    def _is_young(self, at: timedelta) -> bool:
        return at > self.age - timedelta(seconds=self.bounds.identity_seconds)

    def _note_judged(self, judged: dict[str, timedelta], identity: str) -> None:
        """Know an identity for its time, and the last ones only."""
        for old in [identity for identity in judged if not self._is_young(judged[identity])]:
            del judged[old]
        judged.setdefault(identity, self.age)
        if len(judged) > self.bounds.max_identities:
            del judged[next(iter(judged))]

    def fold(self, recorded: Recorded) -> None:
        """Take in the next event."""
        event, id = recorded.event, recorded.aggregate_id
        self.bulks.fold(id, event)
        match event:
            case ev.InstanceStarted():
                self.runs[id], self.started_at[id] = Run(event.request_digest), recorded.offset
                if event.source is not None:
                    self.sequences[event.source] = event.sequence
            case ev.EventReceived():
                self._carried_out(self.runs[id], event)
            case ev.StageStarted() | ev.StageEnded():
                self.runs[id].stage, self.runs[id].running = event.number, isinstance(event, ev.StageStarted)
                self.runs[id].activities = [Pausable() for _ in range(self.runs[id].kept)]
                self.runs[id].kept = 0
            case ev.ActivityStarted():
                self.runs[id].activities.append(Pausable())
            case ev.ActivityPaused():
                activity = self.runs[id].activities[event.index]
                before = activity.paused_at
                assert before is None or event.at > before, f"{id}: two pauses can't be told from each other"
                activity.paused_at, activity.paused = event.at, True
            case ev.ActivityResumed():
                activity = self.runs[id].activities[event.index]
                assert activity.paused, f"{id}: a pause was ended twice"
                activity.paused = False
                self._carried_out(self.runs[id], event)
            case ev.InstanceEnded():
                self.runs[id].ended, self.runs[id].failed = True, event.error is not None
                self._carried_out(self.runs[id], event)
                if self.runs[id].digest is not None:
                    self.ended_keyed.append(recorded.offset)
            case ev.InstanceRetried():
                self._fold_retry(self.runs[id], event)
                self.retried.append(recorded.offset)
            case ev.WorkflowCreated():
                self.workflows[id] = event.request_digest, False
            case ev.WorkflowDeleted():
                self.workflows[id] = self.workflows[id][0], True
            case ev.TriggerCreated():
                self.triggers[id] = Listening(event.request_digest)
            case ev.TriggerDeleted():
                self.triggers[id] = Listening(self.triggers[id].digest, deleted=True)
            case ev.EvaluationStarted() | ev.TriggerFired() | ev.TriggerFailed():
                self._fold_message(self.triggers[id], event)
            case ev.SubmissionRejected(code=rejections.ENDED, type="SubmitAbort"):
                key = str(id_for_key("abort", id, event.idempotency_key or ""))
                self._note_late(id, key, digest_of(None), recorded.offset)
            case ev.SubmissionHeld():
                self.held.setdefault(id, []).append(event)
            case ev.SubmissionReleased():
                del self.held[id][0]
            case ev.EvaluationEnded():
                trigger = self.triggers[id]
                assert not trigger.deleted, f"a message of trigger {id} was judged after its end"
                waited = trigger.waiting.pop(event.occurrence_id)
                fired = waited.once_key in trigger.fired_once
                assert fired or not self.matches(waited), f"occurrence {event.occurrence_id} was lost"

    def _note_late(self, id: str, key: str, digest: str | None, offset: int) -> None:
        """An abort came when its instance had ended: in the next pass it has had its effect."""
        run = self.runs.get(id)
        assert run is None or run.ended, f"{id}: an abort was refused while it ran"
        if run is not None:
            run.again += key in run.carried_out
            run.keys.setdefault(key, digest)
            run.carried_out.add(key)
        self.late_aborts.append(offset)

    def _fold_retry(self, run: Run, event: ev.InstanceRetried) -> None:
        assert run.ended, "an instance was retried while it ran"
        assert event.retries == run.retries + 1, "a retry was done that had not seen the last end"
        run.ended, run.failed = False, False
        run.retries, run.stage = event.retries, event.stage - 1
        run.kept = len(event.kept)
        counted = len(event.requests) + event.earlier_requests
        known = len(run.carried_out)
        assert known <= counted <= known + run.again, "a retry does not know all requests"
        if event.earlier_requests:
            run.keys, run.earlier = dict(event.requests), event.earlier_requests
        self._carried_out(run, event)

    def _carried_out(self, run: Run, event: CarriedOut) -> None:
        """A request has had its effect, known by its key if it has one."""
        if event.request_key is not None:
            earlier = run.earlier
            run.note(event.request_key, event.request_digest)
            self.met["a retried instance forgot requests"] += run.retries > 0 and run.earlier > earlier

    def _fold_message(
        self, trigger: Listening, event: ev.EvaluationStarted | ev.TriggerFired | ev.TriggerFailed
    ) -> None:
        """A message is judged once and fires a trigger once; what fires once ever does so."""
        assert not trigger.deleted, f"message {event.offset} was judged after its trigger was deleted"
        waited = trigger.waiting.pop(event.occurrence_id, None)
        if isinstance(event, ev.EvaluationStarted):
            trigger.waiting[event.occurrence_id] = event
        if waited is None:
            assert event.offset > trigger.positions.get(event.source, -1), f"message {event.offset} was judged twice"
        if event.identity is not None:
            known = self._is_judged(trigger, event.identity)
            assert waited is not None or not known, f"{event.identity} was judged twice"
            self._note_judged(trigger.judged, event.identity)
        trigger.positions[event.source] = max(event.offset, trigger.positions.get(event.source, -1))
        if isinstance(event, ev.TriggerFired) and event.once_key is not None:
            assert event.once_key not in trigger.fired_once, f"{event.once_key} fired twice"
            trigger.fired_once.add(event.once_key)


def _outcome(event: object) -> str:
    match event:
        case ev.CommandSkipped():
            return SKIPPED
        case ev.CommandRejected() | ev.SubmissionRejected():
            return event.code
        case ev.SubmissionHeld():
            return HELD
        case _:
            return DECIDED


def _size(message: cm.EvaluateTrigger | ev.EvaluationStarted) -> int:
    return len(memoryview(message.event)) + len(memoryview(message.stages))


def _repeated(known: str | None, given: str | None) -> Set[str]:
    """A second command for an id, or with a key."""
    return {SKIPPED} if known == given else {rejections.CONFLICT}
