"""Looks up the definitions that held submissions of one partition need, beside its turns.

What was defined before a submission came has to be known before it is decided. So the finder waits until the engine
knows topic `definitions` up to its end, as the listener for triggers does; nobody else of the partition waits for that.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from engine.core.effects import FindWorkflow
from engine.core.submissions import Resolved
from engine.ports import Workflows

logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 0.5
"""Pause after a fault; without it a topic that is away would be asked in a tight loop."""


class WorkflowFinder:
    """What one partition has still to look up.

    Args:
        partition: its number.
        workflows: the current ones.
        done: is handed what was found, with the id of the instance.
    """

    def __init__(self, partition: int, workflows: Workflows, done: Callable[[str, Resolved], None]):
        self._partition, self._workflows, self._done = partition, workflows, done
        self._queue: deque[FindWorkflow] = deque()
        self.task: asyncio.Task[None] | None = None
        """What looks, if there is anything to be looked up."""

    def add(self, effect: FindWorkflow) -> None:
        """Look up what a submission needs, behind the others."""
        self._queue.append(effect)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._find())

    async def _find(self) -> None:
        while self._queue:
            batch = list(self._queue)
            try:
                if any(effect.workflow_id is not None for effect in batch):
                    await self._workflows.catch_up()
            except Exception as error:
                # Whatever it is: a task that ends here would leave all later submissions undecided.
                logger.warning(
                    "submissions wait for topic definitions: %r", error, extra={"partition": self._partition}
                )
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            for effect in batch:
                self._queue.popleft()
                id = effect.workflow_id
                found = None if id is None else self._workflows.workflow(id)
                self._done(effect.key, Resolved(effect.offset, found))
