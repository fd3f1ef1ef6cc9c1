"""Evaluating messages whose filter or variables need links, away from the listener.

A link may take seconds and fail for hours. So the trigger's owner evaluates such a message as an effect (see
`engine.core.trigger`): many side by side, each by itself, and again until the link answers or time is up.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import msgspec

from engine.core.evaluation import Evaluated, Waiting
from engine.core.retries import backoff
from engine.core.trigger import Trigger
from engine.metrics import Metrics
from engine.ports import Clock, MayStart
from engine.triggers.definitions import CompiledTrigger, compile_trigger
from engine.triggers.failures import FilterFailures
from engine.triggers.judging import FILTER_LINK, Judgement, judge
from engine.triggers.shares import Shares
from schemas.current import CurrentTrigger
from schemas.error_texts import INTERNAL_FAULT, cut_error
from schemas.expressions import Allowance, Expression, LinkAnswer, prepare
from schemas.stack.links import LinkFetcher

logger = logging.getLogger(__name__)

MAX_EVALUATIONS: Final = 32
"""Evaluations of an engine at once. Each holds a decoded message and the answers of its links, which can be large."""

MAX_OF_TRIGGER: Final = 8
"""Evaluations of one trigger at once, as long as its links answer. Its messages may all wait for a service that hangs:
with all slots, they would keep those of other triggers waiting until the last of them has failed."""

MAX_OF_FAILING: Final = 16
"""Evaluations at once of all triggers together whose last one had a link that failed. Many triggers may link to the
same service: without a bound for all of them, those with other links would wait for it as well."""

MAX_OF_UNPROVEN: Final = 24
"""Evaluations at once of all triggers together whose last one failed so, or of which none has ended yet. The first
messages of many triggers may link to a service that hangs, and with all slots they would hold up those whose links
answer."""

ATTEMPT_SECONDS: Final = 60.0
"""How long one evaluation may take, all its links together; past it, it is tried again like one whose link failed."""

MAX_COMPILED: Final = 200
"""Triggers that are kept compiled; the one that was used longest ago goes first."""

WorkflowDeleted = Callable[[str], Awaitable[bool]]
"""Whether a workflow was deleted, as of now. May raise anything while that can't be read."""


class LinkEvaluator:
    """`engine.ports.MessageEvaluator` with links over HTTP.

    Args:
        fetcher: evaluates expressions.
        workflow_deleted: asked before a message fires.
        failures: is told of filters that could not be evaluated.
        metrics: counts attempts.
        clock: the time.
        retry_seconds: how long a message is tried again.
    """

    def __init__(
        self,
        fetcher: LinkFetcher,
        workflow_deleted: WorkflowDeleted,
        failures: FilterFailures,
        metrics: Metrics,
        clock: Clock,
        retry_seconds: float,
    ):
        prepare()  # the first message would stop everything else for as long
        self._fetcher, self._workflow_deleted = fetcher, workflow_deleted
        self._failures, self._metrics, self._clock = failures, metrics, clock
        self._retry = timedelta(seconds=retry_seconds)
        self._slots = Shares(MAX_EVALUATIONS, MAX_OF_TRIGGER, MAX_OF_FAILING, MAX_OF_UNPROVEN)
        self._compiled: OrderedDict[str, CompiledTrigger] = OrderedDict()

    async def evaluate(self, trigger: Trigger, waiting: Waiting, may_start: MayStart) -> Evaluated | None:
        """See `MessageEvaluator.evaluate`."""
        async with self._slots.slot(trigger.id):
            if not await may_start():
                return None
            judgement, may_pass = await self._attempt(trigger, waiting)
            self._slots.note(trigger.id, failed=may_pass)
            deleted = False
            if judgement.matches and judgement.error is None:
                try:
                    deleted = await self._workflow_deleted(trigger.workflow_id)
                except Exception as error:
                    judgement, may_pass = Judgement(True, error=f"the workflows can't be read: {error!r}"), True
        may_pass = may_pass and not self._is_over(waiting)
        self._metrics.evaluations.labels("retry" if may_pass else "failed" if judgement.error else "ok").inc()
        if judgement.failure is not None and not may_pass:
            self._failures.note(trigger.id, judgement.failure, judgement.error or "")
        return Evaluated(
            waiting.message.occurrence_id,
            waiting.attempt,
            judgement.matches,
            judgement.variables,
            cut_error(judgement.error) if judgement.error else None,
            may_pass,
            deleted,
        )

    def _is_over(self, waiting: Waiting) -> bool:
        """Whether the time for more attempts is over.

        A clock that is wrong for a moment does not end it: half of the time must have been pauses between attempts.
        """
        paused = sum((backoff(attempt) for attempt in range(1, waiting.attempt)), timedelta())
        late = self._clock.now() + backoff(waiting.attempt) > waiting.since + self._retry
        return late and paused >= self._retry / 2

    async def _attempt(self, trigger: Trigger, waiting: Waiting) -> tuple[Judgement, bool]:
        """What the trigger makes of the message, and whether a link failed in a way that may pass."""
        links: dict[str, LinkAnswer] = {}
        try:
            payload = msgspec.json.decode(waiting.message.event).get("payload")

            async def evaluate(expression: Expression, allowance: Allowance) -> Any:
                return await self._fetcher.evaluate(expression, payload, links, allowance)

            async with asyncio.timeout(ATTEMPT_SECONDS):
                judgement = await judge(self._as_compiled(trigger), evaluate)
        except TimeoutError:
            return Judgement(False, FILTER_LINK, error=f"not evaluated within {ATTEMPT_SECONDS:g} s"), True
        except Exception:
            # A bug here must neither stop the partition nor leave the message waiting for a result.
            logger.exception("an evaluation failed", extra={"trigger": trigger.id})
            return Judgement(True, error=INTERNAL_FAULT), False
        if judgement.error is None or not any(answer.error is not None for answer in links.values()):
            return judgement, False
        failure = None if judgement.failure is None else FILTER_LINK
        return msgspec.structs.replace(judgement, failure=failure), any(link.may_pass for link in links.values())

    def _as_compiled(self, trigger: Trigger) -> CompiledTrigger:
        compiled = self._compiled.pop(trigger.id, None)
        if compiled is None:
            definition = CurrentTrigger(
                event="", workflow_id=trigger.workflow_id, filter=trigger.filter, vars=trigger.vars
            )
            compiled = compile_trigger(trigger.id, definition)
        self._compiled[trigger.id] = compiled
        if len(self._compiled) > MAX_COMPILED:
            self._compiled.popitem(last=False)
        return compiled
