"""Regular expressions of `matches`, on RE2, whose time is linear in the text, whatever pattern somebody writes.

Python's `re` backtracks, so that a pattern such as `(a+)+$` can take for ever; and the reference's patterns are those
of Go's regexp, which is RE2 too.
"""

from collections import OrderedDict
from threading import Lock
from typing import Any, Final

from schemas.expressions.errors import EvaluationError
from schemas.expressions.limits import (
    MAX_PATTERN_LENGTH,
    MAX_PATTERN_MEMORY_BYTES,
    MAX_PATTERNS,
    Budget,
)

KEPT_PATTERNS: Final = 128
"""Compiled patterns that a process keeps, each of up to `MAX_PATTERN_MEMORY_BYTES`."""

_BASE_STEPS: Final = 50
_STEPS_PER_CHARACTER: Final = 20
_INSTRUCTIONS_PER_COMPILED_STEP: Final = 2
"""What compiling a pattern costs (measured): `\\pL` alone has 1,200 instructions."""

_MAX_INSTRUCTIONS: Final = MAX_PATTERN_MEMORY_BYTES // 16
"""The largest program that RE2 makes within its memory."""

_SEARCH_STEPS: Final = 5
"""What a search costs, however short."""

_INSTRUCTIONS_PER_STEP: Final = 64
"""At worst RE2 looks at every instruction of its program for every byte, in 10 ns each (measured): so many in a step.
Without it, `(a|aé){200}c` would search a text of 150 kB for two seconds."""


class PatternError(ValueError):
    """The pattern is not one of RE2's, or too large."""


class _Patterns:
    """The compiled patterns that were used last. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def get(self, pattern: str) -> Any:
        with self._lock:
            compiled = self._kept.get(pattern)
            if compiled is not None:
                self._kept.move_to_end(pattern)
            return compiled

    def keep(self, pattern: str, compiled: Any) -> None:
        with self._lock:
            self._kept[pattern] = compiled
            if len(self._kept) > KEPT_PATTERNS:
                self._kept.popitem(last=False)


_patterns = _Patterns()


def compile_pattern(pattern: str) -> int:
    """Compile a pattern that stands in an expression.

    Returns:
        The steps that this costs.

    Raises:
        PatternError: it is not a pattern, or too large.
    """
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise PatternError(f"the pattern is longer than {MAX_PATTERN_LENGTH} characters")
    return _cost(pattern, (_patterns.get(pattern) or _compile(pattern)).programsize)


def _compile(pattern: str) -> Any:
    import re2  # it takes 2 MB, and few processes ever meet a pattern

    options = re2.Options()
    options.max_mem = MAX_PATTERN_MEMORY_BYTES
    options.log_errors = False
    options.never_capture = True
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0]
        shown = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise PatternError(f"error parsing regexp: {shown}") from None
    _patterns.keep(pattern, compiled)
    return compiled


def _cost(pattern: str, instructions: int) -> int:
    return _BASE_STEPS + _STEPS_PER_CHARACTER * len(pattern) + instructions // _INSTRUCTIONS_PER_COMPILED_STEP


def matches(text: str, pattern: str, budget: Budget) -> bool:
    """True if the pattern is found anywhere in the text; compiling it costs steps once in an evaluation."""
    compiled = _patterns.get(pattern)
    if compiled is None:
        compiled = _built(pattern, budget)
    if pattern not in budget.patterns:
        if len(budget.patterns) == MAX_PATTERNS:
            raise EvaluationError(f"the evaluation uses more than {MAX_PATTERNS} different patterns")
        budget.patterns.add(pattern)
        budget.spend(_cost(pattern, compiled.programsize))
    encoded = text.encode()
    budget.spend(_SEARCH_STEPS + len(encoded) * compiled.programsize // _INSTRUCTIONS_PER_STEP)
    return compiled.search(encoded) is not None


def _built(pattern: str, budget: Budget) -> Any:
    """Compile a pattern that is not at hand, since the expression has built it or it was not used for long."""
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise EvaluationError(f"the pattern is longer than {MAX_PATTERN_LENGTH} characters")
    budget.stay_short()
    if len(budget.patterns) == MAX_PATTERNS and pattern not in budget.patterns:
        raise EvaluationError(f"the evaluation uses more than {MAX_PATTERNS} different patterns")
    try:
        return _compile(pattern)
    except PatternError as error:
        # How far RE2 has come is not known.
        budget.spend(_cost(pattern, _MAX_INSTRUCTIONS))
        raise EvaluationError(str(error)) from None
