"""`python -m tests.performance timers`: many delays that end at the same moment, and what others notice of it.

Starts a fresh installation, has it run instances that all wait until one moment, and measures `run and wait` before it
and from then on. It ends when the read model shows no instance any more that waits.

How late an end is, is the time of its record in `events` from that moment on.
"""

import argparse
import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import uvloop

from deploy.bench.figures import Figures, quantile
from deploy.installation import Installation
from schemas.epochs import header
from schemas.events import InstanceEnded
from schemas.kafka import Place, clients_of
from schemas.records import RecordCodec
from schemas.settings import KafkaSettings, load
from schemas.topics import EVENTS, topic_name
from tests.performance.client import Client
from tests.performance.cpu import CpuMeter
from tests.performance.figures import print_table
from tests.performance.fresh import NOOP, fresh_installation

STARTERS: Final = 64
"""Clients that start the instances."""
MARGIN_SECONDS: Final = 3.0
"""How long before the moment all that comes before it has to be done."""
LIMIT_SECONDS: Final = 300.0
"""How long all may take to end and to be shown. If one was lost, it would never be so."""
ROUND_SECONDS: Final = 1.0
"""Length of the rounds of those who run and wait. What is under way at the end of one is waited for."""
POLL_SECONDS: Final = 0.2
TAKE_SECONDS: Final = 0.1


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this measurement."""
    parser.add_argument("--instances", type=int, default=100_000, help="how many delays end at once")
    parser.add_argument("--due-in", type=float, default=240.0, help="seconds in which they have to be started")
    parser.add_argument("--beside", type=int, default=4, help="clients that run and wait beside them")
    parser.add_argument("--before", type=float, default=10.0, help="seconds of run and wait before that")


def run(options: argparse.Namespace) -> None:
    """Measure."""
    with fresh_installation() as installation:
        uvloop.run(_measure(installation, options))


async def _measure(installation: Installation, options: argparse.Namespace) -> None:
    due = datetime.now(UTC) + timedelta(seconds=options.due_in)
    async with Client(installation.url, 1) as client:
        noop = await client.create_workflow(NOOP)
        waits = await client.create_workflow({"stages": [{"delay": {"until": due.isoformat()}}]})
    deadline = due - timedelta(seconds=options.before + MARGIN_SECONDS)
    started = await _start(installation, waits, options.instances, deadline)
    rows = [await _run_and_wait(installation, noop, options.beside, options.before, "run and wait, before")]
    ended = asyncio.create_task(_ends(installation, started))
    await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
    meter, began = CpuMeter(os.getpid()), time.perf_counter()
    before = meter.read()
    shown = asyncio.create_task(_until_all_shown(installation, waits))
    beside = Figures("run and wait, meanwhile", [], 0.0)
    async with asyncio.timeout(LIMIT_SECONDS):
        while not shown.done():
            figures = await _run_and_wait(installation, noop, options.beside, ROUND_SECONDS, "")
            beside.latencies += figures.latencies
        await shown
        beside.seconds = time.perf_counter() - began
        late = sorted(at - due.timestamp() for at in await ended)
    shares = "  ".join(f"{name} {1000 * seconds:.3f}" for name, seconds in meter.since(before, started).items())
    half = quantile(late, 0.5) / 1000
    print(f"{started:,} delays ended {late[0]:.2f} to {late[-1]:.2f} s late, half of them up to {half:.2f} s")
    print(f"the read model showed all {beside.seconds:.1f} s after their time")
    print(f"CPU ms for each, with those beside: {shares}")
    rows += [beside, await _run_and_wait(installation, noop, options.beside, options.before, "run and wait, after")]
    print_table(rows)


async def _start(installation: Installation, workflow: str, count: int, deadline: datetime) -> int:
    """Start so many instances at least; how many there are."""
    try:
        async with asyncio.timeout((deadline - datetime.now(UTC)).total_seconds()):
            async with Client(installation.url, STARTERS) as client:
                return await client.start_instances(workflow, count)
    except TimeoutError:
        raise SystemExit(f"fewer than {count:,} instances were started in time: choose a longer --due-in") from None


async def _ends(installation: Installation, count: int) -> list[float]:
    """When so many delays have ended by the log; seconds since 1970."""
    settings = load(KafkaSettings, {**os.environ, **installation.environment})
    places = [Place(topic_name(settings, EVENTS), partition) for partition in range(settings.partitions)]
    ends, codec = list[float](), RecordCodec()
    async with clients_of(settings).reader() as reader:
        reader.read_from(await reader.ends(places))
        while len(ends) < count:
            for records in (await reader.take(TAKE_SECONDS)).values():
                for record in records:
                    # What a command has caused names it.
                    if header(record.headers, "type") == b"InstanceEnded" and header(record.headers, "cause") is None:
                        event = codec.decode_event(record).event
                        assert isinstance(event, InstanceEnded)
                        ends.append(event.at.timestamp())
    return ends


async def _until_all_shown(installation: Installation, workflow: str) -> None:
    """Wait until the read model shows no instance that waits."""
    async with Client(installation.url, 1) as client:
        while await _waits(client, workflow):  # noqa: ASYNC110 - the API sets no event
            await asyncio.sleep(POLL_SECONDS)


async def _waits(client: Client, workflow: str) -> bool:
    """Whether an instance has not ended."""
    status, body = await client.request("GET", f"/v2/instances?workflowID={workflow}&running=true&pageSize=1")
    assert status == 200, body
    return b'"data":[]' not in body


async def _run_and_wait(installation: Installation, workflow: str, clients: int, seconds: float, name: str) -> Figures:
    async with Client(installation.url, clients) as client:
        return await client.run_and_wait(name, seconds, workflow)
