"""`orchestration stats`: how many instances there are, and what has happened over time."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from deploy.client.completion import complete_workflows
from deploy.client.instance_filters import STATES
from deploy.client.session import Session, connected

if TYPE_CHECKING:
    from deploy.client.output import Cell

OUTCOMES: Final = ("succeeded", "failed", "aborted")
MAX_HOURS: Final = 93 * 24
"""As the API has it."""
_LAST: Final = re.compile(r"([1-9][0-9]{0,3})([hd])")


@click.command("stats", short_help="Count instances by state, and what has happened over time.")
@connected
@click.argument("workflow", required=False, shell_complete=complete_workflows)
@click.option("--last", metavar="TIME", help="How much time to look at, as 12h or 30d; at most 93d.  [default: 24h]")
@click.option("--step", type=click.Choice(("hour", "day")), help="Cut the time into hours or days, and show each.")
async def stats(session: Session, workflow: str | None, last: str | None, step: str | None) -> None:
    """Count instances by workflow and state, and show what has happened over time.

    Of a single WORKFLOW the stages are shown, too. P50 and P95 are of those that have succeeded: half of them took at
    most P50, 95 of 100 at most P95.
    """
    from deploy.client.names import workflow_id

    found = await session.api.get(
        "stats",
        workflowID=None if workflow is None else await workflow_id(session.api, workflow),
        step=step,
        **{"from": since(last)},
    )
    session.output.show(found, lambda: lines(found, steps=step is not None))


def since(last: str | None) -> str | None:
    """The instant before which nothing is looked at, as the API takes it.

    Args:
        last: how much time before now, as `12h` or `30d`; None leaves it to the API.

    Raises:
        UsageError: it is something else.
    """
    if last is None:
        return None
    given = _LAST.fullmatch(last)
    if given is None:
        raise click.UsageError(f"--last {last!r} is not a number of hours or days, such as 12h or 30d")
    hours = int(given[1]) * (24 if given[2] == "d" else 1)
    if hours > MAX_HOURS:
        raise click.UsageError(f"--last {last!r} is more than 93d")
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


def lines(found: dict[str, Any], *, steps: bool) -> Iterator[str]:
    """The statistics for people.

    Args:
        found: what the API has answered.
        steps: whether each hour or day is shown.
    """
    from deploy.client.output import moment, pairs, table

    states = ", ".join(f"{found['states'][state]:,} {state}" for state in STATES if found["states"][state])
    ended = ", ".join(f"{found['ended'][outcome]['count']:,} {outcome}" for outcome in OUTCOMES)
    yield from pairs([
        ("now", states or "no instances"),
        ("from", f"{moment(found['from'])} to {moment(found['to'])}"),
        ("started", f"{found['started']:,}"),
        ("ended", ended),
    ])  # fmt: skip
    yield from _titled("workflows", table(_WORKFLOW_HEADS, map(_workflow, found["workflows"]), "no workflows"))
    if omitted := found.get("omittedWorkflows"):
        yield f"and {omitted:,} more"
    if found.get("stages"):
        rows = (_ended(str(stage["stage"]), stage["ended"]) for stage in found["stages"])
        yield from _titled("stages", table(("stage", *_ENDED_HEADS), rows, ""))
    if steps:
        rows = (_ended(moment(one["from"]), one["ended"], f"{one['started']:,}") for one in found["steps"])
        yield from _titled("over time", table((found["step"], "started", *_ENDED_HEADS), rows, ""))
    if found["oldest"]:
        yield from _titled("oldest", table(_OLDEST_HEADS, map(_oldest, found["oldest"]), ""))


_ENDED_HEADS: Final = (*OUTCOMES, "p50", "p95")
_WORKFLOW_HEADS: Final = ("workflow", "name", *STATES)
_OLDEST_HEADS: Final = ("state", "instance", "workflow", "started", "waits for")


def _titled(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield ""
    yield click.style(title, bold=True)
    yield from lines


def _workflow(found: dict[str, Any]) -> "Sequence[Cell]":
    return found["workflowID"], found["name"], *(f"{found['states'][state]:,}" for state in STATES)


def _ended(first: str, ended: dict[str, Any], *others: str) -> "Sequence[Cell]":
    from deploy.client.output import duration

    counts = (f"{ended[outcome]['count']:,}" for outcome in OUTCOMES)
    succeeded = ended["succeeded"]
    times = (duration(succeeded[name]) if name in succeeded else "" for name in ("p50Seconds", "p95Seconds"))
    return first, *others, *counts, *times


def _oldest(found: dict[str, Any]) -> "Sequence[Cell]":
    from deploy.client.output import moment, waits_for

    return found["state"], found["instanceID"], found["workflowID"], moment(found["createdAt"]), waits_for(found)
