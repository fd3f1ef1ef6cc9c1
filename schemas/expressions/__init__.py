"""The expression language of triggers: expr-lang.

The contract's page is `triggers-and-events`, section "Expressions"; what is left out of expr-lang, and where we differ,
is in `docs/expressions.md`. All of it is pure: `link()` raises `LinkNeeded`, and the caller fetches.

| module | holds |
|---|---|
| `expression` | compile once, evaluate on many payloads: begin here |
| `parser`, `nodes` | text (by `grammar.lark`) into a syntax tree |
| `checker`, `natures`, `signatures` | rejects what can't work: types that don't fit, limits |
| `evaluator`, `operators` | evaluates the rest on a payload |
| `functions` | all builtins without a predicate: `text_functions`, `number_functions`, `list_functions` |
| `predicates` | builtins that evaluate a predicate for each item |
| `patterns`, `links`, `formatting` | `matches`; which URI `link()` means; values as text |
| `limits` | what an expression may cost |
| `names` | which names in an expression are always nil |
| `turns` | evaluates beside other work of a process |
| `errors` | what compiling and evaluating can raise |
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
