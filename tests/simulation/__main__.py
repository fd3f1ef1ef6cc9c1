"""`python -m tests.simulation --seeds 10000`: runs many seeds of the simulation, and tells how many there are a second.

For a seed that fails it prints the error, the last steps in words, and the command that runs this seed again. Ends with
status 1 if one has failed.
"""

import argparse
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from typing import Final

from tests.simulation.running import Outcome, prepare, run, run_apart

TELL_SECONDS: Final = 10.0
"""How often progress is told."""


def main() -> int:
    """Run it; the exit status."""
    options = _options()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or its processes would go on
    logging.disable()  # the product complains about each fault, as it should
    begin = told = time.monotonic()
    done, failed = 0, list[int]()
    for outcome in _outcomes(seeds, min(options.jobs, len(seeds))):
        done += 1
        if outcome.failure is not None:
            failed.append(outcome.seed)
            print(f"\nseed {outcome.seed} failed: {outcome.failure}", flush=True)
            if len(failed) == options.max_failures:
                print(f"{len(failed)} seeds have failed; no more are run")
                break
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            print(f"{done} of {len(seeds)} seeds, {done / (told - begin):.1f} a second", flush=True)
    seconds = time.monotonic() - begin
    print(f"{done} seeds in {seconds:.0f} s, {done / seconds:.1f} a second; {len(failed)} failed")
    if failed:
        print("failed: " + ", ".join(map(str, sorted(failed))))
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=_count, default=300, help="how many seeds (default: 300)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (default: 1)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, help="processes at a time (default: cores)")
    parser.add_argument("--max-failures", type=_count, default=10, help="stop after so many (default: 10)")
    return parser.parse_args()


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def _outcomes(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    if len(seeds) == 1:
        yield run(seeds[0])
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), prepare) as pool:
        waiting = iter(seeds)
        running = {pool.submit(run_apart, seed) for seed in islice(waiting, 2 * jobs)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(run_apart, seed) for seed in islice(waiting, len(done))}
                yield from (future.result() for future in done)
        finally:
            for future in running:
                future.cancel()


if __name__ == "__main__":
    sys.exit(main())
