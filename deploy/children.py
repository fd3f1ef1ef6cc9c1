"""Our own processes as children of `orchestration dev`: started, watched, started again, stopped.

Each process's output goes to `<logs>/<name>.log`, bounded, and to standard error with the process's name in front.
"""

import contextlib
import http.client
import io
import logging.handlers
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.embedded.child import Child
from deploy.embedded.ports import HOST
from deploy.errors import DevError
from deploy.pauses import Pauses

PROBE_TIMEOUT_SECONDS: Final = 2.0
POLL_SECONDS: Final = 0.05
"""Between two looks whether all are ready."""
KEPT_LINES: Final = 200
MAX_LOG_BYTES: Final = 8 * 1024 * 1024
ERROR_LINE: Final = re.compile(r"\b(Error|ERROR|CRITICAL|\w+Error|\w+Exception)\b")


def say(text: str) -> None:
    """Tell the user something about the processes, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Service:
    """One of our processes.

    Args:
        name: shown to the user; names its files.
        arguments: of the Python interpreter.
        environment: all its variables.
        port: where its probes are.
        folder: takes its pid file (`run/`) and log (`logs/`).
        quiet: don't show its output.
        ready_path: answers 200 once it does its work.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        port: int,
        folder: Path,
        quiet: bool,
        ready_path: str = "/readyz",
    ) -> None:
        self.name = name
        self._command = [sys.executable, *arguments]
        self._environment = environment
        self._port = port
        self._ready_path = ready_path
        self._pid_file = folder / "run" / f"{name}.pid"
        self._log = folder / "logs" / f"{name}.log"
        self._quiet = quiet
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._pauses = Pauses()
        self._due: float | None = None
        self._child: Child | None = None
        self._output: threading.Thread | None = None

    def start(self) -> None:
        """Start the process; `ready` tells when it does its work."""
        for path in (self._pid_file, self._log):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lines.clear()
        self._due = None
        self._child = Child(self._command, pid_file=self._pid_file, environment=self._environment)
        self._output = threading.Thread(target=self._copy_output, args=(self._child,), daemon=True)
        self._output.start()

    @property
    def ready(self) -> bool:
        """Whether the process answers that it does its work.

        Raises:
            DevError: it has ended.
        """
        if self._child and self._child.returncode is not None:
            raise DevError(f"{self.name} ended while starting: {self.last_words}")
        connection = http.client.HTTPConnection(HOST, self._port, timeout=PROBE_TIMEOUT_SECONDS)
        try:
            connection.request("GET", self._ready_path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    @property
    def last_words(self) -> str:
        """The line of its output that best explains why it ended."""
        if self._output:
            self._output.join(PROBE_TIMEOUT_SECONDS)
        lines = [line for line in self._lines if line.strip()]
        errors = [line for line in lines if ERROR_LINE.search(line)]
        return (errors or lines or ["no output"])[-1].strip()

    def revive(self, now: float) -> None:
        """Start the process again if it has ended and its pause is over.

        Args:
            now: monotonic time in seconds.
        """
        child = self._child
        if child is None or child.returncode is None:
            return
        if self._due is None:
            pause = self._pauses.after(now - child.started)
            say(f"{self.name} ended (status {child.returncode}), starts again in {pause:g} s: {self.last_words}")
            self._due = now + pause
        elif now >= self._due:
            self.start()

    def stop(self, timeout_seconds: float) -> None:
        """End the process in order, or kill it when the time is over."""
        if self._child:
            self._child.stop(timeout_seconds)
            if self._output:
                self._output.join(PROBE_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """End the process at once."""
        if self._child:
            self._child.kill()

    def _copy_output(self, child: Child) -> None:
        log = logging.handlers.RotatingFileHandler(self._log, maxBytes=MAX_LOG_BYTES, backupCount=1, encoding="utf-8")
        log.handleError = lambda record: None  # type: ignore[method-assign] # a full disk must not stop the reading
        with contextlib.closing(log), child.process.stdout or io.BytesIO() as output:
            for raw in output:
                line = raw.decode(errors="replace").rstrip("\n")
                self._lines.append(line)
                log.emit(logging.makeLogRecord({"msg": line}))
                if not self._quiet:
                    say(f"{self.name:<11} | {line}")


def wait_ready(services: Sequence[Service], timeout_seconds: float) -> None:
    """Wait until all do their work.

    Raises:
        DevError: one has ended, or the time is over.
    """
    deadline = time.monotonic() + timeout_seconds
    waiting = list(services)
    while waiting:
        waiting = [service for service in waiting if not service.ready]
        if waiting and time.monotonic() > deadline:
            names = ", ".join(service.name for service in waiting)
            raise DevError(f"not ready after {timeout_seconds:g} s: {names}: {waiting[0].last_words}")
        if waiting:
            time.sleep(POLL_SECONDS)


def stop_all(stops: Sequence[Callable[[float], None]], timeout_seconds: float) -> None:
    """Call each with what is left of the one deadline, one after another, also behind one that fails.

    Raises:
        Exception: the error of the last one that failed.
    """
    deadline = time.monotonic() + timeout_seconds
    with contextlib.ExitStack() as stack:
        for stop in reversed(stops):
            stack.callback(_stop_by, deadline, stop)


def _stop_by(deadline: float, stop: Callable[[float], None]) -> None:
    stop(max(0.0, deadline - time.monotonic()))
