"""`orchestration instances bulk …`: an action on all instances that pass a filter."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any, Final

import click

from deploy.client.errors import FAILED_STATUS, Unavailable
from deploy.client.groups import Aliased
from deploy.client.instance_filters import filtered, query_of
from deploy.client.patience import patiently
from deploy.client.questions import confirmed
from deploy.client.session import Session, acting, connected
from deploy.client.workflows import LIST_LIMIT

POLL_SECONDS: Final = 0.5
"""Between looks at an operation that is watched."""


@click.group("bulk", cls=Aliased, short_help="Act on all instances that pass a filter.")
def bulk() -> None:
    """Act on all instances that pass a filter, in the background; look how far that is, and stop it.

    What would be done is shown first. Exit status: 0 if each instance was acted on, 1 if some were not.
    """


@bulk.verb("start", short_help="Abort, resume or retry all instances that pass a filter.")
@acting
@click.argument("action", metavar="abort|resume|retry")
@filtered
@click.option("--all", "everything", is_flag=True, help="All instances; needed where there is no other filter.")
@click.option("--dry-run", is_flag=True, help="Only show which instances there are.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask whether to do it.")
@click.option("--no-wait", is_flag=True, help="Don't wait until it has ended.")
async def start(
    session: Session, /, action: str, everything: bool, dry_run: bool, yes: bool, no_wait: bool, **options: Any
) -> None:
    """Abort, resume or retry all instances that pass the filters. Shows them first, and asks whether to do it."""
    filters = {name: value for name, value in (await query_of(session.api, **options)).items() if value is not None}
    if not filters and not everything:
        raise click.UsageError(f"say which instances to {action}: give a filter, or --all")
    body = {"action": action, "filter": filters, "all": everything}
    preview = await session.api.post("instances", "bulk", body={**body, "dryRun": True})
    if dry_run:
        session.output.show(preview, lambda: shown_preview(preview))
        return
    if not (preview["matching"] or preview["more"]):
        session.output.show(preview, lambda: [f"there is no instance to {action}"])
        return
    if not yes:
        await ask(action, preview)
    started = await session.api.post("instances", "bulk", body=body)
    if no_wait:
        session.output.show(started, lambda: [f"bulk operation {started['id']} has started"])
        return
    await watch_until_ended(session, started)


@bulk.verb("list", aliases=("ls", "l"), short_help="List bulk operations, newest first.")
@connected
@click.option("--limit", "-n", type=click.IntRange(0), default=LIST_LIMIT, show_default=True, help="0 for all.")
async def list_operations(session: Session, limit: int) -> None:
    """List bulk operations, newest first."""
    from deploy.client.output import moment, table

    found = [item async for item in session.api.pages("bulk", limit=limit)]
    heads = ("id", "action", "state", "started", "ended", "sent", "done", "refused", "by", "reason")
    rows = (
        (
            *(one["id"], one["action"], one["state"], moment(one["createdAt"]), moment(one.get("terminatedAt"))),
            *(str(one["sent"]), str(one["done"]), str(one["refused"]), one.get("by", ""), one.get("reason", "")),
        )
        for one in found
    )
    session.output.show(found, lambda: table(heads, rows, "no bulk operations"))
    session.output.note_limit(len(found), limit)


@bulk.verb("show", aliases=("s",), short_help="Show a bulk operation.")
@connected
@click.argument("operation")
async def show(session: Session, operation: str) -> None:
    """Show how far a bulk operation is."""
    found = await session.api.get("bulk", operation)
    session.output.show(found, lambda: lines(found))


@bulk.verb("watch", aliases=("w",), short_help="Show how far a bulk operation is until it has ended.")
@connected
@click.argument("operation")
async def watch(session: Session, operation: str) -> None:
    """Show how far a bulk operation is until it has ended."""
    await watch_until_ended(session, await session.api.get("bulk", operation))


@bulk.verb("stop", short_help="Stop a bulk operation. What it has done stays.")
@acting
@click.argument("operation")
async def stop(session: Session, operation: str) -> None:
    """Stop a bulk operation: at most 100 instances more are acted on. What it has done stays."""
    found = await session.api.post("bulk", operation, "stop")
    session.output.show(found, lambda: [f"bulk operation {operation} is {found['state']}"])


async def ask(action: str, preview: dict[str, Any]) -> None:
    """Show what would be done, and ask whether to do it.

    Raises:
        UsageError: there is nobody to be asked.
        Exit: the answer is no.
        CancelledError: Ctrl-C.
    """
    for line in shown_preview(preview):
        click.echo(line, err=True)
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here whether to do this: add --yes")
    try:
        if await confirmed(f"{action} {counted(preview)}?"):
            return
    except asyncio.CancelledError:
        click.echo("\nnothing was done", err=True)
        raise
    click.echo("nothing was done", err=True)
    raise click.exceptions.Exit(FAILED_STATUS)


def counted(preview: dict[str, Any]) -> str:
    """How many instances there are."""
    if preview["more"] and not preview["matching"]:
        return "all instances that are found"
    if preview["more"]:
        return f"more than {preview['matching']:,} instances"
    return "1 instance" if preview["matching"] == 1 else f"{preview['matching']:,} instances"


def shown_preview(preview: dict[str, Any]) -> Iterable[str]:
    """What would be done."""
    from deploy.client.output import moment, styled_state, table

    rows = [
        (
            one["id"],
            one["workflow"]["config"]["name"],
            styled_state(one),
            moment(one["createdAt"]),
            one.get("error", ""),
        )
        for one in preview["sample"]
    ]
    if not rows and preview["more"]:
        yield f"no instance to {preview['action']} among the newest; there may be some that were not looked at"
        return
    yield f"{counted(preview)} to {preview['action']}, of which the newest are:"
    yield from table(("id", "workflow", "state", "started", "error"), rows, "none")


def lines(operation: dict[str, Any]) -> Iterable[str]:
    """An operation as people see it."""
    from deploy.client.output import moment, pairs

    refusals = ", ".join(f"{count} {code}" for code, count in operation["refusals"].items())
    return pairs([
        ("id", operation["id"]),
        ("action", operation["action"]),
        ("state", operation["state"]),
        ("started", moment(operation["createdAt"])),
        ("ended", moment(operation.get("terminatedAt"))),
        ("by", operation.get("by", "")),
        ("reason", operation.get("reason", "")),
        ("expected", str(operation.get("expected", ""))),
        ("sent", str(operation["sent"])),
        ("done", str(operation["done"])),
        ("refused", f"{operation['refused']} ({refusals})" if refusals else "0"),
        ("unknown", str(operation.get("lost", ""))),
    ])  # fmt: skip


async def watch_until_ended(session: Session, operation: dict[str, Any]) -> None:
    """Show an operation until it has ended, and end with its outcome as exit status."""
    from deploy.progress import Progress

    progress = Progress("instances")
    try:
        async for operation in _states(session, operation):  # noqa: B020 - the last one stays
            dealt_with = operation["done"] + operation["refused"]
            progress.show(dealt_with, max(operation.get("expected", 0), operation["sent"]))
    except (asyncio.CancelledError, Unavailable):
        progress.clear()
        id = operation["id"]
        session.output.note(
            f"the bulk operation goes on: orchestration instances bulk watch {id}; to stop it: … bulk stop {id}"
        )
        raise
    finally:
        progress.clear()
    session.output.show(operation, lambda: lines(operation))
    if operation["state"] == "stopped" or operation["refused"] or operation.get("lost"):
        raise click.exceptions.Exit(FAILED_STATUS)


async def _states(session: Session, operation: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """An operation as it is now and then, up to its end."""
    yield operation
    while operation["state"] in ("running", "stopping"):
        await asyncio.sleep(POLL_SECONDS)
        look = partial(session.api.get, "bulk", operation["id"])
        operation = await patiently(look, session.output.note)
        yield operation
