"""Ports for servers of tests: nobody else is given one, neither by this run of the tests nor by another beside it.

A port that was only found free may be taken by the time its server starts: by another worker, by a checkout in which
tests run too, or by the next call here.
"""

import socket
import sys
from typing import Final

from deploy.embedded.ports import HOST, free_ports

_HELD: Final[list[socket.socket]] = []
"""For as long as this process runs."""


def reserved_port() -> int:
    """A port that is this process's."""
    while True:
        (port,) = free_ports(1)
        if sys.platform != "linux":  # elsewhere it can't be held, since then no server could listen on it
            return port
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            held.bind((HOST, port))  # this fails if anybody holds it, and
        except OSError:
            held.close()
            continue
        # from here on whoever allows that as well can bind it, as servers do, since nobody listens on ours.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _HELD.append(held)
        return port
