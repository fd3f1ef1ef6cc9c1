"""The package's face: compile an expression once, evaluate it on many payloads."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from schemas.expressions.checker import check
from schemas.expressions.errors import EvaluationError, ExpressionSyntaxError
from schemas.expressions.evaluator import Evaluator
from schemas.expressions.formatting import to_variable
from schemas.expressions.limits import MAX_STEPS, Allowance, Budget
from schemas.expressions.links import LinkAnswer
from schemas.expressions.nodes import Node

_NO_LINKS: Mapping[str, LinkAnswer] = MappingProxyType({})


def prepare() -> None:
    """Load the parser, which takes a tenth of a second of a processor; else the first expression does."""
    _parse("nil")


def _parse(text: str) -> Node:
    from schemas.expressions.parser import parse  # it takes 2 MB, and few processes ever meet an expression

    return parse(text)


class Expression:
    """The filter of a trigger. It is compiled when that is needed first; evaluations share nothing.

    Attributes:
        text: what its author wrote.
    """

    __slots__ = ("_error", "_pattern_steps", "_root", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._root: Node | None = None
        self._pattern_steps = 0
        self._error: str | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether it was compiled, also if that failed."""
        return self._root is not None or self._error is not None

    def compile(self) -> int:
        """Compile it, unless it is compiled: about 10 microseconds for each character, and more for patterns.

        Returns:
            The steps that its patterns cost (`limits.MAX_TRIGGER_PATTERN_STEPS`).

        Raises:
            ExpressionSyntaxError: it does not compile. The message is for its author.
        """
        self._compiled()
        return self._pattern_steps

    def _compiled(self) -> Node:
        if self._error is not None:
            raise ExpressionSyntaxError(self._error)
        if self._root is None:
            try:
                root = _parse(self.text)
                self._pattern_steps = check(root)
            except ExpressionSyntaxError as error:
                self._error = str(error)
                raise
            self._root = root
        return self._root

    def evaluate(
        self,
        payload: Any,
        links: Mapping[str, LinkAnswer] = _NO_LINKS,
        allowance: Allowance | None = None,
        max_steps: int = MAX_STEPS,
    ) -> Any:
        """The value of the expression.

        Args:
            payload: what `event` is: decoded JSON, integers exact. It is not changed.
            links: the answers to `link()` that are at hand, by URI.
            allowance: what it and the trigger's other expressions may use together; one of its own if None.
            max_steps: how much may be done now.

        Returns:
            Decoded JSON; a list or object may be part of the payload.

        Raises:
            EvaluationError: it does not compile, or failed; the message is for the trigger's author.
            LinkNeeded: `link()` wants a URI that is not among `links`. Fetch it and evaluate again, with the answer or
                its error added; an evaluation follows at most `limits.MAX_LINKS` links, so this ends.
            StepsNeeded: `max_steps`, below `limits.MAX_STEPS`, are not enough.
        """
        try:
            root = self._compiled()
        except ExpressionSyntaxError as error:
            raise EvaluationError(str(error)) from None
        budget = Budget(allowance, max_steps)
        try:
            return self._result(Evaluator(payload, links, budget).evaluate(root), budget)
        except RecursionError:
            raise EvaluationError("a value is nested too deeply") from None
        finally:
            budget.settle()

    def _result(self, value: Any, budget: Budget) -> Any:
        return value


class Variable(Expression):
    """The expression of a variable: its value is the text that a run gets, or None for nil.

    None counts as not given (contract: `triggers-and-events`, Expressions).
    """

    __slots__ = ()

    def _result(self, value: Any, budget: Budget) -> str | None:
        return None if value is None else to_variable(value, budget)


def compile_expression(text: str) -> Expression:
    """Compiles the text of a filter or variable; raises ExpressionSyntaxError, whose message is for its author."""
    expression = Expression(text)
    expression.compile()
    return expression


def is_match(value: Any) -> bool:
    """Whether a filter with this value fires: only the boolean `true` does."""
    return value is True
