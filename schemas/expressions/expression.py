"""The package's face: compile an expression once, evaluate it on many payloads."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from schemas.expressions.checker import check
from schemas.expressions.evaluator import Evaluator
from schemas.expressions.exceptions import EvaluationError
from schemas.expressions.links import LinkAnswer
from schemas.expressions.nodes import Node
from schemas.expressions.parser import parse

_NO_LINKS: Mapping[str, LinkAnswer] = MappingProxyType({})


class Expression:
    """A compiled filter or variable of a trigger. Immutable; evaluations share nothing.

    Attributes:
        text: what it was compiled from.
    """

    __slots__ = ("_root", "text")

    def __init__(self, text: str, root: Node) -> None:
        self.text = text
        self._root = root

    def evaluate(self, payload: Any, links: Mapping[str, LinkAnswer] = _NO_LINKS) -> Any:
        """The value of the expression.

        Args:
            payload: what `event` is: decoded JSON, integers exact. It is not changed.
            links: the answers to `link()` that are at hand, by URI.

        Returns:
            Decoded JSON; a list or object may be part of the payload.

        Raises:
            EvaluationError: it failed; the message is for the trigger's author.
            LinkNeeded: `link()` wants a URI that is not among `links`. Fetch it and evaluate again, with the answer or
                its error added; an evaluation follows at most `limits.MAX_LINKS` links, so this ends.
        """
        try:
            return Evaluator(payload, links).evaluate(self._root)
        except RecursionError:
            raise EvaluationError("a value is nested too deeply") from None


def compile_expression(text: str) -> Expression:
    """Compiles the text of a filter or variable; raises ExpressionSyntaxError, whose message is for its author."""
    root = parse(text)
    check(root)
    return Expression(text, root)


def is_match(value: Any) -> bool:
    """Whether a filter with this value fires: only the boolean `true` does."""
    return value is True
