"""Runs one program and ends it when its owner is gone, even when the owner was killed.

Started by `child` as a script of its own with nothing but the standard library, since it must be small and up at once.
Its standard input is a pipe whose other end only the owner holds: end of file means that the owner has died. A pipe
works on every POSIX system and for an owner with threads, where Linux's parent-death signal would fire as soon as the
*thread* that started the child ends. The guard has one thread, so between guard and program that signal is right, and
covers a guard that is itself killed.

    python guard.py <options as JSON> program argument...
"""

import contextlib
import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time
from typing import Any

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38


def main(options: dict[str, Any], command: list[str]) -> int:
    """Run the program to its end and return its exit status, as a shell would.

    Options: `stop_signal` (number sent to end the program), `grace_seconds` (until it is killed), `pid_file` (where the
    program's pid is written), `user` (`[uid, gid]` to run as, or null), `descriptors` (open files that it inherits).
    """
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    program = subprocess.Popen(  # noqa: S603 - the command comes from our own code
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        pass_fds=options["descriptors"],
        preexec_fn=lambda: _prepare(options["user"]),
    )
    pathlib.Path(options["pid_file"]).write_text(f"{program.pid}\n")
    watched = [0, wake_read]
    deadline: float | None = None
    while program.poll() is None:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select(watched, [], [], timeout)
        stopping = deadline is not None and not ready
        if 0 in ready and os.read(0, 1) == b"":
            watched.remove(0)
            signals = [signal.SIGTERM]
        else:
            signals = [signal.Signals(n) for n in _drain(wake_read)] if wake_read in ready else []
        if any(number != signal.SIGCHLD for number in signals) and deadline is None:
            program.send_signal(options["stop_signal"])
            deadline = time.monotonic() + options["grace_seconds"]
        if stopping:
            _kill_group(program.pid)
            program.wait()
    _kill_group(program.pid)  # What the program left behind in its group.
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


def _drain(descriptor: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 64)
    return b""


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _prepare(user: list[int] | None) -> None:
    """Between fork and exec: change the user, then ask for a signal when the guard dies.

    Another user is one with fewer rights: it gets none of root's capabilities, and no way to more of them.
    """
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None) if linux else None
    if user is not None:
        os.setgroups([])
        os.setgid(user[1])
        os.setuid(user[0])
        if libc:
            libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc:
        # Last, since changing the user resets it.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
