"""What the clients of one process share: its way to the cluster, and its tasks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

from schemas.kafka.errors import KafkaFault
from schemas.kafka.memory.cluster import MemoryCluster
from schemas.kafka.memory.network import Network, Request, RequestLost

RETRY_SECONDS: Final = 0.05
"""Pause before a request is repeated that was lost."""
ANSWER_SECONDS: Final = 10.0
"""Deadline of a question that the cluster answers at once."""

R = TypeVar("R")


class NoAnswer(KafkaFault):
    """There was no answer in time."""

    def __init__(self) -> None:
        super().__init__("there was no answer in time")


class Process:
    """A process that uses the cluster.

    Args:
        cluster: what it uses.
        network: what lies between them.
        name: of the process, for the network.
    """

    def __init__(self, cluster: MemoryCluster, network: Network, name: str):
        self.cluster, self.network, self.name = cluster, network, name
        self._tasks: set[asyncio.Task[Any]] = set()

    def send(self, kind: Request, do: "Callable[[], R | asyncio.Future[R]]") -> "asyncio.Future[R]":
        """Have the cluster do something; what it answers. See `Network.carry`."""
        return self.network.carry(kind, self.name, do)

    async def ask_once(self, kind: Request, do: "Callable[[], R | asyncio.Future[R]]") -> R:
        """Have the cluster do something, and return what it answers.

        Raises:
            KafkaFault: what the network or the cluster raise.
        """
        return await self.send(kind, do)

    async def ask(
        self, kind: Request, do: "Callable[[], R | asyncio.Future[R]]", timeout_seconds: float = ANSWER_SECONDS
    ) -> R:
        """The same, repeated while it gets lost.

        Raises:
            KafkaFault: what the network or the cluster raise, or there was no answer in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while True:
            try:
                return await self.ask_until(deadline, kind, do)
            except RequestLost:
                if loop.time() + RETRY_SECONDS >= deadline:
                    raise NoAnswer from None
                await asyncio.sleep(RETRY_SECONDS)

    async def ask_until(self, deadline: float, kind: Request, do: "Callable[[], R | asyncio.Future[R]]") -> R:
        """Ask once, with a deadline in the event loop's time.

        Raises:
            KafkaFault: what the network or the cluster raise; `NoAnswer` if there was none in time.
        """
        answer = self.send(kind, do)
        if answer.done():
            return answer.result()
        timer = asyncio.get_running_loop().call_at(deadline, _give_up, answer)
        try:
            return await answer
        finally:
            timer.cancel()

    def spawn(self, work: Coroutine[Any, Any, R]) -> "asyncio.Task[R]":
        """Run something that ends with the process. Nobody has to look at what it fails with."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def kill(self) -> None:
        """End all that runs at once. The cluster is told nothing."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _give_up(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(NoAnswer())


@contextlib.asynccontextmanager
async def within(timeout_seconds: float) -> AsyncIterator[None]:
    """Give the block so many seconds.

    Raises:
        KafkaFault: it took longer.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except TimeoutError as error:
        raise KafkaFault("there was no answer in time") from error
