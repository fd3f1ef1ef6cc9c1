"""`python -m tests.mutations`: plants bugs of the protocol, one at a time, and runs the simulation on each.

Every mutation is tried on a copy of the sources, with one seed after the other until one fails: first the seed that
found it the last time (`found_by.json`, which `--record` writes), then those that found the most others. Prints for
each mutation the seed that has found it and the failed assertion, or MISSED. Ends with status 0 if all were found, 1 if
one was missed, 2 if one can't be applied or run, or a seed fails without any mutation.
"""

import argparse
import asyncio
import os
import sys

from tests.mutations.catalogue import MUTATIONS
from tests.mutations.finders import Finders
from tests.mutations.mutation import DoesNotApply, Mutation
from tests.mutations.runner import ROOT, Broken, fails_anyway, run_all


def main() -> int:
    """Run it; the exit status."""
    options = _options()
    chosen = [m for m in MUTATIONS if not options.only or m.name in options.only]
    if options.list:
        for mutation in chosen:
            print(f"{mutation.name}: {mutation.path}\n    {mutation.harm}")
        return 0
    try:
        for mutation in chosen:
            mutation.mutated(ROOT)
    except DoesNotApply as error:
        print(error)
        return 2
    for mutation in chosen:
        if mutation.without_effect:
            print(f"{mutation.name}: without effect: {mutation.without_effect}", flush=True)
    try:
        return asyncio.run(_run([m for m in chosen if not m.without_effect], options))
    except Broken as error:
        print(f"the simulation can't be run: {error}")
        return 2


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutations", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [mutation.name for mutation in MUTATIONS]
    parser.add_argument("--only", metavar="NAME", choices=names, action="append", help="only this one; may be repeated")
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds each is given (default: 300)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time (default: cores)")
    parser.add_argument("--record", action="store_true", help="note which seeds have found them, to be tried first")
    parser.add_argument("--list", action="store_true", help="show what there is, and what a user would lose by each")
    return parser.parse_args()


async def _run(mutations: list[Mutation], options: argparse.Namespace) -> int:
    found: set[int] = set()
    missed: list[str] = []
    finders = Finders.read()
    async for result in run_all(mutations, options.seeds, options.jobs, finders):
        name = result.mutation.name
        if result.seed is None:
            missed.append(name)
            print(f"{name}: MISSED in {result.seconds:.0f} s. {result.mutation.harm}", flush=True)
        else:
            found.add(result.seed)
            if options.record:
                finders.note(name, result.seed)
            print(f"{name}: found by seed {result.seed} in {result.seconds:.0f} s: {result.error}", flush=True)
    for seed in sorted(found):
        if error := await fails_anyway(seed):
            print(f"seed {seed} fails without a mutation: {error}")
            return 2
    print(f"found {len(mutations) - len(missed)} of {len(mutations)}" + "".join(f"; missed {n}" for n in missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
