"""Regular expressions of `matches`, on RE2, whose time is linear in the text, whatever pattern somebody writes.

Python's `re` backtracks, so that a pattern such as `(a+)+$` can take for ever; and the reference's patterns are those
of Go's regexp, which is RE2 too.
"""

from functools import lru_cache
from typing import Any

import re2

from schemas.expressions.exceptions import EvaluationError
from schemas.expressions.limits import MAX_PATTERN_LENGTH, MAX_PATTERN_MEMORY_BYTES, Budget

# Compiling a pattern costs about as much as so many steps.
_COMPILATION_STEPS = 100

# At worst RE2 looks at every instruction of its program for every byte, in 10 ns each (measured): so many in a step.
# Without it, `(a|aé){200}c` would search a text of 150 kB for two seconds.
_INSTRUCTIONS_PER_STEP = 64


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
    options.never_capture = True
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0]
        shown = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise PatternError(f"error parsing regexp: {shown}") from None


def matches(text: str, pattern: str, budget: Budget) -> bool:
    """True if the pattern is found anywhere in the text."""
    budget.spend(_COMPILATION_STEPS)
    try:
        compiled = compile_pattern(pattern)
    except PatternError as error:
        raise EvaluationError(str(error)) from None
    encoded = text.encode()
    budget.spend(len(encoded) * compiled.programsize // _INSTRUCTIONS_PER_STEP)
    return compiled.search(encoded) is not None
