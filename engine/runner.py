"""Carries out the effects of one partition: timers, calls, evaluations, run commands, definitions to look up.

It knows which effect each subject wants (its token), and nothing else of the state. An effect starts once; a result is
handed back as an input. What a subject does without any more is not started, or is cancelled where nobody would miss
its result. The result of a call is always handed back.

A partition may have a million effects. So what waits is a small entry in the timers or in a queue for a slot, a restore
starts them in slices, and what is due comes in portions.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final

from engine.core.decisions import ActivityDone, Due
from engine.core.effects import CallActivity, Effect, EvaluateMessage, FindWorkflow, GoOn, StartInstance, Token, Wake
from engine.core.evaluation import Evaluated
from engine.core.retries import Failure
from engine.core.shard import Input, Shard
from engine.pauses import Breather
from engine.ports import ActivityCaller, Clock, MessageEvaluator
from engine.run_commands import RunCommands
from engine.slots import CallQueue, CallSlots, ServiceSlots
from engine.timers import Timers
from engine.wanted import Wanted
from engine.workflow_finder import WorkflowFinder
from schemas.error_texts import INTERNAL_FAULT

logger = logging.getLogger(__name__)

MAX_STEP: Final = timedelta(seconds=1)
"""When the clock was set back by more, timers are set again: by the earlier ones an instance would wait too long by as
much."""

MAX_PORTION: Final = 50
"""How many timers ring, or are set again, before the next turn. After an outage a million may be due at once: all of
them would stop the event loop for seconds. A turn takes 50 inputs while commands wait, so more would pile up."""

MAX_SHARED_TOKENS: Final = 1000
"""How many tokens are kept to be shared by the effects that they look alike on. A handful are in use; without a limit
the numbers of stages and attempts would add up."""

STOP_SECONDS: Final = 1.0
"""How long cancelled attempts may take to end; without it a call that ignores its end would hold up its engine."""


class EffectRunner:
    """Starts and ends effects as the state wants them.

    Args:
        partition: its number.
        shard: the state.
        caller: calls the stack.
        slots: for calls, shared with the other partitions of the engine.
        evaluator: evaluates messages that need links.
        run_commands: sends run commands.
        finder: looks up definitions.
        clock: the time.
        in_turn: whether the state may hold what is not proven to be in the log.
        claim_held: waits until the claim is known to have held a moment ago.
        give: takes an input for an aggregate.
    """

    def __init__(
        self,
        partition: int,
        shard: Shard,
        *,
        caller: ActivityCaller,
        slots: CallSlots,
        evaluator: MessageEvaluator,
        run_commands: RunCommands,
        finder: WorkflowFinder,
        clock: Clock,
        in_turn: Callable[[], bool],
        claim_held: Callable[[], Awaitable[None]],
        give: Callable[[str, Input], None],
    ):
        self._partition = partition
        self._shard, self._caller, self._evaluator, self._run_commands = shard, caller, evaluator, run_commands
        self._finder, self._slots, self._clock, self._in_turn = finder, slots, clock, in_turn
        self._claim_held, self._give = claim_held, give
        self._wanted: dict[str, Wanted] = {}
        """By subject, the effect that it wants."""
        self._tokens: dict[Token, Token] = {}
        self._queues: dict[str, CallQueue] = {}
        """By service, the calls that wait for a slot."""
        self._calls: set[asyncio.Task[None]] = set()
        """Under way, of whatever subject: the result of a call is recorded, however late."""
        self._evaluations: dict[str, asyncio.Task[None]] = {}
        """Under way, by subject."""
        self._timers = Timers()
        self._to_set_again: deque[Wanted] = deque()
        """Timers that were set before the clock was set back."""
        self._clock_said: datetime | None = None

    @property
    def timers(self) -> int:
        """How many timers are set."""
        return len(self._timers)

    async def start_all(self) -> None:
        """Start all effects after a restore. Others run meanwhile, but no turn of this partition."""
        clock = self._clock_said = self._clock.now()
        breather = Breather(self._clock)
        for subject in self._shard.subjects():
            self._start(subject, self._shard.effect(subject, clock))
            await breather.step()

    def start(self, subjects: Iterable[str]) -> None:
        """Start what the present state wants for subjects, as far as it is not started. To be called after turns."""
        for subject in subjects:
            self._start(subject, self._shard.effect(subject))
        for queue in self._queues.values():
            queue.ask()

    def retract(self, subjects: Iterable[str]) -> None:
        """Let no effect start any more that a turn does without, before its batch is sent.

        Others may read the batch, and answer an abort, before the owner has the acknowledgement.
        """
        for subject in subjects:
            wanted = self._wanted.get(subject)
            if wanted is not None:
                effect = self._shard.effect(subject)
                if effect is None or effect.token != wanted.token:
                    self._drop(wanted)

    def next_at(self) -> datetime | None:
        """When there is something to do for `take_due`; None if there is nothing."""
        return self._clock.now() if self._to_set_again else self._timers.next_at()

    def take_due(self) -> None:
        """Start or hand over what is due, as much as may come before a turn. Not to be called in a turn."""
        now = self._clock.now()
        if self._clock_said is not None and self._clock_said - now > MAX_STEP:
            logger.warning("the clock was set back by %s", self._clock_said - now, extra={"partition": self._partition})
            self._to_set_again = deque(self._timers.entries)
        self._clock_said = now
        for _ in range(min(MAX_PORTION, len(self._to_set_again))):
            self._set_again(self._to_set_again.popleft(), now)
        for wanted in islice(self._timers.due(now), MAX_PORTION):
            self._begin(wanted, self._shard.effect(wanted.subject))

    async def stop(self) -> None:
        """Cancel everything under way. Nothing starts any more, not even what does not notice its end."""
        self._wanted.clear()
        for queue in self._queues.values():
            queue.close()
        self._queues.clear()
        tasks = [*self._calls, *self._evaluations.values()]
        tasks += [task for task in (self._run_commands.task, self._finder.task) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)

    def _start(self, subject: str, effect: Effect | None) -> None:
        wanted = self._wanted.get(subject)
        if wanted is not None:
            if effect is not None and wanted.token == effect.token:
                return
            self._drop(wanted)
        if effect is None:
            return
        wanted = self._want(subject, effect)
        at = _time_of(effect)
        if at is None or (at <= self._clock.now() and not isinstance(effect, Wake)):
            self._begin(wanted, effect)
        else:
            self._timers.set(wanted, at)

    def _want(self, subject: str, effect: Effect) -> Wanted:
        if len(self._tokens) >= MAX_SHARED_TOKENS:
            self._tokens.clear()
        wanted = self._wanted[subject] = Wanted(subject, self._tokens.setdefault(effect.token, effect.token))
        return wanted

    def _drop(self, wanted: Wanted) -> None:
        """A subject does not want an effect any more."""
        del self._wanted[wanted.subject]
        match wanted.place:
            case "timed":
                self._timers.drop(wanted)
            case "queued":
                self._queues[wanted.service].drop(wanted)
        wanted.place = "gone"
        if (evaluation := self._evaluations.pop(wanted.subject, None)) is not None:
            evaluation.cancel()

    def _set_again(self, wanted: Wanted, clock: datetime) -> None:
        """Set a timer by what the clock says now, unless it has rung since or is not wanted any more.

        Timers that were set in the meantime are not among those to be set again: they go by the clock as it is now.
        """
        effect = self._shard.effect(wanted.subject, clock) if wanted.place == "timed" else None
        if effect is not None and (at := _time_of(effect)) is not None:
            self._drop(wanted)
            self._timers.set(self._want(wanted.subject, effect), at)

    def _begin(self, wanted: Wanted, effect: Effect | None) -> None:
        """Carry out an effect whose time has come."""
        match effect:
            case CallActivity():
                slots = self._slots.of(effect.name)
                queue = self._queues.get(slots.service)
                if not queue and slots.take():
                    self._call(wanted, effect, slots)
                    return
                if queue is None:
                    queue = self._queues[slots.service] = CallQueue(slots, self._call_next, self._may_call)
                queue.add(wanted)
            case EvaluateMessage():
                self._evaluations[wanted.subject] = asyncio.create_task(self._evaluate(wanted, effect))
            case StartInstance():
                self._run_commands.add(effect)
            case FindWorkflow():
                self._finder.add(effect)
            case GoOn() | Wake():
                self._give(wanted.subject, Due(wanted.token))

    def _may_call(self) -> bool:
        """Whether the state that calls would be made of is the proven one."""
        return not self._in_turn()

    def _call_next(self, wanted: Wanted, slots: ServiceSlots) -> bool:
        """Start a call that has waited for its slot."""
        effect = self._shard.effect(wanted.subject)
        if not isinstance(effect, CallActivity) or effect.token != wanted.token:
            return False
        self._call(wanted, effect, slots)
        return True

    def _call(self, wanted: Wanted, effect: CallActivity, slots: ServiceSlots) -> None:
        task = asyncio.create_task(self._attempt(wanted, effect))
        self._calls.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._calls.discard(task)
            slots.give_back()

        # Not by the task itself: one that is cancelled before it begins does nothing at all.
        task.add_done_callback(ended)

    async def _attempt(self, wanted: Wanted, effect: CallActivity) -> None:
        result: ActivityDone | None
        try:
            result = await self._caller.call(effect, partial(self._may_start, wanted))
        except Exception:  # without a result the instance would wait for ever
            logger.exception("an attempt failed", extra={"instance": wanted.subject, "activity": effect.name})
            result = ActivityDone(effect.token, failure=Failure(INTERNAL_FAULT))
        if result is not None:
            self._give(wanted.subject, result)

    async def _evaluate(self, wanted: Wanted, effect: EvaluateMessage) -> None:
        result: Evaluated | None
        try:
            result = await self._evaluator.evaluate(effect.trigger, effect.waiting, partial(self._may_start, wanted))
        except Exception:  # likewise the message
            logger.exception("an evaluation failed", extra={"trigger": effect.trigger.id})
            id, attempt = effect.waiting.message.occurrence_id, effect.waiting.attempt
            result = Evaluated(id, attempt, matches=True, error=INTERNAL_FAULT)
        if self._evaluations.get(wanted.subject) is asyncio.current_task():
            del self._evaluations[wanted.subject]
        if result is not None:
            self._give(effect.trigger.id, result)

    async def _may_start(self, wanted: Wanted) -> bool:
        """Whether a subject still wants an attempt, once the claim is known to have held a moment ago."""
        await self._claim_held()
        return self._wanted.get(wanted.subject) is wanted


def _time_of(effect: Effect) -> datetime | None:
    """When an effect may begin; None if at once."""
    match effect:
        case Wake():
            return effect.at
        case CallActivity() | EvaluateMessage():
            return effect.not_before
        case _:
            return None
