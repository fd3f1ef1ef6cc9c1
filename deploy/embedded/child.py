"""One program run as our child: it ends when we end, and what an earlier run left behind is ended first."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import psutil

from deploy.embedded import guard
from deploy.embedded.errors import DataInUse

LEFTOVER_SECONDS: Final = 20.0
"""How long a program of an earlier run may take to end. Its guard is stopping it already; without the wait a restart
right after a kill would meet the old program's ports and locks."""

CLOCK_SLACK_SECONDS: Final = 1.0
"""Process start times are rounded; without slack a leftover could look younger than the file that names it."""
KILLED_SECONDS: Final = 2.0
"""How long is waited for what was killed. On a busy machine it takes a moment."""


class Child:
    """A program under a guard.

    Args:
        command: program and arguments.
        pid_file: remembers the program for the next run; its folder must exist.
        output: file that takes standard output and error, emptied at the start; when not given, a pipe does
            (`process.stdout`), which somebody must read.
        stop_signal: how the program is asked to end.
        grace_seconds: how long it may take to end when its owner dies, until it is killed.
        user: uid and gid to run as.
        environment: variables of the program; our own when not given.
        directory: working directory of the program; our own when not given.
        descriptors: open files that the program inherits, under the same numbers.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        pid_file: Path,
        output: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_seconds: float = 10.0,
        user: tuple[int, int] | None = None,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        options = {
            "stop_signal": int(stop_signal),
            "grace_seconds": grace_seconds,
            "pid_file": str(pid_file),
            "user": user,
            "descriptors": list(descriptors),
        }
        end_leftover(pid_file)
        self._pid_file = pid_file
        with contextlib.ExitStack() as stack:
            target: IO[bytes] | int = stack.enter_context(output.open("wb")) if output else subprocess.PIPE
            self.process = subprocess.Popen(  # noqa: S603 - the command comes from our own code
                [sys.executable, "-I", "-S", guard.__file__, json.dumps(options), *command],
                stdin=subprocess.PIPE,
                stdout=target,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=directory,
                pass_fds=descriptors,
                # A Ctrl-C in the terminal is for the owner, who then stops its children in order.
                start_new_session=True,
            )
        self.started = time.monotonic()

    @property
    def returncode(self) -> int | None:
        """The exit status once the program has ended, else None."""
        return self.process.poll()

    def terminate(self) -> None:
        """Ask the program to end; the guard kills it after `grace_seconds`."""
        if self.returncode is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout_seconds: float) -> None:
        """End the program: asked first, killed when the time is over. Returns when it is gone."""
        self.terminate()
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._close()

    def kill(self) -> None:
        """End the program at once. Returns when it is gone."""
        leftover = _running(self._pid_file)
        if leftover is not None:
            with contextlib.suppress(psutil.Error):  # what is left then ends with its guard
                _kill_tree(leftover)
        with contextlib.suppress(subprocess.TimeoutExpired):
            # The guard reaps the program and leaves by itself.
            self.process.wait(2.0)
        if self.returncode is None:
            self.process.kill()
            self.process.wait()
        self._close()

    def _close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self._pid_file.unlink(missing_ok=True)


def end_leftover(pid_file: Path, timeout_seconds: float = LEFTOVER_SECONDS) -> None:
    """Wait for the program that an earlier run left behind to end; kill it when the time is over.

    Raises:
        DataInUse: it can't be ended, since it belongs to somebody else.
    """
    leftover = _running(pid_file)
    if leftover is None:
        return
    try:
        leftover.wait(timeout_seconds)
    except psutil.TimeoutExpired:
        try:
            _kill_tree(leftover)
            leftover.wait(timeout_seconds)
        except (psutil.TimeoutExpired, psutil.AccessDenied):
            raise DataInUse(f"process {leftover.pid} of an earlier run still uses {pid_file.parent}") from None


def _running(pid_file: Path) -> psutil.Process | None:
    """The program that a pid file names, if it still runs.

    The program was alive when the file was written, so a process with its pid that is older than the file is that
    program, and a younger one got the number later.
    """
    try:
        pid = int(pid_file.read_text())
        written = pid_file.stat().st_mtime
        process = psutil.Process(pid)
        if process.create_time() > written + CLOCK_SLACK_SECONDS or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except (OSError, ValueError, psutil.Error):
        return None
    return process if pid != os.getpid() else None


def _kill_tree(process: psutil.Process) -> None:
    """Kill a program and all that it has started, and wait until they are gone: until then they use its data."""
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = [*process.children(recursive=True), process]
        for one in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(tree, KILLED_SECONDS)
