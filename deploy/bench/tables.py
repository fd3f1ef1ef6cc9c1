"""What people see of figures in a terminal."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from deploy.bench.comparison import Pair
from deploy.bench.report import BUSY, Measured, Report
from deploy.client.output import Cell, Styled, table

HEADS: Final = ("scenario", "clients", "per s", "p50 ms", "p90 ms", "p99 ms", "max ms", "errors", "client cpu")
SERVER_HEAD: Final = "api cpu ms"


def figures_table(report: Report) -> Iterator[str]:
    """A line for each scenario with a number of clients, and what to know about it."""
    told = any(one.server_cpu_ms is not None for one in report.scenarios)
    heads = (*HEADS, SERVER_HEAD) if told else HEADS
    yield from table(heads, (cells(one, told=told) for one in report.scenarios), "nothing was measured")
    for name, reason in report.left_out.items():
        yield f"{name} was left out: {reason}"


def cells(one: Measured, *, told: bool) -> Sequence[Cell]:
    """The cells of a line; with the server's CPU, if it was told of any."""
    server = () if not told else ("" if one.server_cpu_ms is None else f"{one.server_cpu_ms:.3f}",)
    return (
        *speed_cells(one),
        Styled(errors_text(one.errors) or "0", "red" if one.errors else ""),
        Styled(f"{one.client_cpu:.0%}", "yellow" if one.client_cpu > BUSY else ""),
        *server,
    )


def speed_cells(one: Measured) -> Sequence[str]:
    """What was measured, how many there were a second, and the latencies."""
    latency = one.latency_ms
    return (
        one.scenario,
        str(one.clients),
        f"{one.per_second:,.0f}",
        *(milliseconds(value) for value in (latency.p50, latency.p90, latency.p99, latency.max)),
    )


def busy_lines(scenarios: Iterable[Measured]) -> list[str]:
    """A line for each scenario in which the load generator was the bottleneck."""
    return [
        f"{one.case.title}: the load generator took {one.client_cpu:.0%} of a core, so it may be the bottleneck"
        for one in scenarios
        if one.client_cpu > BUSY
    ]


def comparison_table(pairs: Iterable[Pair]) -> Iterable[str]:
    """A line for each scenario that is in both files."""
    heads = ("scenario", "clients", "per s before", "per s now", "ratio", "p50 ratio", "p99 ratio")
    return table(heads, (pair_cells(pair, unknown="") for pair in pairs), "the two files have no scenario in common")


def pair_cells(pair: Pair, unknown: str) -> Sequence[str]:
    """The cells of such a line; with a text for a ratio that is not known."""
    return (
        pair.case.scenario,
        str(pair.case.clients),
        f"{pair.before.per_second:,.0f}",
        f"{pair.now.per_second:,.0f}",
        f"{pair.ratio:.2f}",
        *(unknown if ratio is None else f"{ratio:.2f}" for ratio in (pair.p50_ratio, pair.p99_ratio)),
    )


def milliseconds(value: float) -> str:
    """A latency with three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def errors_text(errors: dict[str, int]) -> str:
    """How many requests did not succeed, by what happened."""
    return ", ".join(f"{count:,} {problem}" for problem, count in errors.items())
