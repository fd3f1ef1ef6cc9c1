"""An instance, stage by stage."""

import asyncio
import io
import os
import shutil
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import click
import pytest

from deploy.client.errors import Unavailable
from deploy.client.output import Output
from deploy.client.server_events import NoStream, ServerEvent
from deploy.client.timeline import View, about, exit_status, follow, headline, look, steps

AT = "2026-03-01T10:00:00Z"
LATER = "2026-03-01T10:00:01.5Z"
NOW = datetime(2026, 3, 1, 10, 0, 5, tzinfo=UTC)
ACCOUNTS = {"source": {"account": {"id": "a"}, "wallet": None}, "destination": {"payment": {"psp": "stripe"}}}


def instance(terminated: bool = False, error: str = "", stages: Any = None) -> dict[str, Any]:
    ended = {"terminatedAt": LATER} if terminated else {}
    failed = {"error": error} if error else {}
    stages = stages or [{"send": ACCOUNTS}, {"wait_event": {"event": "go"}}, {"noop": None}]
    workflow = {"config": {"name": "payout", "stages": stages}}
    return {"id": "i-1", "workflowID": "w-1", "createdAt": AT, "terminated": terminated, "workflow": workflow} | (
        ended | failed
    )


def shown(name: str, given: Any, ended: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "input": given,
        "startedAt": AT,
        "terminated": ended,
        **({"terminatedAt": LATER} if ended else {}),
    } | more


def call(name: str = "CreateTransaction", ended: bool = True, attempt: int = 1, **more: Any) -> dict[str, Any]:
    return shown(name, {}, ended, attempt=attempt, **more)


def lines(view: View, width: int = 0) -> list[str]:
    return [click.unstyle(step.line(width)) for step in steps(view, NOW)]


def test_what_is_done_what_runs_and_what_is_to_come() -> None:
    send = shown("RunSend", ACCOUNTS | {"amount": {"amount": 1250, "asset": "EUR/2"}})
    view = View(instance(), [send, shown("RunWaitEvent", {"event": "go"}, False)], [[call()], []])
    assert lines(view) == [
        "✓ 0 send  1250 EUR/2 from account a to payment stripe  1.5 s",
        "   ✓ CreateTransaction  1.5 s",
        "▸ 1 wait_event  for go  5.0 s",
        "· 2 noop",
    ]
    assert lines(view, 20)[0] == "✓ 0 send  1250 EUR/…"
    assert headline(view.instance).startswith("payout  instance i-1  runs for ")


@pytest.mark.parametrize(
    ("activity", "line"),
    [
        (call(ended=False), "▸ CreateTransaction  5.0 s"),
        (
            call(ended=False, attempt=4, lastFailure="no money", nextExecution="2026-03-01T10:00:07Z"),
            "↻ CreateTransaction  attempt 4  5.0 s, next at 10:00:07  no money",
        ),
        (
            call(ended=False, attempt=4, lastFailure="no money", nextExecution="2026-03-01T10:00:03Z"),
            "↻ CreateTransaction  attempt 4  5.0 s  no money",
        ),
        (call(attempt=2, lastFailure="HTTP 502"), "✓ CreateTransaction  attempt 2  1.5 s"),
        (call(error="no\x1b[2J script"), "✗ CreateTransaction  1.5 s  no [2J script"),
        (call(error="canceled"), "✗ CreateTransaction  1.5 s  canceled"),
        (
            call(ended=False, attempt=3, paused=True, lastFailure="no money"),
            "‖ CreateTransaction  attempt 3  5.0 s  no money",
        ),
    ],
)
def test_activities(monkeypatch: pytest.MonkeyPatch, activity: dict[str, Any], line: str) -> None:
    monkeypatch.setattr("deploy.client.timeline.moment", lambda text: text.replace("T", " ").rstrip("Z"))
    view = View(instance(), [shown("RunSend", ACCOUNTS, False)], [[activity]])
    assert lines(view)[1] == f"   {line}"


@pytest.mark.parametrize(
    ("stage", "fields", "told"),
    [
        ("send", {}, "all from ? to ?"),
        ("send", ACCOUNTS, "all from account a to payment stripe"),
        ("send", {"source": {"wallet": {"name": "w"}}, "destination": {"account": 1}}, "all from wallet w to ?"),
        ("delay", {"duration": "1h"}, "1h"),
        ("delay", {"until": AT}, f"until {AT}"),
        ("update", {"account": {"id": "a"}}, "account a"),
        ("update", {}, ""),
        ("noop", {"x": 1}, ""),
    ],
)
def test_what_a_stage_does_in_words(stage: str, fields: Any, told: str) -> None:
    assert about(stage, fields) == told


@pytest.mark.parametrize(("error", "status"), [("", 0), ("no money", 1), ("canceled", 5)])
def test_the_outcome_is_the_exit_status(error: str, status: int) -> None:
    assert exit_status(instance(True, error)) == status


class FakeApi:
    """Answers from one view after another: the next one with each look at the instance."""

    def __init__(self, *views: View) -> None:
        self.views = list(views)
        self.asked: list[str] = []

    async def stream(self, *path: str, last_event_id: str) -> AsyncGenerator[ServerEvent, None]:
        """This server has none: `test_news` is about those."""
        if path:
            raise NoStream(404)
        yield ServerEvent("", "", "")

    async def get(self, *path: str) -> Any:
        self.asked.append("/".join(path[2:]))
        if len(path) == 2 and len(self.views) > 1 and len(self.asked) > 1:
            self.views.pop(0)
        match path[2:]:
            case ():
                return self.views[0].instance
            case ("history",):
                return self.views[0].history
        return self.views[0].activities[int(path[3])]


def story() -> tuple[View, ...]:
    begun, done = shown("RunSend", ACCOUNTS, False), shown("RunSend", ACCOUNTS)
    waits, came = shown("RunWaitEvent", {"event": "go"}, False), shown("RunWaitEvent", {"event": "go"})
    tried = call(ended=False, attempt=2, lastFailure="HTTP 502")
    return (
        View(instance(), [], []),
        View(instance(), [begun], [[call(ended=False)]]),
        View(instance(), [begun], [[tried]]),
        View(instance(), [done, waits], [[call(attempt=2)], []]),
        View(instance(), [done, waits], [[call(attempt=2)], []]),
        View(instance(True), [done, came, shown("RunNoop", {})], [[call(attempt=2)], [], []]),
    )


async def no_pause(seconds: float) -> None:
    assert 0 < seconds <= 1


async def test_what_has_ended_is_not_read_again() -> None:
    views = story()
    api = FakeApi(views[3])
    first = await look(api, "i-1")  # type: ignore[arg-type]
    api.asked.clear()
    again = await look(api, "i-1", first)  # type: ignore[arg-type]
    assert (again, api.asked) == (first, ["", "history", "stages/1/history"])


async def test_a_pipe_gets_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    ended = await follow(FakeApi(*story()), Output(as_json=False), "i-1", no_pause)  # type: ignore[arg-type]
    assert ended["terminated"]
    told = [
        line.partition("  ")[0] if line[0] != " " else line.strip() for line in capsys.readouterr().out.splitlines()
    ]
    assert [line.split("  ")[0] for line in told] == [
        "▸ 0 send",
        "▸ CreateTransaction",
        "↻ CreateTransaction",
        "✓ 0 send",
        "✓ CreateTransaction",
        "▸ 1 wait_event",
        "✓ 1 wait_event",
        "✓ 2 noop",
        "payout",
    ]


async def test_json_shows_nothing_on_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    await follow(FakeApi(*story()), Output(as_json=True), "i-1", no_pause)  # type: ignore[arg-type]
    assert capsys.readouterr().out == ""


async def test_a_terminal_is_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((40, 4)))
    await follow(FakeApi(*story()), Output(as_json=False), "i-1", no_pause)  # type: ignore[arg-type]
    pictures = screen.getvalue().split("\x1b[J")[1:]
    assert len(pictures) == 6
    # While it runs there is no more than the terminal can draw over; the end is whole.
    heights = [picture.count("\n") for picture in pictures]
    assert heights == [3, 3, 3, 3, 3, 5]
    assert [picture.rpartition("\n")[2] for picture in pictures] == ["\x1b[3F"] * 5 + [""]
    assert all(len(click.unstyle(line)) <= 40 for picture in pictures for line in picture.splitlines())


async def test_who_stops_waiting_is_told_that_the_instance_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = asyncio.Event()

    async def pause(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(follow(FakeApi(*story()), Output(as_json=False), "i-1", pause))  # type: ignore[arg-type]
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert capsys.readouterr().err == "the instance goes on: orchestration instances watch i-1\n"


class AwayApi(FakeApi):
    """One that is away for some looks, behind the first ones."""

    def __init__(self, *views: View, first: int, looks: int) -> None:
        super().__init__(*views)
        self.first, self.looks = first, looks

    async def get(self, *path: str) -> Any:
        if len(path) == 2:
            self.first -= 1
            if self.first < 0 and self.looks > 0:
                self.looks -= 1
                raise Unavailable("http://api: connection refused")
        return await super().get(*path)


async def test_an_api_that_is_away_meanwhile_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    api = AwayApi(*story(), first=2, looks=20)
    ended = await follow(api, Output(as_json=False), "i-1", no_pause)  # type: ignore[arg-type]
    assert ended["terminated"]
    assert capsys.readouterr().err == "http://api: connection refused; waiting until it is there again\n"


async def test_an_api_that_does_not_come_back_is_told_with_the_instance(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever is told no more than that takes the instance for lost, and starts another one."""
    with pytest.raises(Unavailable):
        await follow(AwayApi(*story(), first=1, looks=10**6), Output(as_json=True), "i-1", no_pause)  # type: ignore[arg-type]
    assert capsys.readouterr().err.endswith("the instance goes on: orchestration instances watch i-1\n")
    api = AwayApi(*story(), first=0, looks=5)
    with pytest.raises(Unavailable):
        await follow(api, Output(as_json=True), "i-1", no_pause)  # type: ignore[arg-type]
    assert api.looks == 4, "nobody knows whether the address is right"
    await follow(api, Output(as_json=True), "i-1", no_pause, is_known=True)  # type: ignore[arg-type]


async def test_a_stage_that_was_retried_shows_each_pass() -> None:
    refused: Any = {"error": "no"}
    passes = [
        shown("RunSend", ACCOUNTS, stage=0, retries=0, **refused),
        shown("RunSend", ACCOUNTS, False, stage=0),
    ]
    calls = [
        call("GetAccount"),
        call("CreateTransaction", retries=0, **refused),
        call("CreateTransaction", ended=False),
    ]

    class Retried:
        async def get(self, *path: str) -> Any:
            return {"i-1": instance(), "history": passes if "stages" not in path else calls}[path[-1]]

    view = await look(Retried(), "i-1")  # type: ignore[arg-type]
    assert [[one["name"] for one in some] for some in view.activities] == [
        ["CreateTransaction"],
        ["GetAccount", "CreateTransaction"],
    ]
    assert [line.strip()[:12] for line in lines(view)] == [
        "✗ 0 send  al",
        "✗ CreateTran",
        "▸ 0 send  al",
        "✓ GetAccount",
        "▸ CreateTran",
        "· 1 wait_eve",
        "· 2 noop",
    ]
