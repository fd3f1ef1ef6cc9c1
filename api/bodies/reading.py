"""Reading a request's body."""

import asyncio
from typing import Final

from starlette.types import Receive, Scope

from api.errors import ClientGone, Invalid, TooLarge

BODY_TIMEOUT_SECONDS: Final = 30.0
"""How long a body may take to arrive. Without it clients that send a byte now and then would hold requests for ever."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole body; `b""` without one.

    Raises:
        TooLarge: the body has more than `max_bytes`, as declared or as it arrives.
        Invalid: it did not arrive in time.
        ClientGone: the client closed the connection.
    """
    announced = False
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > max_bytes:
            raise _too_large(max_bytes)
        announced |= name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
    if not announced:  # as in RFC 9112; a deadline for nothing would be a twelfth of the request's work
        return b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            return await _read(receive, max_bytes)
    except TimeoutError:
        raise Invalid(f"the body did not arrive within {BODY_TIMEOUT_SECONDS:g} seconds") from None


def announces_body(scope: Scope) -> bool:
    """Whether a request has a body, as RFC 9112 (6.3) tells from its head."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


async def disconnected(receive: Receive) -> None:
    """Wait until the client closes the connection. What is left of the body is thrown away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes} bytes")
