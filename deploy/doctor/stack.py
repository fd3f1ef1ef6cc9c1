"""Whether the stack answers, with the credentials that the engine has."""

import asyncio
from typing import Final

from deploy.doctor.findings import Finding, ok, warning, wrong
from schemas.settings import SettingsError, StackSettings, variable
from schemas.stack.client import StackClient
from schemas.stack.errors import CallFailed, NoToken

ABOUT: Final = "stack"
DEADLINE_SECONDS: Final = 10.0
"""For a token and an answer. A stack that hangs is one of the things to be found."""
CALL: Final = "/api/wallets/wallets?name=orchestration-doctor"
"""A read that needs the credentials, and that every stack answers: 404 where it has no wallets."""


async def ask(settings: StackSettings) -> int:
    """The status that the stack answers a read with.

    Raises:
        SettingsError: its settings can't be used.
        CallFailed: there was no token, or no answer.
        TimeoutError: that took too long.
    """
    client = StackClient(settings)
    await client.open()
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return (await client.send("GET", client.url + CALL)).status
    finally:
        await client.close()


def finding(settings: StackSettings, found: int | Exception) -> Finding:
    """What the answer means.

    Args:
        settings: where the stack is.
        found: the status of the answer, or why there was none.
    """
    about = f"{ABOUT} {settings.stack_url}"
    match found:
        case SettingsError():
            return wrong(ABOUT, str(found), "correct it")
        case NoToken():
            return wrong(about, str(found), f"check {variable('stack_client_id')} and what belongs to it")
        case CallFailed():
            return _unreached(about, settings, f"can't be reached: {found}")
        case TimeoutError():
            return _unreached(about, settings, f"does not answer within {DEADLINE_SECONDS:g} s")
        case 401 | 403:
            remedy = f"check {variable('stack_client_id')}, and what the client may do"
            return wrong(about, f"refuses our credentials with {found}", remedy)
        case int() if found >= 500:
            return warning(about, f"answers {found}", "look at the stack")
    return ok(about, "answers")


def _unreached(about: str, settings: StackSettings, text: str) -> Finding:
    if settings.stack_url == StackSettings().stack_url:
        remedy = f"set {variable('stack_url')}, or run this with the environment of an engine"
        return warning(about, f"{text}; this is where it is looked for by default", remedy)
    return wrong(about, f"{text}. All calls of instances wait", f"check {variable('stack_url')}")
