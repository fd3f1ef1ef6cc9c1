"""Builtins of numbers."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from schemas.expressions import natures
from schemas.expressions.errors import EvaluationError
from schemas.expressions.limits import COPIED_PER_STEP, MAX_INTEGER_BITS, Budget
from schemas.expressions.natures import Nature
from schemas.expressions.operators import checked_integer, compare, is_number, to_float, to_int, type_name
from schemas.expressions.signatures import ARRAY, INT, NUMBER, STRING, Function, gives, same, take_kind

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_FLOAT: Final = re.compile(
    r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE
)
"""No two neighbouring parts match the same character, so any text is refused in linear time. While it is looked at,
nothing else in the process runs."""


def _to_int(budget: Budget, arguments: list[Any]) -> int:
    value = arguments[0]
    if not isinstance(value, str):
        return to_int(value)
    # Three bits make less than a digit.
    if len(value) > MAX_INTEGER_BITS // 3 or not _INTEGER.fullmatch(value):
        raise EvaluationError(f"invalid operation: int({value[:100]})")
    budget.convert(len(value))
    return checked_integer(int(value))


def _to_float(budget: Budget, arguments: list[Any]) -> float:
    value = arguments[0]
    if not isinstance(value, str):
        return to_float(value)
    budget.convert(len(value))
    result = float(value) if _FLOAT.fullmatch(value) else math.nan
    if not math.isfinite(result) and value.strip("+-").lower() not in ("inf", "infinity", "nan"):
        raise EvaluationError(f"invalid operation: float({value[:100]})")
    return result


def _rounding(name: str, function: Callable[[float], float]) -> Function:
    """Gives a float, also for an integer that a float can hold. Any other stays: it may be an amount of money."""

    def call(budget: Budget, arguments: list[Any]) -> int | float:
        value = _number(name, arguments[0])
        if type(value) is int:
            whole = to_float(value)
            return whole if whole == value else value
        return float(function(value)) if math.isfinite(value) else value

    return Function((NUMBER,), 1, gives(natures.FLOAT), call)


def _round_half_away(value: float) -> float:
    whole = math.trunc(value)
    return math.copysign(abs(whole) + (abs(value - whole) >= 0.5), value)


def _number(name: str, value: Any) -> Any:
    if not is_number(value):
        raise EvaluationError(f"invalid argument for {name} (type {type_name(value)})")
    return value


def _flat_numbers(name: str, budget: Budget, values: list[Any]) -> list[Any]:
    budget.spend(len(values))
    flat: list[Any] = []
    for value in values:
        part = _flat_numbers(name, budget, value) if isinstance(value, list) else [_number(name, value)]
        budget.spend(len(part) // COPIED_PER_STEP)
        flat += part
    return flat


def _extreme(name: str, operator: str) -> Function:
    def call(budget: Budget, arguments: list[Any]) -> Any:
        # A single value that is neither a number nor a list comes back as it is.
        if len(arguments) == 1 and not isinstance(arguments[0], list) and not is_number(arguments[0]):
            return arguments[0]
        best: Any = None
        for number in _flat_numbers(name, budget, arguments):
            if best is None or compare(operator, number, best, budget):
                best = number
        return best

    return Function((NUMBER + ARRAY,), 1, _aggregate_nature, call, variadic=True)


def _aggregate_nature(arguments: Sequence[Nature]) -> Nature:
    return arguments[0] if all(map(natures.is_number, arguments)) else natures.UNKNOWN


def _average(name: str, function: Callable[[list[float]], float]) -> Function:
    def call(budget: Budget, arguments: list[Any]) -> float:
        numbers = [to_float(number) for number in _flat_numbers(name, budget, arguments)]
        return function(numbers) if numbers else 0.0

    return Function((NUMBER + ARRAY,), 1, _aggregate_nature, call, variadic=True)


def _sum_of(numbers: list[float]) -> float:
    # Not sum(), which compensates rounding since Python 3.12: the result must be Go's.
    total = 0.0
    for number in numbers:
        total += number
    return total


def _median(numbers: list[float]) -> float:
    ordered, middle = sorted(numbers), len(numbers) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _bits(name: str, function: Callable[..., int], count: int = 2) -> Function:
    def call(budget: Budget, arguments: list[Any]) -> int:
        return checked_integer(function(*(take_kind(name, argument, "int") for argument in arguments)))

    return Function((INT,) * count, count, gives(natures.INT), call)


def _shift(value: int, count: int) -> int:
    """To the left by `count` bits, to the right if it is negative."""
    if count > MAX_INTEGER_BITS:
        raise EvaluationError(f"an integer has more than {MAX_INTEGER_BITS} bits")
    return value << count if count >= 0 else value >> min(-count, MAX_INTEGER_BITS + 1)


def _shift_count(count: int) -> int:
    if count < 0:
        raise EvaluationError(f"invalid operation: negative shift count {count} (type int)")
    return count


NUMBER_FUNCTIONS: dict[str, Function] = {
    "int": Function((NUMBER + STRING,), 1, gives(natures.INT), _to_int),
    "float": Function((NUMBER + STRING,), 1, gives(natures.FLOAT), _to_float),
    "abs": Function((NUMBER,), 1, same, lambda budget, arguments: abs(_number("abs", arguments[0]))),
    "ceil": _rounding("ceil", math.ceil),
    "floor": _rounding("floor", math.floor),
    "round": _rounding("round", _round_half_away),
    "max": _extreme("max", ">"),
    "min": _extreme("min", "<"),
    "mean": _average("mean", lambda numbers: _sum_of(numbers) / len(numbers)),
    "median": _average("median", _median),
    "bitand": _bits("bitand", lambda x, y: x & y),
    "bitor": _bits("bitor", lambda x, y: x | y),
    "bitxor": _bits("bitxor", lambda x, y: x ^ y),
    "bitnand": _bits("bitnand", lambda x, y: x & ~y),
    "bitshl": _bits("bitshl", lambda x, y: _shift(x, _shift_count(y))),
    "bitshr": _bits("bitshr", lambda x, y: _shift(x, -_shift_count(y))),
    # Without the sign, as a number of 64 bits.
    "bitushr": _bits("bitushr", lambda x, y: _shift(x % (1 << 64) if x < 0 else x, -_shift_count(y))),
    "bitnot": _bits("bitnot", lambda x: ~x, count=1),
}
