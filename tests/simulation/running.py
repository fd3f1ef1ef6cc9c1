"""Runs one seed in a process that runs many."""

import signal
import textwrap
import traceback
from typing import Final, NamedTuple

from tests.simulation.seeds import run_seed

SEED_SECONDS: Final = 120
"""How long a seed may run, on the clock of the machine; it needs about half a second. What waits for ever is noticed in
virtual time, but not what runs for ever without waiting."""
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
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SEED_SECONDS)
    try:
        run_seed(seed)
    except Exception as error:
        return Outcome(seed, _in_words(error))
    finally:
        signal.alarm(0)
    return Outcome(seed, None)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"it runs for more than {SEED_SECONDS} s")


def _in_words(error: Exception) -> str:
    cause: BaseException = error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    frames = traceback.format_list(traceback.extract_tb(cause.__traceback__)[-SHOWN_FRAMES:])
    notes = "\n".join(getattr(error, "__notes__", ()))
    text = textwrap.shorten(str(cause), MAX_SHOWN)
    return f"{type(cause).__name__}: {text}\n{''.join(frames)}{notes}"
