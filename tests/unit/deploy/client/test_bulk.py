"""`orchestration instances bulk`: what is asked before, what is shown meanwhile, and how it ends."""

import asyncio
from typing import Any

import click
import pytest

from deploy import progress
from deploy.client import bulk
from deploy.client.output import Output
from deploy.client.session import Session

PREVIEW: dict[str, Any] = {
    "action": "abort",
    "matching": 1200,
    "more": False,
    "sample": [
        {
            "id": "i-1",
            "workflow": {"config": {"name": "payout"}},
            "state": "waiting",
            "terminated": False,
            "createdAt": "2026-03-01T10:00:00Z",
        }
    ],
}


def operation(state: str, done: int, **more: Any) -> dict[str, Any]:
    return {
        "id": "b-1",
        "action": "abort",
        "state": state,
        "createdAt": "2026-03-01T10:00:00Z",
        "expected": 4,
        "sent": 4,
        "done": done,
        "refused": 0,
        "refusals": {},
        **more,
    }


class FakeApi:
    """Answers with one state after the other."""

    def __init__(self, *states: dict[str, Any]):
        self.states = list(states)
        self.looked = asyncio.Event()

    async def get(self, *path: str) -> Any:
        assert path == ("bulk", "b-1")
        self.looked.set()
        return self.states.pop(0)


def answering(monkeypatch: pytest.MonkeyPatch, *, agreed: bool = True, terminal: bool = True) -> None:
    async def confirmed(question: str) -> bool:
        assert question.startswith("abort ")
        return agreed

    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(bulk, "confirmed", confirmed)


async def test_who_does_not_agree_is_told_that_nothing_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, agreed=False)
    with pytest.raises(click.exceptions.Exit) as ended:
        await bulk.ask("abort", PREVIEW)
    assert ended.value.exit_code == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "1,200 instances to abort" in told.err
    assert "i-1  payout" in told.err
    assert told.err.endswith("nothing was done\n")


async def test_who_stops_it_is_told_that_nothing_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stopped(_: str) -> bool:
        raise asyncio.CancelledError

    answering(monkeypatch)
    monkeypatch.setattr(bulk, "confirmed", stopped)
    with pytest.raises(asyncio.CancelledError):
        await bulk.ask("abort", PREVIEW)
    assert capsys.readouterr().err.endswith("\nnothing was done\n")


async def test_who_agrees_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch)
    await bulk.ask("abort", PREVIEW)


async def test_a_preview_that_has_not_looked_at_all_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bulk.counted(PREVIEW | {"more": True}) == "more than 1,200 instances"
    answering(monkeypatch)
    await bulk.ask("abort", PREVIEW | {"matching": 0, "more": True, "sample": []})
    assert capsys.readouterr().err == (
        "no instance to abort among the newest; there may be some that were not looked at\n"
    )


async def test_where_nobody_can_be_asked_yes_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, terminal=False)
    with pytest.raises(click.UsageError, match="add --yes"):
        await bulk.ask("abort", PREVIEW)


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (operation("completed", 4), 0),
        (operation("completed", 3, refused=1, refusals={"ENDED": 1}), 1),
        (operation("stopped", 4), 1),
        (operation("completed", 3, lost=1), 1),
    ],
    ids=["whole", "refused", "stopped", "lost"],
)
async def test_an_operation_is_shown_until_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], last: dict[str, Any], status: int
) -> None:
    monkeypatch.setattr(bulk, "POLL_SECONDS", 0)
    monkeypatch.setattr(progress, "SHOW_SECONDS", 0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    api = FakeApi(operation("running", 2), operation("stopping", 3), last)
    session = Session(api, Output(as_json=False))  # type: ignore[arg-type]
    found = 0
    try:
        await bulk.watch_until_ended(session, operation("running", 0))
    except click.exceptions.Exit as ended:
        found = ended.exit_code
    assert found == status
    assert api.states == []
    told = capsys.readouterr()
    assert " 50%  2 of 4 instances" in told.err
    assert f"done      {last['done']}\n" in told.out


async def test_who_stops_watching_is_told_that_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    api = FakeApi(*(operation("running", 2) for _ in range(3)))
    session = Session(api, Output(as_json=False))  # type: ignore[arg-type]
    watching = asyncio.create_task(bulk.watch_until_ended(session, operation("running", 0)))
    await api.looked.wait()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    told = capsys.readouterr()
    assert "goes on: orchestration instances bulk watch b-1" in told.err
    assert told.out == ""
