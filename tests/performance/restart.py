"""`python -m tests.performance restart`: what a restart of an engine costs, by how much waits and how much is over.

For each number of finished instances, a log is written on a fresh Kafka as an engine would have written it. An engine
restores all of it and writes its snapshots. Then it is killed (SIGKILL), an event is sent to a waiting instance of each
partition, and the engine is started again. The time until the last of these events is decided counts from the start of
the process. (An instance in a delay has no use for its event. That is decided, too.)

Memory is that of the engine's process: the most that it ever had, and what it has when its snapshots are written.
Lateness is the worst that the engine tells of its event loop.
"""

import argparse
import asyncio
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded.ports import HOST, free_ports
from deploy.topics import create_topics
from schemas.commands import SendEvent
from schemas.epochs import header, is_claim
from schemas.kafka import Kafka, Place, clients_of
from schemas.records import RecordCodec
from schemas.settings import EngineSettings
from schemas.topics import COMMANDS, EVENTS, MAX_RECORD_BATCH_BYTES, topic_name
from tests.integration.installation import Process
from tests.performance.written_log import EVENT, WAITING, WrittenLog

ASK_SECONDS: Final = 0.5
APPEND_SECONDS: Final = 60.0
WRITTEN: Final = 'orchestration_engine_snapshots_total{outcome="written"}'
LIMIT_SECONDS: Final = 1800.0
"""How long a start may take, and writing the snapshots after it."""


class Row(Struct, kw_only=True):
    """One start of the engine. Times in seconds since its process was started, memory in MiB."""

    finished: int
    waiting: int
    events: int
    what: str
    claimed: float
    """When the last partition was claimed."""
    answered: float
    """When the last partition answered."""
    cpu: float
    """CPU seconds that the engine had used by then."""
    memory: float
    peak_memory: float
    late: float
    """How late the event loop was at worst; seconds."""


class Watched:
    """An engine that is asked all the time how late it is.

    Args:
        process: its process.
    """

    def __init__(self, process: Process):
        self._process = process
        self.late = 0.0
        """How late its event loop was at worst since its start; seconds."""
        self._asking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it."""
        self.late = 0.0
        await self._process.start(wait=False)
        self._asking = asyncio.create_task(self._ask())

    async def kill(self) -> None:
        """Kill it."""
        if self._asking is not None:
            self._asking.cancel()
        await self._process.kill()

    def cpu_seconds(self) -> float:
        """CPU seconds that it has used."""
        times = self._process.program.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> tuple[float, float]:
        """Its memory, and the most that it ever was; MiB."""
        status = Path(f"/proc/{self._process.program.pid}/status").read_text()
        now, peak = (int(re.findall(rf"^{name}:\s+(\d+) kB$", status, re.M)[0]) for name in ("VmRSS", "VmHWM"))
        return now / 1024, peak / 1024

    async def wait_for(self, sample: str, value: float) -> None:
        """Wait until a metric has come to a value."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while await self._metric(sample) < value:
                assert self._process.program.is_running(), self._process.log()
                await asyncio.sleep(ASK_SECONDS)

    async def _ask(self) -> None:
        while True:
            self.late = max(self.late, await self._metric("orchestration_engine_loop_late_seconds"))
            await asyncio.sleep(ASK_SECONDS)

    async def _metric(self, sample: str) -> float:
        try:
            return await self._process.metric(sample)
        except OSError:  # also what the client makes of it: it does not listen yet
            return 0.0


class Trial:
    """Starts of an engine on a log.

    Args:
        kafka: that it runs on.
        settings: the engine's.
        folder: takes its output.
        finished: how many instances of the log are over.
        waiting: how many wait.
        waits_for: what these wait for.
    """

    def __init__(
        self, kafka: Kafka, settings: EngineSettings, folder: Path, *, finished: int, waiting: int, waits_for: str
    ):
        self._kafka, self._settings = kafka, settings
        self._finished, self._waiting, self._waits_for = finished, waiting, waits_for
        self._engine = Watched(Process("engine", "engine", settings, settings.engine_metrics_port, folder))
        self._log, self._codec = WrittenLog(kafka, settings), RecordCodec()

    async def run(self, restarts: int) -> list[Row]:
        """Write the log, start the engine, and restart it so many times."""
        await create_topics(self._settings)
        began = time.monotonic()
        await self._log.write(waiting=self._waiting, finished=self._finished, waits_for=self._waits_for)
        print(f"{self._log.events} events were written in {time.monotonic() - began:.0f} s", flush=True)
        try:
            return [await self._row("whole log" if number == 0 else "restart") for number in range(restarts + 1)]
        finally:
            await self._engine.kill()

    async def _row(self, what: str) -> Row:
        await self._engine.kill()
        claimed, answered = await self._start()
        cpu = self._engine.cpu_seconds()
        # Each partition has something to write: it has just decided.
        await self._engine.wait_for(WRITTEN, self._settings.partitions)
        memory, peak = self._engine.memory()
        row = Row(
            finished=self._finished,
            waiting=self._waiting,
            events=self._log.events,
            what=what,
            claimed=claimed,
            answered=answered,
            cpu=cpu,
            memory=memory,
            peak_memory=peak,
            late=self._engine.late,
        )
        print_rows([row])
        return row

    async def _start(self) -> tuple[float, float]:
        """Start the engine; when the last partition was claimed, and when the last one answered."""
        places = [Place(topic_name(self._settings, EVENTS), partition) for partition in self._log.waiting]
        claimed, answered = dict[Place, float](), dict[Place, float]()
        async with self._kafka.reader() as reader:
            reader.read_from(await reader.ends(places))
            causes = await self._send_events()
            began = time.monotonic()
            await self._engine.start()
            async with asyncio.timeout(LIMIT_SECONDS):
                while len(answered) < len(places):
                    for place, records in (await reader.take(0.05)).items():
                        for record in records:
                            if is_claim(record):
                                claimed[place] = time.monotonic() - began
                            elif header(record.headers, "cause") == causes[place.partition]:
                                answered.setdefault(place, time.monotonic() - began)
        return max(claimed.values()), max(answered.values())

    async def _send_events(self) -> dict[int, bytes]:
        """Send an event to a waiting instance of each partition; how the events that follow name their cause."""
        topic, causes = topic_name(self._settings, COMMANDS), dict[int, bytes]()
        producer = self._kafka.producer(
            topic, max_batch_bytes=MAX_RECORD_BATCH_BYTES, max_request_bytes=MAX_RECORD_BATCH_BYTES, waits=True
        )
        try:
            for partition, ids in self._log.waiting.items():
                record = self._codec.encode(ids.pop(), SendEvent(name=EVENT), timestamp_ms=int(time.time() * 1000))
                deadline = asyncio.get_running_loop().time() + APPEND_SECONDS
                causes[partition] = b"%d" % await producer.append(topic, partition, record, deadline)
        finally:
            await producer.close()
        return causes


def print_rows(rows: list[Row]) -> None:
    """Print a table."""
    numbers = f"{'finished':>9} {'waiting':>9} {'start':9}"
    print(f"{numbers} {'claimed':>9} {'answered':>9} {'CPU':>7} {'MiB':>6} {'peak':>6}  late")
    for row in rows:
        print(
            f"{row.finished:9} {row.waiting:9} {row.what:9} {row.claimed:7.1f} s {row.answered:7.1f} s "
            f"{row.cpu:5.1f} s {row.memory:6.0f} {row.peak_memory:6.0f} {1000 * row.late:5.0f} ms",
            flush=True,
        )


async def _measure(kafka: EmbeddedKafka, folder: Path, options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    for number, finished in enumerate(options.finished):
        (port,) = free_ports(1)
        settings = EngineSettings(
            kafka_bootstrap_servers=kafka.bootstrap_servers,
            topic_prefix=f"restart-{number}.",
            partitions=options.partitions,
            engine_metrics_host=HOST,
            engine_metrics_port=port,
            stack_url=f"http://{HOST}:1",
        )
        (folder / str(number)).mkdir()
        trial = Trial(
            clients_of(settings),
            settings,
            folder / str(number),
            finished=finished,
            waiting=options.waiting,
            waits_for=options.waits_for,
        )
        rows += await trial.run(options.restarts)
    return rows


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what can be chosen."""
    parser.add_argument("--waiting", type=int, default=1_000_000, help="instances that wait")
    parser.add_argument("--waits-for", choices=WAITING, default="event", help="what they wait for")
    parser.add_argument(
        "--finished", type=int, nargs="+", default=[0, 5_000_000], help="instances that are over; one trial for each"
    )
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--restarts", type=int, default=2, help="restarts of each trial")
    parser.add_argument("--json", type=Path, help="write the rows into this file, too")


def run(options: argparse.Namespace) -> None:
    """Run it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kafka = EmbeddedKafka(folder / "kafka")
        try:
            kafka.start()
            rows = asyncio.run(_measure(kafka, folder, options))
        finally:
            kafka.stop()
    print()
    print_rows(rows)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
