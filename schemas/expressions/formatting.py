"""Values as text: `string()`, `toJSON()`, and the strings that variables of a workflow are."""

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from schemas.expressions.errors import EvaluationError
from schemas.expressions.limits import Budget


def to_variable(value: Any, budget: Budget | None = None) -> str:
    """A value as a variable of a run, the contract's table under "Expressions" in `triggers-and-events`.

    Strings stay as they are, nil is empty, lists and maps are compact JSON; numbers have all their digits and no
    exponent.

    Args:
        value: decoded JSON.
        budget: what is left for it; a whole one if None.

    Raises:
        EvaluationError: the value is or holds a float that is infinite or not a number, or it is larger than `limits`
            allow (a small expression can put a list twice into another, and that again, and again).
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return _compact_json(value, budget or Budget())
    except RecursionError:
        raise EvaluationError("a value is nested too deeply") from None


def _compact_json(value: Any, budget: Budget) -> str:
    budget.spend()
    if isinstance(value, list):
        return "[" + ",".join(_compact_json(item, budget) for item in value) + "]"
    if isinstance(value, dict):
        members = ((format_value(key, budget), _compact_json(item, budget)) for key, item in value.items())
        return "{" + ",".join(f"{_quoted(key)}:{text}" for key, text in members) + "}"
    if isinstance(value, str):
        budget.grow(len(value))
    text = _scalar_json(value, _plain_float)
    budget.grow(len(text))
    return text


def to_json(value: Any, budget: Budget, indent: str = "\n") -> str:
    """What `toJSON()` gives: Go's `json.MarshalIndent`, keys sorted, two spaces, characters of HTML escaped."""
    budget.spend()
    budget.grow(len(indent))
    inner = indent + "  "
    if isinstance(value, list) and value:
        return "[" + ",".join(inner + to_json(item, budget, inner) for item in value) + indent + "]"
    if isinstance(value, dict) and value:
        if not all(isinstance(key, str) for key in value):
            raise EvaluationError("toJSON takes only maps whose keys are strings")
        budget.convert(sum(map(len, value)))
        members = (f"{inner}{_html_safe(_quoted(key))}: {to_json(value[key], budget, inner)}" for key in sorted(value))
        return "{" + ",".join(members) + indent + "}"
    if isinstance(value, str):
        budget.convert(len(value))
    text = _html_safe(_scalar_json(value, _go_json_float))
    budget.grow(len(text))
    return text


def format_value(value: Any, budget: Budget) -> str:
    """What `string()` gives: Go's `%v`, such as `[1 a]` and `map[x:1]`."""
    budget.spend()
    if isinstance(value, list):
        return "[" + " ".join(format_value(item, budget) for item in value) + "]"
    if isinstance(value, dict):
        members = sorted((format_value(key, budget), format_value(item, budget)) for key, item in value.items())
        return "map[" + " ".join(f"{key}:{item}" for key, item in members) + "]"
    if value is None:
        text = "<nil>"
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = _go_float(value) if isinstance(value, float) else str(value)
    budget.grow(len(text))
    return text


def _scalar_json(value: Any, format_float: Callable[[float], str]) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EvaluationError(f"a float that is {_go_float(value)} has no JSON form")
        return format_float(value)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return "[]" if isinstance(value, list) else "{}" if isinstance(value, dict) else str(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _html_safe(text: str) -> str:
    return re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _plain_float(value: float) -> str:
    """All digits, no exponent: 100, 1.5, 1000000000000000000000."""
    text = format(Decimal(repr(value)), "f").removesuffix(".0")
    return "0" if text == "-0" else text


def _go_json_float(value: float) -> str:
    """Go's JSON: an exponent below 1e-6 and from 1e21 on."""
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        return re.sub(r"e-0(\d)$", r"e-\1", _scientific(value))
    text = format(Decimal(repr(value)), "f").removesuffix(".0")
    return text


def _go_float(value: float) -> str:
    """Go's `%v`: an exponent below 1e-4 and from 1e6 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return _scientific(value)
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _scientific(value: float) -> str:
    """The shortest digits with an exponent of at least two: 1.5e+21."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    power = int(exponent) + len(digits) - 1
    fraction = "".join(map(str, digits[1:]))
    mantissa = f"{digits[0]}.{fraction}" if fraction else str(digits[0])
    return f"{'-' if sign else ''}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
