"""A worker's place among the others, and the channel between it and its parent.

The channel is a pair of connected sockets. The worker writes a byte when it has started, and one every second from
then on. The parent writes one when the worker may listen. When the parent closes its end, or dies, the worker stops in
order.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NamedTuple

BEAT_SECONDS: Final = 1.0
"""How often a worker shows its parent that its event loop runs."""


class Place(NamedTuple):
    """What a worker is told by its parent."""

    workers: int
    """How many there are."""
    number: int
    """Of this one, from 0."""
    port: int
    """That all listen on."""
    channel: int
    """File descriptor of the worker's end."""
    folder: Path
    """Where each worker has a socket of its own, on which the others ask for its metrics."""


def own_path(folder: Path, number: int) -> str:
    """The path of a worker's own socket."""
    return str(folder / str(number))


def bind_own(place: Place) -> socket.socket:
    """The worker's own socket, which does not listen yet."""
    path = own_path(place.folder, place.number)
    Path(path).unlink(missing_ok=True)  # of a worker that was killed
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    return made


class Parent:
    """The parent, as a worker sees it.

    Args:
        reader: of the channel.
        writer: likewise.
        stop: set when the parent wants the worker to stop, or is gone.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stop: asyncio.Event):
        self._reader = reader
        self._writer = writer
        self._stop = stop
        self._may_listen = asyncio.Event()
        self._started = asyncio.Event()

    async def may_listen(self) -> None:
        """Say that this worker has started, and wait until all may listen, or are to stop."""
        self._started.set()
        await self._may_listen.wait()

    async def follow(self) -> None:
        """Do what the parent says."""
        with contextlib.suppress(ConnectionError):
            if await self._reader.read(1):
                self._may_listen.set()
                await self._reader.read(1)
        self._stop.set()
        self._may_listen.set()

    async def beat(self) -> None:
        """Show that the event loop runs, until the parent is gone."""
        await self._started.wait()
        with contextlib.suppress(ConnectionError):
            while not self._stop.is_set():
                self._writer.write(b".")
                await self._writer.drain()
                await asyncio.sleep(BEAT_SECONDS)


@contextlib.asynccontextmanager
async def parent_of(place: Place, stop: asyncio.Event) -> AsyncIterator[Parent]:
    """The parent of a worker.

    Args:
        place: of the worker.
        stop: set when the parent wants the worker to stop, or is gone.
    """
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=place.channel))
    parent = Parent(reader, writer, stop)
    tasks = [asyncio.create_task(parent.follow()), asyncio.create_task(parent.beat())]
    try:
        yield parent
    finally:
        for task in tasks:
            task.cancel()
        writer.close()
