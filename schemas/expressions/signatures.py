"""What a builtin is: `Function`, and what the tables of builtins use to describe their arguments and results."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from schemas.expressions import natures
from schemas.expressions.errors import EvaluationError
from schemas.expressions.limits import Budget
from schemas.expressions.natures import Kind, Nature
from schemas.expressions.operators import type_name

Parameter: TypeAlias = tuple[Kind, ...]


class Function(msgspec.Struct, frozen=True):
    """A builtin.

    Attributes:
        parameters: the kinds that each argument may have; an empty tuple takes any.
        required: how many of them must be given.
        result: the nature of what it gives, from the natures of its arguments.
        call: does it; raises EvaluationError for values that it does not take.
        variadic: true if the last parameter may be repeated.
    """

    parameters: tuple[Parameter, ...]
    required: int
    result: Callable[[Sequence[Nature]], Nature]
    call: Callable[[Budget, list[Any]], Any]
    variadic: bool = False


ANY: Parameter = ()
"""Takes every value. With the kinds below, the parameters of most builtins."""
STRING: Parameter = ("string",)
INT: Parameter = ("int",)
NUMBER: Parameter = ("int", "float")
ARRAY: Parameter = ("array",)
MAP: Parameter = ("map",)


def gives(nature: Nature) -> Callable[[Sequence[Nature]], Nature]:
    """A result of this nature, whatever the arguments."""
    return lambda arguments: nature


def same(arguments: Sequence[Nature]) -> Nature:
    """A result of the first argument's nature."""
    return arguments[0]


def element(arguments: Sequence[Nature]) -> Nature:
    """A result of the nature of what the first argument holds."""
    return natures.element_of(arguments[0])


def take_kind(name: str, value: Any, kind: Kind) -> Any:
    """The value, if it is of this kind; raises EvaluationError in the name of the function."""
    if type_name(value) != kind:
        raise EvaluationError(f"invalid argument for {name} (type {type_name(value)})")
    return value
