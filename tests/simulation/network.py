"""The network of a simulation: late, lossy, repeating itself, and cut where the seed says so.

A request has two ways: to the cluster, and back. Both belong to nobody, so what a process has sent arrives, and is
done, also when the process is dead or stopped by then.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from schemas.kafka import KafkaFault
from schemas.kafka.memory import Network, Request, RequestLost
from schemas.kafka.memory.reader import OutOfRange
from tests.simulation.trace import Trace

R = TypeVar("R")

GROUP: Final[frozenset[Request]] = frozenset({"join", "heartbeat", "leave", "commit", "committed"})
"""What goes to the coordinator of a group."""
TRANSACTIONS: Final[frozenset[Request]] = frozenset({"open transaction", "end transaction"})
"""What goes to the coordinator of transactions."""
READS: Final[frozenset[Request]] = frozenset({"connect", "fetch", "offsets", "topics", "heartbeat", "committed"})
"""What changes nothing. It makes no difference when it arrives, only when its answer does."""
SECONDS: Final = (0.01, 20.0)
"""How late a request arrives that is late."""
CLOSING_SECONDS: Final = 4.0
"""How long, at most, a client takes to close that can't be closed at once (`schemas.kafka.closing`)."""
LOST_SECONDS: Final = 10.0
"""After how long, at most, a client learns that a request or its answer was lost."""
HIDDEN_SECONDS: Final = 1.0
"""As `LOST_SECONDS`, while places are hidden."""


@dataclass
class Faults:
    """How often what goes wrong with a request; all zero when the network is quiet."""

    lost: float = 0.0
    """It never arrives."""
    unanswered: float = 0.0
    """It is done, but the answer is lost."""
    refused: float = 0.0
    """The cluster refuses it."""
    late: float = 0.0
    """The client is told that it was lost, and it arrives all the same, seconds later."""
    twice: float = 0.0
    """It arrives twice, the second time seconds later."""
    slow: float = 0.0
    """It takes seconds to arrive."""
    slow_answer: float = 0.0
    """It is done, and the answer takes seconds: others see what was done before the client knows."""


@dataclass
class Cut:
    """A client that is cut off."""

    kinds: frozenset[Request] | None = None
    """From what; from everything when not given."""
    requests: bool = True
    """Whether its requests are lost."""
    answers: bool = True
    """Whether answers to it are lost."""


@dataclass
class FaultyNetwork(Network):
    """A network with faults.

    Args:
        rng: decides all of them.
        trace: is told of each.
    """

    rng: random.Random
    trace: Trace
    faults: dict[Request, Faults] = field(default_factory=dict)
    """By kind of request; without a fault for the others."""
    cuts: dict[str, Cut] = field(default_factory=dict)
    """By client."""
    away: frozenset[Request] = frozenset()
    """What no client reaches at the moment."""
    hides_places: bool = False
    """Whether no client learns that its transaction has appended before it sends that again, and never learns where."""
    unplaced: float = 0.0
    """How often the cluster does not know any more where a batch is that it is sent for the second time."""
    again: Mapping[str, float] = field(default_factory=dict)
    """How often a member of a client is handed records that it has been handed before."""
    slow_closing: float = 0.0
    """How often a client can't be closed at once."""
    latency_seconds: float = 0.005
    max_fetched: int = 1000
    """How many batches of a partition one fetch brings at most."""

    def __post_init__(self) -> None:
        self._context = Context()
        """Of all that is on its way."""

    def quiet(self) -> None:
        """Let nothing go wrong any more."""
        self.faults.clear()
        self.cuts.clear()
        self.away = frozenset()
        self.hides_places = False
        self.unplaced, self.again, self.slow_closing = 0.0, {}, 0.0

    def mend(self, client: str) -> None:
        """Let a client reach the cluster again."""
        self.cuts.pop(client, None)

    def forgets_offset(self, client: str) -> bool:
        return self.hides_places or self.rng.random() < self.unplaced

    def batches_fetched(self, available: int) -> int:
        most = min(available, self.max_fetched)
        return most if self.rng.random() < 0.5 else self.rng.randint(1, most)

    def closing_seconds(self, client: str) -> float:
        is_away = self.away or client in self.cuts
        is_slow = is_away or (self.slow_closing and self.rng.random() < self.slow_closing)
        return self.rng.uniform(0.0, CLOSING_SECONDS) if is_slow else 0.0

    def records_again(self, client: str) -> int:
        often = self.again.get(client, 0.0)
        return self.rng.randint(1, 5) if often and self.rng.random() < often else 0

    def carry(self, kind: Request, client: str, do: "Callable[[], R | asyncio.Future[R]]") -> "asyncio.Future[R]":
        loop, rng = asyncio.get_running_loop(), self.rng
        answer: asyncio.Future[R] = loop.create_future()
        arrive = partial(self._arrive, kind, client, do, answer)
        cut = self.cuts.get(client)
        if (cut is not None and cut.requests and _is_of(kind, cut.kinds)) or kind in self.away:
            self._lose(kind, client, answer, "is lost: cut off")
            return answer
        seconds = rng.random() * self.latency_seconds
        faults = self.faults.get(kind)
        if faults is not None:
            chance = rng.random()
            for fault, share in (
                ("lost", faults.lost),
                ("refused", faults.refused),
                ("late", faults.late),
                ("twice", faults.twice),
                ("slow", faults.slow),
            ):
                if chance < share:
                    return self._fail(fault, kind, client, do, answer)
                chance -= share
        if kind == "heartbeat":  # at once: nobody waits for the answer, and there are more of these than of all others
            arrive(0.0)
        elif kind in READS:
            arrive(rng.random() * self.latency_seconds)
        else:
            loop.call_later(seconds, arrive, context=self._context)
        return answer

    def _fail(
        self,
        fault: str,
        kind: Request,
        client: str,
        do: "Callable[[], R | asyncio.Future[R]]",
        answer: "asyncio.Future[R]",
    ) -> "asyncio.Future[R]":
        loop, rng = asyncio.get_running_loop(), self.rng
        if fault == "lost":
            self._lose(kind, client, answer, "is lost")
        elif fault == "refused":
            self.trace.add(client, f"{kind}: is refused")
            loop.call_later(self.latency_seconds, _refuse, answer, context=self._context)
        else:
            seconds = rng.uniform(*SECONDS) if fault != "slow" else rng.uniform(1.0, 8.0)
            self.trace.add(client, f"{kind}: is {fault}, by {seconds:.1f} s")
            arrive = partial(self._arrive, kind, client, do)
            if fault == "late":
                self._lose(kind, client, answer, "is taken for lost")
                loop.call_later(seconds, arrive, loop.create_future(), context=self._context)
            else:
                loop.call_later(seconds, arrive, answer, context=self._context)
                if fault == "twice":
                    first = rng.random() * self.latency_seconds
                    loop.call_later(first, arrive, answer, context=self._context)
        return answer

    def _lose(
        self, kind: Request, client: str, answer: "asyncio.Future[Any]", how: str, most: float = LOST_SECONDS
    ) -> None:
        seconds = self.rng.uniform(0.0, most)
        self.trace.add(client, f"{kind}: {how}, known in {seconds:.1f} s")
        asyncio.get_running_loop().call_later(seconds, _tell_lost, answer, context=self._context)

    def _arrive(
        self,
        kind: Request,
        client: str,
        do: "Callable[[], R | asyncio.Future[R]]",
        answer: "asyncio.Future[R]",
        seconds: float | None = None,
    ) -> None:
        """Have the cluster do it. The answer takes so many seconds, if given."""
        try:
            done = do()
        except (KafkaFault, OutOfRange) as error:
            self._back(kind, client, answer, seconds, None, error)
            return
        if isinstance(done, asyncio.Future):
            done.add_done_callback(partial(self._done, kind, client, answer, seconds), context=self._context)
        else:
            self._back(kind, client, answer, seconds, done)

    def _done(
        self,
        kind: Request,
        client: str,
        answer: "asyncio.Future[R]",
        seconds: float | None,
        done: "asyncio.Future[R]",
    ) -> None:
        error = done.exception()
        self._back(kind, client, answer, seconds, None if error else done.result(), error)

    def _back(
        self,
        kind: Request,
        client: str,
        answer: "asyncio.Future[R]",
        seconds: float | None,
        found: R | None,
        error: BaseException | None = None,
    ) -> None:
        """Carry the answer back."""
        cut, faults, rng = self.cuts.get(client), self.faults.get(kind), self.rng
        if answer.done():
            return
        if self.hides_places and kind == "append to transaction" and not getattr(found, "is_repeated", False):
            self._lose(kind, client, answer, "is done, and the answer is lost", HIDDEN_SECONDS)
            return
        if cut is not None and cut.answers and _is_of(kind, cut.kinds):
            self._lose(kind, client, answer, "is done, and the answer is lost: cut off")
            return
        seconds = rng.random() * self.latency_seconds if seconds is None else seconds
        if faults is not None and faults.unanswered and rng.random() < faults.unanswered:
            self._lose(kind, client, answer, "is done, and the answer is lost")
            return
        if faults is not None and faults.slow_answer and rng.random() < faults.slow_answer:
            seconds = rng.uniform(0.1, 2.5)
            self.trace.add(client, f"{kind}: is done, and the answer takes {seconds:.1f} s")
        if seconds:
            asyncio.get_running_loop().call_later(seconds, _answer, answer, found, error, context=self._context)
        else:
            _answer(answer, found, error)


def _is_of(kind: Request, kinds: frozenset[Request] | None) -> bool:
    return kinds is None or kind in kinds


def _answer(answer: "asyncio.Future[Any]", found: object, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(found)
    else:
        answer.set_exception(error)


def _tell_lost(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(RequestLost("nothing is heard of it"))


def _refuse(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(KafkaFault("refused"))
