"""The load generator: clients that send requests over and over, whose own cost is small beside what they measure.

Each client has a connection of its own and sends its next request when the last one was answered. So the number of
clients is the number of requests that are under way, and a server that is slow is asked less.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from deploy.bench.figures import Figures
from deploy.bench.http import Address, Connection
from deploy.errors import DeployError

TIMEOUT_SECONDS: Final = 60.0
"""How long answers are waited for after the last requests were sent. The API answers a `wait` within half of it."""
PAUSE_SECONDS: Final = 0.05
"""After a request that did not succeed. Without it, clients that are refused would only keep the server busy."""
NO_ANSWER: Final = "no answer"
NO_CONNECTION: Final = "no connection"

Judge = Callable[[bytes], str]
"""What is wrong with the body of a success; `""` if nothing is."""


class RequestFailed(DeployError):
    """A request did not succeed, where each of them has to."""


class LoadClient:
    """A number of clients. A context manager: they are connected in it.

    Args:
        base: URL of the service, with its base path.
        clients: how many.
        headers: of every request.
        tolerant: count requests that do not succeed. Otherwise the first one ends the round.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        base: str,
        clients: int,
        *,
        headers: dict[str, str] | None = None,
        tolerant: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self._address = Address(base, headers)
        self._connections = [Connection(self._address) for _ in range(clients)]
        self._tolerant = tolerant
        self._clock = clock

    async def __aenter__(self) -> Self:
        """Connect them.

        Raises:
            OSError: there is no connection.
        """
        await asyncio.gather(*(connection.open() for connection in self._connections), return_exceptions=self._tolerant)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send one request from the first client: status and body of its answer.

        Raises:
            OSError: there was no answer.
        """
        return await self._connections[0].request(self._address.request(method, path, body))

    async def request_all(self, method: str, paths: Sequence[str]) -> list[bytes]:
        """Send a request for each path once, shared between all clients; the bodies of the answers, in order.

        Raises:
            OSError: there was no answer.
            RequestFailed: one did not succeed.
        """
        bodies = [b""] * len(paths)
        left = iter(enumerate(paths))

        async def client(connection: Connection) -> None:
            for number, path in left:
                status, bodies[number] = await connection.request(self._address.request(method, path))
                if status >= 300:
                    raise RequestFailed(f"{method} {path}: {status} {bodies[number].decode(errors='replace')}")

        tasks = [asyncio.create_task(client(connection)) for connection in self._connections]
        try:
            await asyncio.gather(*tasks)
        finally:
            await _end(tasks)
        return bodies

    async def measure(
        self,
        name: str,
        seconds: float,
        method: str,
        paths: Sequence[str],
        judge: Judge | None = None,
    ) -> Figures:
        """Send requests over and over from every client.

        Args:
            name: of the figures.
            seconds: how long. What is under way then is waited for.
            method: of HTTP.
            paths: below the base: the first client asks for the first one, and so on, from the front again where there
                are more clients.
            judge: says what is wrong with the body of a success.

        Raises:
            RequestFailed: one did not succeed, and the clients are not tolerant.
        """
        figures = Figures(name, [], 0.0)
        cpu, start = time.process_time(), self._clock()
        end = start + seconds
        tasks = [
            asyncio.create_task(self._client(figures, connection, method, path, judge, start, end))
            for connection, path in zip(self._connections, itertools.cycle(paths), strict=False)
        ]
        try:
            done, late = await asyncio.wait(
                tasks, timeout=seconds + TIMEOUT_SECONDS, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
            if late:
                self._count(figures, NO_ANSWER, f"{method} {paths[0]}", len(late))
        finally:
            await _end(tasks)
        figures.seconds = self._clock() - start
        figures.client_cpu = (time.process_time() - cpu) / figures.seconds
        return figures

    async def _client(
        self,
        figures: Figures,
        connection: Connection,
        method: str,
        path: str,
        judge: Judge | None,
        start: float,
        end: float,
    ) -> None:
        request, clock = self._address.request(method, path), self._clock
        ended, took = figures.ends.append, figures.latencies.append
        while (began := clock()) < end:
            problem, answer = "", b""
            try:
                status, answer = await connection.request(request)
            except OSError as error:
                problem, answer = NO_CONNECTION, str(error).encode()
            else:
                if status >= 300:
                    problem = str(status)
                elif judge is not None:
                    problem = judge(answer)
            if problem:
                self._count(figures, problem, f"{method} {path}: {answer.decode(errors='replace')}")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            now = clock()
            took(now - began)
            ended(now - start)

    def _count(self, figures: Figures, problem: str, told: str, times: int = 1) -> None:
        if not self._tolerant:
            raise RequestFailed(f"{problem}: {told}")
        figures.errors[problem] = figures.errors.get(problem, 0) + times


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
