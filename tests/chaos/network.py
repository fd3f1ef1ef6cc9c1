"""The network between the processes: every connection goes through a proxy that knows who made it, and can be cut.

    engine-1 ─┐                 ┌─ proxy ─► kafka-1          a proxy for each address that somebody serves at
    kafka-2  ─┼─► connections ──┼─ proxy ─► kafka-1's controller
    api-2    ─┘                 └─ proxy ─► postgres         (a Unix socket)

Kafka advertises the proxies' ports, so clients and other brokers come this way. Who connects is found by the process
that has the other end of the connection open, so any two processes can be cut from each other, brokers too.

A cut acts on what one process sends to another, so it can have one direction. What is held is not lost, as little as
TCP loses anything: it comes when the cut is over, if both ends still have the connection.

All proxies run in a thread of their own, so that a long check does not slow the network down.
"""

import asyncio
import contextlib
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from deploy.embedded.ports import HOST

T = TypeVar("T")

Way = Literal["hold", "delay", "reset"]
"""`hold`: nothing arrives. `delay`: everything arrives later. `reset`: connections end, at once and when made."""

RESET: Final = struct.pack("ii", 1, 0)
"""Lets the close of a socket reset its connection, as a machine does that has lost all knowledge of it."""
MAX_DELAYED_BYTES: Final = 1024 * 1024
"""How much of a connection may be on its way. More is not read, so that its sender waits, as TCP makes it do."""
OUTSIDE: Final = "outside"
"""Whoever is not one of the processes, such as the tests themselves. Never cut."""


@dataclass(frozen=True)
class Cut:
    """What happens to that which one process sends to another; in both directions it takes two.

    Args:
        sender: name of a process.
        receiver: name of another.
        way: what happens.
        seconds: how long things are delayed.
    """

    sender: str
    receiver: str
    way: Way = "hold"
    seconds: float = 0.0


def both_ways(one: str, other: str, way: Way = "hold", seconds: float = 0.0) -> list[Cut]:
    """Cuts of both directions between two processes."""
    return [Cut(one, other, way, seconds), Cut(other, one, way, seconds)]


class Network:
    """All proxies.

    Args:
        pids: the processes there are now, by name.
    """

    def __init__(self, pids: Callable[[], Mapping[str, int]]):
        self._pids = pids
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()
        self._cuts: list[Cut] = []

    def start(self) -> None:
        """Let connections through from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End all connections. Fine to call when it was never started."""
        if self._thread.is_alive():
            self._call(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def port_for(self, target: str, port: int) -> int:
        """A new port that leads to a port of a process."""

        async def reach(end: _End) -> None:
            await self._loop.create_connection(lambda: end, HOST, port)

        async def listen() -> int:
            server = await self._loop.create_server(lambda: self._accepted(target, reach), HOST, 0)
            self._servers.append(server)
            listening: int = server.sockets[0].getsockname()[1]
            return listening

        return self._call(listen())

    def socket_for(self, target: str, path: Path, reached: Callable[[], Path]) -> None:
        """A new Unix socket that leads to one of a process, which may be elsewhere after each of its starts."""

        async def reach(end: _End) -> None:
            await self._loop.create_unix_connection(lambda: end, str(reached()))

        async def listen() -> None:
            server = await self._loop.create_unix_server(lambda: self._accepted(target, reach), str(path))
            self._servers.append(server)

        self._call(listen())

    def cut(self, *cuts: Cut) -> None:
        """Begin these cuts, on the connections that exist and on new ones."""

        async def begin() -> None:
            self._cuts += cuts
            self._apply()

        self._call(begin())

    def mend(self, *cuts: Cut) -> None:
        """End these cuts; all when none are given."""

        async def end() -> None:
            for cut in cuts or tuple(self._cuts):
                self._cuts.remove(cut)
            self._apply()

        self._call(end())

    def connected(self, one: str, other: str) -> int:
        """How many connections two processes have now."""

        async def count() -> int:
            return sum({c.source, c.target} == {one, other} for c in self._connections)

        return self._call(count())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(30.0)

    def _accepted(self, target: str, reach: "Reach") -> "_End":
        connection = _Connection(target, reach, self._identify, self._made, self._connections.discard)
        return connection.near

    def _identify(self, accepted: socket.socket) -> str:
        return who_connected(accepted, self._pids())

    def _made(self, connection: "_Connection") -> None:
        self._connections.add(connection)
        connection.apply(self._cuts)

    def _apply(self) -> None:
        for connection in tuple(self._connections):
            connection.apply(self._cuts)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.reset()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self._is_paused:
            transport.pause_reading()
        self._connection.accepted(self)

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
        if self._has_transport and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._is_paused = False
        if self._has_transport and not self.transport.is_closing():
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


def who_connected(accepted: Any, pids: Mapping[str, int]) -> str:
    """The name of the process that has made a connection which was accepted.

    Args:
        accepted: our end of it.
        pids: of the processes that can have made it, by name.
    """
    if accepted.family == socket.AF_UNIX:
        pid = struct.unpack("3i", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return next((name for name, known in pids.items() if known == pid), OUTSIDE)
    inode = _inode(accepted.getpeername()[1], accepted.getsockname()[1])
    return next((name for name, pid in pids.items() if _has_open(pid, inode)), OUTSIDE)


def _inode(local_port: int, remote_port: int) -> str:
    """The inode of the socket of a loopback connection, as `/proc` names it."""
    ends = (f"0100007F:{local_port:04X}", f"0100007F:{remote_port:04X}")
    with open("/proc/net/tcp") as table:
        for line in table:
            if ends[0] in line:
                fields = line.split()
                if (fields[1], fields[2]) == ends:
                    return fields[9]
    return ""


def _has_open(pid: int, inode: str) -> bool:
    wanted = f"socket:[{inode}]"
    try:
        # The newest descriptors come last.
        for descriptor in reversed(os.listdir(f"/proc/{pid}/fd")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") == wanted:
                    return True
    except OSError:
        pass
    return False
