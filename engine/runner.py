"""Carries out the effects of one partition: timers, calls of the stack, evaluations, run commands.

It knows which effect each subject has (its token), and nothing else of the state. An effect starts once; a result is
handed back as an input. What a subject does without any more is not started, or is canceled where nobody would miss
its result. The result of a call is always handed back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from engine.core.decisions import ActivityDone, Due
from engine.core.effects import CallActivity, Effect, EvaluateMessage, GoOn, StartInstance, Token, Wake
from engine.core.evaluation import Evaluated
from engine.core.retries import Failure
from engine.core.shard import Input, Shard
from engine.ports import ActivityCaller, Clock, MessageEvaluator
from engine.run_commands import RunCommands
from engine.timers import Timers
from engine.turn import INTERNAL_FAULT

logger = logging.getLogger(__name__)

MAX_STEP: Final = timedelta(seconds=1)
"""When the clock was set back by more, timers are set again: by the earlier ones an instance would wait too long by as
much."""

STOP_SECONDS: Final = 1.0
"""How long canceled attempts may take to end; without it a call that ignores its end would hold up its engine."""


class _Attempt(NamedTuple):
    token: Token
    task: asyncio.Task[None]


class EffectRunner:
    """Starts and ends effects as the state wants them.

    Args:
        partition: its number.
        shard: the state.
        caller: calls the stack.
        evaluator: evaluates messages that need links.
        run_commands: sends run commands.
        clock: the time.
        claim_held: waits until the claim is known to have held a moment ago.
        give: takes an input for an aggregate.
    """

    def __init__(
        self,
        partition: int,
        shard: Shard,
        *,
        caller: ActivityCaller,
        evaluator: MessageEvaluator,
        run_commands: RunCommands,
        clock: Clock,
        claim_held: Callable[[], Awaitable[None]],
        give: Callable[[str, Input], None],
    ):
        self._partition = partition
        self._shard, self._caller, self._evaluator, self._run_commands = shard, caller, evaluator, run_commands
        self._clock, self._claim_held, self._give = clock, claim_held, give
        self._current: dict[str, Token] = {}
        """By subject, the effect that was started, or that waits for its time."""
        self._attempts: dict[str, _Attempt] = {}
        """By subject, the call or evaluation under way, and one that has ended until its result is decided."""
        self.timers = Timers(self._is_current)
        self._clock_said: datetime | None = None

    def start_all(self) -> None:
        """Start all effects, unless they are under way; set all timers by the present clock."""
        clock = self._clock.now()
        self.timers.clear()
        for subject in self._shard.subjects():
            effect = self._shard.effect(subject, clock)
            if effect is None or self._current.get(subject) != effect.token:
                self._start(subject, effect)
            elif subject not in self._attempts:
                self._set_timer(subject, effect)

    def start(self, subjects: Iterable[str]) -> None:
        """Start what the present state wants for subjects, as far as it is not started."""
        for subject in subjects:
            self._start(subject, self._shard.effect(subject))

    def retract(self, subjects: Iterable[str]) -> None:
        """Let no effect start any more that a turn does without, before its batch is sent.

        Others may read the batch, and answer an abort, before the owner has the acknowledgement.
        """
        for subject in subjects:
            current = self._current.get(subject)
            if current is not None:
                effect = self._shard.effect(subject)
                if effect is None or effect.token != current:
                    del self._current[subject]

    def take_due(self) -> None:
        """Start or hand over what is due."""
        now = self._clock.now()
        if self._clock_said is not None and self._clock_said - now > MAX_STEP:
            logger.warning("the clock was set back by %s", self._clock_said - now, extra={"partition": self._partition})
            self.start_all()
        self._clock_said = now
        for subject, token in self.timers.due(now):
            effect = self._shard.effect(subject)
            if isinstance(effect, CallActivity | EvaluateMessage):
                self._attempt(subject, effect)
            else:
                self._give(subject, Due(token))

    async def stop(self) -> None:
        """Cancel everything under way. Nothing starts any more, not even what does not notice its end."""
        self._current.clear()
        tasks = [attempt.task for attempt in self._attempts.values()]
        if self._run_commands.task is not None:
            tasks.append(self._run_commands.task)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)

    def _is_current(self, subject: str, token: Token) -> bool:
        return self._current.get(subject) == token

    def _start(self, subject: str, effect: Effect | None) -> None:
        if effect is not None and self._current.get(subject) == effect.token:
            return
        self._end_attempt(subject)
        if effect is None:
            self._current.pop(subject, None)
            return
        self._current[subject] = effect.token
        match effect:
            case GoOn():
                self._give(subject, Due(effect.token))
            case StartInstance():
                self._run_commands.add(effect)
            case CallActivity() | EvaluateMessage() if (
                effect.not_before is None or effect.not_before <= self._clock.now()
            ):
                self._attempt(subject, effect)
            case _:
                self._set_timer(subject, effect)

    def _set_timer(self, subject: str, effect: Effect) -> None:
        match effect:
            case Wake():
                self.timers.set(effect.at, subject, effect.token)
            case (
                CallActivity(not_before=datetime() as not_before) | EvaluateMessage(not_before=datetime() as not_before)
            ):
                self.timers.set(not_before, subject, effect.token)

    def _end_attempt(self, subject: str) -> None:
        """The attempt that was started last for a subject is over, or nobody waits for it any more."""
        attempt = self._attempts.get(subject)
        if attempt is None:
            return
        if attempt.token.kind == "evaluate":
            attempt.task.cancel()
        elif not attempt.task.done():
            return  # the result of a call is recorded, however late
        del self._attempts[subject]

    def _attempt(self, subject: str, effect: CallActivity | EvaluateMessage) -> None:
        work = self._call(subject, effect) if isinstance(effect, CallActivity) else self._evaluate(subject, effect)
        self._attempts[subject] = _Attempt(effect.token, asyncio.create_task(work))

    async def _call(self, subject: str, effect: CallActivity) -> None:
        try:
            result = await self._caller.call(effect, partial(self._may_start, subject, effect.token))
        except Exception:  # without a result the instance would wait for ever
            logger.exception("an attempt failed", extra={"instance": subject, "activity": effect.name})
            result = ActivityDone(effect.token, failure=Failure(INTERNAL_FAULT))
        self._done(subject, subject, effect.token, result)

    async def _evaluate(self, subject: str, effect: EvaluateMessage) -> None:
        may_start = partial(self._may_start, subject, effect.token)
        try:
            result = await self._evaluator.evaluate(effect.trigger, effect.waiting, may_start)
        except Exception:  # likewise the message
            logger.exception("an evaluation failed", extra={"trigger": effect.trigger.id})
            id, attempt = effect.waiting.message.occurrence_id, effect.waiting.attempt
            result = Evaluated(id, attempt, matches=True, error=INTERNAL_FAULT)
        self._done(subject, effect.trigger.id, effect.token, result)

    def _done(self, subject: str, key: str, token: Token, result: ActivityDone | Evaluated | None) -> None:
        if result is not None:
            self._give(key, result)
        attempt = self._attempts.get(subject)
        # A run command that somebody sends again after an abort starts another attempt beside this one.
        is_last = attempt is not None and attempt.task is asyncio.current_task()
        if is_last and (result is None or not self._is_current(subject, token)):
            del self._attempts[subject]

    async def _may_start(self, subject: str, token: Token) -> bool:
        """Whether a subject still wants an attempt, once the claim is known to have held a moment ago."""
        await self._claim_held()
        return self._is_current(subject, token)
