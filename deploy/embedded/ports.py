"""Ports on the loopback interface."""

import secrets
import socket
from typing import Final

from deploy.embedded.errors import PortInUse

HOST: Final = "127.0.0.1"

FIRST_PORT, LAST_PORT = 10_000, 32_000
"""Below the range that systems give to outgoing connections: one of those could take a port between our look and the
start of the server that it is for."""
MAX_TRIES: Final = 1000
"""Ports that are looked at before giving up."""


def is_free(port: int, *, unused: bool = False) -> bool:
    """Whether a server could listen on the port of `HOST` now.

    Args:
        port: the port.
        unused: whether nobody may have it, not even without listening, or have had it a moment ago.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection of an earlier run in TIME_WAIT doesn't make the port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, not unused)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def check_free(port: int) -> None:
    """Raise `PortInUse` when a server could not listen on the port; 0 (any port) is always fine."""
    if port and not is_free(port):
        raise PortInUse(f"port {port} on {HOST} is in use; choose another one, or end what listens there")


def free_ports(count: int) -> list[int]:
    """Different ports nobody has. They are not reserved: use them soon.

    Raises:
        PortInUse: next to all are taken.
    """
    ports: set[int] = set()
    for _ in range(MAX_TRIES):
        if len(ports) == count:
            return sorted(ports)
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        if is_free(port, unused=True):
            ports.add(port)
    raise PortInUse(f"no {count} free ports on {HOST} between {FIRST_PORT} and {LAST_PORT}")
