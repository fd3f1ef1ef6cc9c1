"""What lies between a process and the cluster.

Every request passes `Network.request` on its way there and `Network.answer` on its way back; in between the cluster
does what it was asked for, at one moment. In `Network` itself nothing goes wrong. A test or a simulation overrides its
methods. There it may

- wait: the request or the answer is late. A producer's request that is late arrives all the same, also after whoever
  appended has given up;
- raise `RequestLost` in `request`: nothing arrives; in `answer`: it was done, and nobody is told. Clients repeat what
  was lost, as far as their deadlines let them, and the cluster recognises appends that it has already;
- raise another `KafkaFault` in `request`: the cluster refuses;
- wait for ever: silence.
"""

import asyncio
from typing import Literal

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
    "end transaction",
]


class RequestLost(KafkaFault):
    """A request or its answer did not arrive."""


class Network:
    """A network that loses nothing. Each way takes one round of the event loop."""

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
