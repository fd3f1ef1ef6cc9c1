"""Runs one seed in a process that runs many."""

import signal
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from tests.simulation.seeds import run_seed

SEED_SECONDS: Final = 60
"""How much time of a core a seed may take; it needs about half a second. What waits for ever is noticed in virtual
time, but not what runs for ever without waiting. On a machine that is busy with something else a seed takes longer."""
MAX_SHOWN: Final = 500
"""Characters of an error: some show a whole state."""
SHOWN_FRAMES: Final = 3
"""Of the stack of what failed."""


class Outcome(NamedTuple):
    """What became of a seed."""

    seed: int
    failure: str | None
    """The error, with the last steps; None if all that must hold holds."""


def run(seed: int) -> Outcome:
    """Run a seed; its outcome."""
    try:
        with bounded(SEED_SECONDS):
            run_seed(seed)
    except Exception as error:
        return Outcome(seed, _in_words(error))
    return Outcome(seed, None)


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Give the block so much time of a core, in the main thread.

    Raises:
        TimeoutError: it took more.
    """

    def too_long(*_: object) -> None:
        raise TimeoutError(f"it runs for more than {seconds} s")

    before = signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def _in_words(error: Exception) -> str:
    cause: BaseException = error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    frames = traceback.format_list(traceback.extract_tb(cause.__traceback__)[-SHOWN_FRAMES:])
    notes = "\n".join(getattr(error, "__notes__", ()))
    text = textwrap.shorten(str(cause), MAX_SHOWN)
    return f"{type(cause).__name__}: {text}\n{''.join(frames)}{notes}"
