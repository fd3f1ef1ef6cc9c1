"""The expression language of triggers: expr-lang.

The contract's page is `triggers-and-events`, section "Expressions"; what is left out of expr-lang, and where we differ,
is in `docs/expressions.md`. `parser` (with `grammar.lark`) turns text into `nodes`, `checker` rejects what cannot work,
`evaluator` evaluates the rest with `operators`, `functions` and `predicates`, within `limits`. All that is pure:
`link()` raises `LinkNeeded`, and the caller fetches. `turns` evaluates beside other work of a process.
"""

from schemas.expressions.errors import EvaluationError, ExpressionSyntaxError, LinkNeeded, StepsNeeded
from schemas.expressions.expression import Expression, Variable, compile_expression, is_match, prepare
from schemas.expressions.formatting import to_variable
from schemas.expressions.limits import Allowance
from schemas.expressions.links import LinkAnswer

__all__ = [
    "Allowance",
    "EvaluationError",
    "Expression",
    "ExpressionSyntaxError",
    "LinkAnswer",
    "LinkNeeded",
    "StepsNeeded",
    "Variable",
    "compile_expression",
    "is_match",
    "prepare",
    "to_variable",
]
