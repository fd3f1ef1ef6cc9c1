"""What does not compile although it parses: types that can be seen not to fit, and limits.

The payload's types are unknown, so this finds `1 + "a"`, `len(5)` or `upper()`, as expr-lang's checker does, and keeps
the author of a trigger from learning it at the first event only.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from schemas.expressions import natures
from schemas.expressions.errors import ExpressionSyntaxError
from schemas.expressions.functions import FUNCTIONS, LEFT_OUT
from schemas.expressions.limits import MAX_DEPTH, MAX_PATTERN_STEPS, MAX_PATTERNS
from schemas.expressions.natures import BOOL, FLOAT, INT, NIL, STRING, UNKNOWN, Kind, Nature
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
from schemas.expressions.operators import type_name
from schemas.expressions.patterns import PatternError, compile_pattern
from schemas.expressions.predicates import PREDICATES

_LITERALS: dict[str, Nature] = {"nil": NIL, "bool": BOOL, "int": INT, "float": FLOAT, "string": STRING}

_OPERANDS: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("and", "or"), ("bool",)),
    **dict.fromkeys(("<", ">", "<=", ">=", "+"), ("int", "float", "string")),
    **dict.fromkeys(("-", "*", "/", "**"), ("int", "float")),
    **dict.fromkeys(("%", ".."), ("int",)),
    **dict.fromkeys(("matches", "contains", "startsWith", "endsWith"), ("string",)),
}
"""The kinds that both sides of an operator must have."""
_RESULTS: dict[str, Nature] = {
    **dict.fromkeys(("and", "or", "<", ">", "<=", ">=", "matches", "contains", "startsWith", "endsWith"), BOOL),
    **dict.fromkeys(("/", "**"), FLOAT),
    "%": INT,
    "..": natures.array_of(INT),
}
_FUNCTION_NAMES: Final = FUNCTIONS.keys() | PREDICATES.keys() | LEFT_OUT | {"link"}


def check(node: Node) -> int:
    """Look for what cannot work.

    Returns:
        The steps that compiling its patterns costs.

    Raises:
        ExpressionSyntaxError: the tree is too deep, its types cannot fit, or its patterns are wrong or too large.
    """
    checker = _Checker()
    checker.visit(node)
    return checker.pattern_steps


class _Checker:
    def __init__(self) -> None:
        self.pattern_steps = 0
        self._patterns: set[str] = set()
        self._depth = 0
        self._variables: dict[str, Nature] = {}
        # Of each predicate around the node: the list's nature, and what `#index` and `#acc` are.
        self._scopes: list[tuple[Nature, dict[str, Nature]]] = []

    def visit(self, node: Node) -> Nature:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionSyntaxError(f"the expression is nested deeper than {MAX_DEPTH} levels")
        nature = self._visitors[type(node)](self, node)
        self._depth -= 1
        return nature

    def _literal(self, node: Literal) -> Nature:
        return _LITERALS[type_name(node.value)]

    def _name(self, node: Name) -> Nature:
        if node.name in self._variables:
            return self._variables[node.name]
        return natures.FUNC if node.name in _FUNCTION_NAMES else UNKNOWN

    def _pointer(self, node: Pointer) -> Nature:
        if not self._scopes:
            raise ExpressionSyntaxError("cannot use pointer accessor outside predicate")
        collection, variables = self._scopes[-1]
        if not node.name:
            return natures.element_of(collection)
        if node.name not in variables:
            raise ExpressionSyntaxError(f"unknown pointer #{node.name}")
        return variables[node.name]

    def _unary(self, node: Unary) -> Nature:
        nature = self.visit(node.operand)
        if node.operator == "not" and nature.may_be("bool"):
            return BOOL
        if node.operator != "not" and nature.may_be("int", "float"):
            return nature
        raise ExpressionSyntaxError(f"invalid operation: {node.operator} (mismatched type {nature.kind})")

    def _binary(self, node: Binary) -> Nature:
        left, right = self.visit(node.left), self.visit(node.right)
        if node.operator == "??":
            return _either(left, right)
        if node.operator == "in":
            return _membership(left, right)
        if node.operator in ("==", "!="):
            fits = natures.comparable(left, right)
        else:
            kinds = _OPERANDS[node.operator]
            strings = left.kind == "string" or right.kind == "string"
            alike = left.is_unknown or right.is_unknown or not strings or left.kind == right.kind
            fits = left.may_be(*kinds) and right.may_be(*kinds) and alike
        if not fits:
            raise ExpressionSyntaxError(
                f"invalid operation: {node.operator} (mismatched types {left.kind} and {right.kind})"
            )
        if node.operator == "matches":
            self._check_pattern(node.right)
        if node.operator == "%" and _is_integer(node.left) and node.right == Literal(0):
            raise ExpressionSyntaxError("integer divide by zero")
        return _RESULTS.get(node.operator) or _sum(node.operator, left, right)

    def _check_pattern(self, node: Node) -> None:
        if not isinstance(node, Literal) or node.value in self._patterns:
            return
        self._patterns.add(node.value)
        if len(self._patterns) > MAX_PATTERNS:
            raise ExpressionSyntaxError(f"the expression has more than {MAX_PATTERNS} different patterns")
        try:
            self.pattern_steps += compile_pattern(node.value)
        except PatternError as error:
            raise ExpressionSyntaxError(str(error)) from None
        if self.pattern_steps > MAX_PATTERN_STEPS:
            raise ExpressionSyntaxError("the patterns of the expression are too large together")

    def _chain(self, node: Chain) -> Nature:
        return self.visit(node.node)

    def _member(self, node: Member) -> Nature:
        base, key = self.visit(node.node), self.visit(node.key)
        shown = node.key.value if isinstance(node.key, Literal) else key.kind
        if base.is_unknown:
            return UNKNOWN
        if base.kind == "map":
            if not (base.any_key or key.may_be("string")):
                raise ExpressionSyntaxError(f"cannot use {key.kind} to get an element from map")
            return natures.element_of(base)
        if base.kind == "array":
            if not key.may_be("int"):
                raise ExpressionSyntaxError(f"array elements can only be selected using an integer (got {key.kind})")
            return natures.element_of(base)
        raise ExpressionSyntaxError(f"type {base.kind} has no field {shown}")

    def _slice(self, node: Slice) -> Nature:
        base = self.visit(node.node)
        if not base.may_be("string", "array"):
            raise ExpressionSyntaxError(f"cannot slice {base.kind}")
        for end in (node.start, node.stop):
            # expr-lang does not look at the ends where the base is unknown, but the depth must be checked.
            if end is not None and not (nature := self.visit(end)).may_be("int") and not base.is_unknown:
                raise ExpressionSyntaxError(f"non-integer slice index {nature.kind}")
        return base

    def _call(self, node: Call) -> Nature:
        self.visit(node.callee)
        for argument in node.arguments:
            self.visit(argument)
        return UNKNOWN

    def _builtin(self, node: Builtin) -> Nature:
        function = FUNCTIONS[node.name]
        arguments = [self.visit(argument) for argument in node.arguments]
        if len(arguments) < function.required:
            raise ExpressionSyntaxError(f"not enough arguments to call {node.name}")
        if len(arguments) > len(function.parameters) and not function.variadic:
            raise ExpressionSyntaxError(f"too many arguments to call {node.name}")
        for position, argument in enumerate(arguments):
            kinds = function.parameters[min(position, len(function.parameters) - 1)]
            if kinds and not argument.may_be(*kinds):
                raise ExpressionSyntaxError(f"invalid argument for {node.name} (type {argument.kind})")
        if node.name == "get" and not arguments[0].is_unknown:
            _check_get(arguments[0], arguments[1])
        return function.result(arguments)

    def _predicate_call(self, node: PredicateCall) -> Nature:
        collection = self.visit(node.collection)
        if not collection.may_be("array"):
            raise ExpressionSyntaxError(f"builtin {node.name} takes only array (got {collection.kind})")
        value = natures.element_of(collection)
        if node.predicate is not None:
            self._scopes.append((collection, _POINTERS.get(node.name, {})))
            value = self.visit(node.predicate)
            self._scopes.pop()
            if value.kind == "nil":
                raise ExpressionSyntaxError(f"the predicate of {node.name} is always nil")
            if node.name not in _OF_ANY_VALUE and not value.may_be("bool"):
                raise ExpressionSyntaxError(f"predicate should return boolean (got {value.kind})")
        if node.option is not None:
            self.visit(node.option)
        return _predicate_result(node.name, collection, value)

    def _let(self, node: Let) -> Nature:
        if node.name in _FUNCTION_NAMES or node.name in self._variables:
            raise ExpressionSyntaxError(f"cannot redeclare {node.name}")
        value = self.visit(node.value)
        self._variables[node.name] = value
        result = self.visit(node.body)
        del self._variables[node.name]
        return result

    def _sequence(self, node: Sequence) -> Nature:
        return [self.visit(part) for part in node.nodes][-1]

    def _conditional(self, node: Conditional) -> Nature:
        condition = self.visit(node.condition)
        if not condition.may_be("bool"):
            raise ExpressionSyntaxError(f"non-bool expression (type {condition.kind}) used as condition")
        then, otherwise = self.visit(node.then), self.visit(node.otherwise)
        if "array" in (then.kind, otherwise.kind) and then != otherwise and "nil" not in (then.kind, otherwise.kind):
            return natures.ARRAY if then.kind == otherwise.kind else UNKNOWN
        return _either(then, otherwise)

    def _array(self, node: Array) -> Nature:
        elements = [self.visit(item) for item in node.nodes]
        same = len({element.kind for element in elements}) == 1
        return natures.array_of(elements[-1]) if same else natures.ARRAY

    def _map(self, node: Map) -> Nature:
        for pair in node.pairs:
            for part in pair:
                self.visit(part)
        return natures.MAP

    _visitors: ClassVar[dict[type, Callable[["_Checker", Any], Nature]]] = {
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


_POINTERS: dict[str, dict[str, Nature]] = {"map": {"index": INT}, "reduce": {"index": INT, "acc": UNKNOWN}}
_OF_ANY_VALUE: Final = frozenset({"map", "sum", "groupBy", "sortBy", "reduce"})


def _predicate_result(name: str, collection: Nature, value: Nature) -> Nature:
    if name in ("all", "none", "any", "one"):
        return BOOL
    if name in ("count", "findIndex", "findLastIndex"):
        return INT
    if name in ("find", "findLast"):
        return natures.element_of(collection)
    if name in ("sum", "reduce"):
        return value
    if name == "groupBy":
        return Nature("map", natures.ARRAY, any_key=True)
    if name == "map":
        return natures.array_of(value)
    return collection if name == "sortBy" else natures.array_of(natures.element_of(collection))


def _either(first: Nature, second: Nature) -> Nature:
    """Of a value that is one or the other; nil fits everything."""
    if first.kind == "nil" or second.kind == "nil":
        return second if first.kind == "nil" else first
    return first if first.kind == second.kind else UNKNOWN


def _membership(item: Nature, container: Nature) -> Nature:
    if container.kind == "map":
        fits = container.any_key or item.may_be("string")
    elif container.kind == "array":
        fits = natures.comparable(item, natures.element_of(container))
    else:
        fits = container.is_unknown or (item.is_unknown and container.kind == "string")
    if not fits:
        raise ExpressionSyntaxError(f"invalid operation: in (mismatched types {item.kind} and {container.kind})")
    return BOOL


def _sum(operator: str, left: Nature, right: Nature) -> Nature:
    if operator in ("==", "!="):
        return BOOL
    if left.is_unknown or right.is_unknown:
        return UNKNOWN
    if left.kind == "string":
        return STRING
    return FLOAT if "float" in (left.kind, right.kind) else INT


def _is_integer(node: Node) -> bool:
    """True for an integer written as such, with a sign or without."""
    return isinstance(node.operand if isinstance(node, Unary) else node, Literal)


def _check_get(base: Nature, key: Nature) -> None:
    fits = key.may_be("int") if base.kind == "array" else base.any_key or key.may_be("string")
    if base.kind in ("array", "map") and fits:
        return
    raise ExpressionSyntaxError(f"cannot use {key.kind} to get an element from {base.kind}")
