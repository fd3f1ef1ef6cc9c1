"""Questions to the person at the terminal."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator

import click

ANSWERS = {"y": True, "yes": True, "": False, "n": False, "no": False}


async def confirmed(question: str) -> bool:
    """Ask whether to do something. An empty answer means no, and so does the end of input.

    Raises:
        CancelledError: Ctrl-C.
    """
    answer = None
    while answer is None:
        click.echo(f"{question} [y/N]: ", nl=False, err=True)
        line = await _line()
        answer = ANSWERS.get(line.strip().lower())
    if not line:
        click.echo(err=True)  # nobody has ended the line
    return answer


async def _line() -> str:
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    with _woken_by_ctrl_c():
        loop.add_reader(sys.stdin, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(sys.stdin)
    return sys.stdin.readline()


@contextlib.contextmanager
def _woken_by_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C be noticed, whenever it comes.

    asyncio's own handler cancels the command, but if the signal comes just before the loop waits, nothing wakes it.
    """
    loop, handler = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)
    if callable(handler):
        loop.add_signal_handler(signal.SIGINT, handler, signal.SIGINT, None)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, handler)
