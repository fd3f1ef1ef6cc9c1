"""How fast the read model is read: an instance, its histories, and pages of lists.

Starts a fresh installation, has it run some instances of each of 16 workflows, and measures each kind of read with one
client and with 16. Each client reads what no other one does, so nobody shares the read of another; the last rows are of
clients who all read the same page.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Final

import uvloop

from deploy.bench.figures import Figures
from deploy.bench.scenarios import INSTANCES, PAGE, READS, reading
from deploy.installation import Installation
from tests.performance.client import Client
from tests.performance.cpu import CpuMeter
from tests.performance.figures import print_table
from tests.performance.fresh import NOOP, fresh_installation

WORKFLOWS: Final = 16
CLIENTS: Final = (1, 16)
WARM_UP_SECONDS: Final = 2.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this measurement."""
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each kind")


def run(options: argparse.Namespace) -> None:
    """Measure."""
    with fresh_installation() as installation:
        uvloop.run(_measure(installation, options.seconds, options.rounds))


async def _measure(installation: Installation, seconds: float, rounds: int) -> None:
    async with Client(installation.url, 1) as load:
        workflows = [await load.create_workflow(NOOP) for _ in range(WORKFLOWS)]
        instances = [await load.run_instance(id) for id in workflows for _ in range(INSTANCES)][::INSTANCES]
    kinds = {name: reading(name, workflows, instances).paths for name in READS}
    kinds["list-v2, the same"] = [f"/v2/instances?pageSize={PAGE}"]
    rows: list[Figures] = []
    for number in range(rounds + 1):
        for name, paths in kinds.items():
            for clients in CLIENTS:
                length = seconds if number else WARM_UP_SECONDS
                figures = await _read(installation, f"{name}, {clients} clients", paths, clients, length)
                rows += [figures] if number else []
    print_table(rows)


async def _read(installation: Installation, name: str, paths: Sequence[str], clients: int, seconds: float) -> Figures:
    meter = CpuMeter(os.getpid())
    async with Client(installation.url, clients) as load:
        before = meter.read()
        figures = await load.measure(name, seconds, "GET", paths)
        figures.cpu = meter.since(before, figures.count)
    return figures
