"""A report as one page: no scripts, and nothing is loaded from elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from deploy.bench.charts import latency_chart, throughput_chart
from deploy.bench.comparison import Pair, differences, pairs_of
from deploy.bench.report import BUSY, Measured, Report
from deploy.bench.tables import busy_lines, errors_text, pair_cells, speed_cells

STYLE: Final = """
:root { color-scheme: light dark; --ground: #f5f6f8; --card: #ffffff; --line: #dce0e7; --text: #1a1f29; --soft: #545d6c;
  --accent: #1c4fd8; --mark: #b3181f; --other: #7c4a00;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
@media (prefers-color-scheme: dark) { :root { --ground: #12151b; --card: #1b2029; --line: #323a47; --text: #e6e9ef;
  --soft: #a4adbb; --accent: #8db0ff; --mark: #ff9a95; --other: #f3c06b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); }
main { max-width: 76rem; margin: 0 auto; padding: 1.25rem; }
h1 { font-size: 1.45rem; margin: 0 0 .8rem; } h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
h3 { font-size: .87rem; margin: 0 0 .2rem; font-weight: 600; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.15rem;
  margin: 0 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: .87rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
.care { color: var(--mark); } p { margin: .5rem 0 0; } .soft { color: var(--soft); font-size: .87rem; }
figure { margin: 0; } svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .unit { font-size: 11.5px; }
svg .mark { fill: var(--text); stroke: var(--card); stroke-width: 4px; paint-order: stroke; }
svg .end { text-anchor: end; }
svg .middle { text-anchor: middle; } svg .grid { stroke: var(--line); stroke-width: 1; }
svg .bar { fill: var(--accent); opacity: .8; } svg .bar:hover { opacity: 1; }
svg .before { fill: none; stroke: var(--other); stroke-width: 1.5; }
svg .quantile { stroke: var(--mark); stroke-width: 1; stroke-dasharray: 3 3; }
svg .round { fill: none; stroke: var(--accent); stroke-width: 1.5; opacity: .75; } svg .dot { fill: var(--accent); }
svg .median { stroke: var(--mark); stroke-width: 1; stroke-dasharray: 6 4; }
"""
HEADS: Final = (
    *("scenario", "clients", "per second", "p50 ms", "p90 ms", "p99 ms", "max ms", "errors"),
    *("client CPU, share of a core", "API CPU, ms per request"),
)


def page(report: Report, before: Report | None = None) -> str:
    """The page of a report.

    Args:
        report: what was measured.
        before: an earlier report, which it is compared with.
    """
    pairs = [] if before is None else pairs_of(before, report)
    earlier = {pair.case: pair.before for pair in pairs}
    sections = [
        _section("What was measured", _facts(report)),
        _section("Figures", _table(HEADS, map(_row, report.scenarios)), *_notes(report)),
    ]
    if before is not None:
        notes = (f'<p class="care">{escape(line)}</p>' for line in differences(before, report))
        sections.append(_section(f"Beside the run of {before.started_at:%Y-%m-%d %H:%M} UTC", _compared(pairs), *notes))
    sections += [_section(one.case.title, _charts(one, earlier.get(one.case))) for one in report.scenarios]
    content = "\n".join(sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>orchestration bench, {report.started_at:%Y-%m-%d %H:%M} UTC</title><style>{STYLE}</style></head>"
        f"<body><main><h1>orchestration bench</h1>\n{content}\n</main></body></html>\n"
    )


def _facts(report: Report) -> str:
    machine, program, settings = report.machine, report.program, report.settings
    cpu, memory = machine.cpu or machine.architecture, machine.memory_bytes / 2**30
    changed = " with changes that are not committed" if program.changed else ""
    facts = [
        ("server", report.server.url),
        ("server's version", report.server.version or "unknown"),
        ("started", f"{report.started_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("rounds", f"{settings.rounds} of {settings.seconds:g} s, after {settings.warm_up_seconds:g} s of warm-up"),
        ("load generator", f"orchestration {program.version}, Python {program.python}"),
        ("commit", f"{program.commit}{changed}" if program.commit else "unknown"),
        ("machine", f"{machine.cores} cores, {cpu}, {memory:.1f} GiB"),
        ("system", f"{machine.system} {machine.kernel}"),
    ]
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in facts)}</dl>"


def _row(one: Measured) -> Sequence[str]:
    return (
        *speed_cells(one),
        errors_text(one.errors) or "0",
        f"{one.client_cpu:.2f}",
        "–" if one.server_cpu_ms is None else f"{one.server_cpu_ms:.3f}",
    )


def _notes(report: Report) -> Iterator[str]:
    for line in busy_lines(report.scenarios):
        yield f'<p class="care">{escape(line)}</p>'
    for name, reason in report.left_out.items():
        yield f'<p class="care">{escape(f"{name} was left out: {reason}")}</p>'
    yield (
        '<p class="soft">Per second is the median of the rounds; latencies are those of all rounds. The load generator '
        f"may be the bottleneck when it takes more than {BUSY:g} of a core.</p>"
    )


def _compared(pairs: Sequence[Pair]) -> str:
    heads = ("scenario", "clients", "per second before", "now", "ratio", "p50 ratio", "p99 ratio")
    return _table(heads, (pair_cells(pair, unknown="–") for pair in pairs))


def _charts(one: Measured, before: Measured | None) -> str:
    told = "Latency; the outline is the earlier run" if before else "Latency"
    return (
        f'<div class="charts"><figure><h3>{told}</h3>{latency_chart(one, before)}</figure>'
        f"<figure><h3>Throughput; each line is a round</h3>{throughput_chart(one)}</figure></div>"
    )


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
