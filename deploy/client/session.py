"""What a command of a client has at hand: the API, and how to show things.

`@connected` makes it such a command, `@acting` one that changes something, for which a reason can be given.

@workflows.verb("delete", aliases=("del", "d"))
@acting
@click.argument("workflow")
async def delete(session: Session, workflow: str) -> None: …
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from deploy.client.connection import Api
    from deploy.client.output import Output

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


_PROFILE = click.option("--profile", "-p", metavar="NAME", help="Profile to use: address and credentials from a file.")
_URL = click.option("--url", metavar="URL", help="The API, with its base path. Credentials come from the environment.")


class Session(NamedTuple):
    """The API that a command works with, and its output."""

    api: "Api"
    output: "Output"


def connected(function: Callable[Concatenate[Session, P], Awaitable[None]]) -> Callable[..., None]:
    """Make a coroutine function a command's: with the options that all of them have, and the session in front."""
    return _command(function)


def acting(function: Callable[Concatenate[Session, P], Awaitable[None]]) -> Callable[..., None]:
    """As `connected`, with `--reason`: it is sent with every request that may change something."""
    reason = click.option("--reason", metavar="TEXT", help="Why. It is kept with what happens, and shown.")
    return reason(_command(function))


def addressed(function: F) -> F:
    """Give a command the options that say which API it calls."""
    for option in (_URL, _PROFILE):
        function = option(function)
    return function


def _command(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @addressed
    @click.option("--json", "as_json", is_flag=True, help="Write JSON, and nothing else, to standard output.")
    @click.option("--output", "-o", type=click.Choice(("plain", "json")), hidden=True)
    @functools.wraps(function)
    def command(
        profile: str | None,
        url: str | None,
        as_json: bool,
        output: str | None,
        reason: str | None = None,
        **arguments: Any,
    ) -> None:
        from deploy.client.output import Output
        from deploy.client.parsing import check_encoded

        check_encoded({"reason": reason, **arguments})
        asyncio.run(_run(function, profile, url, reason, Output(as_json=as_json or output == "json"), arguments))

    return command


async def _run(
    function: Callable[..., Awaitable[None]],
    profile: str | None,
    url: str | None,
    reason: str | None,
    output: "Output",
    arguments: dict[str, Any],
) -> None:
    async with open_api(profile, url, reason) as api:
        await function(Session(api, output), **arguments)


def open_api(
    profile: str | None = None, url: str | None = None, reason: str | None = None, *, quiet: bool = False
) -> "Api":
    """The API that options, environment and profiles say.

    Args:
        profile: its name.
        url: of the API.
        reason: why something is changed.
        quiet: whether nothing may be written beside what is asked for.

    Raises:
        ProfileError: they can't be used.
        SettingsWrong: the environment is wrong.
    """
    from deploy.client.connection import Api
    from deploy.client.errors import SettingsWrong
    from deploy.client.profiles import choose
    from schemas.settings import ClientSettings, SettingsError, load

    try:
        settings = load(ClientSettings)
    except SettingsError as error:
        raise SettingsWrong(str(error)) from None
    tell = (lambda _: None) if quiet else functools.partial(click.echo, err=True)
    return Api(choose(settings, profile, url, tell), settings.client_timeout_seconds, reason=reason)
