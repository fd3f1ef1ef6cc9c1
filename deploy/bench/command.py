"""`orchestration bench`: how fast an installation runs workflows, and how fast it is read."""

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from deploy.bench.scenarios import NAMES, cases_of
from deploy.client.errors import FAILED_STATUS
from deploy.client.session import addressed, open_api
from deploy.errors import Stopped

if TYPE_CHECKING:
    from deploy.bench.report import Report, Settings
    from deploy.bench.scenarios import Case

MAX_CLIENTS: Final = 4096
ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
"""They end it as Ctrl-C does. Without that, its workflows would be left behind."""
FILE: Final = click.Path(dir_okay=False, writable=True, path_type=Path)
EARLIER: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("bench", short_help="Measure throughput and latency of an installation.")
@addressed
@click.option("--scenario", "scenarios", type=click.Choice(NAMES), multiple=True, help="Measure this; may be repeated.")
@click.option("--clients", type=click.IntRange(1, MAX_CLIENTS), multiple=True, help="So many clients; may be repeated.")
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Length of a round.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds of each scenario.")
@click.option("--warm-up", type=click.FloatRange(0), default=20.0, show_default=True, help="Seconds before the rounds.")
@click.option("--json", "json_file", type=FILE, metavar="FILE", help="Keep the figures in this file.")
@click.option("--html", "html_file", type=FILE, metavar="FILE", help="Write a page with charts.")
@click.option("--compare", "earlier_file", type=EARLIER, metavar="FILE", help="Compare with figures that were kept.")
@click.option("--fail-below", type=click.FloatRange(0), metavar="RATIO", help="Fail if a scenario is slower than that.")
def bench(
    profile: str | None,
    url: str | None,
    scenarios: tuple[str, ...],
    clients: tuple[int, ...],
    seconds: float,
    rounds: int,
    warm_up: float,
    json_file: Path | None,
    html_file: Path | None,
    earlier_file: Path | None,
    fail_below: float | None,
) -> None:
    """Measure how many workflows an installation runs a second, and how fast it is read.

    It makes workflows named "orchestration bench: …" and deletes them at the end, also after Ctrl-C. What they have run
    stays in the log, and what scenario send has sent stays in the ledger: one BENCH from world to orchestration:bench
    each time. So do not measure an installation in production.

    A client sends its next request when the last one was answered. CLIENT CPU is what all of them take of one core:
    above 80 % they may be the bottleneck. With --fail-below 0.95, --compare fails if throughput is below 95 % of what
    it was.

    Exit status: 0 if it was measured, 1 if no request of a scenario has succeeded, or one is slower than --fail-below.
    """
    import uvloop

    from deploy.bench.page import page
    from deploy.bench.report import Settings, encode, read

    if fail_below is not None and earlier_file is None:
        raise click.UsageError("--fail-below needs --compare")
    for file in filter(None, (json_file, html_file)):
        _check_folder(file)
    before = None if earlier_file is None else read(earlier_file)
    settings = Settings(seconds=seconds, rounds=rounds, warm_up_seconds=warm_up)
    try:
        report = uvloop.run(_measure(profile, url, cases_of(scenarios, clients), settings))
    except asyncio.CancelledError:
        raise Stopped from None
    if json_file is not None:
        json_file.write_bytes(encode(report))
    if html_file is not None:
        html_file.write_text(page(report, before), encoding="utf-8")
    if not all((_tell(report), before is None or _compare(before, report, fail_below))):
        raise click.exceptions.Exit(FAILED_STATUS)


async def _measure(profile: str | None, url: str | None, cases: "list[Case]", settings: "Settings") -> "Report":
    from deploy.bench.running import Bench
    from deploy.progress import Progress

    measuring = asyncio.current_task()

    def stop() -> None:
        if measuring is not None:
            measuring.cancel()

    if threading.current_thread() is threading.main_thread():  # elsewhere nobody can be told of signals
        for number in ENDING_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, stop)
    progress = Progress("s")
    try:
        async with open_api(profile, url) as api:
            return await Bench(api, settings, progress).run(cases)
    finally:
        progress.clear()


def _tell(report: "Report") -> bool:
    """Show the figures; whether each scenario has some."""
    from deploy.bench.tables import busy_lines, figures_table

    for line in figures_table(report):
        click.echo(line)
    for line in busy_lines(report.scenarios):
        click.echo(f"warning: {line}", err=True)
    return all(one.per_second for one in report.scenarios)


def _compare(before: "Report", report: "Report", fail_below: float | None) -> bool:
    """Show the ratios; whether none is too low."""
    from deploy.bench.comparison import differences, pairs_of, slower
    from deploy.bench.tables import comparison_table

    pairs = pairs_of(before, report)
    click.echo("")
    for line in comparison_table(pairs):
        click.echo(line)
    for line in differences(before, report):
        click.echo(f"warning: {line}", err=True)
    failed = [] if fail_below is None else slower(pairs, fail_below)
    for pair in failed:
        click.echo(f"{pair.case.title}: {pair.ratio:.2f} is below {fail_below:g}", err=True)
    return not failed


def _check_folder(file: Path) -> None:
    """Know before the first round that a file can be written.

    Raises:
        UsageError: its folder is not there, or can't be written to.
    """
    if not os.access(file.absolute().parent, os.W_OK):
        raise click.UsageError(f"the folder of {file} does not exist, or cannot be written to")
