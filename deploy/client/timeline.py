"""An instance, stage by stage: what it has done, what it waits for, and what is still to come.

`look` reads it, `steps` makes lines of it, and `follow` shows them until the instance has ended: on a terminal as a
picture that changes, else one line for each change.
"""

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple

import click

from deploy.client.connection import Api
from deploy.client.errors import ABORTED_STATUS, FAILED_STATUS, Unavailable
from deploy.client.news import News
from deploy.client.output import CANCELED, Output, clean, instant, moment, state, took
from deploy.client.patience import patiently

Json = dict[str, Any]

REDRAW_SECONDS: Final = 1.0
"""How often the picture is drawn while nothing happens. Without it, the times in it would stand still."""

MARKS: Final = {
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "aborted": ("✗", "magenta"),
    "running": ("▸", "cyan"),
    "retrying": ("↻", "yellow"),
    "paused": ("‖", "yellow"),
    "to come": ("·", "bright_black"),
}
EXIT_STATUSES: Final = {"succeeded": 0, "failed": FAILED_STATUS, "aborted": ABORTED_STATUS}


class View(NamedTuple):
    """What was read of an instance."""

    instance: Json
    history: list[Json]
    activities: list[list[Json]]
    """For each entry of the history. After a retry a stage has several entries, one for each pass."""


class Step(NamedTuple):
    """A stage, or an activity of one."""

    key: tuple[int, int]
    """Position in the history, and of its activity; -1 for the stage itself."""
    state: str
    name: str
    about: str
    time: str
    """How long it takes, and when it is tried again."""
    error: str

    def line(self, width: int = 0) -> str:
        """The step as a line, cut to a width if there is one."""
        mark, colour = MARKS[self.state]
        indent = "   " if self.key[1] >= 0 else ""
        parts = [f"{indent}{mark} {self.name}", self.about, self.time, self.error]
        text = "  ".join(clean(part) for part in parts if part)
        if width and len(text) > width:
            text = f"{text[: width - 1]}…"
        return click.style(text, fg=colour if self.state not in ("running", "succeeded") else None)


async def look(api: Api, instance_id: str, before: View | None = None, instance: Json | None = None) -> View:
    """Read an instance. What a former look has shown as ended is not read again.

    The instance comes first: if it has ended, what is read after it is complete.

    Args:
        api: where it is.
        instance_id: which one.
        before: the former look.
        instance: the instance, if it is known already.
    """
    instance = instance or await api.get("instances", instance_id)
    history = await api.get("instances", instance_id, "history")
    activities = []
    for position, entry in enumerate(history):
        known = before is not None and position < len(before.history) and before.history[position] == entry
        if before is not None and known and entry["terminated"]:
            activities.append(before.activities[position])
            continue
        calls = await api.get("instances", instance_id, "stages", str(_number(entry, position)), "history")
        activities.append([call for call in calls if call.get("retries") == entry.get("retries")])
    return View(instance, history, activities)


def _number(entry: Json, position: int) -> int:
    """The stage that an entry is about. Servers that know no retries don't tell it."""
    number: int = entry.get("stage", position)
    return number


def steps(view: View, now: datetime) -> list[Step]:
    """All stages of an instance with their activities."""
    made = []
    stages = view.instance["workflow"]["config"]["stages"]
    begun = -1
    for position, shown in enumerate(view.history):
        begun = _number(shown, position)
        (name,) = stages[begun]
        title, key = f"{begun} {name}", (position, -1)
        made.append(Step(key, _state(shown), title, about(name, shown["input"]), _took(shown, now), _error(shown)))
        made += [_activity((position, index), call, now) for index, call in enumerate(view.activities[position])]
    for number, stage in enumerate(stages[begun + 1 :], begun + 1):
        ((name, fields),) = stage.items()
        made.append(Step((len(stages) + number, -1), "to come", f"{number} {name}", about(name, fields or {}), "", ""))
    return made


def about(name: str, fields: Json) -> str:
    """What a stage does, in some words; what it was given if it could not be resolved."""
    match name:
        case "send":
            amount = fields.get("amount") or {}
            money = f"{amount.get('amount')} {amount.get('asset')}" if amount else "all"
            return f"{money} from {_end(fields.get('source'))} to {_end(fields.get('destination'))}"
        case "wait_event":
            return f"for {fields.get('event')}"
        case "delay":
            return str(fields.get("duration") or f"until {fields.get('until')}")
        case "update":
            account = fields.get("account")
            return f"account {account.get('id')}" if isinstance(account, dict) else ""
    return ""


def headline(instance: Json) -> str:
    """Which instance it is, and how it is."""
    name = instance["workflow"]["config"]["name"] or instance["workflowID"]
    ended = took(instance["createdAt"], instance.get("terminatedAt"))
    verb = f"{state(instance)} after" if instance["terminated"] else "runs for"
    return clean(f"{name}  instance {instance['id']}  {verb} {ended}")


def exit_status(instance: Json) -> int:
    """The exit status for the outcome of an instance that has ended."""
    return EXIT_STATUSES[state(instance)]


async def follow(
    api: Api,
    output: Output,
    instance_id: str,
    sleep: Callable[[float], Any] = asyncio.sleep,
    *,
    is_known: bool = False,
) -> Json:
    """Show an instance until it has ended. An API that is away meanwhile is waited for.

    Args:
        api: where it is.
        output: how to show it.
        instance_id: which one.
        sleep: waits for some seconds.
        is_known: whether the API has answered before, so that the address is right.

    Returns:
        The instance.

    Raises:
        Unavailable: the API was away for too long.
    """
    screen: Screen | Log = Screen() if output.is_live else Log(output)
    news = News(api, instance_id, sleep)
    view: View | None = None
    changed = True
    try:
        while True:
            shown = await _drawn_meanwhile(news.next(changed=changed), screen, view)
            read = partial(look, api, instance_id, view, shown)
            before, view = view, await (patiently(read, screen.tell, sleep) if is_known else read())
            is_known = True
            changed = view != before
            screen.show(view)
            if view.instance["terminated"]:
                return view.instance
    except (asyncio.CancelledError, Unavailable) as error:
        if is_known or not isinstance(error, Unavailable):
            output.note(f"the instance goes on: orchestration instances watch {instance_id}")
        raise
    finally:
        await news.close()


async def _drawn_meanwhile(news: Awaitable[Json | None], screen: "Screen | Log", view: View | None) -> Json | None:
    """Wait for news. On a terminal, times go on meanwhile."""
    if view is None or isinstance(screen, Log):
        return await news
    waiting = asyncio.ensure_future(news)
    try:
        while not (await asyncio.wait({waiting}, timeout=REDRAW_SECONDS))[0]:
            screen.show(view)
        return waiting.result()
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})


class Screen:
    """A picture on the terminal that is drawn over itself."""

    def __init__(self) -> None:
        self._lines = 0

    def tell(self, text: str) -> None:
        """Say something below the picture, until it is drawn again."""
        sys.stdout.write(f"{clean(text)[: shutil.get_terminal_size().columns]}\n")
        sys.stdout.flush()
        self._lines += 1

    def show(self, view: View) -> None:
        """Draw."""
        width, height = shutil.get_terminal_size()
        lines = [headline(view.instance)[:width], *(step.line(width) for step in steps(view, datetime.now(UTC)))]
        if not view.instance["terminated"]:
            lines = lines[:1] + lines[1:][-(height - 2) :]  # what scrolls away can't be drawn over
        up = f"\x1b[{self._lines}F" if self._lines else ""
        sys.stdout.write(f"{up}\x1b[J" + "\n".join(lines) + "\n")
        sys.stdout.flush()
        self._lines = len(lines)


class Log:
    """A line for each step that has changed: for files and pipes."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._told: dict[tuple[int, int], tuple[str, str, str]] = {}

    def tell(self, text: str) -> None:
        """Say something that is not about the instance."""
        self._output.note(text)

    def show(self, view: View) -> None:
        """Write what is new."""
        for step in steps(view, datetime.now(UTC)):
            now = step.state, step.about, step.error
            if step.state != "to come" and self._told.get(step.key) != now:
                self._told[step.key] = now
                self._output.say(step.line())
        if view.instance["terminated"]:
            self._output.say(headline(view.instance))


def _activity(key: tuple[int, int], call: Json, now: datetime) -> Step:
    attempt = f"attempt {call['attempt']}" if call["attempt"] > 1 else ""
    time = _took(call, now)
    if call.get("nextExecution") and instant(call["nextExecution"]) > now:
        time += f", next at {moment(call['nextExecution'])[11:]}"
    return Step(key, _state(call), call["name"], attempt, time, _error(call))


def _error(shown: Json) -> str:
    return str(shown.get("error") or ("" if shown["terminated"] else shown.get("lastFailure", "")))


def _state(shown: Json) -> str:
    if shown.get("paused"):
        return "paused"
    if not shown["terminated"]:
        return "retrying" if shown.get("lastFailure") else "running"
    error = shown.get("error")
    if not error:
        return "succeeded"
    return "aborted" if error == CANCELED else "failed"


def _took(shown: Json, now: datetime) -> str:
    return took(shown["startedAt"], shown.get("terminatedAt"), now)


def _end(end: object) -> str:
    """A source or destination in some words."""
    if not isinstance(end, dict):
        return "?"
    given = {kind: fields for kind, fields in end.items() if isinstance(fields, dict)}
    if len(given) != 1:
        return "?"
    ((kind, fields),) = given.items()
    name = fields.get("id") or fields.get("name") or fields.get("psp")
    return f"{kind} {name}"
