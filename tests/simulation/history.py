"""What the log says about an instance, folded event by event without the engine's `evolve`, and held against it.

The fold is the history that the API shows: stages, their activities, attempts. On the way it checks the contract's
rules about them (`workflows`, "Retries" and "Abort").
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from engine.core.instance import Instance
from schemas import events as ev
from schemas.definition import StageUnresolvable, WaitEvent, resolve_stage

BACKOFF_SECONDS = (1, 2, 4, 8, 16, 32, 64, 100)
"""Pauses after the first, second, … failure; the last one from then on."""


READING = {"GetAccount", "GetPayment", "GetWallet", "ListWallets"}
"""Activities that may be done again, whatever they answered."""
CERTAIN = {"VALIDATION", "NO_SCRIPT", "COMPILATION_FAILED"}
"""errorCodes after which nothing can have come of a call."""

Attempt = tuple[int, int]
"""How often the activity was resumed before, and the number of the attempt since."""


@dataclass
class ActivityRun:
    """An activity and all that became of it."""

    name: str
    input: dict[str, Any]
    not_before: dict[Attempt, datetime]
    """When each attempt might start."""
    failures: list[str] = field(default_factory=list)
    ended: bool = False
    attempt: int = 1
    output: Any = None
    error: str | None = None
    code: str | None = None
    late_success: bool = False
    results: Counter[Attempt] = field(default_factory=Counter)
    """How many results of each attempt the log holds."""
    returned: set[Attempt] = field(default_factory=set)
    """Attempts whose result an engine was handed."""
    resumes: int = 0
    paused: bool = False
    retries: int = 0
    """The pass that it was started in: how often the instance had been retried."""
    key_number: int = 0

    @property
    def current(self) -> Attempt:
        """The attempt that runs or comes next, or the one that failed while it is paused."""
        return self.resumes, self.attempt


@dataclass
class StageRun:
    """A stage that was started."""

    number: int
    name: str
    input: dict[str, Any]
    wait_until: datetime | None
    ended: bool = False
    error: str | None = None
    activities: list[ActivityRun] = field(default_factory=list)


@dataclass
class History:
    """An instance as its events tell it."""

    definition: list[dict[str, Any]]
    variables: dict[str, str]
    clocks_are_wrong: bool = False
    """Whether the engines' clocks are set now and then, so that the log does not tell when things are due."""
    max_attempts: int | None = None
    """How often an activity may be tried before a person has to resume it."""
    stages: list[StageRun] = field(default_factory=list)
    ended: bool = False
    error: str | None = None
    arrived: set[int] = field(default_factory=set)
    """Numbers of stages whose event has come and that have not ended."""
    retries: int = 0
    past: list[StageRun] = field(default_factory=list)
    """What earlier passes left in the stages that did not succeed."""
    kept: list[ActivityRun] = field(default_factory=list)
    """Activities of the stage that the pass begins with, until it starts."""
    unused: set[int] = field(default_factory=set)
    """Of those of an instance that has ended with an error."""

    def fold(self, event: ev.InstanceEvent) -> None:
        """Take in the next event."""
        may_follow = ev.LateResultRecorded | ev.InstanceRetried
        assert not self.ended or isinstance(event, may_follow), f"{event} after the end"
        if self.stages and not self.stages[-1].ended and self.stages[-1].number in self.arrived:
            assert isinstance(event, ev.StageEnded), f"stage {self.stages[-1].number} waits for what has come"
        _FOLDS[type(event)](self, event)

    def activity(self, stage: int, index: int) -> ActivityRun:
        """An activity of the pass that counts."""
        return self.stages[stage].activities[index]

    def find(self, stage: int, index: int, retries: int) -> ActivityRun | None:
        """An activity that was started in a pass."""
        for run in (*self.past, *self.stages):
            if run.number == stage and index < len(run.activities) and run.activities[index].retries == retries:
                return run.activities[index]
        return None

    def taker(self, name: str) -> int | None:
        """The stage that takes an event: the first of its name, running or to come, that no other event has ended."""
        running = len(self.stages) - bool(self.stages and not self.stages[-1].ended)
        for number, stage in enumerate(self.definition[running:], running):
            if "wait_event" in stage and number not in self.arrived:
                try:
                    resolved = resolve_stage(stage, self.variables)
                except StageUnresolvable:
                    continue
                if isinstance(resolved, WaitEvent) and resolved.event == name:
                    return number
        return None

    def check(self, state: Instance) -> None:
        """The engine's state says the same."""
        running = [stage for stage in self.stages if not stage.ended]
        assert running == self.stages[len(self.stages) - len(running) :]
        assert len(running) == state.running <= 1
        assert len(self.stages) - len(running) == state.stage
        assert (self.stages[-1].error if self.stages and not running else None) == state.failed
        assert state.ended == self.ended
        assert set(state.arrived) == self.arrived, "an event that came early is forgotten"
        if not running:
            assert not state.activities
            return
        assert running[0].wait_until == state.wait_until
        shown = [_shown(activity) for activity in running[0].activities]
        assert shown == [
            (a.name, a.input, a.attempt, a.retry_at, a.ended, a.output, a.error, a.code, a.paused, a.resumes)
            for a in state.activities
        ]


def _shown(activity: ActivityRun) -> tuple[Any, ...]:
    retried = activity.attempt > 1 and not activity.ended and not activity.paused
    has_failed = bool(activity.failures) and not activity.ended
    return (
        activity.name,
        activity.input,
        activity.attempt,
        activity.not_before[activity.current] if retried else None,
        activity.ended,
        activity.output,
        activity.failures[-1] if has_failed else activity.error,
        activity.code,
        activity.paused,
        activity.resumes,
    )


def _stage_started(history: History, event: ev.StageStarted) -> None:
    assert event.number == len(history.stages)
    assert all(stage.ended and stage.error is None for stage in history.stages)
    history.stages.append(StageRun(event.number, event.name, event.input, event.wait_until, activities=history.kept))
    history.kept = []


def _stage_ended(history: History, event: ev.StageEnded) -> None:
    stage = history.stages[-1]
    assert not stage.ended
    assert event.number == stage.number
    early = stage.wait_until is not None and event.at < stage.wait_until
    assert not early or event.error is not None or history.clocks_are_wrong, "a delay ended early"
    assert all(activity.ended for activity in stage.activities), "an activity would be shown as running for ever"
    stage.ended, stage.error = True, event.error
    came = stage.number in history.arrived
    assert stage.name != WaitEvent.name or came or event.error is not None, "a stage did not wait for its event"
    history.arrived.discard(stage.number)


def _event_received(history: History, event: ev.EventReceived) -> None:
    assert event.stage == history.taker(event.name), f"{event} was meant for another stage"
    if event.stage is not None:
        history.arrived.add(event.stage)


def _activity_started(history: History, event: ev.ActivityStarted) -> None:
    stage = history.stages[event.stage]
    assert not stage.ended
    assert event.index == len(stage.activities)
    assert all(activity.ended for activity in stage.activities)
    started = ActivityRun(event.name, event.input, {(0, 1): event.at}, retries=history.retries)
    stage.activities.append(started)
    started.key_number = event.key_number
    before = [run.activities[event.index] for run in history.past if _has(run, event)]
    if before and before[-1].name not in READING:
        _check_key(before, started)


def _has(run: StageRun, event: ev.ActivityStarted) -> bool:
    return run.number == event.stage and len(run.activities) > event.index


def _check_key(before: list[ActivityRun], started: ActivityRun) -> None:
    """A call has the key of the pass before, unless nothing can have come of any call with that key."""
    last = before[-1]
    assert (started.name, started.input) == (last.name, last.input), "another pass calls something else"
    same_key = [run for run in before if run.key_number == last.key_number]
    is_certain = last.code in CERTAIN and all(not run.failures and len(run.results) == 1 for run in same_key)
    is_new = is_certain and len(same_key) == 1
    assert started.key_number == last.key_number + is_new, f"{started} has another key than {last}"


def _activity_failed(history: History, event: ev.ActivityFailed) -> None:
    activity = _running(history, event)
    limit = history.max_attempts
    assert limit is None or event.attempt < limit, f"attempt {event.attempt} of at most {limit} was not the last one"
    pause = BACKOFF_SECONDS[min(event.attempt - 1, len(BACKOFF_SECONDS) - 1)]
    waits = event.retry_at - event.at
    assert waits <= timedelta(seconds=pause), f"an attempt waits for {waits}, not {pause} s"
    assert history.clocks_are_wrong or waits == timedelta(seconds=pause), f"an attempt waits for {waits}, not {pause} s"
    _result(activity, event.attempt)
    activity.failures.append(event.error)
    activity.attempt += 1
    activity.not_before[activity.current] = event.retry_at


def _activity_paused(history: History, event: ev.ActivityPaused) -> None:
    activity = _running(history, event)
    assert event.attempt == event.max_attempts == history.max_attempts, f"attempt {event.attempt} was the last one"
    _result(activity, event.attempt)
    activity.failures.append(event.error)
    activity.paused = True


def _activity_resumed(history: History, event: ev.ActivityResumed) -> None:
    activity = history.activity(event.stage, event.index)
    assert activity.paused, "what was not paused was resumed"
    activity.paused, activity.attempt, activity.resumes = False, 1, activity.resumes + 1
    activity.not_before[activity.current] = event.at


def _activity_ended(history: History, event: ev.ActivityEnded) -> None:
    activity = _running(history, event)
    if event.error != ev.CANCELED:
        _result(activity, event.attempt)
    activity.ended, activity.paused = True, False
    activity.output, activity.error, activity.code = event.output, event.error, event.code


def _running(history: History, event: ev.ActivityFailed | ev.ActivityPaused | ev.ActivityEnded) -> ActivityRun:
    activity = history.activity(event.stage, event.index)
    assert not activity.ended
    assert event.attempt == activity.attempt, "attempts count up by one"
    canceled = isinstance(event, ev.ActivityEnded) and event.error == ev.CANCELED
    assert canceled or not activity.paused, "a paused activity was tried"
    return activity


def _late_result(history: History, event: ev.LateResultRecorded) -> None:
    of_before = event.retries < history.retries
    assert history.ended or of_before, "a result came late while its pass was running"
    activity = history.find(event.stage, event.index, event.retries)
    assert activity is not None
    assert activity.error == ev.CANCELED
    _result(activity, event.attempt)
    activity.late_success = event.error is None


def _result(activity: ActivityRun, attempt: int) -> None:
    activity.results[activity.resumes, attempt] += 1
    assert activity.results[activity.resumes, attempt] == 1, f"two results of attempt {attempt}"


def _instance_ended(history: History, event: ev.InstanceEnded) -> None:
    assert all(stage.ended for stage in history.stages)
    failed = history.stages[-1].error if history.stages else None
    assert event.error == ev.CANCELED or event.error == failed
    assert event.error is not None or len(history.stages) == len(history.definition)
    history.ended, history.error = True, event.error
    history.unused = set(history.arrived) if event.error is not None else set()
    assert set(event.arrived) == history.unused, "an event that came early would be forgotten by a retry"
    history.arrived.clear()


def _instance_retried(history: History, event: ev.InstanceRetried) -> None:
    assert history.ended, "an instance was retried while it ran"
    assert history.error is not None, "what has succeeded was retried"
    assert event.retries == history.retries + 1
    failed = history.stages and history.stages[-1].error is not None
    assert event.stage == len(history.stages) - bool(failed), "a pass does not begin where the one before ended"
    assert set(event.arrived) == history.unused, "an event that came early is forgotten"
    done: list[ActivityRun] = []
    if failed:
        history.past.append(history.stages.pop())
        done = history.past[-1].activities
    kept = [replace(activity, attempt=1, resumes=0) for activity in done[: len(event.kept)]]
    shown = [(a.name, a.input, a.output, a.error, a.code) for a in event.kept]
    assert shown == [(a.name, a.input, a.output, a.error, a.code) for a in kept], "what was done is told otherwise"
    left = [a for a in done[len(kept) :] if a.error is None]
    assert all(a.name in READING for a in left), f"{left} would be done again"
    history.kept = kept
    history.ended, history.error, history.retries = False, None, event.retries
    history.arrived = set(event.arrived)


_FOLDS: dict[type, Callable[[History, Any], None]] = {
    ev.StageStarted: _stage_started,
    ev.StageEnded: _stage_ended,
    ev.EventReceived: _event_received,
    ev.ActivityStarted: _activity_started,
    ev.ActivityFailed: _activity_failed,
    ev.ActivityPaused: _activity_paused,
    ev.ActivityResumed: _activity_resumed,
    ev.ActivityEnded: _activity_ended,
    ev.LateResultRecorded: _late_result,
    ev.InstanceEnded: _instance_ended,
    ev.InstanceRetried: _instance_retried,
}
