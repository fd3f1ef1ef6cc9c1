"""The one way to close a Kafka client: by a deadline, and nothing of it is left behind.

`stop` of aiokafka's clients waits for brokers that may be away. When it is cancelled, tasks of the client go on for as
long as the process lives, and it can end with a `CancelledError` that nobody asked for. So it runs in a task of its
own, and what it has left behind by the deadline is cancelled.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, TypeVar

from schemas.kafka.client import retrieve

logger = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 3.0
"""Deadline of closing. Leaving a group needs an answer of its coordinator; without one, others get the partitions after
the session timeout."""
CANCEL_SECONDS: Final = 1.0
"""How long cancelled tasks of a client may take to end. They only have to notice it."""

C = TypeVar("C")


@contextlib.asynccontextmanager
async def closing(client: C) -> AsyncIterator[C]:
    """Close a client at the end of the block, however that ends. The block starts the client.

    Args:
        client: a consumer, a seat in a group or an admin client, started or not.
    """
    try:
        yield client
    finally:
        await close(client)


async def close(client: Any, seconds: float = CLOSE_SECONDS) -> None:
    """Close a client. Faults of Kafka are not raised, and nothing of the client runs on behind it.

    Args:
        client: a consumer, a seat in a group or an admin client, started or not.
        seconds: how long it may take to leave its group and to close its connections in order.
    """
    stopping = asyncio.create_task(_stop(client), name="kafka-client-stop")
    try:
        await asyncio.wait({stopping}, timeout=seconds)
    finally:  # also when the caller is cancelled
        tasks = {stopping, *_tasks(client)}
        left = {task for task in tasks if not task.done()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCEL_SECONDS)
        ending = asyncio.create_task(client._client.close(), name="kafka-client-end")  # noqa: SLF001
        await asyncio.wait({ending}, timeout=CANCEL_SECONDS)
        for task in (*tasks, ending):
            task.add_done_callback(retrieve)


async def _stop(client: Any) -> None:
    stop = client.stop if hasattr(client, "stop") else client.close
    try:
        await stop()
    except Exception as error:
        # Most likely what a task of the client had failed with before, which whoever used the client was told.
        logger.debug("closing a Kafka client: %r", error)


def _tasks(client: Any) -> Iterator[asyncio.Task[Any]]:
    """The tasks of a client. There is no public way to them."""
    holders = {
        "_coordinator": ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task"),
        "_fetcher": ("_fetch_task",),
        "_client": ("_sync_task",),
    }
    for holder, names in holders.items():
        for name in names:
            task = getattr(getattr(client, holder, None), name, None)
            if task is not None:
                yield task
    yield from getattr(getattr(client, "_fetcher", None), "_pending_tasks", ())
