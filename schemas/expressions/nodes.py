"""The syntax tree: what `parser` builds, `checker` checks and `evaluator` evaluates."""

from typing import Any, TypeAlias

import msgspec


class Literal(msgspec.Struct, frozen=True):
    """A string, number, boolean or nil."""

    value: Any


class Name(msgspec.Struct, frozen=True):
    """`event`, a variable of `let`, or a name that is nil."""

    name: str


class Pointer(msgspec.Struct, frozen=True):
    """`#` in a predicate: the item (`name` is empty), `#index` or `#acc`."""

    name: str


class Unary(msgspec.Struct, frozen=True):
    """`-`, `+` or `not` (also for `!` and `not in`)."""

    operator: str
    operand: "Node"


class Binary(msgspec.Struct, frozen=True):
    """Any operator of `operators.PRECEDENCES`; `&&`, `||` and `^` appear as `and`, `or` and `**`."""

    operator: str
    left: "Node"
    right: "Node"


class Chain(msgspec.Struct, frozen=True):
    """How far an optional member reaches: `?.` on nil makes the whole chain nil."""

    node: "Node"


class Member(msgspec.Struct, frozen=True):
    """`node.name`, `node[key]`, `node?.name` or `node?.[key]`."""

    node: "Node"
    key: "Node"
    optional: bool


class Slice(msgspec.Struct, frozen=True):
    """`node[start:stop]`; None is an end that was left out."""

    node: "Node"
    start: "Node | None"
    stop: "Node | None"


class Call(msgspec.Struct, frozen=True):
    """A call of something that is not a builtin; `callee` is a Name or a Member. Only `link` can be called so."""

    callee: "Node"
    arguments: "tuple[Node, ...]"


class Builtin(msgspec.Struct, frozen=True):
    """A call of one of `functions.FUNCTIONS`."""

    name: str
    arguments: "tuple[Node, ...]"


class PredicateCall(msgspec.Struct, frozen=True):
    """A call of one of `predicates.PREDICATES`; `predicate` is evaluated once for each item of `collection`."""

    name: str
    collection: "Node"
    predicate: "Node | None"
    option: "Node | None"


class Let(msgspec.Struct, frozen=True):
    """`let name = value; body`."""

    name: str
    value: "Node"
    body: "Node"


class Sequence(msgspec.Struct, frozen=True):
    """`a; b`: the last one's value."""

    nodes: "tuple[Node, ...]"


class Conditional(msgspec.Struct, frozen=True):
    """`condition ? then : otherwise`, also for `if` and `else`."""

    condition: "Node"
    then: "Node"
    otherwise: "Node"


class Array(msgspec.Struct, frozen=True):
    """`[a, b]`."""

    nodes: "tuple[Node, ...]"


class Map(msgspec.Struct, frozen=True):
    """`{key: value}`."""

    pairs: "tuple[tuple[Node, Node], ...]"


Node: TypeAlias = (
    Literal
    | Name
    | Pointer
    | Unary
    | Binary
    | Chain
    | Member
    | Slice
    | Call
    | Builtin
    | PredicateCall
    | Let
    | Sequence
    | Conditional
    | Array
    | Map
)
