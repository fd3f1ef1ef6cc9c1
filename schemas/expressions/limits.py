"""What an expression may cost.

Filters run for every matching message, and expressions and payloads are both written by others: each limit below is
what keeps one of them from stopping everybody else. Costs are counted in steps, so the same expression on the same
payload always ends the same way, on any machine.
"""

from collections.abc import Mapping
from typing import Final

from schemas.expressions.errors import EvaluationError, StepsNeeded

MAX_EXPRESSION_LENGTH: Final = 10_000
"""Characters. Parsing is linear in the text; without a bound, an expression could be as large as the API's body
limit."""

MAX_DEPTH: Final = 200
"""The evaluator recurses, two Python frames a level; a deeper tree would end in Python's RecursionError."""

MAX_STEPS: Final = 100_000
"""Of one evaluation. A step is a node evaluated or a list item touched, about a microsecond: without it, nested
predicates over a large payload would take minutes."""

MAX_TOTAL_STEPS: Final = 500_000
"""Of the filter and all variables of a trigger together, on one payload. Without it, hundreds of variables that each
stay just below `MAX_STEPS` would keep an engine busy with one message for minutes."""

MAX_MEMORY: Final = 1_000_000
"""List items and characters that an evaluation builds, as in expr-lang (its memory budget); without it, `1..9999999999`
or a string doubled in a loop would take all memory."""

MAX_INTEGER_BITS: Final = 8_192
"""Integers are exact; without a bound, repeated squaring would double their digits at every step."""

MAX_PATTERN_LENGTH: Final = 1_000
"""Characters. Compiling a pattern takes time that grows with its length."""

MAX_PATTERN_MEMORY_BYTES: Final = 1 << 19
"""RE2's own bound: `(a{100}){10}` is longer than it looks. Compiling holds Python's lock, for 30 ms at this size."""

MAX_PATTERNS: Final = 32
"""Different patterns of one evaluation. They are kept compiled, so without it a loop that builds patterns would fill
the memory, or throw out those of all other expressions."""

MAX_PATTERN_STEPS: Final = 50_000
"""Steps that compiling the patterns of one expression may cost; they are compiled when a trigger is created."""

MAX_LINKS: Final = 10
"""Each link is an HTTP request in the name of one evaluation; a payload may list any number of them."""

MAX_TOTAL_LINKS: Final = 50
"""As `MAX_LINKS`, of the filter and all variables of a trigger together. They are fetched one by one, each for up
to 10 s: without it, 400 variables could keep a message for hours."""

MAX_VARIABLES: Final = 400
"""Variables of a trigger. Each is compiled, evaluated and has a value or an error of its own."""

MAX_TRIGGER_LENGTH: Final = 100_000
"""Characters of a trigger's filter and variables together. Compiled they take up to 70 bytes a character, for as long
as the trigger exists, and 10 microseconds to compile."""

MAX_TRIGGER_PATTERN_STEPS: Final = 200_000
"""As `MAX_PATTERN_STEPS`, of all expressions of a trigger together."""

MAX_VARIABLES_LENGTH: Final = 250_000
"""Characters of all variables of a trigger together: they travel in one record, with the message and the workflow."""

COPIED_PER_STEP: Final = 32
"""Items that are copied in about the time of one step. A deep list is copied once for each of its levels."""

_CHARACTERS_PER_STEP: Final = 256
"""Characters that a search passes in about the time of one step."""

_CONVERTED_PER_STEP: Final = 8
"""Characters that are converted one by one in about that time."""

_BITS_PER_STEP: Final = 1 << 20
"""Products of a bit of one integer and a bit of another that are made in about that time."""

_MAX_COMPARED: Final = 100
"""Characters of a part that a search compares at each place of the text, at most."""

_ITEMS_PER_STEP: Final = 64
"""List items or characters that are built in about that time."""


def excess(filter_text: str | None, variables: Mapping[str, str]) -> str | None:
    """Why the expressions of a trigger are too many or too large together; None if they are not."""
    if len(variables) > MAX_VARIABLES:
        return f"at most {MAX_VARIABLES} variables are allowed, not {len(variables)}"
    if len(filter_text or "") + sum(map(len, variables.values())) > MAX_TRIGGER_LENGTH:
        return f"the filter and the variables have more than {MAX_TRIGGER_LENGTH} characters together"
    return None


class Allowance:
    """What is left for all expressions of one trigger on one payload. Not thread-safe: they are evaluated in turn."""

    __slots__ = ("links", "steps")

    def __init__(self) -> None:
        self.steps = MAX_TOTAL_STEPS
        self.links: set[str] = set()


class Budget:
    """What is left of the limits in one evaluation. Not thread-safe; make a new one for each evaluation.

    Args:
        allowance: what the expressions of the trigger have left together; the evaluation takes its steps from it.
        max_steps: stop with `StepsNeeded` after so many, to go on elsewhere.
    """

    __slots__ = ("_allowance", "_limit", "_links", "_max_steps", "_memory", "_steps", "patterns")

    def __init__(self, allowance: Allowance | None = None, max_steps: int = MAX_STEPS) -> None:
        self._allowance = Allowance() if allowance is None else allowance
        self._max_steps = max_steps
        self._limit = self._steps = min(max_steps, MAX_STEPS, self._allowance.steps)
        self._memory = MAX_MEMORY
        self._links: set[str] = set()
        self.patterns: set[str] = set()

    @property
    def used(self) -> int:
        """Steps so far."""
        return self._limit - max(0, self._steps)

    def settle(self) -> None:
        """The evaluation has ended: take its steps from the allowance."""
        self._allowance.steps -= self.used

    def spend(self, steps: int = 1) -> None:
        """Takes steps; raises EvaluationError when none are left, StepsNeeded when the rest is to be done elsewhere."""
        self._steps -= steps
        if self._steps < 0:
            self._exhausted()

    def _exhausted(self) -> None:
        if self._limit == MAX_STEPS:
            raise EvaluationError(f"the evaluation takes more than {MAX_STEPS} steps")
        if self._limit == self._max_steps:
            raise StepsNeeded
        raise EvaluationError(f"the filter and the variables take more than {MAX_TOTAL_STEPS} steps together")

    def stay_short(self) -> None:
        """What comes next may hold Python's lock for long; raises StepsNeeded unless this evaluation may do so."""
        if self._max_steps < MAX_STEPS:
            raise StepsNeeded

    def follow(self, uri: str) -> None:
        """Takes a link, unless it was taken before; raises EvaluationError when there are too many."""
        self._links.add(uri)
        if len(self._links) > MAX_LINKS:
            raise EvaluationError(f"the expression follows more than {MAX_LINKS} links")
        self._allowance.links.add(uri)
        if len(self._allowance.links) > MAX_TOTAL_LINKS:
            raise EvaluationError(f"the filter and the variables follow more than {MAX_TOTAL_LINKS} links together")

    def scan(self, characters: int) -> None:
        """Takes the steps of a search through so many characters."""
        self.spend(characters // _CHARACTERS_PER_STEP)

    def search(self, characters: int, part: int) -> None:
        """Takes the steps of looking for a part of so many characters in a text of so many; call it before that."""
        # Python compares short parts character by character at each place; longer ones have a better algorithm.
        self.spend(characters * (4 + min(part, _MAX_COMPARED)) // (4 * _CHARACTERS_PER_STEP))

    def multiply(self, left: int, right: int) -> None:
        """Takes the steps of multiplying or dividing integers, which a payload may hold with thousands of digits."""
        self.spend(left.bit_length() * right.bit_length() // _BITS_PER_STEP)

    def convert(self, characters: int) -> None:
        """Takes the steps of converting so many characters one by one."""
        self.spend(characters // _CONVERTED_PER_STEP)

    def grow(self, size: int) -> None:
        """Takes memory for so many list items or characters, and the steps to build them; call it before that."""
        self._memory -= size
        if self._memory <= 0:
            raise EvaluationError("memory budget exceeded")
        self.spend(size // _ITEMS_PER_STEP)
