"""What can fail: our processes, brokers, Postgres and the sandbox, each with the same ways to end, stop and start."""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from deploy.embedded.errors import StartFailed
from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded.postgres import EmbeddedPostgres
from tests.integration.installation import Process

STARTED: Final = " started"
"""In the first line that our processes write."""
READY_SECONDS: Final = 300.0
"""How long a start may take on a busy machine."""


@dataclass
class Part(ABC):
    """One of the processes.

    Args:
        name: such as `engine-2`; the part before the dash is its kind.
        wanted: whether it should be running. A part that is not although it should has ended by itself.
        stops: when it stood still, as monotonic times; infinity while it does.
        exits: exit statuses of orderly stops.
    """

    name: str
    wanted: bool = False
    stops: list[tuple[float, float]] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """What it is one of."""
        return self.name.partition("-")[0]

    @property
    def stopped(self) -> bool:
        """Whether it stands still."""
        return bool(self.stops) and self.stops[-1][1] == float("inf")

    @property
    def ended_by_itself(self) -> int | None:
        """Its exit status if it has ended though nobody asked it to, else None."""
        return self.returncode if self.wanted else None

    async def start(self, *, wait: bool = False) -> None:
        """Start it; wait until it serves if told so."""
        await self._start()
        self.wanted = True  # only now: what ran before has ended
        if wait:
            await self.until_ready()

    async def kill(self) -> None:
        """End it at once."""
        self.wanted = False
        self._end_stop()
        await self._kill()

    async def terminate(self) -> None:
        """End it in order."""
        self.wanted = False
        status = await self._terminate()
        if status is not None:
            self.exits.append(status)

    def stop(self) -> None:
        """Let it stand still, with all that belongs to it."""
        self.stops.append((time.monotonic(), float("inf")))
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def carry_on(self) -> None:
        """Let it go on."""
        if self.stopped:
            self._end_stop()
            for process in self._processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def _end_stop(self) -> None:
        if self.stopped:
            self.stops[-1] = (self.stops[-1][0], time.monotonic())

    def _processes(self) -> list[psutil.Process]:
        """Parents first, so that no child comes about meanwhile."""
        pid = self.pid
        if pid is None:
            return []
        try:
            process = psutil.Process(pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    async def until_ready(self) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(READY_SECONDS):
            while not await self.ready():  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(0.1)

    @property
    def pid(self) -> int | None:
        """Of the program, None when it does not run."""
        try:
            return int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None

    @property
    @abstractmethod
    def pid_file(self) -> Path:
        """Tells the pid of the program while it runs."""

    @property
    @abstractmethod
    def returncode(self) -> int | None:
        """Its exit status once it has ended, None before."""

    @abstractmethod
    async def ready(self) -> bool:
        """Whether it serves."""

    @abstractmethod
    async def _start(self) -> None: ...

    @abstractmethod
    async def _kill(self) -> None: ...

    @abstractmethod
    async def _terminate(self) -> int | None:
        """Returns the exit status if it must be 0."""


@dataclass(kw_only=True)
class Ours(Part):
    """An engine, projections, an API; and the sandbox."""

    process: Process

    @property
    def pid_file(self) -> Path:
        return self.process.pid_file

    @property
    def returncode(self) -> int | None:
        return self.process.returncode

    async def ready(self) -> bool:
        return await self.process.ready()

    async def _start(self) -> None:
        await self.process.start(wait=False)

    async def _kill(self) -> None:
        await self.process.kill()

    async def _terminate(self) -> int | None:
        # Until it says that it has started, Python may still be loading it, and SIGTERM ends it like any program.
        knows_signals = STARTED in self.process.log()
        status = await self.process.terminate()
        return status if knows_signals else None


@dataclass(kw_only=True)
class Broker(Part):
    """A broker, which is a controller too."""

    kafka: EmbeddedKafka
    folder: Path

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def returncode(self) -> int | None:
        return self.kafka.returncode

    async def ready(self) -> bool:
        return self.kafka.serves

    async def _start(self) -> None:
        await asyncio.to_thread(self.kafka.launch)

    async def _kill(self) -> None:
        await asyncio.to_thread(self.kafka.kill)

    async def _terminate(self) -> None:
        # Without a controller it can't leave in order and is killed, so its status says nothing.
        await asyncio.to_thread(self.kafka.stop)


@dataclass(kw_only=True)
class Database(Part):
    """Postgres."""

    postgres: EmbeddedPostgres
    folder: Path
    link: Path
    """A symbolic link to its socket."""

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def returncode(self) -> int | None:
        return self.postgres.returncode

    async def ready(self) -> bool:
        return True  # its start waits for that

    async def _start(self) -> None:
        try:
            await asyncio.to_thread(self.postgres.start)
        except StartFailed:  # on a busy machine the recovery after a crash takes its time
            await asyncio.to_thread(self.postgres.start)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(self.postgres.socket)

    async def _kill(self) -> None:
        await asyncio.to_thread(self.postgres.kill)

    async def _terminate(self) -> None:
        await asyncio.to_thread(self.postgres.stop)
