"""The server: a listener, its connections' limits, and a stop that its process asks for."""

import asyncio
import contextlib
import logging
import resource
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import uvicorn
from starlette.types import ASGIApp

from deploy.errors import DeployError
from deploy.http.protocol import Limits, Protocol

logger = logging.getLogger(__name__)

BACKLOG: Final = 2048
"""Connections that may wait to be accepted; a burst of clients beyond Python's 128 would be refused."""
FIRST_REQUEST_SECONDS: Final = 0.1
"""How long a stop waits for the first requests of connections that were just made. They are on their way: without this,
they would be answered by a reset."""
CHECK_SECONDS: Final = 1.0
"""Time between two checks of the connections' deadlines, so how late a deadline may be noticed."""
REFUSED: Final = "%d connections refused: %d are open"
DISPLACED: Final = "%d idle connections closed to make room for others: %d are open"
MAX_UNREAD_BYTES: Final = 128 * 1024 * 1024
"""What all clients together may leave unread of their answers. Each of them has a deadline, but a thousand that ask for
a large list and take nothing of it would fill the memory before that."""
MAX_HEADS_BYTES: Final = 64 * 1024 * 1024
"""What all clients together may have sent of heads that are not complete. Each may send 64 KiB and take 10 s for it,
before anybody asks who it is: thousands that do so would fill the memory."""
MAX_BODIES_BYTES: Final = 256 * 1024 * 1024
"""Likewise of bodies that are not complete. Each may have 512 KiB, and take 30 s for it."""
KEEP_ALIVE_SECONDS: Final = 75.0
"""How long a connection may be idle between two requests. Gateways keep theirs for a minute: with less, a POST could be
sent on a connection that is being closed, and nobody would know whether it was read."""
OTHER_FILES: Final = 256
"""File descriptors that are not for clients: connections to Kafka, Postgres and the issuer, files, the listener."""
MAX_FILES: Final = 65_536
"""More than any cap on connections needs. Where the hard limit is infinite, the soft limit would become infinite
too."""


class Server(uvicorn.Server):
    """A uvicorn server that enforces its connections' deadlines."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        checking = asyncio.create_task(self._check_connections())
        try:
            await super().serve(sockets)
        finally:
            checking.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and end once what has come was answered.

        When a listener is closed, the kernel resets the connections that nobody has accepted, so they are accepted
        first.
        """
        loop = asyncio.get_running_loop()
        accepted = [connection for listener in sockets or () for connection in accept_all(listener)]
        for server in self.servers:
            server.close()
        for connection in accepted:
            await loop.connect_accepted_socket(self._protocol, connection)
        await asyncio.sleep(FIRST_REQUEST_SECONDS)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    async def _check_connections(self) -> None:
        loop = asyncio.get_running_loop()
        told: Counter[str] = Counter()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = loop.time()
            for connection in [*self.server_state.connections]:
                try:
                    if isinstance(connection, Protocol):
                        connection.check(now)
                except Exception:  # one connection's fault must not leave the others without deadlines
                    logger.exception("a connection could not be checked")
                    connection.transport.abort()
            connections = [c for c in self.server_state.connections if isinstance(c, Protocol)]
            bound_unread(connections)
            bound_heads(connections)
            bound_bodies(connections)
            limits = getattr(self.config.http_protocol_class, "limits", None)
            if isinstance(limits, Limits):
                for text, count in ((REFUSED, limits.refused_connections), (DISPLACED, limits.displaced_connections)):
                    if count > told[text]:
                        logger.warning(text, count - told[text], limits.max_connections)
                        told[text] = count


def bound_unread(connections: Sequence[Protocol], max_bytes: int = MAX_UNREAD_BYTES) -> None:
    """Abort connections whose clients don't take their answers while these take more memory than is allowed.

    Args:
        connections: all of a server.
        max_bytes: what may stay unread. Those that have been waited for longest go first.
    """
    unread = {connection: size for connection in connections if (size := connection.unread_bytes)}
    longest_first = sorted(unread, key=lambda connection: connection.write_deadline)
    if aborted := _abort_until(max_bytes, [(connection, unread[connection]) for connection in longest_first]):
        logger.warning(
            "%d connections aborted: together, clients left more than %d bytes of their answers unread",
            aborted,
            max_bytes,
        )


def bound_heads(connections: Sequence[Protocol], max_bytes: int = MAX_HEADS_BYTES) -> None:
    """Abort connections whose heads are not complete while these take more memory than is allowed.

    Args:
        connections: all of a server.
        max_bytes: of all of them. The largest go first: what ordinary clients send is small.
    """
    _bound_incomplete("heads", [(connection, connection.head_bytes) for connection in connections], max_bytes)


def bound_bodies(connections: Sequence[Protocol], max_bytes: int = MAX_BODIES_BYTES) -> None:
    """Likewise for bodies that are not complete."""
    _bound_incomplete("bodies", [(connection, connection.body_bytes) for connection in connections], max_bytes)


def _bound_incomplete(what: str, sizes: Sequence[tuple[Protocol, int]], max_bytes: int) -> None:
    largest_first = sorted(((connection, size) for connection, size in sizes if size), key=lambda sized: -sized[1])
    if aborted := _abort_until(max_bytes, largest_first):
        logger.warning(
            "%d connections aborted: together, clients sent more than %d bytes of %s that are not complete",
            aborted,
            max_bytes,
            what,
        )


def _abort_until(max_bytes: int, sizes: Sequence[tuple[Protocol, int]]) -> int:
    """Abort connections, the first ones first, until the others together have no more bytes; how many."""
    left, aborted = sum(size for _, size in sizes), 0
    for connection, size in sizes:
        if left <= max_bytes:
            break
        left -= size
        aborted += 1
        connection.transport.abort()
    return aborted


def accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """Accept the connections that wait at a listener that does not block."""
    with contextlib.suppress(OSError):  # BlockingIOError: no more wait
        while True:
            yield listener.accept()[0]


class ManagedServer(Server):
    """A server that leaves signals to its process: `should_exit` stops it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Changes nothing: the process stops everything in order by one deadline."""
        yield


def server_config(
    app: ASGIApp,
    *,
    max_connections: int,
    stop_seconds: int,
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    protocol: type[Protocol] = Protocol,
    lifespan: Literal["on", "off", "auto"] = "off",
    **more: Any,
) -> uvicorn.Config:
    """How every server of ours is run.

    Args:
        app: what answers.
        max_connections: open at once; a request on one more is answered 503.
        stop_seconds: how long requests may go on after a stop; then their tasks are cancelled.
        keep_alive_seconds: how long a connection may be idle between two requests.
        protocol: of a connection.
        lifespan: whether the application wants to know about start and stop.
        more: of uvicorn, such as `host` and `port` for a server that makes its listener itself.
    """
    options: dict[str, Any] = {
        "http": type(protocol.__name__, (protocol,), {"limits": Limits(max_connections, keep_alive_seconds)}),
        "ws": "none",
        "lifespan": lifespan,
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,  # nothing here asks where a request came from
        "timeout_graceful_shutdown": stop_seconds,
    }
    return uvicorn.Config(app, **options | more)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0 takes a free one.

    Raises:
        DeployError: the port is in use or the host is not ours.
    """
    with _told(host, port):
        return socket.create_server((host, port), family=_family(host), backlog=BACKLOG)


def bind_shared(host: str, port: int, *, first: bool) -> socket.socket:
    """A socket on a port that processes share. It does not listen yet; each that does gets a share of the connections.

    Args:
        host: address.
        port: 0 takes a free one.
        first: nobody else may be there yet. Those that follow, of the same user, share the port with this one.

    Raises:
        DeployError: the port is in use or the host is not ours.
    """
    made = socket.socket(_family(host))
    with contextlib.ExitStack() as failed, _told(host, port):
        failed.callback(made.close)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, not first)
        made.bind((host, port))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        failed.pop_all()
    return made


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextlib.contextmanager
def _told(host: str, port: int) -> Iterator[None]:
    """Errors of a socket with the address."""
    try:
        yield
    except OSError as error:
        # Python's own text repeats the address.
        reason = (error.strerror or str(error)).partition(" (while attempting")[0]
        raise DeployError(f"can't listen on {host}:{port}: {reason}") from None


def connections_within(max_connections: int) -> int:
    """The cap on connections that the file descriptors allow, after their limit was raised as far as it goes.

    Shells give a process 1024, and a server that has none left accepts nobody and can't even say so.

    Args:
        max_connections: the cap to keep.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    if soft == resource.RLIM_INFINITY or max_connections <= soft - OTHER_FILES:
        return max_connections
    allowed = max(1, soft - OTHER_FILES)
    logger.warning("connections are limited to %d, since the process may open only %d files", allowed, soft)
    return allowed
