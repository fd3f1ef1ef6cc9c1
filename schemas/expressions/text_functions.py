"""Builtins of strings, and those that turn values into strings and back."""

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from schemas.expressions import natures
from schemas.expressions.exceptions import EvaluationError
from schemas.expressions.formatting import format_value, to_json
from schemas.expressions.limits import Budget
from schemas.expressions.natures import Nature
from schemas.expressions.operators import to_int
from schemas.expressions.signatures import ANY, ARRAY, INT, STRING, Function, gives, take_kind


def _of_strings(name: str, function: Callable[..., Any], result: Nature, *, count: int, required: int = 0) -> Function:
    """A function all of whose arguments are strings."""

    def call(budget: Budget, arguments: list[Any]) -> Any:
        for argument in arguments:
            budget.scan(len(take_kind(name, argument, "string")))
        if result is not natures.INT and result is not natures.BOOL:
            budget.grow(len(arguments[0]) + 1)
        return function(*arguments)

    return Function((STRING,) * count, required or count, gives(result), call)


def _upper(text: str) -> str:
    """Character by character as in Go: one never becomes two."""
    return "".join(upper if len(upper := char.upper()) == 1 else char for char in text)


def _lower(text: str) -> str:
    return "".join(char.lower()[0] for char in text)


def _split(budget: Budget, arguments: list[Any]) -> list[str] | None:
    text, separator = (take_kind("split", argument, "string") for argument in arguments[:2])
    limit = to_int(arguments[2]) if len(arguments) == 3 else -1
    budget.grow(len(text) + 1)
    if limit == 0:
        return None
    parts: list[str] = list(text)
    if separator:
        parts = text.split(separator, limit - 1 if limit > 0 else -1)
    elif 0 < limit < len(text):
        parts = [*text[: limit - 1], text[limit - 1 :]]
    return parts


def _split_after(budget: Budget, arguments: list[Any]) -> list[str] | None:
    parts = _split(budget, arguments)
    return [*(part + arguments[1] for part in parts[:-1]), parts[-1]] if parts else parts


def _replace(budget: Budget, arguments: list[Any]) -> str:
    text, old, new = (take_kind("replace", argument, "string") for argument in arguments[:3])
    limit = to_int(arguments[3]) if len(arguments) == 4 else -1
    found = text.count(old) if limit < 0 else min(limit, text.count(old))
    budget.scan(len(text))
    budget.grow(len(text) + found * len(new))
    return str(text.replace(old, new, max(limit, -1)))


def _repeat(budget: Budget, arguments: list[Any]) -> str:
    text, count = take_kind("repeat", arguments[0], "string"), to_int(arguments[1])
    if count < 0:
        raise EvaluationError(f"invalid argument for repeat (expected positive integer, got {count})")
    budget.grow(len(text) * count + 1)
    return str(text * count)


def _join(budget: Budget, arguments: list[Any]) -> str:
    items = [take_kind("join", item, "string") for item in take_kind("join", arguments[0], "array")]
    glue = take_kind("join", arguments[1], "string") if len(arguments) == 2 else ""
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


TEXT_FUNCTIONS: dict[str, Function] = {
    "string": Function((ANY,), 1, gives(natures.STRING), lambda budget, arguments: format_value(arguments[0], budget)),
    "trim": _of_strings("trim", str.strip, natures.STRING, count=2, required=1),
    "trimPrefix": _of_strings(
        "trimPrefix", lambda text, prefix=" ": text.removeprefix(prefix), natures.STRING, count=2, required=1
    ),
    "trimSuffix": _of_strings(
        "trimSuffix", lambda text, suffix=" ": text.removesuffix(suffix), natures.STRING, count=2, required=1
    ),
    "upper": _of_strings("upper", _upper, natures.STRING, count=1),
    "lower": _of_strings("lower", _lower, natures.STRING, count=1),
    "split": Function((STRING, STRING, INT), 2, gives(natures.STRINGS), _split),
    "splitAfter": Function((STRING, STRING, INT), 2, gives(natures.STRINGS), _split_after),
    "replace": Function((STRING, STRING, STRING, INT), 3, gives(natures.STRING), _replace),
    "repeat": Function((STRING, INT), 2, gives(natures.STRING), _repeat),
    "join": Function((ARRAY, STRING), 1, gives(natures.STRING), _join),
    # Positions are in bytes of UTF-8, as slices are.
    "indexOf": _of_strings("indexOf", lambda text, part: text.encode().find(part.encode()), natures.INT, count=2),
    "lastIndexOf": _of_strings(
        "lastIndexOf", lambda text, part: text.encode().rfind(part.encode()), natures.INT, count=2
    ),
    "hasPrefix": _of_strings("hasPrefix", str.startswith, natures.BOOL, count=2),
    "hasSuffix": _of_strings("hasSuffix", str.endswith, natures.BOOL, count=2),
    "toJSON": Function((ANY,), 1, gives(natures.STRING), lambda budget, arguments: to_json(arguments[0], budget)),
    "fromJSON": _of_strings("fromJSON", _from_json, natures.UNKNOWN, count=1),
    "toBase64": _of_strings("toBase64", lambda text: base64.b64encode(text.encode()).decode(), natures.STRING, count=1),
    "fromBase64": _of_strings("fromBase64", _from_base64, natures.STRING, count=1),
}
