"""The filters of instances, as options of commands."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from deploy.client.completion import complete_workflows
from deploy.client.parsing import not_empty

Command = TypeVar("Command", bound=Callable[..., Any])

STATES: Final = ("running", "waiting", "delayed", "retrying", "paused", "succeeded", "failed", "aborted")
"""As the API has them, which a test compares. To import its resources for that would make every command start later."""

_OPTIONS: Final = (
    click.option(
        "--workflow",
        "workflows",
        metavar="ID|NAME",
        multiple=True,
        shell_complete=complete_workflows,
        help="Only those of this workflow; may be given several times.",
    ),
    click.option("--running", is_flag=True, help="Only those that have not ended."),
    click.option(
        "--state",
        "states",
        type=click.Choice(STATES),
        multiple=True,
        help="Only those in this state; may be given several times.",
    ),
    click.option(
        "--key", metavar="KEY", help="Only those with this variable, event, or id of what their activities used."
    ),
    click.option("--error", metavar="TEXT", help="Only those whose error has this text in it."),
    click.option("--created-after", metavar="TIME", help="Only those created at this time (or day) or later."),
    click.option("--created-before", metavar="TIME", help="Only those created before this time."),
    click.option("--terminated-after", metavar="TIME", help="Only those that ended at this time or later."),
    click.option("--terminated-before", metavar="TIME", help="Only those that ended before this time."),
)


def filtered(command: Command) -> Command:
    """Give a command the options; it takes them as keyword arguments, and makes a query of them by `query_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


async def query_of(api: Any, **options: Any) -> dict[str, Any]:
    """The filters as the API takes them; those that are not given are None.

    Args:
        api: knows the ids of workflows.
        options: what the command was given.

    Raises:
        UsageError: a text is empty. Without this filter, there would be far more instances than was meant.
    """
    from deploy.client.names import workflow_id

    for name, value in options.items():
        if isinstance(value, str):
            not_empty(f"--{name.replace('_', '-')}", value)
    return {
        "workflowID": [await workflow_id(api, name) for name in options["workflows"]] or None,
        "running": "true" if options["running"] else None,
        "state": list(options["states"]) or None,
        "key": options["key"],
        "error": options["error"],
        "createdAfter": options["created_after"],
        "createdBefore": options["created_before"],
        "terminatedAfter": options["terminated_after"],
        "terminatedBefore": options["terminated_before"],
    }
