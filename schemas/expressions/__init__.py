"""The expression language of triggers: expr-lang.

The contract's page is `triggers-and-events`, section "Expressions"; what is left out of expr-lang, and where we differ,
is in `docs/expressions.md`. `parser` (with `grammar.lark`) turns text into `nodes`, `checker` rejects what cannot work,
`evaluator` evaluates the rest with `operators`, `functions` and `predicates`, within `limits`. Everything is pure:
`link()` raises `LinkNeeded`, and the caller fetches.
"""

from schemas.expressions.exceptions import EvaluationError, ExpressionSyntaxError, LinkNeeded
from schemas.expressions.expression import Expression, compile_expression, is_match
from schemas.expressions.formatting import to_variable
from schemas.expressions.links import LinkAnswer

__all__ = [
    "EvaluationError",
    "Expression",
    "ExpressionSyntaxError",
    "LinkAnswer",
    "LinkNeeded",
    "compile_expression",
    "is_match",
    "to_variable",
]
