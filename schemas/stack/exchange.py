"""What a transport and its session say to each other. Apart from both: the session alone knows aiohttp."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

Before = Callable[[], Awaitable[None]]
"""Awaited when a request has its connection, right before it is sent. If it raises, the request is not sent."""


class Streamed(NamedTuple):
    """An answer whose body comes bit by bit."""

    status: int
    content_type: str
    pieces: AsyncIterator[bytes]
    """Raises `NoAnswer` when the connection breaks."""
