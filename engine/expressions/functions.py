"""The builtins without a predicate: what arguments each takes, what it gives, and how."""

import base64
import binascii
import math
import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, TypeAlias

import msgspec

from engine.expressions import natures
from engine.expressions.exceptions import EvaluationError
from engine.expressions.formatting import format_value, to_json
from engine.expressions.limits import MAX_INTEGER_BITS, Budget
from engine.expressions.natures import Kind, Nature
from engine.expressions.operators import (
    Groups,
    checked_integer,
    compare,
    equal,
    fetch,
    is_number,
    to_float,
    to_int,
    type_name,
)
from engine.expressions.predicates import is_descending, ordering

Parameter: TypeAlias = tuple[Kind, ...]

# Builtins of expr-lang that we lack: time is not a value of the payload, and an expression must give the same again.
LEFT_OUT = frozenset({"now", "date", "duration", "timezone"})


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


_ANY: Parameter = ()
_STRING: Parameter = ("string",)
_INT: Parameter = ("int",)
_NUMBER: Parameter = ("int", "float")
_ARRAY: Parameter = ("array",)
_MAP: Parameter = ("map",)


def _gives(nature: Nature) -> Callable[[Sequence[Nature]], Nature]:
    return lambda arguments: nature


def _same(arguments: Sequence[Nature]) -> Nature:
    return arguments[0]


def _element(arguments: Sequence[Nature]) -> Nature:
    return natures.element_of(arguments[0])


def _end_nature(arguments: Sequence[Nature]) -> Nature:
    # expr-lang forgets what an array holds here, but of what `split` gives.
    return natures.STRING if arguments[0] is natures.STRINGS else natures.UNKNOWN


def _take_kind(name: str, value: Any, kind: Kind) -> Any:
    if type_name(value) != kind:
        raise EvaluationError(f"invalid argument for {name} (type {type_name(value)})")
    return value


# --- strings


def _of_strings(name: str, function: Callable[..., Any], result: Nature, *, count: int, required: int = 0) -> Function:
    """A function all of whose arguments are strings."""

    def call(budget: Budget, arguments: list[Any]) -> Any:
        for argument in arguments:
            budget.scan(len(_take_kind(name, argument, "string")))
        if result is not natures.INT and result is not natures.BOOL:
            budget.grow(len(arguments[0]) + 1)
        return function(*arguments)

    return Function((_STRING,) * count, required or count, _gives(result), call)


def _upper(text: str) -> str:
    """Character by character as in Go: one never becomes two."""
    return "".join(upper if len(upper := char.upper()) == 1 else char for char in text)


def _lower(text: str) -> str:
    return "".join(char.lower()[0] for char in text)


def _split(budget: Budget, arguments: list[Any]) -> list[str] | None:
    text, separator = (_take_kind("split", argument, "string") for argument in arguments[:2])
    limit = to_int(arguments[2]) if len(arguments) == 3 else -1
    budget.grow(len(text) + 1)
    if limit == 0:
        return None
    if separator:
        parts = text.split(separator, limit - 1 if limit > 0 else -1)
    else:
        parts = list(text) if limit < 0 or limit >= len(text) else [*text[: limit - 1], text[limit - 1 :]]
    return parts


def _split_after(budget: Budget, arguments: list[Any]) -> list[str] | None:
    parts = _split(budget, arguments)
    return [*(part + arguments[1] for part in parts[:-1]), parts[-1]] if parts else parts


def _replace(budget: Budget, arguments: list[Any]) -> str:
    text, old, new = (_take_kind("replace", argument, "string") for argument in arguments[:3])
    limit = to_int(arguments[3]) if len(arguments) == 4 else -1
    found = text.count(old) if limit < 0 else min(limit, text.count(old))
    budget.scan(len(text))
    budget.grow(len(text) + found * len(new))
    return str(text.replace(old, new, max(limit, -1)))


def _repeat(budget: Budget, arguments: list[Any]) -> str:
    text, count = _take_kind("repeat", arguments[0], "string"), to_int(arguments[1])
    if count < 0:
        raise EvaluationError(f"invalid argument for repeat (expected positive integer, got {count})")
    budget.grow(len(text) * count + 1)
    return str(text * count)


def _join(budget: Budget, arguments: list[Any]) -> str:
    items = [_take_kind("join", item, "string") for item in _take_kind("join", arguments[0], "array")]
    glue = _take_kind("join", arguments[1], "string") if len(arguments) == 2 else ""
    budget.spend(len(items))
    budget.grow(sum(map(len, items)) + len(glue) * len(items) + 1)
    return str(glue.join(items))


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except binascii.Error:
        raise EvaluationError("illegal base64 data") from None


def _from_json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise EvaluationError(f"fromJSON: {error}") from None


# --- numbers


_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)


def _to_int(budget: Budget, arguments: list[Any]) -> int:
    value = arguments[0]
    if not isinstance(value, str):
        return to_int(value)
    # Three bits make less than a digit.
    if len(value) > MAX_INTEGER_BITS // 3 or not _INTEGER.fullmatch(value):
        raise EvaluationError(f"invalid operation: int({value[:100]})")
    return checked_integer(int(value))


def _to_float(budget: Budget, arguments: list[Any]) -> float:
    value = arguments[0]
    if not isinstance(value, str):
        return to_float(value)
    result = float(value) if _FLOAT.fullmatch(value) else math.nan
    if not math.isfinite(result) and value.strip("+-").lower() not in ("inf", "infinity", "nan"):
        raise EvaluationError(f"invalid operation: float({value[:100]})")
    return result


def _rounding(name: str, function: Callable[[float], float]) -> Function:
    """Gives a float, also for an integer."""

    def call(budget: Budget, arguments: list[Any]) -> float:
        value = _number(name, arguments[0])
        return to_float(value) if type(value) is int or not math.isfinite(value) else float(function(value))

    return Function((_NUMBER,), 1, _gives(natures.FLOAT), call)


def _round_half_away(value: float) -> float:
    whole = math.trunc(value)
    return math.copysign(abs(whole) + (abs(value - whole) >= 0.5), value)


def _number(name: str, value: Any) -> Any:
    if not is_number(value):
        raise EvaluationError(f"invalid argument for {name} (type {type_name(value)})")
    return value


def _flat_numbers(name: str, budget: Budget, values: list[Any]) -> list[Any]:
    budget.spend(len(values))
    nested = ([_number(name, v)] if not isinstance(v, list) else _flat_numbers(name, budget, v) for v in values)
    return list(chain.from_iterable(nested))


def _extreme(name: str, operator: str) -> Function:
    def call(budget: Budget, arguments: list[Any]) -> Any:
        # A single value that is neither a number nor a list comes back as it is.
        if len(arguments) == 1 and not isinstance(arguments[0], list) and not is_number(arguments[0]):
            return arguments[0]
        best: Any = None
        for number in _flat_numbers(name, budget, arguments):
            if best is None or compare(operator, number, best):
                best = number
        return best

    return Function((_NUMBER + _ARRAY,), 1, _aggregate_nature, call, variadic=True)


def _aggregate_nature(arguments: Sequence[Nature]) -> Nature:
    return arguments[0] if all(map(natures.is_number, arguments)) else natures.UNKNOWN


def _average(name: str, function: Callable[[list[float]], float]) -> Function:
    def call(budget: Budget, arguments: list[Any]) -> float:
        numbers = [to_float(number) for number in _flat_numbers(name, budget, arguments)]
        return function(numbers) if numbers else 0.0

    return Function((_NUMBER + _ARRAY,), 1, _aggregate_nature, call, variadic=True)


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
        return checked_integer(function(*(_take_kind(name, argument, "int") for argument in arguments)))

    return Function((_INT,) * count, count, _gives(natures.INT), call)


def _shift(value: int, count: int) -> int:
    """To the left by `count` bits, to the right if it is negative."""
    if count > MAX_INTEGER_BITS:
        raise EvaluationError(f"an integer has more than {MAX_INTEGER_BITS} bits")
    return value << count if count >= 0 else value >> min(-count, MAX_INTEGER_BITS + 1)


def _shift_count(count: int) -> int:
    if count < 0:
        raise EvaluationError(f"invalid operation: negative shift count {count} (type int)")
    return count


# --- lists and maps


def _list(name: str, function: Callable[[Budget, list[Any]], Any], result: Nature = natures.ARRAY) -> Function:
    """A function of one list."""

    def call(budget: Budget, arguments: list[Any]) -> Any:
        items = _take_kind(name, arguments[0], "array")
        budget.grow(len(items))
        return function(budget, items)

    return Function((_ARRAY,), 1, _gives(result), call)


def _of_map(name: str, function: Callable[[dict[Any, Any]], list[Any]]) -> Function:
    def call(budget: Budget, arguments: list[Any]) -> Any:
        members = _take_kind(name, arguments[0], "map")
        budget.grow(len(members))
        return function(members)

    return Function((_MAP,), 1, _gives(natures.ARRAY), call)


def _length(budget: Budget, arguments: list[Any]) -> int:
    if not isinstance(arguments[0], (str, list, dict)):
        raise EvaluationError(f"invalid argument for len (type {type_name(arguments[0])})")
    return len(arguments[0])


def _end(index: int) -> Callable[[Budget, list[Any]], Any]:
    """The first or last item; nil where there is none."""

    def call(budget: Budget, arguments: list[Any]) -> Any:
        try:
            return fetch(arguments[0], index)
        except EvaluationError:
            return None

    return call


def _get(budget: Budget, arguments: list[Any]) -> Any:
    container, key = arguments
    if not isinstance(container, (dict, list, str)):
        return None
    if isinstance(container, dict):
        return fetch(container, key)
    index = to_int(key)
    return fetch(container, index) if -len(container) <= index < len(container) else None


def _take(budget: Budget, arguments: list[Any]) -> list[Any]:
    items, count = _take_kind("take", arguments[0], "array"), _take_kind("take", arguments[1], "int")
    if count < 0:
        raise EvaluationError(f"cannot take {count} elements")
    budget.grow(min(count, len(items)))
    return list(items[:count])


def _sort(budget: Budget, arguments: list[Any]) -> list[Any]:
    # As in expr-lang, what is no list (a member that is missing, say) sorts to an empty one.
    items = arguments[0] if isinstance(arguments[0], list) else []
    descending = is_descending(arguments[1]) if len(arguments) == 2 else False
    budget.grow(len(items))
    return sorted(items, key=ordering(lambda item: item, budget), reverse=descending)


def _unique(budget: Budget, items: list[Any]) -> list[Any]:
    result: list[Any] = []
    for item in items:
        budget.spend(len(result))
        if not any(equal(item, seen, budget) for seen in result):
            result.append(item)
    return result


def _flatten(budget: Budget, items: list[Any]) -> list[Any]:
    budget.spend(len(items))
    budget.grow(len(items))
    nested = (_flatten(budget, item) if isinstance(item, list) else [item] for item in items)
    return list(chain.from_iterable(nested))


def _concat(budget: Budget, arguments: list[Any]) -> list[Any]:
    budget.grow(sum(len(_take_kind("concat", argument, "array")) for argument in arguments))
    return list(chain.from_iterable(arguments))


def _from_pairs(budget: Budget, items: list[Any]) -> Groups:
    for pair in items:
        if not isinstance(pair, list) or len(pair) != 2 or isinstance(pair[0], (list, dict)):
            raise EvaluationError("fromPairs takes a list of pairs of a key and a value")
    return Groups(items)


FUNCTIONS: dict[str, Function] = {
    "len": Function((("string", "array", "map"),), 1, _gives(natures.INT), _length),
    "type": Function((_ANY,), 1, _gives(natures.STRING), lambda budget, arguments: type_name(arguments[0])),
    "string": Function(
        (_ANY,), 1, _gives(natures.STRING), lambda budget, arguments: format_value(arguments[0], budget)
    ),
    "int": Function((_NUMBER + _STRING,), 1, _gives(natures.INT), _to_int),
    "float": Function((_NUMBER + _STRING,), 1, _gives(natures.FLOAT), _to_float),
    "abs": Function((_NUMBER,), 1, _same, lambda budget, arguments: abs(_number("abs", arguments[0]))),
    "ceil": _rounding("ceil", math.ceil),
    "floor": _rounding("floor", math.floor),
    "round": _rounding("round", _round_half_away),
    "max": _extreme("max", ">"),
    "min": _extreme("min", "<"),
    "mean": _average("mean", lambda numbers: _sum_of(numbers) / len(numbers)),
    "median": _average("median", _median),
    "trim": _of_strings("trim", str.strip, natures.STRING, count=2, required=1),
    "trimPrefix": _of_strings(
        "trimPrefix", lambda text, prefix=" ": text.removeprefix(prefix), natures.STRING, count=2, required=1
    ),
    "trimSuffix": _of_strings(
        "trimSuffix", lambda text, suffix=" ": text.removesuffix(suffix), natures.STRING, count=2, required=1
    ),
    "upper": _of_strings("upper", _upper, natures.STRING, count=1),
    "lower": _of_strings("lower", _lower, natures.STRING, count=1),
    "split": Function((_STRING, _STRING, _INT), 2, _gives(natures.STRINGS), _split),
    "splitAfter": Function((_STRING, _STRING, _INT), 2, _gives(natures.STRINGS), _split_after),
    "replace": Function((_STRING, _STRING, _STRING, _INT), 3, _gives(natures.STRING), _replace),
    "repeat": Function((_STRING, _INT), 2, _gives(natures.STRING), _repeat),
    "join": Function((_ARRAY, _STRING), 1, _gives(natures.STRING), _join),
    # Positions are in bytes of UTF-8, as slices are.
    "indexOf": _of_strings("indexOf", lambda text, part: text.encode().find(part.encode()), natures.INT, count=2),
    "lastIndexOf": _of_strings(
        "lastIndexOf", lambda text, part: text.encode().rfind(part.encode()), natures.INT, count=2
    ),
    "hasPrefix": _of_strings("hasPrefix", str.startswith, natures.BOOL, count=2),
    "hasSuffix": _of_strings("hasSuffix", str.endswith, natures.BOOL, count=2),
    "toJSON": Function((_ANY,), 1, _gives(natures.STRING), lambda budget, arguments: to_json(arguments[0], budget)),
    "fromJSON": _of_strings("fromJSON", _from_json, natures.UNKNOWN, count=1),
    "toBase64": _of_strings("toBase64", lambda text: base64.b64encode(text.encode()).decode(), natures.STRING, count=1),
    "fromBase64": _of_strings("fromBase64", _from_base64, natures.STRING, count=1),
    "first": Function((_ARRAY,), 1, _end_nature, _end(0)),
    "last": Function((_ARRAY,), 1, _end_nature, _end(-1)),
    "get": Function((_ANY, _ANY), 2, _element, _get),
    "take": Function((_ARRAY, _INT), 2, _same, _take),
    "keys": _of_map("keys", list),
    "values": _of_map("values", lambda members: list(members.values())),
    "toPairs": _of_map("toPairs", lambda members: [list(pair) for pair in members.items()]),
    "fromPairs": _list("fromPairs", _from_pairs, natures.ANY_KEY_MAP),
    "reverse": _list("reverse", lambda budget, items: items[::-1]),
    "uniq": _list("uniq", _unique),
    "flatten": _list("flatten", _flatten),
    "concat": Function((_ARRAY,), 1, _gives(natures.ARRAY), _concat, variadic=True),
    "sort": Function((_ARRAY, _STRING), 1, _gives(natures.ARRAY), _sort),
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
