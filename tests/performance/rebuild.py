"""How fast `orchestration rebuild` reads the log into Postgres.

Writes a log of finished instances on a fresh Kafka, as an engine would have written it, and rebuilds the read model
from it as often as asked, each time in a process of its own. Prints events per second, from the start of that process
to its end, and microseconds of CPU per event, by process. A first rebuild is not counted: Kafka and Postgres are cold.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.topics import create_topics
from projections.fold import Batch
from projections.migrate import migrate
from projections.rows import Advance
from projections.store import PostgresStore
from schemas.kafka import Place, clients_of
from schemas.settings import ProjectionsSettings, environment_of
from schemas.topics import EVENTS, topic_name
from tests.performance.cpu import CpuMeter, Reading
from tests.performance.written_log import WrittenLog

POLL_SECONDS: Final = 0.05
MEASURED: Final = ("rebuild", "kafka", "postgres")
REBUILD: Final = (sys.executable, "-P", "-m", "deploy.cli", "rebuild")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What may be asked for."""
    parser.add_argument("--instances", type=int, default=100_000, help="finished ones in the log")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="rebuilds that are counted")


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka, postgres = EmbeddedKafka(folder / "kafka"), EmbeddedPostgres(folder / "postgres")
        for server in (kafka, postgres):
            stack.callback(server.stop)
            server.start()
        settings = ProjectionsSettings(
            kafka_bootstrap_servers=kafka.bootstrap_servers, database_url=postgres.url, partitions=options.partitions
        )
        migrate(settings)
        events = asyncio.run(_write(settings, options.instances))
        asyncio.run(_note_read(settings))
        print(f"{events:,} events of {options.instances:,} instances", flush=True)
        for number in range(options.rounds + 1):
            seconds, cpu = _rebuild(settings)
            if number:
                shown = "  ".join(f"{name} {used / events * 1e6:.1f} µs" for name, used in cpu.items())
                print(f"{events / seconds:,.0f} events/s  {shown}", flush=True)


async def _write(settings: ProjectionsSettings, instances: int) -> int:
    """Write the log; how many events."""
    await create_topics(settings)
    log = WrittenLog(clients_of(settings), settings)
    await log.write(waiting=0, finished=instances)
    return log.events


async def _note_read(settings: ProjectionsSettings) -> None:
    """Put the live read model, which is empty, behind the log: a rebuild reads as far as it is."""
    places = [Place(topic_name(settings, EVENTS), partition) for partition in range(settings.partitions)]
    async with clients_of(settings).reader() as reader:
        ends = await reader.ends(places)
    store = PostgresStore(settings)
    try:
        await store.positions(range(settings.partitions))
        batch = Batch()
        batch.advances = [Advance(place.partition, 0, end, -1, -1) for place, end in ends.items()]
        await store.write(batch)
    finally:
        await store.close()


def _rebuild(settings: ProjectionsSettings) -> tuple[float, Reading]:
    """Rebuild; seconds, and CPU seconds by process."""
    meter = CpuMeter(os.getpid())
    before, began = meter.read(), time.perf_counter()
    after = dict(before)
    with subprocess.Popen(
        REBUILD, env={**os.environ, **environment_of(settings)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        # What a process or a backend of Postgres has used is gone with it, so this looks until the end.
        while process.poll() is None:
            after |= {name: max(used, after.get(name, 0.0)) for name, used in meter.read().items()}
            time.sleep(POLL_SECONDS)
    if process.returncode:
        raise SystemExit(f"the rebuild ended with status {process.returncode}")
    return time.perf_counter() - began, {name: after[name] - before.get(name, 0.0) for name in MEASURED}
