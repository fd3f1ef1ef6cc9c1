"""Sends the commands that start the instances of occurrences, in the order of the log.

The order tells duplicates: a receiver knows the highest sequence of each sender (see `RunWorkflow.sequence`), so one
task sends them, and the same ones again after a fault.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from engine.core.effects import StartInstance
from engine.core.trigger import Requested
from engine.ports import Clock, EventLog

logger = logging.getLogger(__name__)

MAX_BATCH: Final = 100
"""Commands in one batch; each may carry a definition of its own."""

RESEND_SECONDS: Final = 0.5
"""Pause before commands are sent again after a fault; without it a log that is away would be asked in a tight loop."""


class RunCommands:
    """The run commands that one partition has still to send.

    Args:
        partition: its number.
        log: takes the commands.
        clock: the time.
        done: is handed what becomes of each, with the trigger's id.
    """

    def __init__(self, partition: int, log: EventLog, clock: Clock, done: Callable[[str, Requested], None]):
        self._partition, self._log, self._clock, self._done = partition, log, clock, done
        self._queue: deque[StartInstance] = deque()
        self.task: asyncio.Task[None] | None = None
        """What sends, if there is anything to send."""

    def add(self, effect: StartInstance) -> None:
        """Send a command behind the others."""
        self._queue.append(effect)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        source = f"events/{self._partition}"
        while self._queue:
            batch = list(islice(self._queue, MAX_BATCH))
            commands = [(one.pending.instance_id, one.pending.command(source, one.trigger_id)) for one in batch]
            try:
                await self._log.send(commands, int(self._clock.now().timestamp() * 1000))
            except Exception as error:
                # Whatever it is: a task that ends here would leave the instances of all later occurrences unstarted.
                logger.warning(
                    "run commands of triggers are sent again: %r", error, extra={"partition": self._partition}
                )
                await asyncio.sleep(RESEND_SECONDS)
                continue
            for effect in batch:
                self._queue.popleft()
                self._done(effect.trigger_id, Requested(effect.pending.occurrence_id))
