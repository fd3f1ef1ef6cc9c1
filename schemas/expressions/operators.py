"""The operators of the language: their precedence in the text and what they do to values.

Values are decoded JSON: None, bool, int (exact, of any size), float, str, list and dict. `Groups` is the one type
beside them. Where expr-lang has Go's integers, which wrap around, ours stay exact.
"""

import math
from collections.abc import Callable
from operator import ge, gt, le, lt
from typing import Any, Final

from schemas.expressions.errors import EvaluationError
from schemas.expressions.limits import MAX_INTEGER_BITS, Budget

PRECEDENCES: Final = {
    "or": 10,
    "and": 15,
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">=", "in", "matches", "contains", "startsWith", "endsWith"), 20),
    "..": 25,
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "**": 100,
    "??": 500,
}
"""How tightly a binary operator binds; all are left-associative but `**`. The pipe, at 0, is a case of its own in the
parser."""
PREFIX_PRECEDENCES: Final = {"not": 50, "-": 90, "+": 90}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"<": lt, ">": gt, "<=": le, ">=": ge}


class Groups(dict[Any, Any]):
    """A map whose keys may be of any type: what `groupBy` and `fromPairs` give."""


def type_name(value: Any) -> str:
    """The name that `type()` gives, used in messages too."""
    for types, name in _TYPE_NAMES:
        if isinstance(value, types):
            return name
    return "unknown"


_TYPE_NAMES: tuple[tuple[type, str], ...] = (
    (type(None), "nil"),
    (bool, "bool"),
    (int, "int"),
    (float, "float"),
    (str, "string"),
    (list, "array"),
    (dict, "map"),
)


def is_number(value: Any) -> bool:
    """True for int and float, false for bool (which Python counts among the integers)."""
    return type(value) is int or type(value) is float


def to_bool(value: Any) -> bool:
    """The value, if it is a boolean; nothing else counts as true or false."""
    if type(value) is not bool:
        raise EvaluationError(f"expected bool, got {type_name(value)}")
    return value


def to_int(value: Any) -> int:
    """An integer, or a float cut to one."""
    if type(value) is int:
        return value
    if type(value) is float and math.isfinite(value):
        return int(value)
    raise EvaluationError(f"invalid operation: int({type_name(value)})")


def to_float(value: Any) -> float:
    """A number as a float; an integer beyond the range of floats is infinite."""
    if not is_number(value):
        raise EvaluationError(f"invalid operation: float({type_name(value)})")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def to_text(value: Any, operator: str) -> str:
    """The value, if it is a string."""
    if type(value) is not str:
        raise EvaluationError(f"{operator} takes strings, got {type_name(value)}")
    return value


def negate(value: Any) -> int | float:
    """`-value`."""
    if not is_number(value):
        raise EvaluationError(f"invalid operation: - {type_name(value)}")
    return -value  # type: ignore[no-any-return]


def calculate(operator: str, left: Any, right: Any, budget: Budget) -> Any:
    """`+`, `-`, `*`, `/`, `%` and `**`: integers stay integers but for `/` and `**`, which give floats."""
    if operator == "+" and type(left) is str and type(right) is str:
        budget.grow(len(left) + len(right))
        return left + right
    if operator == "**":
        return _power(to_float(left), to_float(right))
    if not (is_number(left) and is_number(right)):
        raise _undefined(operator, left, right)
    if operator == "/":
        return _divide(to_float(left), to_float(right))
    if operator == "%":
        return remainder(left, right, budget)
    if type(left) is int and type(right) is int:
        if operator == "*":
            budget.multiply(left, right)
        return checked_integer(_ARITHMETIC[operator](left, right))
    return _ARITHMETIC[operator](to_float(left), to_float(right))


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
}


def remainder(left: int, right: int, budget: Budget) -> int:
    """`left % right`, with the sign of `left`."""
    if not (type(left) is int and type(right) is int):
        raise _undefined("%", left, right)
    if right == 0:
        raise EvaluationError("integer divide by zero")
    budget.multiply(left, right)
    result = abs(left) % abs(right)
    return -result if left < 0 else result


def checked_integer(value: int) -> int:
    """The value, unless it has more digits than an evaluation may produce."""
    if value.bit_length() > MAX_INTEGER_BITS:
        raise EvaluationError(f"an integer has more than {MAX_INTEGER_BITS} bits")
    return value


def compare(operator: str, left: Any, right: Any, budget: Budget) -> bool:
    """`<`, `>`, `<=` and `>=`: of two numbers or of two strings."""
    if is_number(left) and is_number(right):
        return COMPARISONS[operator](left, right)
    if type(left) is str and type(right) is str:
        budget.scan(len(left))
        return COMPARISONS[operator](left, right)
    raise _undefined(operator, left, right)


def equal(left: Any, right: Any, budget: Budget) -> bool:
    """`==`: numbers by value, lists item by item; in maps the types of numbers must agree too, as in expr-lang."""
    if is_number(left) and is_number(right):
        return bool(left == right)
    if isinstance(left, list) and isinstance(right, list):
        budget.spend(len(left))
        return len(left) == len(right) and all(equal(a, b, budget) for a, b in zip(left, right, strict=True))
    return _identical(left, right, budget)


def _identical(left: Any, right: Any, budget: Budget) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        budget.spend(len(left))
        budget.scan(sum(len(key) for key in left if type(key) is str))
        return left.keys() == right.keys() and all(_identical(left[key], right[key], budget) for key in left)
    if isinstance(left, list):
        budget.spend(len(left))
        return len(left) == len(right) and all(_identical(a, b, budget) for a, b in zip(left, right, strict=True))
    if isinstance(left, str):
        budget.scan(len(left))
    return bool(left == right)


def contains(item: Any, container: Any, budget: Budget) -> bool:
    """`item in container`: of a list its items, of a map its keys, of nil nothing."""
    if container is None:
        return False
    if isinstance(container, list):
        budget.spend(len(container))
        return any(equal(member, item, budget) for member in container)
    if isinstance(container, dict):
        return _key(container, item, budget) in container
    raise EvaluationError(f'operator "in" not defined on {type_name(container)}')


def make_range(start: Any, stop: Any, budget: Budget) -> list[int]:
    """`start..stop`, both included."""
    first, last = to_int(start), to_int(stop)
    size = max(0, last - first + 1)
    budget.grow(size)
    return list(range(first, last + 1))


def fetch(value: Any, key: Any, budget: Budget) -> Any:
    """`value[key]`: nil where a map lacks the key, an error where a list or a string (its bytes) lacks the index."""
    if isinstance(value, dict):
        return value.get(_key(value, key, budget))
    if not isinstance(value, (list, str)):
        raise EvaluationError(f"cannot fetch {_shown(key)} from {type_name(value)}")
    items = _bytes(value, budget) if isinstance(value, str) else value
    index = to_int(key)
    if index < 0:
        index += len(items)
    if not 0 <= index < len(items):
        raise EvaluationError(f"index out of range: {index} (array length is {len(items)})")
    return items[index]


def cut(value: Any, start: int | None, stop: int | None, budget: Budget) -> Any:
    """`value[start:stop]` of a list or a string (bytes of UTF-8); ends beyond it are cut, None is an end left out."""
    if not isinstance(value, (list, str)):
        raise EvaluationError(f"cannot slice {type_name(value)}")
    items = _bytes(value, budget) if isinstance(value, str) else value
    length = len(items)
    first = 0 if start is None else start
    last = length if stop is None else stop
    if first < 0:
        first = max(0, first + length)
    if last < 0:
        last = max(0, last + length)
    budget.grow(max(0, min(last, length) - first))
    part = items[min(first, last, length) : min(last, length)]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def _bytes(text: str, budget: Budget) -> bytes:
    budget.scan(len(text))
    return text.encode()


def _key(container: dict[Any, Any], key: Any, budget: Budget) -> Any:
    if type(key) is str:  # it is compared with the one that is found
        budget.scan(len(key))
    if isinstance(container, Groups):
        if isinstance(key, (list, dict)):
            raise EvaluationError(f"{type_name(key)} cannot be a key of a map")
        return key
    # Go's zero value: nil looks for the empty key.
    if key is None:
        return ""
    if type(key) is not str:
        raise EvaluationError(f"cannot use {type_name(key)} as a key of a map")
    return key


def _shown(key: Any) -> str:
    return key if isinstance(key, str) else "nil" if key is None else str(key) if is_number(key) else type_name(key)


def _undefined(operator: str, left: Any, right: Any) -> EvaluationError:
    return EvaluationError(f"invalid operation: {type_name(left)} {operator} {type_name(right)}")


def _divide(left: float, right: float) -> float:
    try:
        return left / right
    except ZeroDivisionError:
        if left == 0 or math.isnan(left):
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1, right)


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        # A negative base with a fraction as exponent, or zero with a negative one.
        if base != 0:
            return math.nan
        return math.copysign(math.inf, base) if exponent % 2 == 1 else math.inf
