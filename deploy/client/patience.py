"""Waiting for an API that is away, by a command that waits for something that goes on without it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from deploy.client.errors import Unavailable

T = TypeVar("T")

LOOKS: Final = 120
"""How often it is looked again. Each look tries for some seconds by itself, so these are more than ten minutes: enough
for a restart of all processes, and not for ever."""
PAUSE_SECONDS: Final = 1.0


async def patiently(
    look: Callable[[], Awaitable[T]],
    tell: Callable[[str], None],
    sleep: Callable[[float], Any] = asyncio.sleep,
) -> T:
    """What a look shows, as soon as the API answers.

    Args:
        look: asks the API.
        tell: is told that it is waited for, once.
        sleep: waits for some seconds.

    Raises:
        Unavailable: it was away for too long.
    """
    for number in range(LOOKS):
        try:
            return await look()
        except Unavailable as error:
            if not number:
                tell(f"{error.message}; waiting until it is there again")
            await sleep(PAUSE_SECONDS)
    return await look()
