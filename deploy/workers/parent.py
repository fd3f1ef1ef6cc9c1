"""The parent of the API's workers: starts them, starts those again that end, stops all.

The parent serves nobody. It holds the port, so that a second installation can't take it, and workers that share it get
the port of a setting 0. The first worker starts alone, so that what is wrong with the settings is said once. All listen
when all have started, so the port answers when all are there.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from deploy.errors import DeployError
from deploy.http.server import bind_shared
from deploy.pauses import Pauses
from deploy.process import run, stop_event, until_stopped
from deploy.workers.place import Place
from schemas.settings import ApiSettings

logger = logging.getLogger(__name__)

START_SECONDS: Final = 60.0
"""How long a worker may take to start; it waits for neither Kafka nor Postgres. One that hangs would never be started
again."""
SILENT_SECONDS: Final = 15.0
MAX_MISSED: Final = 2
"""A worker that shows nothing for `SILENT_SECONDS` twice in a row is killed. Nobody else would notice that it hangs: it
gets connections, while the others answer the probes. Once is not enough, since it may be this process that stood still.
Then what the worker has sent meanwhile is read next."""
MAX_READ: Final = 64
"""Bytes that are read at once; each only shows that a worker runs."""


class WorkerFailed(Exception):
    """A worker has failed, and said why. Ends the parent with the same status."""

    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


def run_workers(settings: ApiSettings, workers: int) -> None:
    """Run API servers behind one port until they are told to stop.

    Args:
        settings: of each.
        workers: how many.

    Raises:
        DeployError: they can't be started, or did not stop in time.
    """
    if sys.platform != "linux":
        raise DeployError("--workers needs Linux: elsewhere the system does not share a port among processes")
    try:
        run(settings, _supervise(settings, workers))
    except WorkerFailed as failed:
        sys.exit(failed.status)


async def _supervise(settings: ApiSettings, count: int) -> None:
    with (
        bind_shared(settings.host, settings.port, first=True) as held,
        alone_on(*held.getsockname()[:2]),
        _folder() as folder,
    ):
        host, port = held.getsockname()[:2]
        workers: list[_Worker] = []
        async with stop_event(lambda: _kill(workers)) as stop:
            workers += [_Worker(count, number, port, Path(folder), stop) for number in range(count)]
            leaving = asyncio.create_task(_leave_when(stop, workers))
            logger.info("%d workers start on http://%s:%d%s", count, host, port, settings.base_path)
            try:
                await until_stopped("api", _keep(workers), stop, settings)
            finally:
                leaving.cancel()
                _kill(workers)
    logger.info("all workers stopped")


@contextlib.contextmanager
def alone_on(host: str, port: int) -> Iterator[None]:
    """Keep other parents off this port. Until workers listen, the system lets two of them have it.

    Raises:
        DeployError: another one has it.
    """
    with socket.socket(socket.AF_UNIX) as name:
        try:
            name.bind(f"\0orchestration-api-{host}:{port}")  # not a file: it is gone with the process
        except OSError:
            raise DeployError(f"can't listen on {host}:{port}: other workers have just started there") from None
        yield


def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for the sockets of workers.

    Raises:
        DeployError: it can't be made.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="orchestration-api-", dir=os.environ.get("XDG_RUNTIME_DIR") or None)
    except OSError as error:
        raise DeployError(f"no folder for the workers' sockets, in XDG_RUNTIME_DIR or else TMPDIR: {error}") from None


async def _keep(workers: list["_Worker"]) -> None:
    """Start all, and keep them until they are to stop."""
    await workers[0].start()
    await asyncio.gather(*(worker.start() for worker in workers[1:]))
    for worker in workers:
        worker.listen()
    for worker, status in zip(workers, await asyncio.gather(*(worker.keep() for worker in workers)), strict=True):
        if status:
            raise worker.failure(status)


async def _leave_when(stop: asyncio.Event, workers: Iterable["_Worker"]) -> None:
    await stop.wait()
    for worker in workers:
        worker.leave()


def _kill(workers: Iterable["_Worker"]) -> None:
    for worker in workers:
        worker.kill()


class _Worker:
    """A worker, through all its starts.

    Args:
        workers: how many there are.
        number: of this one.
        port: that they share.
        folder: of their own sockets.
        stop: set when all are to stop.
    """

    def __init__(self, workers: int, number: int, port: int, folder: Path, stop: asyncio.Event):
        self._workers, self._number, self._port, self._folder = workers, number, port, folder
        self._stop = stop
        self._pauses = Pauses()
        self._started = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._reader = asyncio.StreamReader()
        self._reader.feed_eof()  # nothing is heard of it before its first start
        self._writer: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        """Start it. Returns when it has started, or is to stop.

        Raises:
            WorkerFailed: it ended instead, and said why.
            DeployError: it was killed meanwhile.
        """
        if self._stop.is_set():
            return
        ours, theirs = socket.socketpair()
        with theirs:
            place = Place(self._workers, self._number, self._port, theirs.fileno(), self._folder)
            self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
            self._started = asyncio.get_running_loop().time()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                # -P: modules in the user's current directory must not replace ours.
                *("-P", "-m", "deploy.cli", "api", "--worker", *map(str, place)),
                pass_fds=(theirs.fileno(),),
                # Signals of the terminal are for the parent, which stops its workers in order.
                start_new_session=True,
            )
        if self._stop.is_set():
            self.leave()
        end = asyncio.get_running_loop().call_later(START_SECONDS, self.kill)
        try:
            if await self._heard() or self._stop.is_set():
                return
        finally:
            end.cancel()
        raise self.failure(await self._process.wait())

    def failure(self, status: int) -> Exception:
        """The error that ends the parent when the worker has ended so."""
        if status > 0:
            return WorkerFailed(status)
        return DeployError(f"worker {self._number} ended {'by itself' if not status else f'by signal {-status}'}")

    def listen(self) -> None:
        """Let it listen, unless it is to stop."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(b".")

    async def keep(self) -> int:
        """Start it again whenever it ends, until it is to stop. Returns its exit status."""
        while True:
            status = await self._end()
            self.leave()
            if self._stop.is_set():
                return status
            pause = self._pauses.after(asyncio.get_running_loop().time() - self._started)
            logger.error("worker %d ended (status %d), starts again in %g s", self._number, status, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
                return 0
            with contextlib.suppress(WorkerFailed, DeployError, OSError):
                await self.start()
                self.listen()

    def leave(self) -> None:
        """Close the channel, which tells it to stop."""
        if self._writer is not None:
            self._writer.close()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _end(self) -> int:
        """Wait until it has ended, and kill it if it hangs. Returns its exit status; 0 if it never ran."""
        missed = 0
        while missed < MAX_MISSED:
            try:
                if not await asyncio.wait_for(self._heard(), SILENT_SECONDS):
                    break
                missed = 0
            except TimeoutError:
                missed += 1
        else:
            logger.error("worker %d did nothing for %g s and is killed", self._number, MAX_MISSED * SILENT_SECONDS)
            self.kill()
        return 0 if self._process is None else await self._process.wait()

    async def _heard(self) -> bytes:
        """What it has sent; nothing once it has ended."""
        try:
            return await self._reader.read(MAX_READ)
        except ConnectionError:
            return b""
