"""Regular expressions of `matches`, on RE2: its time is linear in the text, whatever pattern somebody writes.

Python's `re` backtracks, so that a pattern such as `(a+)+$` can take for ever; and the contract's syntax is that of Go's
regexp, which is RE2's.
"""

from functools import lru_cache
from typing import Any

import re2

from engine.expressions.exceptions import EvaluationError
from engine.expressions.limits import MAX_PATTERN_LENGTH, MAX_PATTERN_MEMORY_BYTES, Budget

# Compiling a pattern costs about as much as so many steps.
_COMPILATION_STEPS = 100


class PatternError(ValueError):
    """The pattern is none of RE2's, or too large."""


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Any:
    """RE2's compiled form of a pattern; raises PatternError."""
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise PatternError(f"the pattern is longer than {MAX_PATTERN_LENGTH} characters")
    options = re2.Options()
    options.max_mem = MAX_PATTERN_MEMORY_BYTES
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise PatternError(f"error parsing regexp: {text}") from None


def matches(text: str, pattern: str, budget: Budget) -> bool:
    """True if the pattern is found anywhere in the text."""
    budget.spend(_COMPILATION_STEPS)
    try:
        return compile_pattern(pattern).search(text) is not None
    except PatternError as error:
        raise EvaluationError(str(error)) from None
