"""What an expression may cost.

Filters run in the engine's event loop on every matching message, and expressions and payloads are both written by
others: each limit below is what keeps one of them from stopping everybody else.
"""

from schemas.expressions.exceptions import EvaluationError

# Parsing is linear in the text; without a bound, a trigger could be as large as the API's body limit.
MAX_EXPRESSION_LENGTH = 10_000

# The evaluator recurses, two Python frames a level; a deeper tree would end in Python's RecursionError.
MAX_DEPTH = 200

# One step is one node evaluated or one list item touched, about a microsecond: without it, nested predicates over a
# large payload would hold the event loop for minutes.
MAX_STEPS = 100_000

# List items and characters that an evaluation builds, as in expr-lang (its memory budget); without it, `1..9999999999`
# or a string doubled in a loop would take all memory.
MAX_MEMORY = 1_000_000

# Integers are exact; without a bound, repeated squaring would double their digits at every step.
MAX_INTEGER_BITS = 8_192

# Compiling a pattern takes time and memory that grow with its length, and `(a{100}){10}` is longer than it looks, hence
# RE2's own memory bound.
MAX_PATTERN_LENGTH = 1_000
MAX_PATTERN_MEMORY_BYTES = 1 << 20

# Each link is an HTTP request in the name of one evaluation; a payload may list any number of them.
MAX_LINKS = 10

# Characters of all variables of a trigger together: they travel in one record, with the message and the workflow.
MAX_VARIABLES_LENGTH = 250_000

# Characters that a search passes in about the time of one step.
_CHARACTERS_PER_STEP = 256


class Budget:
    """What is left of the limits in one evaluation. Not thread-safe; make a new one for each evaluation."""

    __slots__ = ("_memory", "_steps")

    def __init__(self) -> None:
        self._steps = MAX_STEPS
        self._memory = MAX_MEMORY

    def spend(self, steps: int = 1) -> None:
        """Takes steps; raises EvaluationError when none are left."""
        self._steps -= steps
        if self._steps < 0:
            raise EvaluationError(f"the evaluation takes more than {MAX_STEPS} steps")

    def scan(self, characters: int) -> None:
        """Takes the steps of a search through so many characters."""
        self.spend(characters // _CHARACTERS_PER_STEP)

    def grow(self, size: int) -> None:
        """Takes memory for so many list items or characters; call it before they are built."""
        self._memory -= size
        if self._memory <= 0:
            raise EvaluationError("memory budget exceeded")
