"""Who has made a connection: the process that has its other end open."""

import contextlib
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deploy.embedded.ports import HOST

OUTSIDE: Final = "outside"
"""Whoever is not one of the processes, such as the tests themselves. Never cut."""

# The kernel's questions about sockets: linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h. One question costs
# microseconds, where to read all of /proc/net/tcp takes milliseconds.
NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
NLM_F_REQUEST: Final = 1
ALL_STATES: Final = 0xFFFFFFFF
NO_COOKIE: Final = b"\xff" * 8
INODE_AT: Final = 84
"""Where the answer tells the inode: behind its head, the socket's addresses and four numbers."""
ANSWER_BYTES: Final = 4096


class Peers:
    """Knows the processes that can make connections.

    Args:
        files: in which each writes its pid, by name.
    """

    def __init__(self, files: Mapping[str, str]):
        self._files = dict(files)

    def who(self, accepted: Any) -> str:
        """The name of the process that has made a connection.

        Args:
            accepted: our end of it.
        """
        if accepted.family == socket.AF_UNIX:
            peer = struct.unpack("3i", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            return next((name for name in self._files if self._pid(name) == peer), OUTSIDE)
        inode = _inode(accepted.getpeername()[1], accepted.getsockname()[1])
        for name in self._files:
            pid = self._pid(name)
            if pid is not None and _has_open(pid, inode):
                # Who connects will soon connect again, above all one whose connections break: it is looked at first.
                self._files = {name: self._files.pop(name), **self._files}
                return name
        return OUTSIDE

    def _pid(self, name: str) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int(Path(self._files[name]).read_text())
        return None


def _inode(port: int, peer_port: int) -> int:
    """The inode of the socket of a loopback connection; 0 if it is gone."""
    address = socket.inet_aton(HOST) + bytes(12)
    ends = struct.pack("!HH", port, peer_port) + address + address + bytes(4) + NO_COOKIE
    question = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, ALL_STATES) + ends
    head = struct.pack("=IHHII", 16 + len(question), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as kernel:
        kernel.send(head + question)
        answer = kernel.recv(ANSWER_BYTES)
    if len(answer) < INODE_AT + 4 or struct.unpack_from("=H", answer, 4)[0] != SOCK_DIAG_BY_FAMILY:
        return 0
    inode: int = struct.unpack_from("=I", answer, INODE_AT)[0]
    return inode


def _has_open(pid: int, inode: int) -> bool:
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
