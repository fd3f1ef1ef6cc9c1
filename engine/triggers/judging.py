"""What a trigger makes of a message: whether its filter matches, and its variables."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from engine.triggers.definitions import CompiledTrigger
from schemas.error_texts import INTERNAL_FAULT, cut_error
from schemas.expressions import Allowance, EvaluationError, Expression, LinkNeeded
from schemas.expressions.limits import MAX_VARIABLES_LENGTH

logger = logging.getLogger(__name__)

MAX_NAME_LENGTH: Final = 100
"""Characters of a variable's name in an error; the rest tells nobody more."""

FILTER_ERROR: Final = "error"
FILTER_NO_BOOLEAN: Final = "no_boolean"
FILTER_LINK: Final = "link"

Evaluate = Callable[[Expression, Allowance], Awaitable[Any]]
"""The value of an expression for the message, within what the trigger's expressions may use together. Raises
`EvaluationError`; `LinkNeeded` where links are not fetched."""


class Judgement(Struct, frozen=True):
    """What a trigger makes of a message."""

    matches: bool
    failure: str | None = None
    """Why the filter could not tell: one of the constants above."""
    variables: dict[str, str] = {}
    error: str | None = None
    """What was wrong with the filter, or with a variable of a message that matches."""


async def judge(trigger: CompiledTrigger, evaluate: Evaluate) -> Judgement:
    """Evaluate the filter and, where it matches, the variables.

    Raises:
        LinkNeeded: `evaluate` raised it.
    """
    allowance = Allowance()
    if trigger.filter is not None:
        try:
            value = await _value(trigger.filter, allowance, evaluate)
        except EvaluationError as error:
            return Judgement(False, FILTER_ERROR, error=cut_error(str(error)))
        if not isinstance(value, bool):
            return Judgement(False, FILTER_NO_BOOLEAN, error="its value is not a boolean")
        if not value:
            return Judgement(False)
    try:
        return Judgement(True, variables=await _variables(trigger, allowance, evaluate))
    except EvaluationError as error:
        return Judgement(True, error=cut_error(str(error)))


async def _variables(trigger: CompiledTrigger, allowance: Allowance, evaluate: Evaluate) -> dict[str, str]:
    if trigger.problem is not None:
        raise EvaluationError(trigger.problem)
    variables: dict[str, str] = {}
    length = 0
    for name, expression in trigger.vars.items():
        try:
            value = await _value(expression, allowance, evaluate)
        except EvaluationError as error:
            raise EvaluationError(f"{name[:MAX_NAME_LENGTH]}: {error}") from None
        if value is None:
            continue  # as if it were not given, so that a message without the field moves no money to `users-`
        variables[name] = value
        length += len(value)
        if length > MAX_VARIABLES_LENGTH:
            raise EvaluationError(f"the variables have more than {MAX_VARIABLES_LENGTH} characters")
    return variables


async def _value(expression: Expression, allowance: Allowance, evaluate: Evaluate) -> Any:
    try:
        return await evaluate(expression, allowance)
    except (EvaluationError, LinkNeeded):
        raise
    except Exception:
        # A bug in the evaluation of one expression must not stop all other triggers, again and again.
        logger.exception("an expression could not be evaluated", extra={"expression": expression.text})
        raise EvaluationError(INTERNAL_FAULT) from None
