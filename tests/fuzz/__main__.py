"""`python -m tests.fuzz --requests 3000 --seed 1`: damaged input for every part that reads what others have written.

Runs that many cases of each target. For a case that fails it prints the error and the command that runs this case
again, and ends with status 1.
"""

import argparse
import asyncio
import logging
import secrets
import sys
import time

from tests.fuzz import TARGETS
from tests.fuzz.runner import attack


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [target.NAME for target in TARGETS]
    parser.add_argument("--requests", type=int, default=3000, help="cases of each target")
    parser.add_argument("--seed", type=int, help="decides what the cases are; another one each time when not given")
    parser.add_argument("--target", choices=names, action="append", help="only this one; may be repeated")
    parser.add_argument("--case", type=int, help="only the case with this number")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    numbers = range(options.requests) if options.case is None else [options.case]
    logging.disable()  # The product complains about each of them, as it should.
    print(f"seed {seed}", flush=True)
    failed = False
    for target in TARGETS:
        if options.target and target.NAME not in options.target:
            continue
        begin = time.monotonic()
        report = asyncio.run(attack(target, seed, numbers))
        for failure in report.failures:
            print(failure, flush=True)
        failed = failed or bool(report.failures)
        print(f"{target.NAME}: {report.cases} cases, {len(report.failures)} failed, {time.monotonic() - begin:.0f} s")
        for words, count in sorted(report.met.items()):
            print(f"{count:7} {words}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
