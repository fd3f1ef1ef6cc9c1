"""What a trigger makes of a message: whether its filter matches, and its variables."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from engine.triggers.definitions import CompiledTrigger
from schemas.error_texts import cut_error
from schemas.expressions import EvaluationError, Expression, LinkNeeded, to_variable
from schemas.expressions.limits import MAX_VARIABLES_LENGTH

logger = logging.getLogger(__name__)

MAX_NAME_LENGTH = 100
"""Characters of a variable's name in an error; the rest tells nobody more."""

FILTER_ERROR: Final = "error"
FILTER_NO_BOOLEAN: Final = "no_boolean"

Evaluate = Callable[[Expression], Awaitable[Any]]
"""The value of an expression for the message. Raises `EvaluationError`; `LinkNeeded` where links are not fetched."""


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
    if trigger.filter is not None:
        try:
            value = await _value(trigger.filter, evaluate)
        except EvaluationError as error:
            return Judgement(False, FILTER_ERROR, error=cut_error(str(error)))
        if not isinstance(value, bool):
            return Judgement(False, FILTER_NO_BOOLEAN, error="its value is not a boolean")
        if not value:
            return Judgement(False)
    try:
        return Judgement(True, variables=await _variables(trigger, evaluate))
    except EvaluationError as error:
        return Judgement(True, error=cut_error(str(error)))


async def _variables(trigger: CompiledTrigger, evaluate: Evaluate) -> dict[str, str]:
    variables: dict[str, str] = {}
    length = 0
    for name, expression in trigger.vars.items():
        try:
            value = await _value(expression, evaluate)
            if value is None:
                continue  # as if it were not given, so that a message without the field moves no money to `users-`
            variables[name] = to_variable(value)
        except EvaluationError as error:
            raise EvaluationError(f"{name[:MAX_NAME_LENGTH]}: {error}") from None
        length += len(variables[name])
        if length > MAX_VARIABLES_LENGTH:
            raise EvaluationError(f"the variables have more than {MAX_VARIABLES_LENGTH} characters")
    return variables


async def _value(expression: Expression | str, evaluate: Evaluate) -> Any:
    if isinstance(expression, str):
        raise EvaluationError(expression)
    try:
        return await evaluate(expression)
    except (EvaluationError, LinkNeeded):
        raise
    except Exception:
        # A bug in the evaluation of one expression must not stop all other triggers, again and again.
        logger.exception("an expression could not be evaluated", extra={"expression": expression.text})
        raise EvaluationError("internal fault") from None
