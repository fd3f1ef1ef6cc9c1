"""Effects of one partition that are carried out in the order in which they come, and again after a fault."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, Generic, TypeVar

logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 0.5
"""Pause after a fault; without it a topic that is away would be asked in a tight loop."""

E = TypeVar("E")


class EffectQueue(ABC, Generic[E]):
    """What one partition has still to carry out. One task does it, so that the order stays.

    Args:
        partition: its number.
        trouble: what a fault means, for the log.
    """

    def __init__(self, partition: int, trouble: str):
        self._partition, self._trouble = partition, trouble
        self._queue: deque[E] = deque()
        self.task: asyncio.Task[None] | None = None
        """What carries them out, if there is anything to be done."""

    def add(self, effect: E) -> None:
        """Carry out an effect behind the others."""
        self._queue.append(effect)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run())

    @abstractmethod
    async def _carry_out(self, batch: Sequence[E]) -> None:
        """Carry out the next ones. After whatever it raises, they are carried out again."""

    @abstractmethod
    def _finish(self, effect: E) -> None:
        """Hand back what has become of one that was carried out."""

    def _max_batch(self) -> int | None:
        """Most effects that are carried out at once; None for all."""
        return None

    async def _run(self) -> None:
        while self._queue:
            batch = list(islice(self._queue, self._max_batch()))
            try:
                await self._carry_out(batch)
            except Exception as error:
                # Whatever it is: a task that ends here would leave all later ones undone.
                logger.warning("%s: %r", self._trouble, error, extra={"partition": self._partition})
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            for effect in batch:
                self._queue.popleft()
                self._finish(effect)
