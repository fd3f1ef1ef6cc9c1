"""What a command of a client has at hand: the API, and how to show things. `@connected` makes it such a command.

@workflows.verb("delete", aliases=("del", "d"))
@connected
@click.argument("workflow")
async def delete(session: Session, workflow: str) -> None: …
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec

import click

if TYPE_CHECKING:
    from deploy.client.connection import Api
    from deploy.client.output import Output

P = ParamSpec("P")


class Session(NamedTuple):
    """The API that a command works with, and its output."""

    api: "Api"
    output: "Output"


def connected(function: Callable[Concatenate[Session, P], Awaitable[None]]) -> Callable[..., None]:
    """Make a coroutine function a command's: with the options that all of them have, and the session in front."""

    @click.option("--profile", "-p", metavar="NAME", help="Profile to use: address and credentials from a file.")
    @click.option("--url", metavar="URL", help="The API, with its base path. Credentials come from the environment.")
    @click.option("--json", "as_json", is_flag=True, help="Write JSON, and nothing else, to standard output.")
    @click.option("--output", "-o", type=click.Choice(("plain", "json")), hidden=True)
    @functools.wraps(function)
    def command(profile: str | None, url: str | None, as_json: bool, output: str | None, **arguments: Any) -> None:
        from deploy.client.output import Output

        asyncio.run(_run(function, profile, url, Output(as_json=as_json or output == "json"), arguments))

    return command


async def _run(
    function: Callable[..., Awaitable[None]],
    profile: str | None,
    url: str | None,
    output: "Output",
    arguments: dict[str, Any],
) -> None:
    async with open_api(profile, url) as api:
        await function(Session(api, output), **arguments)


def open_api(profile: str | None = None, url: str | None = None) -> "Api":
    """The API that options, environment and profiles say.

    Raises:
        ProfileError: they can't be used.
        SettingsError: the environment is wrong.
    """
    from deploy.client.connection import Api
    from deploy.client.profiles import choose
    from schemas.settings import ClientSettings, load

    settings = load(ClientSettings)
    return Api(choose(settings, profile, url), settings.client_timeout_seconds)
