"""Questions at a terminal: what counts as an answer, and Ctrl-C."""

import asyncio
import os
import pty
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.client.questions import confirmed

TEST_SECONDS = 60.0


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of the terminal that is standard input: what is written there was typed."""
    ours, theirs = pty.openpty()
    with open(theirs) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        yield ours
    os.close(ours)


@pytest.mark.parametrize(
    ("typed", "agreed"),
    [("y\n", True), (" YES \n", True), ("n\n", False), ("no\n", False), ("\n", False), ("\x04", False)],
    ids=["y", "yes", "n", "no", "nothing", "end of input"],
)
async def test_answers(keyboard: int, capsys: pytest.CaptureFixture[str], typed: str, agreed: bool) -> None:
    os.write(keyboard, typed.encode())
    async with asyncio.timeout(TEST_SECONDS):
        assert await confirmed("do it?") is agreed
    assert capsys.readouterr().err == "do it? [y/N]: " + ("\n" if typed == "\x04" else "")


async def test_what_is_no_answer_is_asked_again(keyboard: int, capsys: pytest.CaptureFixture[str]) -> None:
    os.write(keyboard, b"perhaps\ny\n")
    async with asyncio.timeout(TEST_SECONDS):
        assert await confirmed("do it?")
    assert capsys.readouterr().err == "do it? [y/N]: " * 2


@pytest.mark.usefixtures("keyboard")
async def test_ctrl_c_wakes_who_waits_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    question = asyncio.create_task(confirmed("do it?"))
    handled = []

    def interrupted(number: int, _: object) -> None:
        handled.append(number)
        question.cancel()

    loop = asyncio.get_running_loop()
    add_reader = loop.add_reader

    def just_before_it_waits(*arguments: Any) -> None:
        add_reader(*arguments)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        monkeypatch.setattr(loop, "add_reader", just_before_it_waits)
        async with asyncio.timeout(TEST_SECONDS):
            with pytest.raises(asyncio.CancelledError):
                await question
        assert handled == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is interrupted
    finally:
        monkeypatch.undo()
        signal.signal(signal.SIGINT, before)
