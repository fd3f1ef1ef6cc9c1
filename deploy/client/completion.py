"""Completion of names on the command line. Whatever goes wrong, nothing is offered.

Whoever may create a workflow chooses its name, and a shell puts it into the command line of somebody else.
"""

import asyncio
import os
import shlex
from collections.abc import Callable
from typing import Any, Final

import click

COMPLETION: Final = "_ORCHESTRATION_COMPLETE"
"""The variable by which a shell asks for completions; it says which shell."""
TIMEOUT_SECONDS: Final = 2.0
"""Whoever presses the tab key does not wait for long."""
MAX_NAMES: Final = 1000


def complete_workflows(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of workflows."""
    return _complete(ctx, "workflows", incomplete, lambda item: str(item["config"]["name"]))


def complete_triggers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of triggers."""
    return _complete(ctx, "triggers", incomplete, lambda item: str(item["name"]))


def _complete(ctx: click.Context, path: str, incomplete: str, name_of: Callable[[Any], str]) -> list[str]:
    try:
        names = asyncio.run(_names(ctx.params.get("profile"), ctx.params.get("url"), path, name_of))
    except Exception:
        return []
    return sorted({name for name in names if name and name.startswith(incomplete) and _is_harmless(name)})


def _is_harmless(name: str) -> bool:
    """Whether a name that a shell inserts can mean nothing else there.

    One that begins like an option would be taken for one, such as the URL that the token is sent to. Other shells quote
    what they insert. bash does not: it would run the `$(…)` of a name.
    """
    in_bash = os.environ.get(COMPLETION, "").startswith("bash")
    return not name.startswith("-") and name.isprintable() and (not in_bash or shlex.quote(name) == name)


async def _names(profile: str | None, url: str | None, path: str, name_of: Callable[[Any], str]) -> list[str]:
    from deploy.client.session import open_api

    async with asyncio.timeout(TIMEOUT_SECONDS), open_api(profile, url, quiet=True) as api:
        return [name_of(item) async for item in api.pages(path, limit=MAX_NAMES)]
