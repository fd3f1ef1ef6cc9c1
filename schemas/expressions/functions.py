"""All builtins without a predicate."""

from typing import Final

from schemas.expressions.list_functions import LIST_FUNCTIONS
from schemas.expressions.number_functions import NUMBER_FUNCTIONS
from schemas.expressions.signatures import Function
from schemas.expressions.text_functions import TEXT_FUNCTIONS

FUNCTIONS: dict[str, Function] = {**LIST_FUNCTIONS, **NUMBER_FUNCTIONS, **TEXT_FUNCTIONS}

LEFT_OUT: Final = frozenset({"now", "date", "duration", "timezone"})
"""Builtins of expr-lang that we lack: time is not a value of the payload, and an expression must give the same
again."""
