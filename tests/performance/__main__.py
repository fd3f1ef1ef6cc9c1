"""`python -m tests.performance`: how fast one machine runs workflows, and how that compares with a floor.

Starts a fresh `orchestration dev`, then alternates rounds of two kinds in one run, since figures of shared machines drift:

- the product: clients that create and wait for instances of a one-noop workflow over HTTP, at several numbers of clients;
- the floor: a bare asyncio loop that produces one record to Kafka, reads it back, upserts one row and notifies.

Prints throughput, p50 and p99 per number of clients, CPU per instance by process, the ratio to the floor, and `GET` of an
instance. With `--url` it measures an installation that runs already, without CPU and floor.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.performance.client import LoadClient
from tests.performance.cpu import CpuMeter
from tests.performance.floor import Floor
from tests.performance.figures import Figures, print_table
from tests.performance.installation import start_dev

CLIENTS = (1, 16, 64, 256)
NOOP = {"stages": [{"noop": {}}]}


async def _product(base: str, clients: int, seconds: float, workflow: str) -> Figures:
    async with LoadClient(base, clients) as load:
        return await load.measure(f"run and wait, {clients} clients", seconds, "POST", f"/workflows/{workflow}/instances?wait=true")


async def _main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder, start_dev(Path(folder), options.url) as stack:
        async with LoadClient(stack.base, 1) as setup:
            workflow = await setup.create_workflow(NOOP)
        await _product(stack.base, 16, options.seconds, workflow)  # warm-up: the JVM compiles, caches fill
        meter = CpuMeter(stack.pid)
        rows: list[Figures] = []
        for clients in CLIENTS:
            for _ in range(options.rounds):
                before = meter.read()
                figures = await _product(stack.base, clients, options.seconds, workflow)
                figures.cpu = meter.since(before, figures.count)
                rows.append(figures)
                if stack.kafka and stack.database:
                    async with Floor(stack.kafka, stack.database, clients) as floor:
                        rows.append(await floor.measure(options.seconds))
        async with LoadClient(stack.base, 1) as load:
            instance = await load.run_instance(workflow)
        for clients in (1, 16):
            async with LoadClient(stack.base, clients) as load:
                rows.append(await load.measure(f"GET instance, {clients} clients", options.seconds, "GET", f"/instances/{instance}"))
        print_table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per number of clients, alternating with the floor")
    parser.add_argument("--url", help="base URL of an installation that runs already")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
