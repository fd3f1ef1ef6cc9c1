"""How fast the read model is read: an instance, its histories, and pages of lists.

Starts a fresh installation, has it run some instances of each of 16 workflows, and measures each kind of read with one
client and with 16. Each client reads what no other one does, so nobody shares the read of another; the last rows are of
clients who all read the same page.
"""

import argparse
import os
from typing import Final

import uvloop

from deploy.installation import Installation
from tests.performance.client import LoadClient
from tests.performance.cpu import CpuMeter
from tests.performance.figures import Figures, print_table
from tests.performance.fresh import NOOP, fresh_installation

WORKFLOWS: Final = 16
PAGE: Final = 15
INSTANCES: Final = PAGE + 1
"""Of each workflow: v2 has a next page, and v1, which has no pages, about as many rows."""
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
    async with LoadClient(installation.url, 1) as load:
        workflows = [await load.create_workflow(NOOP) for _ in range(WORKFLOWS)]
        instances = [await load.run_instance(id) for id in workflows for _ in range(INSTANCES)][::INSTANCES]
    kinds = {
        "instance": [f"/instances/{id}" for id in instances],
        "history": [f"/instances/{id}/history" for id in instances],
        "stage history": [f"/instances/{id}/stages/0/history" for id in instances],
        "list of v1, of a workflow": [f"/instances?workflowID={id}" for id in workflows],
        "list of v2": [f"/v2/instances?workflowID={id}&pageSize={PAGE}" for id in workflows],
        "list of v2, the same": [f"/v2/instances?pageSize={PAGE}"],
    }
    rows: list[Figures] = []
    for number in range(rounds + 1):
        for name, paths in kinds.items():
            for clients in CLIENTS:
                length = seconds if number else WARM_UP_SECONDS
                figures = await _read(installation, f"{name}, {clients} clients", paths, clients, length)
                rows += [figures] if number else []
    print_table(rows)


async def _read(installation: Installation, name: str, paths: list[str], clients: int, seconds: float) -> Figures:
    meter = CpuMeter(os.getpid())
    async with LoadClient(installation.url, clients) as load:
        before = meter.read()
        figures = await load.measure_each(name, seconds, "GET", paths)
        figures.cpu = meter.since(before, figures.count)
    return figures
