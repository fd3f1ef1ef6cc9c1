"""The database of the simulation: the read model in memory, with the faults of Postgres and of the way to it.

A request belongs to nobody once it is on its way: a batch that was sent is written, also when its projector is gone by
then, or has given up waiting. After a crash the last transactions are lost, as they are with `synchronous_commit=off`.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from projections.fold import Batch
from projections.memory import MemoryDatabase
from tests.simulation.rows import ReadModelChecker

T = TypeVar("T")

LATENCY_SECONDS: Final = 0.002
"""How long each way takes at most."""
LATE_SECONDS: Final = (0.05, 0.3)
"""How late something is done after its connection was cut. Whoever has asked for it looks again after 0.1 s."""
SILENCE_SECONDS: Final = 11.0
"""When a client gives a connection up on which nothing comes (`projections.store`)."""


@dataclass
class DatabaseFaults:
    """How often what goes wrong; all zero when all is quiet."""

    lost: float = 0.0
    """The connection is cut before anything is done."""
    unanswered: float = 0.0
    """It is done, and the connection is cut before the answer."""
    late: float = 0.0
    """The connection is cut, and it is done a moment later: Postgres notices only when it answers."""
    silent: float = 0.0
    """Nothing comes any more on a connection: the request is done or not, and nobody tells."""
    slow: float = 0.0
    """A request takes seconds until it arrives."""
    slow_answer: float = 0.0
    """It is done, and the answer takes seconds: what it says may have changed by then."""
    deaf: float = 0.0
    """What is announced does not reach a connection that listens."""


class SimulatedDatabase(MemoryDatabase):
    """A Postgres of the simulation.

    Args:
        rng: decides what goes wrong.
        now: its clock.
        checker: told of all that is written.
    """

    def __init__(self, rng: random.Random, now: Callable[[], datetime], checker: ReadModelChecker):
        super().__init__(now)
        self.rng, self.checker, self.faults = rng, checker, DatabaseFaults()
        self.is_away = False
        self.watch: Callable[[], None] = lambda: None
        """Is called whenever something was written."""
        self.met: Counter[str] = Counter()
        """How often what has happened."""
        self._point = (self.backup(), checker.backup())
        self._context = Context()

    async def carry(self, client: str, do: Callable[[], T]) -> T:
        """See `MemoryDatabase.carry`."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self.rng.random() < self.faults.late:
            self._later(self.rng.uniform(*LATE_SECONDS), self._do_late, do, self.starts)
            raise ConnectionError("the connection was cut")
        is_slow = self.rng.random() < self.faults.slow
        self._later(
            self.rng.uniform(1.0, 8.0) if is_slow else self.rng.random() * LATENCY_SECONDS, self._arrive, do, answer
        )
        return await answer

    def _later(self, seconds: float, then: Callable[..., None], *arguments: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, then, *arguments, context=self._context)

    def _do_late(self, do: Callable[[], T], starts: int) -> None:
        """Do what was asked for though nobody waits for it any more, unless a crash came first."""
        if not self.is_away and self.starts == starts:
            with contextlib.suppress(Exception):  # nobody is told
                do()

    def _arrive(self, do: Callable[[], T], answer: "asyncio.Future[T]") -> None:
        """Do what was asked for, unless it gets lost."""
        chance, faults = self.rng.random(), self.faults
        is_silent = faults.lost <= chance < faults.lost + faults.silent
        is_slow = self.rng.random() < faults.slow_answer
        seconds = self.rng.uniform(0.1, 2.5) if is_slow else self.rng.random() * LATENCY_SECONDS
        if is_silent:
            seconds = SILENCE_SECONDS
        fault: Exception | None = None
        if is_silent or chance < faults.lost + faults.silent + faults.unanswered:
            fault = ConnectionError("the connection was cut")
        if self.is_away:
            fault = ConnectionRefusedError("Postgres is away")
        if self.is_away or chance < faults.lost or (is_silent and self.rng.random() < 0.5):
            self._later(seconds, self._answer, answer, None, fault)
            return
        try:
            done = do()
        except Exception as error:  # what the database says
            self._later(seconds, self._answer, answer, None, fault or error)
        else:
            self._later(seconds, self._answer, answer, done, fault)

    def _answer(self, answer: "asyncio.Future[T]", done: T, fault: Exception | None) -> None:
        if answer.done():  # whoever asked has given up
            return
        if fault is None and self.is_away:
            fault = ConnectionResetError("Postgres is away")
        if fault is None:
            answer.set_result(done)
        else:
            answer.set_exception(fault)

    async def request(self, client: str) -> None:
        """Of what is announced: it is on its way to who listens."""
        await asyncio.sleep(self.rng.random() * LATENCY_SECONDS)

    def delivers(self, client: str) -> bool:
        """See `MemoryDatabase.delivers`."""
        is_lost = self.rng.random() < self.faults.deaf
        self.met["announcements were lost"] += is_lost
        return not is_lost

    def written(self, batch: Batch) -> None:
        """See `MemoryDatabase.written`."""
        self.checker.written(self.tables, batch.advances)
        self.watch()
        super().written(batch)

    def deleted(self) -> None:
        """See `MemoryDatabase.deleted`."""
        self.checker.deleted(self.tables)

    # What happens to it

    def flush(self) -> None:
        """All that is written until now outlives a crash."""
        self._point = (self.backup(), self.checker.backup())

    @property
    def kept(self) -> dict[int, int]:
        """The lowest position of each partition that a crash may go back to."""
        return {partition: position.next_offset for partition, position in self._point[0].positions.items()}

    def crash(self, seconds: float) -> None:
        """Be away for so long, and come back without what was not flushed."""
        if not self.is_away:
            self.is_away = True
            self.met["the database crashed"] += 1
            self._later(seconds, self._come_back)

    def _come_back(self) -> None:
        tables, checked = self._point
        self.restart(tables)
        self.checker.restore(checked)
        self.is_away = False

    def hang_up(self, client: str) -> None:
        """A process has ended: nobody listens for it any more."""
        self.hearing = [connection for connection in self.hearing if connection.client != client]
