"""What happened to the instance, from its events: stages, activities, attempts, errors, times."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from schemas import events as ev
from schemas.definition import Delay, Noop, Send, Update, WaitEvent

STAGE_OF: Final = {
    "RunSend": "send",
    "RunWaitEvent": "wait_event",
    "RunDelay": "delay",
    "RunUpdate": "update",
    "RunNoop": "noop",
}
"""What the history calls a stage, and what the workflow calls it. A test compares it with the stages there are."""

STAGES: Final = (Send, WaitEvent, Delay, Update, Noop)


class Activity(Struct):
    """One activity.

    Attributes:
        stage: number of its stage.
        name: as in the history.
        input: likewise.
        output: likewise; None while it has none.
        attempts: how often it was tried.
        errors: those of the attempts that failed, in order.
        is_ended: whether it has succeeded or failed for good.
        retry_at: when it is tried again.
        is_paused: whether its last attempt has failed, and it waits for a person.
    """

    stage: int
    name: str
    input: dict[str, Any]
    output: Any = None
    attempts: int = 0
    errors: list[str] = []
    is_ended: bool = False
    retry_at: datetime | None = None
    is_paused: bool = False


class Stage(Struct):
    """One stage.

    Attributes:
        number: from 0.
        name: as in the workflow.
        input: as in the history.
        started, ended: when.
        error: it failed with.
        activities: in order.
    """

    number: int
    name: str
    input: dict[str, Any]
    started: datetime
    ended: datetime | None = None
    error: str | None = None
    activities: list[Activity] = []

    @property
    def status(self) -> str:
        """As in scenario files."""
        if self.ended is not None:
            return "succeeded" if self.error is None else "aborted" if self.error == ev.CANCELED else "failed"
        if self.activities and self.activities[-1].is_paused:
            return "paused"
        if self.activities and self.activities[-1].errors:
            return "retrying"
        return {"wait_event": "waiting", "delay": "delayed"}.get(self.name, "running")


class Step(Struct, frozen=True):
    """Something that happened.

    Attributes:
        at: when.
        what: an event of the instance, or the name of what came from outside.
        detail: of what came from outside.
    """

    at: datetime
    what: Any
    detail: str = ""


class Story:
    """What happened, built event by event.

    Args:
        start: when the instance was started.
    """

    def __init__(self, start: datetime):
        self.start = start
        self.ended: datetime | None = None
        self.error: str | None = None
        self.stages: list[Stage] = []
        self.steps: list[Step] = []

    @property
    def outcome(self) -> str:
        """As in scenario files."""
        if self.ended is not None:
            return "succeeded" if self.error is None else "aborted" if self.error == ev.CANCELED else "failed"
        return self.stages[-1].status if self.stages else "running"

    @property
    def duration(self) -> timedelta | None:
        """From start to end; None while it has not ended."""
        return None if self.ended is None else self.ended - self.start

    @property
    def waits_for(self) -> str | None:
        """The event that it waits for."""
        stage = self.stages[-1] if self.stages else None
        if stage is None or stage.ended is not None or stage.name != "wait_event":
            return None
        event: str = stage.input["event"]
        return event

    @property
    def current(self) -> Activity | None:
        """The activity that has not ended."""
        activities = self.stages[-1].activities if self.stages else ()
        return activities[-1] if activities and not activities[-1].is_ended else None

    @property
    def activities(self) -> Sequence[Activity]:
        """All of them, in order."""
        return [activity for stage in self.stages for activity in stage.activities]

    def tell(self, at: datetime, what: str, detail: str = "") -> None:
        """Note what came from outside."""
        self.steps.append(Step(at, what, detail))

    def take(self, event: Any) -> None:
        """Take the next event of the log."""
        self.steps.append(Step(event.at, event))
        match event:
            case ev.InstanceEnded():
                self.ended, self.error = event.at, event.error
            case ev.StageStarted():
                stage = Stage(event.number, STAGE_OF.get(event.name, event.name), event.input, event.at)
                self.stages.append(stage)
            case ev.StageEnded():
                self.stages[-1].ended, self.stages[-1].error = event.at, event.error
            case ev.ActivityStarted():
                self.stages[-1].activities.append(Activity(event.stage, event.name, event.input))
            case ev.ActivityFailed():
                activity = self.stages[-1].activities[-1]
                activity.attempts, activity.retry_at = event.attempt, event.retry_at
                activity.errors.append(event.error)
            case ev.ActivityPaused():
                activity = self.stages[-1].activities[-1]
                activity.attempts, activity.retry_at, activity.is_paused = event.attempt, None, True
                activity.errors.append(event.error)
            case ev.ActivityEnded():
                self._end(self.stages[-1].activities[-1], event)

    def _end(self, activity: Activity, event: ev.ActivityEnded) -> None:
        activity.attempts, activity.output = event.attempt, event.output
        activity.is_ended, activity.is_paused, activity.retry_at = True, False, None
        if event.error is not None:
            activity.errors.append(event.error)
