"""What a bulk operation takes, and what it costs others: all instances that wait for an event are aborted at once.

Starts a fresh installation, has it run that many instances, measures `run and wait` without and beside the operation,
and then how fast the operation is by itself.
"""

import argparse
import asyncio
import time
from typing import Any, Final

import msgspec
import uvloop

from deploy.bench.figures import Figures
from deploy.installation import Installation
from tests.performance.client import Client
from tests.performance.figures import print_table
from tests.performance.fresh import NOOP, fresh_installation

WAIT: Final[dict[str, Any]] = {"stages": [{"wait_event": {"event": "never"}}]}
STARTERS: Final = 64
"""Clients that start the instances."""
OTHERS: Final = 8
"""Clients that run and wait beside the operation."""
POLL_SECONDS: Final = 0.2


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this measurement."""
    parser.add_argument("--instances", type=int, default=100_000, help="how many instances there are")
    parser.add_argument("--beside", type=float, default=10.0, help="seconds of run and wait, without it and beside it")


def run(options: argparse.Namespace) -> None:
    """Measure."""
    with fresh_installation() as installation:
        uvloop.run(_measure(installation, options.instances, options.beside))


async def _measure(installation: Installation, count: int, beside: float) -> None:
    async with Client(installation.url, 1) as load:
        waiting, noop = await load.create_workflow(WAIT), await load.create_workflow(NOOP)
    async with Client(installation.url, STARTERS) as load:
        await load.start_instances(waiting, count)
    rows = [await _run_and_wait(installation, noop, beside, "run and wait alone")]
    async with Client(installation.url, 1) as load:
        body = msgspec.json.encode({"action": "abort", "filter": {"workflowID": waiting}})
        began = time.perf_counter()
        operation = await load.post("/v2/instances/bulk", body)
        print(f"the operation was started in {time.perf_counter() - began:.2f} s", flush=True)
        rows.append(await _run_and_wait(installation, noop, beside, "run and wait beside it"))
        halfway = await _state(load, operation["id"])
        since = time.perf_counter()
        print(f"beside others: {halfway['done'] / (since - began):,.0f} instances/s", flush=True)
        while (now := await _state(load, operation["id"]))["state"] == "running":  # noqa: ASYNC110 - the API sets no event
            await asyncio.sleep(POLL_SECONDS)
        ended = time.perf_counter()
    alone = (now["done"] - halfway["done"]) / (ended - since)
    print(f"alone: {alone:,.0f} instances/s; in all {ended - began:.1f} s for {now['done']:,}; {now}", flush=True)
    rows.append(await _run_and_wait(installation, noop, beside, "run and wait after it"))
    print_table(rows)


async def _state(load: Client, id: str) -> Any:
    return await load.get(f"/v2/bulk/{id}")


async def _run_and_wait(installation: Installation, workflow: str, seconds: float, name: str) -> Figures:
    async with Client(installation.url, OTHERS) as load:
        return await load.run_and_wait(name, seconds, workflow)
