"""Sends the commands that start the instances of occurrences, in the order of the log.

The order tells duplicates: a receiver knows the highest sequence of each sender (see `RunWorkflow.sequence`), so one
task sends them, and the same ones again after a fault.
"""

from collections.abc import Callable, Sequence
from typing import Final

from engine.core.effects import StartInstance
from engine.core.trigger import Requested
from engine.effect_queue import EffectQueue
from engine.ports import Clock, EventLog

MAX_BATCH: Final = 100
"""Commands in one batch; each may carry a definition of its own."""


class RunCommands(EffectQueue[StartInstance]):
    """The run commands that one partition has still to send.

    Args:
        partition: its number.
        log: takes the commands.
        clock: the time.
        done: is handed what becomes of each, with the trigger's id.
    """

    def __init__(self, partition: int, log: EventLog, clock: Clock, done: Callable[[str, Requested], None]):
        super().__init__(partition, "run commands of triggers are sent again")
        self._source = f"events/{partition}"
        self._log, self._clock, self._done = log, clock, done

    def _max_batch(self) -> int:
        return MAX_BATCH

    async def _carry_out(self, batch: Sequence[StartInstance]) -> None:
        commands = [(one.pending.instance_id, one.pending.command(self._source, one.trigger_id)) for one in batch]
        await self._log.send(commands, int(self._clock.now().timestamp() * 1000))

    def _finish(self, effect: StartInstance) -> None:
        self._done(effect.trigger_id, Requested(effect.pending.occurrence_id))
