"""`python -m tests.performance`: how fast one machine runs workflows, and how that compares with a floor.

Starts a fresh installation as `orchestration dev` does, then alternates rounds of two kinds in one run, since figures
of shared machines drift:

- the product: clients that run a one-noop workflow and wait for the instance's end over HTTP, at several numbers of
clients;
- the floor: a bare asyncio loop that produces one record to Kafka, reads it back, upserts one row and notifies.

Then sends of one transaction to the sandbox at 64 clients, and a noop's latency while a thousand calls are in flight.
Prints throughput, p50 and p99 by number of clients, CPU per instance by process, the ratio to the floor, and `GET` of
an instance. The clients share the machine.
"""

import argparse
import os

import uvloop

from deploy.bench.figures import Figures
from deploy.installation import Installation
from tests.performance import (
    bulk,
    compare,
    console,
    encryption,
    reads,
    rebuild,
    restart,
    retention,
    scaling,
    search,
    stats,
    timers,
)
from tests.performance.client import Client
from tests.performance.cpu import CpuMeter
from tests.performance.figures import print_ratios, print_table
from tests.performance.floor import Floor
from tests.performance.fresh import NOOP, fresh_installation
from tests.performance.sends import SEND, measure_calls_in_flight

WARM_UP_SECONDS = 45.0
"""The JVM compiles what is hot, also with its ahead-of-time cache, and caches fill; the speed after that is asked."""


async def _run_and_wait(
    installation: Installation, clients: int, seconds: float, workflow: str, name: str = "run and wait"
) -> Figures:
    meter = CpuMeter(os.getpid())
    async with Client(installation.url, clients) as load:
        before = meter.read()
        figures = await load.run_and_wait(f"{name}, {clients} clients", seconds, workflow)
        figures.cpu = meter.since(before, figures.count)
    return figures


async def _get(installation: Installation, clients: int, seconds: float, instance: str) -> Figures:
    async with Client(installation.url, clients) as load:
        return await load.measure(f"GET instance, {clients} clients", seconds, "GET", [f"/instances/{instance}"])


async def _measure(installation: Installation, options: argparse.Namespace) -> None:
    async with Client(installation.url, 1) as load:
        workflow = await load.create_workflow(NOOP)
        instance = await load.run_instance(workflow)
        send = await load.create_workflow(SEND)
    await _run_and_wait(installation, 64, WARM_UP_SECONDS, workflow)
    rows: list[Figures] = []
    for clients in options.clients:
        for _ in range(options.rounds):
            rows.append(await _run_and_wait(installation, clients, options.seconds, workflow))
            async with Floor(installation.kafka_bootstrap_servers, installation.database_url, clients) as floor:
                rows.append(await floor.measure(options.seconds))
    rows += [await _run_and_wait(installation, 64, options.seconds, send, "send") for _ in range(options.rounds)]
    for clients in (1, 16):
        rows += [await _get(installation, clients, options.seconds, instance) for _ in range(options.rounds)]
    rows += await measure_calls_in_flight(installation, workflow, options.seconds)
    print_table(rows)
    print_ratios(rows, "send, 64 clients", "run and wait, 64 clients")
    for clients in options.clients:
        print_ratios(rows, f"run and wait, {clients} clients", f"floor, {clients} clients")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.performance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each kind, alternating with the floor")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64, 256], help="numbers of clients")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    compare.add_options(
        commands.add_parser(
            "compare",
            description=compare.__doc__,
            help="whether a commit is slower than another",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    restart.add_options(commands.add_parser("restart", description=restart.__doc__, help="what a restart costs"))
    encryption.add_options(
        commands.add_parser("encryption", description=encryption.__doc__, help="what encryption at rest costs")
    )
    reads.add_options(commands.add_parser("reads", description=reads.__doc__, help="how fast the read model is read"))
    rebuild.add_options(
        commands.add_parser("rebuild", description=rebuild.__doc__, help="how fast the read model is rebuilt")
    )
    bulk.add_options(commands.add_parser("bulk", description=bulk.__doc__, help="what a bulk operation takes"))
    search.add_options(commands.add_parser("search", description=search.__doc__, help="how long a search takes"))
    stats.add_options(commands.add_parser("stats", description=stats.__doc__, help="what statistics cost"))
    timers.add_options(
        commands.add_parser("timers", description=timers.__doc__, help="many delays that end at the same moment")
    )
    console.add_options(
        commands.add_parser("console", description=console.__doc__, help="how long the console's pages take")
    )
    retention.add_options(
        commands.add_parser(
            "retention", description=retention.__doc__, help="what it costs to delete what ended long ago"
        )
    )
    scaling.add_options(
        commands.add_parser(
            "scaling", description=scaling.__doc__, help="what more partitions, engines and workers of the API bring"
        )
    )
    options = parser.parse_args()
    modules = {
        "compare": compare,
        "restart": restart,
        "encryption": encryption,
        "reads": reads,
        "rebuild": rebuild,
        "bulk": bulk,
        "search": search,
        "stats": stats,
        "console": console,
        "retention": retention,
        "scaling": scaling,
        "timers": timers,
    }
    for command, module in modules.items():
        if options.command == command:
            module.run(options)
            return
    with fresh_installation() as installation:
        uvloop.run(_measure(installation, options))


if __name__ == "__main__":
    main()
