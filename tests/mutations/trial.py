"""`python -m tests.mutations.trial SEED…`: runs seeds of the simulation until one fails.

Prints a line of JSON for each seed: `{"seed": 1}`, and for the one that fails also `"error"`, its first line. What a
mutated product prints by itself goes to stderr.
"""

import contextlib
import json
import logging
import os
import sys
import textwrap
import traceback
from typing import Final

from tests.simulation.running import SEED_SECONDS, bounded
from tests.simulation.seeds import run_seed

MAX_SHOWN: Final = 200
"""How much of an assertion is shown: some show a whole state."""


def first_line(error: BaseException) -> str:
    """What failed, in one line: the message of an assertion, or the assertion itself if it has none."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.relpath(frame.filename)}:{frame.lineno}"
    text = (str(error).strip() or frame.line or "").splitlines()[0]
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return f"{kind}{textwrap.shorten(text, MAX_SHOWN)} ({place})"


def main() -> int:
    """Run the seeds; status 1 when one has failed."""
    logging.disable()
    told = sys.stdout
    for seed in map(int, sys.argv[1:]):
        try:
            with bounded(SEED_SECONDS), contextlib.redirect_stdout(sys.stderr):
                run_seed(seed)
        except Exception as error:
            print(json.dumps({"seed": seed, "error": first_line(error)}), file=told, flush=True)
            return 1
        print(json.dumps({"seed": seed}), file=told, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
