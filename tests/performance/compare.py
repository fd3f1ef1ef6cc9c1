"""Whether a commit is slower than another: `python -m tests.performance compare BASE [HEAD]`.

Both run on this machine in turns (base, head, head, base, …), one at a time, each time as a fresh installation. The
load is that of this checkout, so both are measured by the same. A figure fails if even the most favourable end of its
95 % interval is more than 5 % slower than the base.

Exit status: 0 if no figure is slower, 1 if one is, 2 if it can't be measured, 3 if the noise is too large to tell.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import click
import msgspec
import uvloop

from deploy.bench.load import LoadClient, RequestFailed
from deploy.bench.machine import output_of, this_machine
from deploy.bench.preparing import prepared
from deploy.bench.scenarios import NAMES, Case, Requests, cases_of
from deploy.client.connection import Api
from deploy.client.profiles import Profile
from tests.performance.commits import ROOT, Commit, CommitError, Running, checked_out, running
from tests.performance.cpu import CpuMeter, OtherPrograms
from tests.performance.significance import MIN_PAIRS, Comparison, Verdict, compare

PROCESSES: Final = {"ours": ("api", "engine", "projections"), "Kafka, Postgres": ("kafka", "postgres")}
"""Whose CPU is told apart. It is less noisy than throughput."""
CPU_TICK_SECONDS: Final = 0.01
"""Less can't be told from nothing."""
SLOWER_STATUS, FAULT_STATUS, NOISE_STATUS = 1, 2, 3
TIMEOUT_SECONDS: Final = 60.0
MS: Final = "CPU ms"
"""How the names of figures begin that are costs."""

OTHERS: Final = "others"
"""The share of the machine that other programs took during a run."""
MANY_OTHERS: Final = 0.05

Round = dict[str, float]
"""The figures of one run, by name."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this measurement."""
    parser.add_argument("base", metavar="BASE", help="the commit, branch or tag to compare with")
    parser.add_argument("head", metavar="HEAD", nargs="?", default="HEAD", help="what is compared (default: HEAD)")
    parser.add_argument("--rounds", type=int, default=10, help="how often each is run; at least 6 (default: 10)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 64], help="numbers of clients (default: 1 64)")
    parser.add_argument(
        "--scenario", nargs="+", choices=NAMES, default=["noop", "list-v2"], help="as in `orchestration bench`"
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each figure is measured in a run")
    parser.add_argument("--warm-up", type=float, default=30.0, help="seconds before that in each run")
    parser.add_argument("--json", type=Path, help="keep the figures of all runs in this file")


def run(options: argparse.Namespace) -> None:
    """Compare, and exit with the status that says what came of it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it tidies up then, too
    try:
        with checked_out(options.base, options.head) as commits:
            _begin(commits)
            rounds = _rounds(commits, options)
    except (CommitError, RequestFailed, OSError, click.ClickException) as error:
        told = error.message if isinstance(error, click.ClickException) else error
        print(f"it can't be measured: {told}", file=sys.stderr)
        sys.exit(FAULT_STATUS)
    except KeyboardInterrupt:
        sys.exit(130)
    others = [[one.pop(OTHERS) for one in of_side] for of_side in rounds]
    found = comparisons(rounds)
    if options.json is not None:
        kept = {"base": commits[0].id, "head": commits[1].id, "machine": this_machine()}
        options.json.write_bytes(msgspec.json.encode({**kept, "rounds": rounds, "others": others}) + b"\n")
    print("\n".join(lines(found)))
    if (share := median([one for of_side in others for one in of_side])) > MANY_OTHERS:
        print(f"other programs took {share:.0%} of the machine during the runs")
    sys.exit(status(found))


def turns(rounds: int) -> Iterator[tuple[int, int]]:
    """Which of the two runs next, with its round: 0 1, 1 0, 0 1, … What drifts in one direction favours neither."""
    for number in range(rounds):
        yield from ((number, side) for side in ((0, 1) if number % 2 == 0 else (1, 0)))


def comparisons(rounds: Sequence[Sequence[Round]]) -> dict[str, Comparison]:
    """Each figure of both commits.

    Args:
        rounds: of the base and of the head, in the order of their pairs.
    """
    base, head = rounds
    return {
        name: compare([one[name] for one in base], [one[name] for one in head], more_is_better=not name.startswith(MS))
        for name in base[0]
    }


def status(found: Mapping[str, Comparison]) -> int:
    """The exit status: what is slower counts more than what can't be told."""
    verdicts = {one.verdict for one in found.values()}
    if Verdict.SLOWER in verdicts:
        return SLOWER_STATUS
    return NOISE_STATUS if Verdict.UNKNOWN in verdicts else 0


def lines(found: Mapping[str, Comparison]) -> Iterator[str]:
    """The comparison for people."""
    yield f"\n{'figure':36} {'base':>8} {'head':>8} {'speed':>7}   {'95 % interval':16}"
    for name, one in found.items():
        interval = f"{one.low:.3f} to {one.high:.3f}"
        yield (
            f"{name:36} {_number(one.base):>8} {_number(one.head):>8} {one.ratio:7.3f}   {interval:16}"
            f" {one.verdict.value}{_advice(one)}"
        )
    yield {
        0: "\nno figure of the head is more than 5 % slower",
        SLOWER_STATUS: "\nthe head is more than 5 % slower",
        NOISE_STATUS: "\nthe noise is too large to tell whether the head is more than 5 % slower",
    }[status(found)]


def _advice(one: Comparison) -> str:
    """What would help where nothing can be said."""
    if one.verdict is not Verdict.UNKNOWN:
        return ""
    if one.pairs < MIN_PAIRS:
        return f": it takes {MIN_PAIRS} rounds at least"
    needed = one.pairs_needed
    return f": too noisy; about {needed} rounds could" if needed else ": too noisy; other programs have to rest"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _begin(commits: Sequence[Commit]) -> None:
    machine = this_machine()
    print(f"base {commits[0].name} {commits[0].id}\nhead {commits[1].name} {commits[1].id}")
    print(f"{machine.cores} cores, {machine.cpu}; load before the first run {os.getloadavg()[0]:.1f}", flush=True)
    if output_of("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"):
        print("changes that are not committed are not measured", flush=True)


def _rounds(commits: Sequence[Commit], options: argparse.Namespace) -> tuple[list[Round], list[Round]]:
    cases = cases_of(options.scenario, options.clients)
    rounds: tuple[list[Round], list[Round]] = ([], [])
    for number, side in turns(options.rounds):
        commit = commits[side]
        with running(commit) as installation:
            found = uvloop.run(_measure(installation, cases, options.seconds, options.warm_up))
        rounds[side].append(found)
        told = ", ".join(f"{name} {_number(value)}" for name, value in found.items())
        print(f"round {number + 1} of {options.rounds}, {('base', 'head')[side]}: {told}", flush=True)
    return rounds


async def _measure(installation: Running, cases: Sequence[Case], seconds: float, warm_up: float) -> Round:
    """The figures of one run."""
    meter, found, others = CpuMeter(installation.pid), dict[str, float](), OtherPrograms(installation.pid)
    async with Api(Profile(url=installation.url), TIMEOUT_SECONDS) as api, prepared(api, cases) as ready:
        for name, reason in ready.left_out.items():
            raise CommitError(f"{name}: {reason}")
        for case in cases:
            await _load(installation, case, ready[case.scenario], warm_up / len(cases))
        others.begin()
        for case in cases:
            before = meter.read()
            count, found[f"{case.title}, per s"] = await _load(installation, case, ready[case.scenario], seconds)
            cpu = meter.since(before, 1)
            # What takes CPU with few clients is mostly waking up, which is noisy.
            if case.clients == max(one.clients for one in cases if one.scenario == case.scenario):
                for whose, names in PROCESSES.items():
                    taken = max(sum(cpu.get(name, 0.0) for name in names), CPU_TICK_SECONDS)
                    found[f"{MS} of {whose}, {case.scenario}"] = 1000 * taken / count
        return {**found, OTHERS: others.share()}


async def _load(installation: Running, case: Case, requests: Requests, seconds: float) -> tuple[int, float]:
    """How many requests were answered, and how many a second."""
    async with LoadClient(installation.url, case.clients) as load:
        figures = await load.measure(case.title, seconds, requests.method, requests.paths, judge=requests.judge)
        return figures.count, figures.per_second
