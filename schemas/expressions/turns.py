"""Evaluating beside other work: what is short on the event loop, what is longer in a thread of its own.

The thread holds Python's lock for 5 ms at a time, and for up to 30 ms while RE2 compiles a pattern; so the event loop,
whose heartbeats and requests must go on, waits no longer than that, whatever expressions there are.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from schemas.error_texts import INTERNAL_FAULT
from schemas.expressions.errors import EvaluationError, LinkNeeded, StepsNeeded
from schemas.expressions.expression import Expression
from schemas.expressions.limits import Allowance
from schemas.expressions.links import LinkAnswer

_T = TypeVar("_T")

logger = logging.getLogger(__name__)

MAX_STEPS_HERE: Final = 3_000
"""Steps of one evaluation on the event loop, and of several in a row: a few milliseconds."""

MAX_CHARACTERS_HERE: Final = 300
"""Longer expressions are compiled in the thread, at 10 microseconds a character; so are all that have patterns."""

_STEPS_OF_A_CALL: Final = 20
"""What an evaluation counts for beside its steps."""

_STEPS_PER_COMPILED_CHARACTER: Final = 10

_thread = ThreadPoolExecutor(1, thread_name_prefix="expressions")
"""One: more of them would only take Python's lock from each other, and from the event loop."""

_steps_here = 0
"""Steps on the event loop since others had their turn."""


async def evaluate(expression: Expression, payload: Any, links: Mapping[str, LinkAnswer], allowance: Allowance) -> Any:
    """The value of an expression. Nothing else waits for it longer than some milliseconds.

    Args:
        expression: what to evaluate; it is compiled if it is not yet.
        payload: what `event` is.
        links: the answers to `link()` that are at hand, by URI.
        allowance: what the trigger's expressions may use together.

    Raises:
        EvaluationError: it does not compile, or failed.
        LinkNeeded: `link()` wants a URI that is not among `links`.
    """
    try:
        if _is_short(expression):
            try:
                return await _here(expression, payload, links, allowance)
            except StepsNeeded:
                pass
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_thread, expression.evaluate, payload, links, allowance)
    except (EvaluationError, LinkNeeded):
        raise
    except Exception:
        # A bug in the evaluation of one expression must not stop all others, again and again.
        logger.exception("an expression could not be evaluated", extra={"expression": expression.text})
        raise EvaluationError(INTERNAL_FAULT) from None


def _is_short(expression: Expression) -> bool:
    text = expression.text
    return expression.is_compiled or (len(text) <= MAX_CHARACTERS_HERE and "matches" not in text)


async def _here(expression: Expression, payload: Any, links: Mapping[str, LinkAnswer], allowance: Allowance) -> Any:
    global _steps_here
    if _steps_here >= MAX_STEPS_HERE:
        _steps_here = 0
        await asyncio.sleep(0)
    _steps_here += _STEPS_OF_A_CALL
    if not expression.is_compiled:
        _steps_here += len(expression.text) * _STEPS_PER_COMPILED_CHARACTER
    before = allowance.steps
    try:
        return expression.evaluate(payload, links, allowance, MAX_STEPS_HERE)
    finally:
        _steps_here += before - allowance.steps


async def beside(function: Callable[..., _T], *arguments: Any) -> _T:
    """What the function gives, called in the thread of expressions; for compiling many of them."""
    return await asyncio.get_running_loop().run_in_executor(_thread, function, *arguments)
