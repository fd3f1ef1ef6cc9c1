"""Waiting for what a test can't be told of: other processes set no event here, so they are asked again and again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
"""Of what takes milliseconds. A busy machine may take long for it, or stand still meanwhile."""
POLL_SECONDS = 0.02


async def eventually(
    read: Callable[[], Awaitable[T]], holds: Callable[[T], object] = bool, *, seconds: float = DEADLINE_SECONDS
) -> T:
    """Read until something holds, and return what was read then.

    Args:
        read: reads a value.
        holds: whether it is the one that is waited for.
        seconds: deadline.

    Raises:
        AssertionError: it never held; says what was read last.
    """
    last: Any = None
    try:
        async with asyncio.timeout(seconds):
            while not holds(last := await read()):  # noqa: ASYNC110 - nothing sets an event
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not after {seconds:g} s; last was {last!r}") from None
    found: T = last
    return found
