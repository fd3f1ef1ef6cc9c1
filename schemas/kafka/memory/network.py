"""What lies between a process and the cluster.

A request is carried to the cluster, which does what it was asked for, at one moment; and the answer is carried back.
All that belongs to nobody: a request that is on its way arrives, also when whoever has sent it is gone by then (see
`Network.carry`). In `Network` itself nothing goes wrong. A test overrides `request` and `answer`, the two ways. There
it may

- wait: the request or the answer is late;
- raise `RequestLost` in `request`: nothing arrives; in `answer`: it was done, and nobody is told. Clients repeat what
  was lost, as far as their deadlines let them, and the cluster recognises appends that it has already;
- raise another `KafkaFault` in `request`: the cluster refuses;
- wait for ever: silence.

A simulation overrides `carry`, which is all that clients call.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Literal, TypeVar

from schemas.kafka.errors import KafkaFault

Request = Literal[
    "connect",
    "append",
    "fetch",
    "offsets",
    "topics",
    "join",
    "heartbeat",
    "leave",
    "commit",
    "committed",
    "open transaction",
    "append to transaction",
    "end transaction",
]
R = TypeVar("R")


class RequestLost(KafkaFault):
    """A request or its answer did not arrive."""


class Network:
    """A network that loses nothing. Each way takes one round of the event loop."""

    _carrying: "set[asyncio.Task[Any]]"

    def carry(self, kind: Request, client: str, do: "Callable[[], R | asyncio.Future[R]]") -> "asyncio.Future[R]":
        """Carry a request to the cluster, have it done there, and carry the answer back.

        Args:
            kind: what is asked for.
            client: the process that asks.
            do: what the cluster does. If it has to wait for something, it answers with a future.

        Returns:
            The answer, or the fault that the network or the cluster has met with. Who does not wait for it any more may
            cancel it: that ends nothing.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        context = Context()
        carried = loop.create_task(self._carry(kind, client, do), context=context)
        keep = self.__dict__.setdefault("_carrying", set())
        keep.add(carried)
        carried.add_done_callback(keep.discard, context=context)
        carried.add_done_callback(partial(_hand_over, answer), context=context)
        return answer

    async def _carry(self, kind: Request, client: str, do: "Callable[[], R | asyncio.Future[R]]") -> R:
        await self.request(kind, client)
        done = do()
        found = await done if isinstance(done, asyncio.Future) else done
        await self.answer(kind, client)
        return found

    async def request(self, kind: Request, client: str) -> None:
        """A request is on its way.

        Args:
            kind: what is asked for.
            client: the process that asks.
        """
        await asyncio.sleep(0)

    async def answer(self, kind: Request, client: str) -> None:
        """The answer is on its way back."""
        await asyncio.sleep(0)

    def forgets_offset(self, client: str) -> bool:
        """Whether the cluster does not know any more where a batch is that it is sent for the second time."""
        return False

    def batches_fetched(self, available: int) -> int:
        """How many of the batches that a partition has for a reader one fetch brings, at least one."""
        return available

    def closing_seconds(self, client: str) -> float:
        """How long a client that a process closes takes for it."""
        return 0.0

    def records_again(self, client: str) -> int:
        """How many records that a member of this client has been handed already come again with a fetch."""
        return 0


def _hand_over(answer: "asyncio.Future[R]", done: "asyncio.Future[R]") -> None:
    """Give an answer to whoever waits for it, if anybody does."""
    error = None if done.cancelled() else done.exception()
    if answer.done():
        return
    if done.cancelled():
        answer.cancel()
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())
