"""Work that a cancellation must not break off in the middle."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def retrieve(task: asyncio.Task[Any]) -> None:
    """Look at what a task failed with, so that asyncio does not report it as lost."""
    if not task.cancelled():
        task.exception()


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
