"""`python -m tests.mutations.trial FIRST LAST`: runs seeds of the simulation until one fails.

Prints a line of JSON for each seed: `{"seed": 1}`, and for the one that fails also `"error"`, its first line.
"""

import json
import logging
import os
import sys
import traceback

from tests.simulation.seeds import run_seed


def first_line(error: BaseException) -> str:
    """What failed, in one line: the message of an assertion, or the assertion itself if it has none."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.relpath(frame.filename)}:{frame.lineno}"
    text = str(error).strip()
    if isinstance(error, AssertionError):
        return f"{text.splitlines()[0] if text else frame.line} ({place})"
    return f"{type(error).__name__}: {text.splitlines()[0] if text else frame.line} ({place})"


def main() -> int:
    """Run the seeds; status 1 when one has failed."""
    logging.disable()
    for seed in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
        try:
            run_seed(seed)
        except Exception as error:
            print(json.dumps({"seed": seed, "error": first_line(error)}), flush=True)
            return 1
        print(json.dumps({"seed": seed}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
