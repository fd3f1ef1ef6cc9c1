"""Evaluates a checked syntax tree on one payload: no IO, no clock, and never more than `limits` allow."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from schemas.expressions.errors import EvaluationError, LinkNeeded
from schemas.expressions.functions import FUNCTIONS
from schemas.expressions.limits import Budget
from schemas.expressions.links import LinkAnswer, find_link
from schemas.expressions.nodes import (
    Array,
    Binary,
    Builtin,
    Call,
    Chain,
    Conditional,
    Let,
    Literal,
    Map,
    Member,
    Name,
    Node,
    Pointer,
    PredicateCall,
    Sequence,
    Slice,
    Unary,
)
from schemas.expressions.operators import (
    COMPARISONS,
    calculate,
    compare,
    contains,
    cut,
    equal,
    fetch,
    make_range,
    negate,
    to_bool,
    to_int,
    to_text,
    type_name,
)
from schemas.expressions.patterns import matches
from schemas.expressions.predicates import PREDICATES, Scope


class _ChainBroken(Exception):
    """`?.` met nil: the chain around it is nil."""


class Evaluator:
    """One evaluation. `links` are the answers of `link()` so far."""

    def __init__(self, payload: Any, links: Mapping[str, LinkAnswer], budget: Budget) -> None:
        self._names: dict[str, Any] = {"event": payload, "$env": {"event": payload}}
        self._links = links
        self._budget = budget
        self._scopes: list[Scope] = []

    def evaluate(self, node: Node) -> Any:
        """The node's value; raises EvaluationError or LinkNeeded."""
        self._budget.spend()
        return self._evaluators[type(node)](self, node)

    def _literal(self, node: Literal) -> Any:
        return node.value

    def _name(self, node: Name) -> Any:
        return self._names.get(node.name)

    def _pointer(self, node: Pointer) -> Any:
        scope = self._scopes[-1]
        if node.name == "index":
            return scope.index
        return scope.accumulated if node.name == "acc" else scope.item

    def _unary(self, node: Unary) -> Any:
        value = self.evaluate(node.operand)
        if node.operator == "not":
            return not to_bool(value)
        return negate(value) if node.operator == "-" else value

    def _binary(self, node: Binary) -> Any:
        lazy = self._lazy_operators.get(node.operator)
        if lazy is not None:
            return lazy(self, node)
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        if node.operator in COMPARISONS:
            return compare(node.operator, left, right, self._budget)
        if node.operator in _TEXT_OPERATORS:
            return self._text_operation(node.operator, left, right)
        if node.operator in ("==", "!="):
            return equal(left, right, self._budget) == (node.operator == "==")
        if node.operator == "..":
            return make_range(left, right, self._budget)
        return calculate(node.operator, left, right, self._budget)

    def _and(self, node: Binary) -> Any:
        # As in expr-lang, the right side is the result, of any type.
        return to_bool(self.evaluate(node.left)) and self.evaluate(node.right)

    def _or(self, node: Binary) -> Any:
        return to_bool(self.evaluate(node.left)) or self.evaluate(node.right)

    def _coalesce(self, node: Binary) -> Any:
        value = self.evaluate(node.left)
        return self.evaluate(node.right) if value is None else value

    def _in(self, node: Binary) -> bool:
        item, container = self.evaluate(node.left), self.evaluate(node.right)
        # expr-lang makes a set of strings of `["a", "b"]`: nil counts as "", anything else but a string is an error.
        if _is_list_of_strings(node.right) and not isinstance(item, str):
            if item is not None:
                raise EvaluationError(f"cannot use {type_name(item)} in a list of strings")
            item = ""
        return contains(item, container, self._budget)

    def _text_operation(self, operator: str, left: Any, right: Any) -> bool:
        if left is None or right is None:
            return False
        text, part = to_text(left, operator), to_text(right, operator)
        self._budget.search(len(text), len(part) if operator == "contains" else 0)
        return _TEXT_OPERATORS[operator](text, part, self._budget)

    def _chain(self, node: Chain) -> Any:
        try:
            return self.evaluate(node.node)
        except _ChainBroken:
            return None

    def _member(self, node: Member) -> Any:
        base = self.evaluate(node.node)
        if node.optional and base is None:
            raise _ChainBroken
        return fetch(base, self.evaluate(node.key), self._budget)

    def _slice(self, node: Slice) -> Any:
        base = self.evaluate(node.node)
        stop = None if node.stop is None else to_int(self.evaluate(node.stop))
        start = None if node.start is None else to_int(self.evaluate(node.start))
        return cut(base, start, stop, self._budget)

    def _call(self, node: Call) -> Any:
        arguments = [self.evaluate(argument) for argument in node.arguments]
        if node.callee == Name("link"):
            return self._link(arguments)
        callee = self.evaluate(node.callee)
        if callee is None:
            raise EvaluationError("invalid operation: cannot call nil")
        raise EvaluationError(f"invalid operation: cannot call non-function of type {type_name(callee)}")

    def _link(self, arguments: list[Any]) -> Any:
        uri = find_link(arguments, self._budget)
        self._budget.follow(uri)
        if uri not in self._links:
            raise LinkNeeded(uri)
        answer = self._links[uri]
        if answer.error is not None:
            raise EvaluationError(answer.error)
        return answer.data

    def _builtin(self, node: Builtin) -> Any:
        arguments = [self.evaluate(argument) for argument in node.arguments]
        return FUNCTIONS[node.name].call(self._budget, arguments)

    def _predicate_call(self, node: PredicateCall) -> Any:
        items = self._items(node)
        option = None if node.option is None else self.evaluate(node.option)
        predicate = Pointer("") if node.predicate is None else node.predicate
        scope = Scope(items, lambda: self.evaluate(predicate), option, self._budget)
        self._scopes.append(scope)
        try:
            return PREDICATES[node.name](scope)
        finally:
            self._scopes.pop()

    def _items(self, node: PredicateCall) -> list[Any]:
        collection = self.evaluate(node.collection)
        if isinstance(collection, list):
            return collection
        # As in expr-lang: a string counts as its bytes, an empty map as an empty list.
        if isinstance(collection, str) or collection == {}:
            self._budget.grow(len(collection))
            return list(collection.encode()) if isinstance(collection, str) else []
        raise EvaluationError(f"builtin {node.name} takes only array (got {type_name(collection)})")

    def _let(self, node: Let) -> Any:
        outer = self._names.get(node.name)
        self._names[node.name] = self.evaluate(node.value)
        result = self.evaluate(node.body)
        self._names[node.name] = outer
        return result

    def _sequence(self, node: Sequence) -> Any:
        return [self.evaluate(part) for part in node.nodes][-1]

    def _conditional(self, node: Conditional) -> Any:
        return self.evaluate(node.then if to_bool(self.evaluate(node.condition)) else node.otherwise)

    def _array(self, node: Array) -> list[Any]:
        self._budget.grow(len(node.nodes))
        return [self.evaluate(item) for item in node.nodes]

    def _map(self, node: Map) -> dict[str, Any]:
        self._budget.grow(len(node.pairs))
        return {to_text(self.evaluate(key), "a map's key"): self.evaluate(value) for key, value in node.pairs}

    _evaluators: ClassVar[dict[type, Callable[["Evaluator", Any], Any]]] = {
        Literal: _literal,
        Name: _name,
        Pointer: _pointer,
        Unary: _unary,
        Binary: _binary,
        Chain: _chain,
        Member: _member,
        Slice: _slice,
        Call: _call,
        Builtin: _builtin,
        PredicateCall: _predicate_call,
        Let: _let,
        Sequence: _sequence,
        Conditional: _conditional,
        Array: _array,
        Map: _map,
    }
    # These do not always evaluate both sides, or look at more than their values.
    _lazy_operators: ClassVar[dict[str, Callable[["Evaluator", Binary], Any]]] = {
        "and": _and,
        "or": _or,
        "??": _coalesce,
        "in": _in,
    }


_TEXT_OPERATORS: dict[str, Callable[[str, str, Budget], bool]] = {
    "matches": matches,
    "contains": lambda text, part, budget: part in text,
    "startsWith": lambda text, part, budget: text.startswith(part),
    "endsWith": lambda text, part, budget: text.endswith(part),
}


def _is_list_of_strings(node: Node) -> bool:
    if not isinstance(node, Array) or not node.nodes:
        return False
    return all(isinstance(item, Literal) and isinstance(item.value, str) for item in node.nodes)
