"""The process that all connections go through (see `network`): reads orders as lines of JSON, and answers each in one.

    python -m tests.chaos.proxies

It ends with its standard input, so it does not outlive whoever gives the orders.
"""

import asyncio
import contextlib
import json
import signal
import socket
import struct
import sys
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from deploy.embedded.ports import HOST
from tests.chaos.network import Cut
from tests.chaos.peers import Peers

RESET: Final = struct.pack("ii", 1, 0)
"""Lets the close of a socket reset its connection, as a machine does that has lost all knowledge of it."""
MAX_DELAYED_BYTES: Final = 1024 * 1024
"""How much of a connection may be on its way. More is not read, so that its sender waits, as TCP makes it do."""


class Proxies:
    """All of them. Its public methods are the orders."""

    def __init__(self) -> None:
        self._peers = Peers({})
        self._servers: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()
        self._cuts: list[Cut] = []

    async def know(self, files: dict[str, str]) -> None:
        """From now on these files tell the pids of the processes, by name."""
        self._peers = Peers(files)

    async def port(self, target: str, port: int) -> int:
        """A new port that leads to one of a process."""

        async def reach(end: _End) -> None:
            await asyncio.get_running_loop().create_connection(lambda: end, HOST, port)

        server = await asyncio.get_running_loop().create_server(lambda: self._accepted(target, reach), HOST, 0)
        self._servers.append(server)
        listening: int = server.sockets[0].getsockname()[1]
        return listening

    async def unix(self, target: str, path: str, reached: str) -> None:
        """A new Unix socket that leads to one of a process."""

        async def reach(end: _End) -> None:
            await asyncio.get_running_loop().create_unix_connection(lambda: end, reached)

        self._servers.append(
            await asyncio.get_running_loop().create_unix_server(lambda: self._accepted(target, reach), path)
        )

    async def cut(self, cuts: list[dict[str, Any]]) -> None:
        """Begin these cuts."""
        self._cuts += [Cut(**cut) for cut in cuts]
        self._apply()

    async def mend(self, cuts: list[dict[str, Any]]) -> None:
        """End these cuts; all when there are none."""
        for cut in [Cut(**given) for given in cuts] or list(self._cuts):
            self._cuts.remove(cut)
        self._apply()

    async def connected(self, one: str, other: str) -> int:
        """How many connections two processes have now."""
        return sum({c.source, c.target} == {one, other} for c in self._connections)

    def _accepted(self, target: str, reach: "Reach") -> "_End":
        connection = _Connection(target, reach, self._peers.who, self._made, self._connections.discard)
        return connection.near

    def _made(self, connection: "_Connection") -> None:
        self._connections.add(connection)
        connection.apply(self._cuts)

    def _apply(self) -> None:
        for connection in tuple(self._connections):
            connection.apply(self._cuts)


Reach = Callable[["_End"], Coroutine[Any, Any, None]]
"""Connects an end to the process behind the proxy."""


class _Connection:
    """A connection through a proxy: its near end to whoever has made it, its far end to the process behind."""

    def __init__(
        self,
        target: str,
        reach: Reach,
        identify: Callable[[socket.socket], str],
        made: Callable[["_Connection"], None],
        lost: Callable[["_Connection"], None],
    ):
        self.source, self.target = "", target
        self.near, self.far = _End(self), _End(self)
        self._reach, self._identify, self._made, self._lost = reach, identify, made, lost
        self._sent, self._answered = _Direction(self.near, self.far), _Direction(self.far, self.near)
        self.near.outgoing, self.far.outgoing = self._sent, self._answered
        self.near.incoming, self.far.incoming = self._answered, self._sent
        self._connecting: asyncio.Task[None] | None = None

    def accepted(self, end: "_End") -> None:
        """An end has its transport."""
        if end is self.near:
            self._sent.pause("connecting")
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._reach(self.far)
            self.source = self._identify(self.near.transport.get_extra_info("socket"))
        except OSError:  # nobody serves there
            self.reset()
            return
        self._made(self)
        self._sent.resume("connecting")

    def apply(self, cuts: list[Cut]) -> None:
        """Follow the cuts that there are now."""
        for direction, sender, receiver in (
            (self._sent, self.source, self.target),
            (self._answered, self.target, self.source),
        ):
            mine = [cut for cut in cuts if (cut.sender, cut.receiver) == (sender, receiver)]
            if any(cut.way == "reset" for cut in mine):
                self.reset()
                return
            direction.delay_seconds = max((cut.seconds for cut in mine if cut.way == "delay"), default=0.0)
            if any(cut.way == "hold" for cut in mine):
                direction.pause("held")
            else:
                direction.resume("held")

    def lost(self, end: "_End") -> None:
        """An end is gone: so will be the other one, once it may know."""
        if self._connecting is not None and end is self.near:
            self._connecting.cancel()
        end.outgoing.end()
        if self.near.gone and self.far.gone:
            self._lost(self)

    def reset(self) -> None:
        """End it on both sides."""
        for end in (self.near, self.far):
            end.reset()
        self._lost(self)


class _Direction:
    """The bytes that go from one end to the other, in their order."""

    def __init__(self, sender: "_End", receiver: "_End"):
        self._sender, self._receiver = sender, receiver
        self.delay_seconds = 0.0
        self._waits: set[str] = set()
        """Reasons why nothing is read."""
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._ended = False

    def pause(self, reason: str) -> None:
        """Read nothing more."""
        if not self._waits:
            self._sender.pause()
        self._waits.add(reason)

    def resume(self, reason: str) -> None:
        """Read on, unless there is another reason not to."""
        if reason not in self._waits:
            return
        self._waits.discard(reason)
        if not self._waits:
            self._sender.resume()
        if self._ended:
            self.end()

    def forward(self, data: bytes) -> None:
        """Take bytes along."""
        if not (self.delay_seconds or self._queue):
            self._receiver.write(data)
            return
        loop = asyncio.get_running_loop()
        due = max(loop.time() + self.delay_seconds, self._queue[-1][0] if self._queue else 0.0)
        self._queue.append((due, data))
        self._queued += len(data)
        if self._queued > MAX_DELAYED_BYTES:
            self.pause("delayed")
        loop.call_at(due, self._deliver)

    def _deliver(self) -> None:
        if not self._queue:
            return
        _, data = self._queue.popleft()
        self._queued -= len(data)
        self._receiver.write(data)
        if self._queued <= MAX_DELAYED_BYTES:
            self.resume("delayed")
        if self._ended:
            self.end()

    def end(self) -> None:
        """The sender is gone, which the receiver learns behind all that was sent."""
        self._ended = True
        if not self._queue and "held" not in self._waits:
            self._receiver.close()


class _End(asyncio.Protocol):
    """One side of a connection."""

    transport: asyncio.Transport
    outgoing: _Direction
    """What comes in at this end and goes out at the other."""
    incoming: _Direction

    def __init__(self, connection: _Connection):
        self._connection = connection
        self._is_paused = False
        self._reads = False
        """Whether its transport has begun to read. Before that, some versions of Python forget a pause."""
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        asyncio.get_running_loop().call_soon(self._begin)
        self._connection.accepted(self)

    def _begin(self) -> None:
        """The transport reads from here on; nothing has come yet."""
        self._reads = True
        if self._is_paused and not self.transport.is_closing():
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.outgoing.forward(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._connection.lost(self)

    def pause_writing(self) -> None:
        self.incoming.pause("full")

    def resume_writing(self) -> None:
        self.incoming.resume("full")

    def pause(self) -> None:
        """Read nothing."""
        self._is_paused = True
        if self._reads and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._is_paused = False
        if self._reads and not self.transport.is_closing():
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send bytes, unless it is gone."""
        if self._has_transport and not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """End the connection behind all that was written."""
        if self._has_transport:
            self.transport.close()

    def reset(self) -> None:
        """End the connection at once, so that whoever has it sees a reset."""
        if self._has_transport and not self.transport.is_closing():
            with contextlib.suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()

    @property
    def _has_transport(self) -> bool:
        return hasattr(self, "transport")


async def obey() -> None:
    """Carry out orders until there are no more."""
    proxies, loop = Proxies(), asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order, *arguments = json.loads(line)
        try:
            answer = {"answer": await getattr(proxies, order)(*arguments)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for whoever gives the orders
    asyncio.run(obey())
