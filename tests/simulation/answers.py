"""Every answer of the API agrees with the log, and shows what was answered before, on every replica.

`Known` folds the log into what each instance, workflow and trigger was after each event. An answer must show one of
these moments, and none that is older than what any answer has shown or promised by the time when its request was sent.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from schemas import events as ev
from schemas.records import Recorded
from tests.simulation.reading import LogReader
from tests.simulation.retention import Retention

MARK = "mark"
"""The variable of a run, and the field of an event, that tells which request it came from."""


@dataclass(frozen=True)
class Pause:
    """A pause of an activity."""

    stage: int
    index: int
    since: datetime

    @staticmethod
    def shown(stage: int, pending: Mapping[str, Any]) -> "Pause":
        """The one that a stage shows."""
        return Pause(stage, int(pending["activityID"]), _at(pending["pausedAt"]))


class Moment(NamedTuple):
    """An instance after an event."""

    updated_at: datetime
    terminated_at: datetime | None
    error: str | None
    started: int
    """How many stages have started."""
    ended: int
    """How many of them have ended."""
    retries: int = 0
    entries: int = 0
    """How many the history has: stages that did not succeed have one for each pass."""
    ended_entries: int = 0


@dataclass
class KnownStage:
    """A stage that has started."""

    name: str
    input: Any
    started_at: datetime
    terminated_at: datetime | None = None
    error: str | None = None


@dataclass
class KnownInstance:
    """An instance as the log tells it."""

    start: ev.InstanceStarted
    moments: list[Moment]
    started_by: int
    """The command that has started it."""
    passes: list[list[KnownStage]] = field(default_factory=lambda: [[]])
    """The stages as they count in each pass."""
    entries: list[KnownStage] = field(default_factory=list)
    """The history."""
    retried_by: dict[str, int] = field(default_factory=dict)
    """Which retry came of a request with a key."""
    aborted_by: set[str] = field(default_factory=set)
    """Requests with a key that have aborted it, or came to do so when it had ended: they must not end it any more."""
    marks: Counter[str] = field(default_factory=Counter)
    """How often events of a request were received."""
    received_by: dict[str, int] = field(default_factory=dict)
    """The command that brought an event, by the mark."""
    caused: dict[int, int] = field(default_factory=dict)
    """The moment after all that a command has caused, by the offset of the command."""
    keys: dict[str, str] = field(default_factory=dict)
    """The mark of the event that came with a key."""
    paused: set[Pause] = field(default_factory=set)
    """What waits for a person; at most one."""
    over: dict[Pause, int] = field(default_factory=dict)
    """The moment after each pause that has ended."""
    resumed: set[Pause] = field(default_factory=set)
    """Those that were ended by a resume."""
    resumed_by: dict[str, Pause] = field(default_factory=dict)
    """Which pause a request with a key has ended."""

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.moments[-1].terminated_at is not None

    def end_since(self, moment: int) -> str | None:
        """The state that it has had from a moment on, if that is an end."""
        ends = {_end(one) for one in self.moments[moment:]}
        return ends.pop() if len(ends) == 1 else None

    def fold(self, event: Any, cause: int) -> None:
        """Take in an event, which a command has caused (-1 for none)."""
        self.caused[cause] = len(self.moments)
        last = self.moments[-1]._replace(updated_at=event.at)
        if isinstance(event, ev.StageStarted):
            stage = KnownStage(event.name, event.input, event.at)
            self.passes[-1].append(stage)
            self.entries.append(stage)
            last = last._replace(started=last.started + 1, entries=last.entries + 1)
        elif isinstance(event, ev.StageEnded):
            stage = self.passes[-1][event.number]
            stage.terminated_at, stage.error = event.at, event.error
            last = last._replace(ended=last.ended + 1, ended_entries=last.ended_entries + 1)
        elif isinstance(event, ev.InstanceRetried):
            assert last.error is not None, "what has not failed was retried"
            self.passes.append(self.passes[-1][: event.stage])
            if event.request_key is not None:
                assert event.request_key not in self.retried_by, f"{event.request_key} has retried it twice"
                self.retried_by[event.request_key] = event.retries
            count, retries = len(self.passes[-1]), event.retries
            last = last._replace(terminated_at=None, error=None, started=count, ended=count, retries=retries)
        elif isinstance(event, ev.InstanceEnded):
            last = last._replace(terminated_at=event.at, error=event.error)
            if event.request_key is not None:
                assert event.request_key not in self.aborted_by, f"{event.request_key} came before, and has aborted it"
                self.aborted_by.add(event.request_key)
        elif isinstance(event, ev.ActivityPaused):
            self.paused = {Pause(event.stage, event.index, event.at)}
        elif isinstance(event, ev.ActivityEnded):
            self._end_pauses()
        elif isinstance(event, ev.ActivityResumed):
            self._fold_resume(event)
        elif isinstance(event, ev.EventReceived) and MARK in event.payload:
            mark = event.payload[MARK]
            self.marks[mark] += 1
            self.received_by[mark] = cause
            if event.request_key is not None:
                self.keys[event.request_key] = mark
        self.moments.append(last)

    def _fold_resume(self, event: ev.ActivityResumed) -> None:
        (pause,) = self.paused
        assert (pause.stage, pause.index) == (event.stage, event.index), f"{pause} was ended as another one"
        assert pause not in self.resumed, f"{pause} was ended twice"
        self._end_pauses()
        self.resumed.add(pause)
        if event.request_key is not None:
            assert event.request_key not in self.resumed_by, f"{event.request_key} has ended two pauses"
            self.resumed_by[event.request_key] = pause

    def _end_pauses(self) -> None:
        self.over.update(dict.fromkeys(self.paused, len(self.moments)))
        self.paused = set()


def _end(moment: Moment) -> str | None:
    """The state of an instance that has ended."""
    if moment.terminated_at is None:
        return None
    if moment.error is None:
        return "succeeded"
    return "aborted" if moment.error == ev.CANCELED else "failed"


@dataclass
class KnownWorkflow:
    """A workflow as the log tells it."""

    created: ev.WorkflowCreated
    deleted_at: datetime | None = None


@dataclass
class KnownTrigger:
    """A trigger as the log tells it."""

    created: ev.TriggerCreated
    deleted_at: datetime | None = None
    occurrences: list[ev.TriggerFired | ev.TriggerFailed] = field(default_factory=list)


class Known:
    """What the log says.

    Args:
        log: reads it.
    """

    def __init__(self, log: LogReader):
        self._log = log
        self._next = [0] * log.partitions
        self.instances: dict[str, KnownInstance] = {}
        self.workflows: dict[str, KnownWorkflow] = {}
        self.triggers: dict[str, KnownTrigger] = {}
        self.reasons: Counter[str] = Counter()
        """How often a reason stands in the log."""
        self.started: dict[str, list[str]] = {}
        """The instances that requests have started, by the mark."""
        self.aside: set[str] = set()
        """Instances whose events can't be followed: they are not looked at."""

    def read(self) -> None:
        """Take in what has come."""
        self._log.read()
        for partition, admitted in enumerate(self._log.admitted):
            for number in range(self._next[partition], len(admitted)):
                recorded = admitted[number].recorded
                if recorded is not None:
                    self._fold(recorded, admitted[number].cause)
            self._next[partition] = len(admitted)

    def _fold(self, recorded: Recorded, cause: int) -> None:
        id, event = recorded.aggregate_id, recorded.event
        # A bulk operation acts on many instances for one reason.
        if (reason := getattr(event, "reason", None)) is not None and getattr(event, "bulk_id", None) is None:
            self.reasons[reason] += 1
        if isinstance(event, ev.InstanceStarted):
            self.instances[id] = KnownInstance(event, [Moment(event.at, None, None, 0, 0)], cause)
            if MARK in event.variables:
                self.started.setdefault(event.variables[MARK], []).append(id)
        elif isinstance(event, ev.WorkflowCreated):
            self.workflows[id] = KnownWorkflow(event)
        elif isinstance(event, ev.WorkflowDeleted):
            self.workflows[id].deleted_at = event.at
        elif isinstance(event, ev.TriggerCreated):
            self.triggers[id] = KnownTrigger(event)
        elif isinstance(event, ev.TriggerDeleted):
            self.triggers[id].deleted_at = event.at
        elif isinstance(event, ev.TriggerFired | ev.TriggerFailed):
            self.triggers[id].occurrences.append(event)
        elif isinstance(event, ev.CommandRejected):
            if id in self.instances and event.request_key is not None:
                self.instances[id].aborted_by.add(event.request_key)
        elif isinstance(event, ev.InstanceEvent) and not isinstance(event, ev.LateResultRecorded):
            self._fold_instance(id, event, cause)

    def _fold_instance(self, id: str, event: ev.InstanceEvent, cause: int) -> None:
        if id in self.instances and id not in self.aside:
            try:
                self.instances[id].fold(event, cause)
            except IndexError:
                self.aside.add(id)


class Promised:
    """What answers have shown or promised: what every later request must see."""

    def __init__(self) -> None:
        self.instances: dict[str, int] = {}
        """The moment of each instance."""
        self.workflows: set[str] = set()
        self.deleted_workflows: set[str] = set()
        self.triggers: set[str] = set()
        self.deleted_triggers: set[str] = set()
        self.occurrences: dict[str, int] = {}
        """How many of each trigger."""

    def copy(self) -> "Promised":
        """As it is now."""
        other = Promised()
        for name, value in vars(self).items():
            setattr(other, name, value.copy())
        return other


class Answers:
    """Checks answers. Every method raises `AssertionError` for one that is wrong.

    Args:
        log: reads the log.
        retention: which instances may be deleted.
    """

    def __init__(self, log: LogReader, retention: Retention):
        self.known, self._retention = Known(log), retention
        self._whole: dict[str, int] = {}
        """By instance, a moment as of which it was shown with all that it did."""
        self._back: dict[str, int] = {}
        """Instances that were shown to begin with a retry, and the moment of that."""
        self.promised = Promised()
        self.aborted: dict[str, int] = {}
        """Instances whose abort was answered, with the pass that it ended: nothing of that pass starts any more."""

    # What was promised

    def promise_instance(self, id: str, moment: int) -> None:
        """Every later request sees this moment, or a later one."""
        self.promised.instances[id] = max(self.promised.instances.get(id, 0), moment)

    def calls(self, instance_id: str, retries: int) -> None:
        """An engine calls the stack for a pass of an instance."""
        aborted = self.aborted.get(instance_id, -1)
        assert retries > aborted, f"{instance_id}: a call begins after its abort was answered"

    def may_be_gone(self, id: str, promised: Promised) -> bool:
        """Whether an instance may be deleted: it has ended long ago, since it was shown last."""
        return self._may_be_gone(self.known.instances[id].moments[promised.instances.get(id, 0) :])

    def may_be_back(self, id: str) -> bool:
        """Whether an instance may have been deleted while a retry was on its way, so that it shows from that on."""
        known = self.known.instances[id]
        return len(known.passes) > 1 and self._may_be_gone(known.moments)

    def _may_be_gone(self, moments: Iterable[Moment]) -> bool:
        return any(self._retention.may_be_gone(_end(one), one.terminated_at) for one in moments)

    # What is shown

    def instance(self, shown: Mapping[str, Any], promised: Promised, *, complete: bool = True) -> None:
        """An instance as an answer shows it.

        Args:
            shown: it.
            promised: what was promised when the request was sent.
            complete: whether its stages are shown.
        """
        id = shown["id"]
        known = self.known.instances.get(id)
        assert known is not None, f"instance {id} is shown, but not in the log"
        assert shown["workflowID"] == known.start.workflow_id, f"{id} is shown under another workflow"
        assert shown["terminated"] == ("terminatedAt" in shown), f"{id}: terminated"
        if (created_at := _at(shown["createdAt"])) != known.start.at:
            self._instance_that_is_back(shown, promised, created_at)
            return
        stages = shown.get("status", shown.get("statuses")) if complete else None
        wanted = _moment(shown, stages)
        least = promised.instances.get(id, 0)
        number = next((n for n in range(least, len(known.moments)) if _fits(known.moments[n], wanted)), None)
        if number is None:
            older = [n for n in range(least) if _fits(known.moments[n], wanted)]
            assert older, f"{id}: the log knows no moment when it was {wanted}"
            raise AssertionError(f"{id} is shown as of event {older[-1]}, but {least} was answered before")
        assert shown.get("retries", known.moments[number].retries) == known.moments[number].retries, f"{id}: retries"
        for stage, status in zip(known.passes[known.moments[number].retries], stages or (), strict=False):
            assert _at(status["startedAt"]) == stage.started_at, f"{id}: a stage started at {status['startedAt']}"
            if "terminatedAt" in status:
                assert (_at(status["terminatedAt"]), status.get("error")) == (stage.terminated_at, stage.error), id
        self._check_pauses(id, stages, least, number)
        assert number < self._back.get(id, number + 1), f"{id} shows again what it did before it was deleted"
        self._whole[id] = max(number, self._whole.get(id, 0))
        self.promise_instance(id, number)

    def _instance_that_is_back(self, shown: Mapping[str, Any], promised: Promised, created_at: datetime) -> None:
        """An instance that was deleted while a retry was on its way: it begins with that. Of before, nobody tells."""
        id = shown["id"]
        moments, least = self.known.instances[id].moments, promised.instances.get(id, 0)
        first = next((n for n, one in enumerate(moments) if n and one.updated_at == created_at and not one.error), None)
        assert first is not None, f"{id}: createdAt"
        assert moments[first].retries > moments[first - 1].retries, f"{id}: createdAt, and it was not retried then"
        assert self._may_be_gone(moments[:first]), f"{id} begins with a retry, and could not be deleted before"
        assert self._whole.get(id, 0) < first, f"{id} begins with a retry, and was shown whole behind it"
        wanted = _moment(shown, None)
        number = next((n for n in range(max(first, least), len(moments)) if _fits(moments[n], wanted)), None)
        assert number is not None, f"{id}: the log knows no moment from {least} on when it was {wanted}"
        self._back[id] = max(first, self._back.get(id, 0))
        self.promise_instance(id, number)

    def _check_pauses(self, id: str, stages: Sequence[Mapping[str, Any]] | None, least: int, number: int) -> None:
        """What is shown to wait for a person does so."""
        known = self.known.instances[id]
        shown = {
            Pause.shown(stage["stage"], pending)
            for stage in stages or ()
            for pending in stage.get("pendingActivities", ())
        }
        for pause in shown:
            assert pause in known.paused or pause in known.over, f"{id}: {pause} never was"
            assert known.over.get(pause, least + 1) > least, f"{id}: {pause} is shown after its end was answered"
        if stages is not None and number == len(known.moments) - 1:
            assert shown == known.paused, f"{id}: {shown} is shown to be paused, not {known.paused}"

    def instances(
        self, shown: Sequence[Mapping[str, Any]], promised: Promised, workflow_id: str, *, running: bool
    ) -> None:
        """All instances of a workflow, newest first, or those of them that have not ended."""
        _check_order(shown, "createdAt")
        for one in shown:
            assert one["workflowID"] == workflow_id, "an instance of another workflow is listed"
            assert not (running and one["terminated"]), "an instance that has ended is listed among those that run"
            self.instance(one, promised)
        listed = {one["id"] for one in shown}
        for id in promised.instances.keys() - listed:
            known = self.known.instances[id]
            if known.start.workflow_id == workflow_id and not self.may_be_gone(id, promised):
                assert running, f"{id} is missing in a list"
                since = known.moments[promised.instances[id] :]
                assert any(moment.terminated_at for moment in since), f"{id} is missing in a list of those that run"

    def history(self, id: str, shown: Sequence[Mapping[str, Any]], promised: Promised) -> None:
        """The stages of an instance."""
        known = self.known.instances[id]
        if self.may_be_back(id):
            return  # what it did before may be missing
        least = known.moments[promised.instances.get(id, 0)]
        ended = sum(stage["terminated"] for stage in shown)
        newest = (least.entries, least.ended_entries)
        assert (len(shown), ended) >= newest, f"the history of {id} is older than what was shown"
        for stage, one in zip(known.entries, shown, strict=False):
            assert (one["name"], one["input"], _at(one["startedAt"])) == (stage.name, stage.input, stage.started_at), id
            if one["terminated"]:
                assert (_at(one["terminatedAt"]), one.get("error")) == (stage.terminated_at, stage.error), id
        counts = (len(shown), ended)
        number = next((n for n, m in enumerate(known.moments) if (m.entries, m.ended_entries) == counts), None)
        assert number is not None, f"the history of {id} shows what the log never said"
        self.promise_instance(id, number)

    def workflow(self, shown: Mapping[str, Any], promised: Promised) -> None:
        """A workflow."""
        id = shown["id"]
        known = self.known.workflows.get(id)
        assert known is not None, f"workflow {id} is shown, but not in the log"
        limit = known.created.max_attempts
        limits = {} if limit is None else {"activityMaxAttempts": limit}
        config = {"name": known.created.name, "stages": known.created.stages, **limits}
        assert shown["config"] == config, f"workflow {id} is shown as {shown['config']}"
        assert _at(shown["createdAt"]) == known.created.at, f"workflow {id}"
        if "deletedAt" in shown:
            assert _at(shown["deletedAt"]) == known.deleted_at, f"workflow {id}: deletedAt"
            self.promised.deleted_workflows.add(id)
        else:
            assert id not in promised.deleted_workflows, f"workflow {id} is shown again after its deletion"
        self.promised.workflows.add(id)

    def workflows(self, shown: Sequence[Mapping[str, Any]], promised: Promised) -> None:
        """All workflows that are not deleted, newest first."""
        _check_order(shown, "createdAt")
        for one in shown:
            assert "deletedAt" not in one, "a deleted workflow is listed"
            self.workflow(one, promised)
        missing = promised.workflows - {one["id"] for one in shown}
        assert all(self.known.workflows[id].deleted_at for id in missing), "a workflow is missing in a list"

    def trigger(self, shown: Mapping[str, Any], promised: Promised) -> None:
        """A trigger."""
        id = shown["id"]
        known = self.known.triggers.get(id)
        assert known is not None, f"trigger {id} is shown, but not in the log"
        created = known.created
        fields = (created.name, created.event, created.version, created.workflow_id, created.filter, created.vars)
        names = ("name", "event", "version", "workflowID", "filter", "vars")
        assert tuple(shown.get(name) for name in names) == fields, f"trigger {id}"
        assert id not in promised.deleted_triggers, f"trigger {id} is shown again after its deletion"
        self.promised.triggers.add(id)

    def triggers(self, shown: Sequence[Mapping[str, Any]], promised: Promised) -> None:
        """All triggers that are not deleted, newest first."""
        _check_order(shown, "createdAt")
        for one in shown:
            self.trigger(one, promised)
        missing = promised.triggers - {one["id"] for one in shown}
        assert all(self.known.triggers[id].deleted_at for id in missing), "a trigger is missing in a list"

    def occurrences(self, trigger_id: str, shown: Sequence[Mapping[str, Any]], promised: Promised) -> None:
        """All occurrences of a trigger, newest first."""
        _check_order(shown, "date")
        known = {one.occurrence_id: one for one in self.known.triggers[trigger_id].occurrences}
        for one in shown:
            occurrence = known.get(one["id"])
            assert occurrence is not None, f"occurrence {one['id']} is shown, but not in the log"
            assert _at(one["date"]) == occurrence.at, f"occurrence {one['id']}"
            assert one.get("workflowInstanceID") == getattr(occurrence, "instance_id", None), one["id"]
            assert one.get("error") == getattr(occurrence, "error", None), one["id"]
        least = promised.occurrences.get(trigger_id, 0)
        assert len(shown) >= least, f"{len(shown)} occurrences of {trigger_id} are shown, {least} were before"
        self.promised.occurrences[trigger_id] = max(len(shown), self.promised.occurrences.get(trigger_id, 0))


def _moment(shown: Mapping[str, Any], stages: Sequence[Mapping[str, Any]] | None) -> tuple[Any, ...]:
    terminated_at = _at(shown["terminatedAt"]) if "terminatedAt" in shown else None
    counts: tuple[Any, ...] = (None, None)
    if stages is not None:
        counts = (len(stages), sum("terminatedAt" in stage for stage in stages))
    return (_at(shown["updatedAt"]), terminated_at, shown.get("error"), *counts)


def _fits(moment: Moment, shown: tuple[Any, ...]) -> bool:
    return moment[:3] == shown[:3] and (shown[3] is None or moment[3:5] == shown[3:])


def _check_order(shown: Iterable[Mapping[str, Any]], at: str) -> None:
    places = [(_at(one[at]), one["id"]) for one in shown]
    assert places == sorted(set(places), reverse=True), "a list is not newest first, or has something twice"


def _at(text: str) -> datetime:
    return msgspec.convert(text, datetime)
