"""How throughput and its cost change with partitions, engines and workers of the API, on this machine.

Starts one Kafka and one Postgres, and on them an installation of each shape in turns: so many partitions, so many
engines, so many workers of the API. Each runs a one-noop workflow, whose end the clients wait for. What more processes
bring beyond the cores of the machine can't be seen here; what they cost can.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from deploy.bench.figures import Figures
from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded.postgres import EmbeddedPostgres
from schemas.settings import ApiSettings
from tests.integration.installation import Installation, Process
from tests.performance.client import Client
from tests.performance.cpu import CpuMeter
from tests.performance.figures import print_table
from tests.performance.fresh import NOOP


class Shape(NamedTuple):
    """How many there are of what can be scaled."""

    partitions: int
    engines: int = 1
    workers: int = 1
    """Of the API."""

    def __str__(self) -> str:
        return f"partitions {self.partitions}, engines {self.engines}, workers {self.workers}"


SHAPES: Final = (
    Shape(1),
    Shape(4),
    Shape(16),
    Shape(4, engines=2),
    Shape(4, engines=4),
    Shape(4, workers=2),
    Shape(4, workers=4),
    Shape(4, engines=2, workers=2),
    Shape(16, engines=4),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this measurement."""
    parser.add_argument("--seconds", type=float, default=8.0, help="length of one round (default: 8)")
    parser.add_argument("--warm-up", type=float, default=12.0, help="seconds before it (default: 12)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each shape (default: 2)")
    parser.add_argument("--clients", type=int, default=64, help="how many clients (default: 64)")


def run(options: argparse.Namespace) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kafka, postgres = EmbeddedKafka(folder / "kafka"), EmbeddedPostgres(folder / "postgres")
        try:
            uvloop.run(_measure(kafka.start(), postgres.start(), folder, options))
        finally:
            kafka.stop()
            postgres.stop()


async def _measure(kafka: str, database_url: str, folder: Path, options: argparse.Namespace) -> None:
    rows: list[Figures] = []
    for number in range(options.rounds):
        # Back and forth: what drifts in one direction favours no shape.
        for shape in SHAPES if number % 2 == 0 else reversed(SHAPES):
            place = folder / f"{number} {shape}"
            place.mkdir()
            installation = Installation(kafka, database_url, place, partitions=shape.partitions)
            for other in range(1, shape.engines):
                installation.add_engine(engine_id=f"engine-{other + 1}")
            api = installation.api if shape.workers == 1 else installation.add_api(f"api --workers {shape.workers}")
            async with installation:
                rows.append(await _round(api, str(shape), options))
    print_table(sorted(rows, key=lambda row: [str(shape) for shape in SHAPES].index(row.name)))


async def _round(api: Process, name: str, options: argparse.Namespace) -> Figures:
    assert isinstance(api.settings, ApiSettings)
    meter = CpuMeter(os.getpid())
    async with Client(f"{api.url}{api.settings.base_path}", options.clients) as load:
        path = f"/workflows/{await load.create_workflow(NOOP)}/instances?wait=true"
        await load.measure("warm-up", options.warm_up, "POST", [path])
        before = meter.read()
        figures = await load.measure(name, options.seconds, "POST", [path])
        figures.cpu = meter.since(before, figures.count)
    print(f"{name}: {figures.per_second:.0f}/s", flush=True)
    return figures
