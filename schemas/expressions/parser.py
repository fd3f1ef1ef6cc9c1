"""From text to syntax tree: `grammar.lark` has the structure, this module the precedences and the literals' values."""

import math
import re
from collections.abc import Sequence as SequenceOf
from importlib.resources import files
from typing import Any, Final, NamedTuple, cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args

from schemas.expressions.errors import ExpressionSyntaxError
from schemas.expressions.functions import FUNCTIONS, LEFT_OUT
from schemas.expressions.limits import MAX_DEPTH, MAX_EXPRESSION_LENGTH, MAX_INTEGER_BITS
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
from schemas.expressions.operators import COMPARISONS, PRECEDENCES, PREFIX_PRECEDENCES
from schemas.expressions.predicates import WITH_OPTION, WITHOUT_PREDICATE

_SYNONYMS: Final = {"&&": "and", "||": "or", "!": "not", "^": "**"}
_CONSTANTS: Final = {"true": True, "false": False, "nil": None}


def parse(text: str) -> Node:
    """The tree of an expression; raises ExpressionSyntaxError with the place of what is wrong."""
    if len(text) > MAX_EXPRESSION_LENGTH:
        raise ExpressionSyntaxError(f"the expression is longer than {MAX_EXPRESSION_LENGTH} characters")
    try:
        return cast(Node, _LARK.parse(text))
    except UnexpectedInput as error:
        raise ExpressionSyntaxError(_explain(error, text)) from None


def _explain(error: UnexpectedInput, text: str) -> str:
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        return f"unexpected {str(error.token)!r} ({error.line}:{error.column})"
    if isinstance(error, UnexpectedCharacters):
        return f"unexpected {text[error.pos_in_stream or 0]!r} ({error.line}:{error.column})"
    return "unexpected end of expression"


class _Prefix(NamedTuple):
    operator: str


class _Operator(NamedTuple):
    operator: str
    negated: bool


class _Pipe(NamedTuple):
    """A call that still lacks its first argument."""

    name: str
    arguments: tuple[Node, ...]
    is_predicate: bool


class _Precedences:
    """Turns a flat chain of operands and operators into a tree, as expr-lang's parser does (precedence climbing)."""

    def __init__(self, items: SequenceOf[Any]) -> None:
        self._items = items
        self._position = 0
        self._depth = 0

    def expression(self, minimum: int = 0) -> Node:
        """The longest expression from here on whose operators bind at least as tightly as `minimum`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionSyntaxError(f"the expression is nested deeper than {MAX_DEPTH} levels")
        left = self._operand()
        previous = ""
        while (item := self._next()) is not None:
            if isinstance(item, _Pipe):
                if minimum > 0:
                    break
                self._position += 1
                left, previous = _apply_pipe(left, item), "|"
                continue
            precedence = PRECEDENCES[item.operator]
            if precedence < minimum:
                break
            if previous == "??" and item.operator != "??":
                raise ExpressionSyntaxError(
                    f"operator ({item.operator}) and coalesce expressions (??) cannot be mixed; "
                    "wrap either by parentheses"
                )
            self._position += 1
            left, previous = self._operation(left, item, precedence), item.operator
        self._depth -= 1
        return left

    def _next(self) -> Any:
        return self._items[self._position] if self._position < len(self._items) else None

    def _operand(self) -> Node:
        item = self._items[self._position]
        self._position += 1
        if isinstance(item, _Prefix):
            return Unary(item.operator, self.expression(PREFIX_PRECEDENCES[item.operator]))
        return cast(Node, item)

    def _operation(self, left: Node, item: _Operator, precedence: int) -> Node:
        if item.operator in COMPARISONS:
            return self._comparison(left, item.operator, precedence)
        right = self.expression(precedence if item.operator == "**" else precedence + 1)
        node = Binary(item.operator, left, right)
        return Unary("not", node) if item.negated else node

    def _comparison(self, left: Node, operator: str, precedence: int) -> Node:
        """`a < b < c` is `a < b and b < c`."""
        root: Node | None = None
        while True:
            right = self.expression(precedence + 1)
            comparison = Binary(operator, left, right)
            root = comparison if root is None else Binary("and", root, comparison)
            item = self._next()
            if not (isinstance(item, _Operator) and item.operator in COMPARISONS):
                return root
            self._position += 1
            left, operator = right, item.operator


def _apply_pipe(first: Node, pipe: _Pipe) -> Node:
    if not pipe.is_predicate:
        return _call(pipe.name, (first, *pipe.arguments))
    return _predicate_call(pipe.name, first, *pipe.arguments)


def _call(name: str, arguments: tuple[Node, ...]) -> Node:
    if name in LEFT_OUT:
        raise ExpressionSyntaxError(f"the function {name} is not supported")
    if name in _CONSTANTS:
        raise ExpressionSyntaxError(f"unexpected '(' behind {name}")
    return Builtin(name, arguments) if name in FUNCTIONS else Call(Name(name), arguments)


def _predicate_call(name: str, collection: Node, predicate: Node | None = None, option: Node | None = None) -> Node:
    if predicate is None and name not in WITHOUT_PREDICATE:
        raise ExpressionSyntaxError(f"{name} takes a collection and a predicate")
    if option is not None and name not in WITH_OPTION:
        raise ExpressionSyntaxError(f"too many arguments to call {name}")
    return PredicateCall(name, collection, predicate, option)


# The methods bear the names of the grammar's rules; Lark calls them from the bottom up, while it parses.
@v_args(inline=True)
class _ToNodes(Transformer[Token, Any]):
    def start(self, sequence: Node) -> Node:
        return sequence

    def sequence(self, *nodes: Node) -> Node:
        return nodes[0] if len(nodes) == 1 else Sequence(nodes)

    def conditional(self, condition: Node, then: Node, otherwise: Node) -> Node:
        return Conditional(condition, then, otherwise)

    def otherwise(self, condition: Node, otherwise: Node) -> Node:
        return Conditional(condition, condition, otherwise)

    def if_else(self, _if: Token, condition: Node, then: Node, _else: Token, otherwise: Node) -> Node:
        return Conditional(condition, then, otherwise)

    def let(self, _let: Token, name: Token, value: Node, body: Node) -> Node:
        return Let(str(name), value, body)

    def chain(self, *items: Any) -> Node:
        return _Precedences(items).expression()

    def prefix(self, symbol: Token) -> _Prefix:
        return _Prefix(_SYNONYMS.get(symbol, str(symbol)))

    def operator(self, *symbols: Token) -> _Operator:
        return _Operator(_SYNONYMS.get(symbols[-1], str(symbols[-1])), negated=len(symbols) == 2)

    def pipe(self, name: Token, arguments: tuple[Node, ...]) -> _Pipe:
        return _Pipe(str(name), arguments, is_predicate=False)

    def predicate_pipe(self, name: Token, *arguments: Node | None) -> _Pipe:
        return _Pipe(str(name), tuple(node for node in arguments if node is not None), is_predicate=True)

    def arguments(self, *nodes: Node) -> tuple[Node, ...]:
        return nodes

    def call(self, name: Token, arguments: tuple[Node, ...]) -> Node:
        return _call(str(name), arguments)

    def predicate_call(self, name: Token, *arguments: Node | None) -> Node:
        return _predicate_call(str(name), *cast(tuple[Node], arguments))

    def block(self, sequence: Node) -> Node:
        return sequence

    def bare_predicate(self, node: Node) -> Node:
        if isinstance(node, Map):
            raise ExpressionSyntaxError(
                "braces enclose a predicate here; write a map in a second pair of them: {{...}}"
            )
        return node

    def name(self, name: Token) -> Node:
        return Literal(_CONSTANTS[name]) if name in _CONSTANTS else Name(str(name))

    def number(self, token: Token) -> Node:
        return Literal(_to_number(str(token)))

    def string(self, token: Token) -> Node:
        return Literal(_unescape(str(token)))

    def raw_string(self, token: Token) -> Node:
        return Literal(token[1:-1].replace("``", "`"))

    def pointer(self, name: Token | str = "") -> Node:
        return Pointer(str(name))

    def pointer_member(self, name: Token) -> Node:
        return Member(Pointer(""), Literal(str(name)), optional=False)

    def array(self, *nodes: Node) -> Node:
        return Array(nodes)

    def map(self, *pairs: tuple[Node, Node]) -> Node:
        return Map(pairs)

    def pair(self, key: Node, value: Node) -> tuple[Node, Node]:
        return key, value

    def bare_key(self, token: Token) -> Node:
        return Literal(str(token))

    def member(self, node: Node, name: Token) -> Node:
        return _reach(node, name, optional=False)

    def optional_member(self, node: Node, name: Token) -> Node:
        return _reach(node, name, optional=True)

    def method(self, node: Node, name: Token, arguments: tuple[Node, ...]) -> Node:
        return _reach(node, name, optional=False, arguments=arguments)

    def optional_method(self, node: Node, name: Token, arguments: tuple[Node, ...]) -> Node:
        return _reach(node, name, optional=True, arguments=arguments)

    def index(self, node: Node, key: Node) -> Node:
        return Member(node, key, optional=False)

    def optional_index(self, node: Node, key: Node) -> Node:
        return Chain(Member(node, key, optional=True))

    def start_of_slice(self, node: Node | None = None) -> Node | None:
        return node

    def end_of_slice(self, node: Node | None = None) -> Node | None:
        return node

    def slice(self, node: Node, start: Node | None, stop: Node | None) -> Node:
        return Slice(node, start, stop)


def _reach(node: Node, name: str, *, optional: bool, arguments: tuple[Node, ...] | None = None) -> Node:
    """A named member. It joins the chain of what is before it, so that `a?.b.c` is nil if `a` is; `[]` does not."""
    chained = isinstance(node, Chain)
    base = node.node if isinstance(node, Chain) else node
    member: Node = Member(base, Literal(str(name)), optional)
    if arguments is not None:
        member = Call(member, arguments)
    return Chain(member) if chained or optional else member


def _to_number(text: str) -> int | float:
    digits = text.replace("_", "").lower()
    try:
        if digits.startswith(("0x", "0o", "0b")):
            number: int | float = int(digits, 0)
        elif "." in digits or "e" in digits:
            number = float(digits)
        else:
            number = int(digits)
    except ValueError:
        raise ExpressionSyntaxError(f"bad number syntax: {text}") from None
    if number == math.inf or (isinstance(number, int) and number.bit_length() > MAX_INTEGER_BITS):
        raise ExpressionSyntaxError(f"the number {text[:20]}... is too large")
    return number


_ESCAPE: Final = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|u\{(?P<braces>[0-9a-fA-F]{1,6})\}|U(?P<U>[0-9a-fA-F]{8})"
    r"|(?P<octal>[0-3][0-7]{2})|(?P<other>.))",
    re.DOTALL,
)
_ESCAPED: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


def _unescape(quoted: str) -> str:
    quote = quoted[0]

    def character(match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        if kind == "other":
            symbol = match[kind]
            if symbol == quote:
                return quote
            if symbol not in _ESCAPED:
                raise ExpressionSyntaxError(f"invalid char escape: \\{symbol}")
            return _ESCAPED[symbol]
        code = int(match[kind], 8 if kind == "octal" else 16)
        if code > 0x10FFFF:
            raise ExpressionSyntaxError(f"invalid char escape: {match[0]}")
        # Halves of surrogate pairs are not characters; Go writes the replacement character for them.
        return "�" if 0xD800 <= code <= 0xDFFF else chr(code)

    return _ESCAPE.sub(character, quoted[1:-1].replace("\r\n", "\n").replace("\r", "\n"))


_LARK: Final = Lark(
    files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8"),
    parser="lalr",
    transformer=_ToNodes(),
    maybe_placeholders=True,
)
