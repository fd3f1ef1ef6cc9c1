"""Who did what, and why, as people read it; and all that has happened to an instance, in order."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from deploy.client.output import CANCELED, clean, instant, moment, state, table
from deploy.client.timeline import View, about

Json = dict[str, Any]

DONE: Final = {
    "create": "created",
    "run": "started",
    "event": "sent event",
    "resume": "resumed",
    "abort": "aborted",
    "retry": "retried",
    "delete": "deleted",
}
"""What was done, by the action of an act."""


def acts_table(resource: Json) -> Iterable[str]:
    """The acts of a workflow, a trigger or an instance, below what else is shown of it; nothing without any."""
    acts = resource.get("acts")
    if not acts:
        return []
    rows = ((moment(act["at"]), _done(act), act.get("by", ""), act.get("reason", "")) for act in acts)
    return ["", *table(("when", "what", "by", "reason"), rows, "")]


def _done(act: Json) -> str:
    return f"{DONE.get(act['action'], act['action'])} {act.get('name', '')}".strip()


class Happening(NamedTuple):
    """Something that has happened to an instance."""

    at: str
    what: str
    about: str = ""
    by: str | None = None
    reason: str | None = None

    def json(self) -> Json:
        """For programs."""
        return {name: value for name, value in self._asdict().items() if value}

    def line(self) -> str:
        """For people."""
        return "  ".join(clean(part) for part in (moment(self.at), self.what, self.about, _author(self)) if part)


def _author(of: Happening) -> str:
    by = f"by {of.by}" if of.by else ""
    return ": ".join(part for part in (by, of.reason) if part)


def happenings(view: View) -> list[Happening]:
    """All that has happened, oldest first.

    Of attempts, the API tells the last failure of each activity; of acts of nobody, only retries and the last abort.
    """
    found = [*_of_instance(view.instance)]
    told = {act["at"] for act in view.instance.get("acts", []) if act["action"] == "retry"}
    is_retried = False
    for stage, activities in zip(view.history, view.activities, strict=True):
        if is_retried and stage["startedAt"] not in told:
            found.append(Happening(stage["startedAt"], "retried"))
        found += _of_stage(stage)
        for activity in activities:
            found += _of_activity(activity)
        is_retried = "retries" in stage
        if is_retried:
            found.append(_end_of_pass(stage))
    found += [*_end(view.instance)]
    return sorted(found, key=lambda one: instant(one.at))


def _of_instance(instance: Json) -> Iterator[Happening]:
    acts = instance.get("acts", [])
    if not any(act["action"] == "run" for act in acts):
        trigger = instance.get("trigger")
        yield Happening(instance["createdAt"], "started", f"by trigger {trigger['triggerID']}" if trigger else "")
    for act in acts:
        yield Happening(act["at"], _done(act), "", act.get("by"), act.get("reason"))
    paused = pending_activity(instance)
    if paused is not None:
        activity = paused[1]
        told = f"after attempt {activity['attempt']}: {activity['lastFailure']}"
        yield Happening(activity["pausedAt"], f"activity {activity['name']} paused", told)


def _end_of_pass(stage: Json) -> Happening:
    """How an instance ended that was retried then, by its last stage."""
    if stage["error"] == CANCELED:
        return Happening(stage["terminatedAt"], "instance aborted")
    return Happening(stage["terminatedAt"], "instance failed", stage["error"])


def _of_stage(stage: Json) -> Iterator[Happening]:
    name = stage["name"].removeprefix("Run").lower() if stage["name"] != "RunWaitEvent" else "wait_event"
    yield Happening(stage["startedAt"], f"stage {name}", about(name, stage["input"]))
    if stage["terminated"]:
        yield Happening(stage["terminatedAt"], f"stage {name} {_outcome(stage)}", stage.get("error", ""))


def _of_activity(activity: Json) -> Iterator[Happening]:
    name, attempt, failure = activity["name"], activity["attempt"], activity.get("lastFailure", "")
    is_tried_again = bool(failure) and not activity["terminated"]
    yield Happening(
        activity["startedAt"], f"activity {name}", f"attempt {attempt}: {failure}" if is_tried_again else ""
    )
    if activity["terminated"]:
        tried = f"after {attempt} attempts" if attempt > 1 else ""
        error = activity.get("error", "")
        before = f"before: {failure}" if error == CANCELED and failure else ""
        told = "; ".join(part for part in (error, tried, before) if part)
        yield Happening(activity["terminatedAt"], f"activity {name} {_outcome(activity)}", told)


def _outcome(shown: Json) -> str:
    return "failed" if shown.get("error") else "succeeded"


def _end(instance: Json) -> Iterator[Happening]:
    if instance["terminated"]:
        how = state(instance)
        yield Happening(
            instance["terminatedAt"], f"instance {how}", "" if how == "aborted" else instance.get("error", "")
        )


def pending_activity(instance: Json) -> tuple[int, Json] | None:
    """The activity of an instance that is paused, with the number of its stage; None if there is none."""
    for stage in instance["status"]:
        for activity in stage.get("pendingActivities", []):
            return stage["stage"], activity
    return None
