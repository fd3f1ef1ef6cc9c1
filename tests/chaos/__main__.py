"""`python -m tests.chaos --minutes 60 --seed 1`: a cluster under fault.

Three brokers, Postgres, the sandbox, two engines, two projections and two APIs, all on this machine, with a network
between them that can be cut. In each round clients use all three surfaces while a fault is there: a process is killed,
stopped or restarted, a link is cut, slow or breaks, … Then everything comes to rest and all of it is checked: nothing
that was acknowledged is lost or done twice, money moved once, public events are there once and in order, the log,
Postgres and all APIs agree, `orchestration verify` finds nothing, nothing ended by itself or complained.

At the end: how long each fault was felt by partition, which requests were refused, the longest request, and the
findings. The exit status is 0 without findings. The seed decides which faults come in which order, whom they hit and
what clients do; how the machine takes it is up to the machine.
"""

import argparse
import asyncio
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.chaos.campaign import Campaign
from tests.chaos.disk import can_mount
from tests.chaos.faults import FAULTS, LENGTHS
from tests.chaos.report import table, write_json
from tests.chaos.system import System

DISK_BYTES: Final = 768 * 1024 * 1024
"""Of the broker whose disk is filled. Its logs take a third of that in an hour."""


async def run(options: argparse.Namespace, folder: Path) -> int:
    """The rounds that fit into the time, and the end; returns how many findings there are."""
    began = time.monotonic()
    rng = random.Random(options.seed)

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S', time.gmtime())} [{time.monotonic() - began:6.1f}] {text}", flush=True)

    names = options.only or [name for name in FAULTS if name != "fill disk" or can_mount()]
    disk_bytes = DISK_BYTES if "fill disk" in names else None
    old = options.old_instances
    async with System(folder, tls=options.tls, disk_bytes=disk_bytes, old_instances=old) as system:
        say(f"everything runs, below {folder}")
        campaign = Campaign(system, options.seed, rate=options.rate, max_seconds=options.max_seconds, say=say)
        try:
            await campaign.prepare()
            until, deck = time.monotonic() + options.minutes * 60.0, list[str]()
            while time.monotonic() < until:
                if not deck:
                    deck = rng.sample(names, len(names))
                result = await campaign.round([deck.pop()])
                say(f"  {result.seconds:.0f} s, at rest after {result.rest_seconds:.0f} s")
                for finding in result.findings:
                    say(f"  FOUND {finding}")
            result = await campaign.finish()
        finally:
            await campaign.close()
    rounds = campaign.rounds
    print("", *table(rounds), "", sep="\n")
    for words, count in sorted(campaign.met.items()):
        print(f"{count:7} {words}")
    found = [f"round {result.name}: {finding}" for result in rounds for finding in result.findings]
    print(f"\nseed {options.seed}: {len(rounds) - 1} rounds, {time.monotonic() - began:.0f} s, {len(found)} findings")
    print(*found, sep="\n")
    if options.results:
        write_json(options.results, rounds, seed=options.seed, tls=options.tls, findings=found)
    return len(found)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long rounds begin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", action="append", choices=list(FAULTS), metavar="FAULT", help="may be given repeatedly"
    )
    parser.add_argument("--list", action="store_true", help="show all faults")
    parser.add_argument("--results", type=Path, metavar="FILE.json", help="write everything down")
    parser.add_argument("--tls", action="store_true", help="let everybody talk TLS with the brokers")
    parser.add_argument(
        "--old-instances",
        type=int,
        default=0,
        metavar="N",
        help="begin with N instances that wait, so that restores take long, and N that the retention deletes",
    )
    parser.add_argument("--rate", type=float, default=4.0, help="new instances a second, beside five probes a second")
    parser.add_argument("--max-seconds", type=float, default=max(LENGTHS), help="longest that a fault lasts")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave all data and logs in this new folder")
    options = parser.parse_args()
    if options.list:
        print(*FAULTS, sep="\n")
        return
    # Our own clients complain during faults too, which says nothing about the processes.
    logging.basicConfig(handlers=[logging.NullHandler()])
    # So that an end in the middle leaves nothing running or mounted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = options.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = asyncio.run(run(options, folder.resolve()))
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
