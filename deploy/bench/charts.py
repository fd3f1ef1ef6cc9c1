"""Charts of a scenario as SVG inside of a page, whose style sheet has their colours."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

from deploy.bench.figures import Bucket
from deploy.bench.report import Measured
from deploy.bench.tables import milliseconds

WIDTH: Final = 560
HEIGHT: Final = 250
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 46, 46
PLOT_RIGHT, PLOT_BOTTOM = WIDTH - RIGHT, HEIGHT - BOTTOM
TICKS: Final = 4
"""About so many lines across a chart."""
STEPS: Final = (1, 2, 5)
MIN_TICK_GAP: Final = 44
"""Between two labels of the latency axis, in pixels."""
LABEL_ROW: Final = 13
LABEL_TURN: Final = 0.75
"""Share of the width behind which the name of a quantile is on the left of its line."""


class Scale(NamedTuple):
    """Maps a range of values onto pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value is."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return self.start + share * (self.end - self.start)


def latency_chart(one: Measured, before: Measured | None = None) -> str:
    """How the latencies of a scenario are spread: the share of requests by buckets, on a logarithmic axis.

    Args:
        one: what was measured.
        before: the same of an earlier run, drawn as an outline.
    """
    shown = [buckets for buckets in (one.histogram_ms, before.histogram_ms if before else []) if buckets]
    if not one.histogram_ms:
        return _svg(f"Latency of {one.case.title}", "No request has succeeded.", [])
    low = min(buckets[0].lower for buckets in shown)
    high = max(buckets[-1].upper for buckets in shown)
    x = Scale(math.log10(low), math.log10(high), LEFT, PLOT_RIGHT)
    y = _upwards(max(share for buckets in shown for share in shares(buckets)))
    parts = [*_frame(y, "% of requests"), *_latency_axis(x, low, high)]
    parts += [_bar(x, y, *drawn) for drawn in zip(one.histogram_ms, shares(one.histogram_ms), strict=True)]
    if before and before.histogram_ms:
        parts.append(_outline(x, y, before.histogram_ms))
    latency = one.latency_ms
    marks = (("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99))
    lines, names = zip(*(_mark(x, row, *mark) for row, mark in enumerate(marks)), strict=True)
    parts += [*lines, *names]
    told = ", ".join(f"{name} {milliseconds(value)} ms" for name, value in (*marks, ("max", latency.max)))
    return _svg(f"Latency of {one.case.title}", told, parts)


def throughput_chart(one: Measured) -> str:
    """How many requests of a scenario have succeeded in each second; a line for each round."""
    title = f"Throughput of {one.case.title}"
    seconds = max(len(kept.throughput) for kept in one.rounds)
    if not seconds:
        return _svg(title, "The rounds were shorter than a second.", [])
    x = Scale(0, seconds, LEFT, PLOT_RIGHT)
    y = _upwards(max(1.0, one.per_second, *(count for kept in one.rounds for count in kept.throughput)))
    parts = [*_frame(y, "requests per second"), *_seconds_axis(x, seconds)]
    for number, kept in enumerate(one.rounds, 1):
        points = [(x(second + 0.5), y(count)) for second, count in enumerate(kept.throughput)]
        parts.append(_line(points, f"round {number}: {kept.per_second:,.0f} per second"))
    middle = y(one.per_second)
    parts.append(f'<line class="median" x1="{LEFT}" x2="{PLOT_RIGHT}" y1="{middle:.1f}" y2="{middle:.1f}"/>')
    median = f"median of the rounds: {one.per_second:,.0f} per second"
    parts.append(_text(PLOT_RIGHT, TOP - 10, median, "mark end"))
    return _svg(title, median, parts)


def shares(buckets: Sequence[Bucket]) -> list[float]:
    """The share of each bucket, in percent."""
    total = sum(bucket.requests for bucket in buckets)
    return [100 * bucket.requests / total for bucket in buckets]


def round_values(high: float, count: int = TICKS) -> list[float]:
    """Round values from 0 on, about so many, the last one at or above the highest value."""
    size = 10 ** math.floor(math.log10(high / count))
    step = next(factor * size for factor in (*STEPS, 10) if factor * size * count >= high)
    return [number * step for number in range(math.ceil(high / step - 1e-9) + 1)]


def powers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten within a range."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for n in exponents for factor in STEPS if low <= (value := factor * 10.0**n) <= high]


def _upwards(high: float) -> Scale:
    return Scale(0, round_values(high)[-1], PLOT_BOTTOM, TOP)


def _frame(y: Scale, unit: str) -> list[str]:
    """Lines across the chart, with their values, and what they count."""
    parts = [_text(4, 14, unit, "unit")]
    for value in round_values(y.high):
        at = y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{PLOT_RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(_text(LEFT - 7, at + 4, f"{value:,.6g}" if value < 1000 else f"{value:,.0f}", "end"))
    return parts


def _latency_axis(x: Scale, low: float, high: float) -> list[str]:
    parts, last = [_text(PLOT_RIGHT, HEIGHT - 6, "latency, ms (logarithmic)", "unit end")], -math.inf
    for value in powers(low, high):
        at = x(math.log10(value))
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{PLOT_BOTTOM}" y2="{PLOT_BOTTOM + 5}"/>')
        if at - last >= MIN_TICK_GAP:
            parts.append(_text(at, PLOT_BOTTOM + 18, f"{value:,.6g}", "middle"))
            last = at
    return parts


def _seconds_axis(x: Scale, seconds: int) -> list[str]:
    parts = [_text(PLOT_RIGHT, HEIGHT - 6, "seconds since the start of the round", "unit end")]
    step = max(1, math.ceil(round_values(seconds, 8)[1]))
    for value in range(0, seconds + 1, step):
        at = x(value)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{PLOT_BOTTOM}" y2="{PLOT_BOTTOM + 5}"/>')
        parts.append(_text(at, PLOT_BOTTOM + 18, f"{value:,}", "middle"))
    return parts


def _bar(x: Scale, y: Scale, bucket: Bucket, share: float) -> str:
    left, right, top = x(math.log10(bucket.lower)), x(math.log10(bucket.upper)), y(share)
    told = f"{bucket.lower:g} to {bucket.upper:g} ms: {bucket.requests:,} requests, {share:.2g} %"
    return (
        f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 0.8, 0.8):.1f}" '
        f'height="{PLOT_BOTTOM - top:.1f}"><title>{escape(told)}</title></rect>'
    )


def _outline(x: Scale, y: Scale, buckets: Sequence[Bucket]) -> str:
    points = [(x(math.log10(buckets[0].lower)), y(0))]
    for bucket, share in zip(buckets, shares(buckets), strict=True):
        points += [(x(math.log10(bucket.lower)), y(share)), (x(math.log10(bucket.upper)), y(share))]
    points.append((points[-1][0], y(0)))
    return f'<polyline class="before" points="{_points(points)}"><title>the earlier run</title></polyline>'


def _mark(x: Scale, row: int, name: str, value: float) -> tuple[str, str]:
    """A line at a quantile, and its name on a row of its own, so that names never lie on each other."""
    at, top = x(math.log10(value)), 14 + row * LABEL_ROW
    line = f'<line class="quantile" x1="{at:.1f}" x2="{at:.1f}" y1="{top + 3}" y2="{PLOT_BOTTOM}"/>'
    side, shift = ("end", -5) if at > WIDTH * LABEL_TURN else ("", 5)
    return line, _text(at + shift, top + 4, f"{name} {milliseconds(value)} ms", f"mark {side}")


def _line(points: Sequence[tuple[float, float]], told: str) -> str:
    title = f"<title>{escape(told)}</title>"
    dots = "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)
    return f'<g>{title}<polyline class="round" points="{_points(points)}"/>{dots}</g>'


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind.strip()}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(title: str, told: str, parts: Sequence[str]) -> str:
    """A chart with its name, and in words what it shows; without parts these words are the chart."""
    content = "".join(parts) or _text(WIDTH / 2, HEIGHT / 2, told, "middle")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title}: {told}")}">'
        f"<title>{escape(title)}</title><desc>{escape(told)}</desc>{content}</svg>"
    )
