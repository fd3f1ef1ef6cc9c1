"""A process of a simulated installation: it is started, killed, stopped for a while, and started again."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

from schemas.kafka import Kafka
from schemas.kafka.memory import MemoryCluster, MemoryKafka, Network
from tests.simulation.loop import Life, VirtualClock
from tests.simulation.trace import Trace

ORDERLY_SECONDS: Final = 60.0
"""How long an orderly stop may take. A process that needs longer would be killed by whoever runs it."""


class Program(Protocol):
    """What a process runs, such as `engine.process.Engine`."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""


P = TypeVar("P", bound=Program)


class SimulatedProcess(Generic[P]):
    """A process, through all its lives.

    Args:
        name: of the process, for the network, groups and traces.
        cluster: the Kafka that it uses.
        network: what lies between.
        make: makes its program, once for each life. It is given this process, of which name, `kafka` and `clock` are
            meant for it, and runs in the new life.
        trace: is told what happens to it.
    """

    def __init__(
        self,
        name: str,
        cluster: MemoryCluster,
        network: Network,
        make: "Callable[[SimulatedProcess[P]], P]",
        trace: Trace | None = None,
    ):
        self.name = name
        self.clock = VirtualClock()
        """Its wall clock, which goes on through all lives."""
        self.connect: Callable[[str, Kafka], Kafka] = lambda name, kafka: kafka
        """What it has of Kafka in the life that begins now, by its name and the way to the cluster."""
        self.kafka: Kafka = MemoryKafka(cluster, network, name)
        """Its way to the cluster in the present life."""
        self.life = Life(name)
        self.failures: list[Exception] = []
        """What its program has raised. No process of ours ends by itself."""
        self._cluster, self._network, self._make = cluster, network, make
        self._trace = trace or Trace()
        self._program: P | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop: asyncio.Event | None = None

    @property
    def program(self) -> P:
        """What runs in the present life, or ran in the last one."""
        assert self._program is not None, f"{self.name} was never started"
        return self._program

    @property
    def is_alive(self) -> bool:
        """Whether it was started, and is neither killed nor at its end. It may be stopped."""
        return self.life.state != "killed" and self._task is not None and not self._task.done()

    @property
    def runs(self) -> bool:
        """Whether it is alive, and not stopped."""
        return self.is_alive and self.life.state == "running"

    def start(self) -> None:
        """Begin a new life."""
        self._trace.add(self.name, "starts")
        self.life.kill()
        self.life = Life(self.name)
        self.kafka = self.connect(self.name, MemoryKafka(self._cluster, self._network, self.name))
        self._stop = asyncio.Event()
        self._program = self.life.context.copy().run(self._make, self)
        self._task = self.life.spawn(self._run(self._program, self._stop))

    async def _run(self, program: P, stop: asyncio.Event) -> None:
        try:
            await program.run(stop)
            if not stop.is_set():
                raise RuntimeError("it has ended by itself")
        except Exception as error:
            self._trace.add(self.name, f"fails: {error!r}")
            self.failures.append(error)

    def kill(self) -> None:
        """End it at once, as SIGKILL does. What it has sent arrives."""
        self._trace.add(self.name, "is killed")
        self.life.kill()

    def restart(self) -> None:
        """Kill it, and start it at once."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Let nothing of it run until `go_on`, as SIGSTOP does."""
        self._trace.add(self.name, "is stopped")
        self.life.stop()

    def go_on(self) -> None:
        """Let it run again, as SIGCONT does."""
        self._trace.add(self.name, "goes on")
        self.life.go_on()

    async def end(self) -> None:
        """Ask it to end, as SIGTERM does, and wait; kill it if it takes too long."""
        self._trace.add(self.name, "is asked to end")
        self.go_on()
        if self._stop is None or self._task is None:
            return
        self._stop.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(ORDERLY_SECONDS):
                await asyncio.wait({self._task})
        self.kill()
