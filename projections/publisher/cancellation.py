"""Work that a cancellation must not break off in the middle."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from schemas.kafka.client import retrieve

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await work; if cancelled meanwhile, await its end first.

    Args:
        work: it must have a deadline.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(retrieve)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
