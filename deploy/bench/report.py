"""What a run has found, as it is kept in a file: JSON."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Final, Literal

import msgspec
from msgspec import Struct

from deploy.bench.figures import Bucket, Figures, histogram, quantile
from deploy.bench.machine import Machine, Program
from deploy.bench.scenarios import Case
from deploy.errors import DeployError

BUSY: Final = 0.8
"""Share of a core above which the load generator is the bottleneck."""


class ReportError(DeployError):
    """A file of figures can't be used."""


class Settings(Struct, frozen=True, rename="camel"):
    """How it was measured."""

    seconds: float
    rounds: int
    warm_up_seconds: float


class Server(Struct, frozen=True, rename="camel"):
    """What was measured."""

    url: str
    version: str


class Latency(Struct, frozen=True, rename="camel"):
    """Latencies of requests that succeeded, in milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float


class Round(Struct, frozen=True, rename="camel"):
    """One round of a scenario."""

    seconds: float
    requests: int
    per_second: float
    latency_ms: Latency
    errors: dict[str, int]
    throughput: list[int]
    """Requests that ended in each whole second."""
    client_cpu: float
    server_cpu_ms: float | None


class Measured(Struct, frozen=True, rename="camel"):
    """All rounds of a scenario with a number of clients."""

    scenario: str
    clients: int
    per_second: float
    """The median of the rounds."""
    latency_ms: Latency
    """Of the requests of all rounds."""
    errors: dict[str, int]
    """How many requests did not succeed, by status of HTTP or by what happened."""
    client_cpu: float
    """CPU of the load generator in the round in which it was highest, as a share of one core."""
    server_cpu_ms: float | None
    """CPU of the API's process per request, the median of the rounds; None if it can't be told."""
    histogram_ms: list[Bucket]
    """Latencies of all rounds by buckets: from, below, how many."""
    rounds: list[Round]

    @property
    def case(self) -> Case:
        """What was measured."""
        return Case(self.scenario, self.clients)


class Report(Struct, frozen=True, rename="camel"):
    """A run."""

    started_at: datetime
    machine: Machine
    program: Program
    server: Server
    settings: Settings
    scenarios: list[Measured]
    left_out: dict[str, str]
    """Scenarios that could not be measured, with the reason."""
    format: Literal[1] = 1


def measured(case: Case, rounds: Sequence[tuple[Figures, float | None]]) -> Measured:
    """What all rounds of a case have found.

    Args:
        case: what was measured.
        rounds: the figures of each round, and the server's CPU seconds.
    """
    ordered = sorted(latency for figures, _ in rounds for latency in figures.latencies)
    kept = [_round(figures, cpu) for figures, cpu in rounds]
    errors = Counter[str]()
    for one in kept:
        errors.update(one.errors)
    told = [one.server_cpu_ms for one in kept if one.server_cpu_ms is not None]
    return Measured(
        scenario=case.scenario,
        clients=case.clients,
        per_second=round(median(one.per_second for one in kept), 3),
        latency_ms=_latency(ordered),
        errors=errors,
        client_cpu=max(one.client_cpu for one in kept),
        server_cpu_ms=round(median(told), 4) if told else None,
        histogram_ms=histogram(ordered),
        rounds=kept,
    )


def encode(report: Report) -> bytes:
    """A report as it is kept."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def read(path: Path) -> Report:
    """A report that was kept.

    Raises:
        ReportError: the file can't be read, or holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise ReportError(f"{path} is not a file of `orchestration bench --json`: {error}") from None


def _round(figures: Figures, cpu_seconds: float | None) -> Round:
    cpu_ms = None if cpu_seconds is None or not figures.count else 1000 * cpu_seconds / figures.count
    return Round(
        seconds=round(figures.seconds, 3),
        requests=figures.count,
        per_second=round(figures.per_second, 3),
        latency_ms=_latency(sorted(figures.latencies)),
        errors=figures.errors,
        throughput=figures.throughput(),
        client_cpu=round(figures.client_cpu, 4),
        server_cpu_ms=None if cpu_ms is None else round(cpu_ms, 4),
    )


def _latency(ordered: list[float]) -> Latency:
    return Latency(*(round(quantile(ordered, q), 4) for q in (0.5, 0.9, 0.99, 1.0)))
