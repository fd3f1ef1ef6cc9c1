"""Ports on the loopback interface."""

import socket

from deploy.embedded.errors import PortInUse

HOST = "127.0.0.1"


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection of an earlier run in TIME_WAIT doesn't make the port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def check_free(port: int, host: str = HOST) -> None:
    """Raise `PortInUse` when a server could not listen on the port; 0 (any port) is always fine."""
    if port and not is_free(port, host):
        raise PortInUse(f"port {port} on {host} is in use")


def free_ports(count: int) -> list[int]:
    """Different ports nobody listens on. They are not reserved: use them soon."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
