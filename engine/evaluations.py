"""The evaluations that the triggers of one partition wait for: a task for each message, from its time to its result."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from engine.core.evaluation import Evaluated, Waiting
from engine.core.retries import backoff
from engine.core.trigger import Trigger
from engine.ports import Clock, MessageEvaluator

Wanted = Callable[[str, str, int], Awaitable[bool]]
"""Whether an attempt may start: id of the trigger, of the occurrence, number of the attempt."""


class Evaluations:
    """Starts each attempt that the state of a trigger wants, once.

    Args:
        evaluator: carries them out.
        clock: the time.
        may_start: asked right before an attempt starts.
        done: is handed the result, with the trigger's id.
    """

    def __init__(
        self, evaluator: MessageEvaluator, clock: Clock, may_start: Wanted, done: Callable[[str, Evaluated], None]
    ):
        self._evaluator, self._clock, self._may_start, self._done = evaluator, clock, may_start, done
        self._running: dict[str, dict[str, tuple[int, asyncio.Task[None]]]] = {}

    @property
    def tasks(self) -> Sequence[asyncio.Task[None]]:
        """What is under way."""
        return [task for running in self._running.values() for _, task in running.values()]

    def follow(self, trigger: Trigger) -> None:
        """Start what the trigger's state wants now, and drop what it does not want any more."""
        if not trigger.waiting and trigger.id not in self._running:
            return
        before = self._running.pop(trigger.id, {})
        after = {}
        for id, waiting in trigger.waiting.items():
            attempt, task = before.pop(id, (0, None))
            if task is None or attempt != waiting.attempt:
                task = asyncio.create_task(self._evaluate(trigger, waiting))
            after[id] = (waiting.attempt, task)
        for _, task in before.values():
            task.cancel()
        if after:
            self._running[trigger.id] = after

    async def _evaluate(self, trigger: Trigger, waiting: Waiting) -> None:
        if waiting.retry_at is not None:
            # The time in the log was made by a clock that may have been wrong, and may be set meanwhile.
            left = min(waiting.retry_at - self._clock.now(), backoff(waiting.attempt - 1))
            await asyncio.sleep(left.total_seconds())
        may_start = partial(self._may_start, trigger.id, waiting.message.occurrence_id, waiting.attempt)
        result = await self._evaluator.evaluate(trigger, waiting, may_start)
        if result is not None:
            self._done(trigger.id, result)
