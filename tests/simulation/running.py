"""Runs one seed in a process that runs many."""

import gc
import logging
import multiprocessing
import os
import signal
import textwrap
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from tests.complaints import ComplaintsHandler
from tests.simulation.seeds import run_last_seed, run_seed

SEED_SECONDS: Final = 60
"""How much time of a core a seed may take; it needs about two seconds. What waits for ever is noticed in virtual
time, but not what runs for ever without waiting. On a machine that is busy with something else a seed takes longer."""
MAX_SHOWN: Final = 500
"""Characters of an error: some show a whole state."""
SHOWN_FRAMES: Final = 3
"""Of the stack of what failed."""
QUIET: Final = logging.CRITICAL + 1
"""A level that nothing reaches."""

_COMPLAINTS: Final = ComplaintsHandler()
"""What asyncio complains about, in a process that was prepared."""


class Outcome(NamedTuple):
    """What became of a seed."""

    seed: int
    failure: str | None
    """The error, with the last steps; None if all that must hold holds."""
    met: Counter[str]
    """How often each situation was met."""


def run(seed: int) -> Outcome:
    """Run a seed; its outcome."""
    return _outcome(seed, run_seed)


def prepare() -> None:
    """Do once what each copy of this process would do again: load and compile what a seed needs.

    The product is quiet from then on: it complains about each fault, as it should.
    """
    logging.getLogger().setLevel(QUIET)
    asyncio_logger = logging.getLogger("asyncio")
    asyncio_logger.setLevel(logging.ERROR)
    asyncio_logger.propagate = False
    asyncio_logger.addHandler(_COMPLAINTS)
    _outcome(0, run_seed)
    gc.collect()
    gc.freeze()  # or each copy would write to all the memory that it shares with us


def run_apart(seed: int) -> Outcome:
    """Run a seed in a copy of this process; its outcome.

    There it is what it is alone, whatever ran before, and nobody has to tidy up after it: a tenth of what it costs.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        try:
            gc.disable()
            writer.send(_outcome(seed, run_last_seed))
        finally:
            os._exit(0)
    writer.close()
    try:
        outcome: Outcome = reader.recv()
    except EOFError:
        outcome = Outcome(seed, "its process ended before it did", Counter())
    reader.close()
    os.waitpid(pid, 0)
    return outcome


def _outcome(seed: int, run: Callable[[int], Counter[str]]) -> Outcome:
    try:
        with bounded(SEED_SECONDS):
            met = run(seed)
    except Exception as error:
        return Outcome(seed, _in_words(error), Counter())
    return Outcome(seed, "\n".join(_COMPLAINTS.heard) or None, met)


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
