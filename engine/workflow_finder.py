"""Looks up the definitions that held submissions of one partition need, beside its turns.

What was defined before a submission came has to be known before it is decided. So the finder waits until the engine
knows topic `definitions` up to its end, as the listener for triggers does; nobody else of the partition waits for that.
"""

from collections.abc import Callable, Sequence

from engine.core.effects import FindWorkflow
from engine.core.submissions import Resolved
from engine.effect_queue import EffectQueue
from engine.ports import Workflows


class WorkflowFinder(EffectQueue[FindWorkflow]):
    """What one partition has still to look up.

    Args:
        partition: its number.
        workflows: the current ones.
        done: is handed what was found, with the id of the instance.
    """

    def __init__(self, partition: int, workflows: Workflows, done: Callable[[str, Resolved], None]):
        super().__init__(partition, "submissions wait for topic definitions")
        self._workflows, self._done = workflows, done

    async def _carry_out(self, batch: Sequence[FindWorkflow]) -> None:
        if any(effect.workflow_id is not None for effect in batch):
            await self._workflows.catch_up()

    def _finish(self, effect: FindWorkflow) -> None:
        id = effect.workflow_id
        found = None if id is None else self._workflows.workflow(id)
        self._done(effect.key, Resolved(effect.offset, found))
