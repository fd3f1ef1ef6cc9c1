"""The head of an answer goes out together with the first piece of its body.

uvicorn writes the head by itself. That is a second system call and a second packet for each answer, and the client is
woken twice for it.
"""

from asyncio import AbstractEventLoop, Transport
from collections.abc import Callable


class JoinedWrites:
    """What one answer writes to its transport: the first piece waits for the second, up to the loop's next iteration.

    Args:
        transport: of the connection.
        loop: the event loop.
        close: ends the connection behind what was written.
    """

    __slots__ = ("_close", "_held", "_loop", "_transport", "_waits")

    def __init__(self, transport: Transport, loop: AbstractEventLoop, close: Callable[[], object]):
        self._transport = transport
        self._loop = loop
        self._close = close
        self._held = b""
        self._waits = True
        """Whether the next piece is the first one."""

    def write(self, data: bytes) -> None:
        """Write a piece, or keep the first one for a moment."""
        if self._waits:
            self._waits, self._held = False, data
            self._loop.call_soon(self.flush)
        elif self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Write what was kept, if nothing has come behind it."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def is_closing(self) -> bool:
        """Whether nothing more is read or written."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End the connection, behind what was written."""
        self.flush()
        self._close()
