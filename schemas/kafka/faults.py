"""Turns errors of the client library into ours, with a deadline for what it may wait for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from aiokafka.errors import KafkaError

from schemas.kafka.errors import KafkaFault

ANSWER_SECONDS: Final = 10.0
"""Deadline of connecting, and of a question that any broker or leader answers at once. The client library would ask
one that is away for 40 s and more."""


@contextlib.asynccontextmanager
async def faults(timeout_seconds: float | None = None) -> AsyncIterator[None]:
    """Give the block so many seconds, `ANSWER_SECONDS` when not given.

    Raises:
        KafkaFault: it took longer, or Kafka is away or refuses.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS if timeout_seconds is None else timeout_seconds):
            yield
    except KafkaFault:
        raise
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaFault(repr(error)) from error
