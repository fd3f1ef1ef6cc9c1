"""Builtins of strings, and those that turn values into strings and back."""

import base64
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from schemas.expressions import natures
from schemas.expressions.errors import EvaluationError
from schemas.expressions.formatting import format_value, to_json
from schemas.expressions.limits import MAX_MEMORY, Budget
from schemas.expressions.natures import Nature
from schemas.expressions.operators import to_int
from schemas.expressions.signatures import ANY, ARRAY, INT, STRING, Function, gives, take_kind

_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_BASE64_DIGITS: Final = re.compile(rb"[A-Za-z0-9+/\r\n]*")
_LINE_BREAKS: Final = re.compile(rb"[\r\n]*")


def _of_strings(
    name: str,
    function: Callable[..., Any],
    result: Nature,
    *,
    count: int,
    required: int = 0,
    price: Callable[[Budget, list[str]], None] | None = None,
) -> Function:
    """A function all of whose arguments are strings; `price` takes the steps of one that does more than scan them."""

    def call(budget: Budget, arguments: list[Any]) -> Any:
        for argument in arguments:
            budget.scan(len(take_kind(name, argument, "string")))
        if price is not None:
            price(budget, arguments)
        if result is not natures.INT and result is not natures.BOOL:
            budget.grow(len(arguments[0]) + 1)
        return function(*arguments)

    return Function((STRING,) * count, required or count, gives(result), call)


def _price_of_converting(budget: Budget, arguments: list[str]) -> None:
    budget.convert(len(arguments[0]))


def _price_of_trimming(budget: Budget, arguments: list[str]) -> None:
    if len(arguments) == 2:
        budget.convert(len(arguments[1]))
        # Each character at the ends is looked for among those to cut.
        budget.spend(len(arguments[0]) * (64 + len(set(arguments[1]))) // 4096)


def _trim(text: str, characters: str | None = None) -> str:
    return text.strip() if characters is None else text.strip("".join(set(characters)))


def _price_of_finding(budget: Budget, arguments: list[str]) -> None:
    budget.search(len(arguments[0]), len(arguments[1]))


def _price_of_finding_last(budget: Budget, arguments: list[str]) -> None:
    # From the end Python compares the whole part at each place where it could be.
    text, part = map(len, arguments)
    budget.spend(max(0, text - part) * part // 1024)


def _upper(text: str) -> str:
    """Character by character as in Go: one never becomes two."""
    if text.isascii():
        return text.upper()
    return "".join(upper if len(upper := char.upper()) == 1 else char for char in text)


def _lower(text: str) -> str:
    if text.isascii():
        return text.lower()
    return "".join(char.lower()[0] for char in text)


def _split(budget: Budget, arguments: list[Any]) -> list[str] | None:
    text, separator = (take_kind("split", argument, "string") for argument in arguments[:2])
    limit = _limit(arguments, 2)
    budget.search(len(text), len(separator))
    budget.grow(len(text) + 1)
    if limit == 0:
        return None
    parts: list[str] = list(text)
    if separator:
        parts = text.split(separator, limit - 1 if limit > 0 else -1)
    elif 0 < limit < len(text):
        parts = [*text[: limit - 1], text[limit - 1 :]]
    budget.convert(len(parts))
    return parts


def _split_after(budget: Budget, arguments: list[Any]) -> list[str] | None:
    parts = _split(budget, arguments)
    budget.convert(len(parts or ()))
    return [*(part + arguments[1] for part in parts[:-1]), parts[-1]] if parts else parts


def _replace(budget: Budget, arguments: list[Any]) -> str:
    text, old, new = (take_kind("replace", argument, "string") for argument in arguments[:3])
    limit = _limit(arguments, 3)
    budget.search(2 * len(text), len(old))
    found = text.count(old) if limit < 0 else min(limit, text.count(old))
    budget.grow(len(text) + found * len(new))
    return str(text.replace(old, new, max(limit, -1)))


def _limit(arguments: list[Any], position: int) -> int:
    """An optional number of parts, negative for all; no text has more than what Python can count."""
    if position == len(arguments):
        return -1
    return max(-1, min(to_int(arguments[position]), MAX_MEMORY))


def _repeat(budget: Budget, arguments: list[Any]) -> str:
    text, count = take_kind("repeat", arguments[0], "string"), to_int(arguments[1])
    if count < 0:
        raise EvaluationError(f"invalid argument for repeat (expected positive integer, got {count})")
    # As in expr-lang the count alone is bounded too, so also for an empty text.
    if count > MAX_MEMORY:
        raise EvaluationError("memory budget exceeded")
    budget.grow(len(text) * count + 1)
    return str(text * count)


def _join(budget: Budget, arguments: list[Any]) -> str:
    items = [take_kind("join", item, "string") for item in take_kind("join", arguments[0], "array")]
    glue = take_kind("join", arguments[1], "string") if len(arguments) == 2 else ""
    budget.spend(len(items))
    budget.grow(sum(map(len, items)) + len(glue) * len(items) + 1)
    return str(glue.join(items))


def _from_base64(text: str) -> str:
    data = text.encode()
    # As in Go, line breaks are passed over.
    digits = data.translate(None, b"\r\n")
    if _BASE64.fullmatch(digits) is None:
        raise EvaluationError(f"illegal base64 data at input byte {_illegal_base64_byte(data)}")
    return base64.b64decode(digits).decode(errors="replace")


def _illegal_base64_byte(data: bytes) -> int:
    """Where Go's decoder stops."""
    end = _past(_BASE64_DIGITS, data, 0)
    place = (end - data.count(b"\r", 0, end) - data.count(b"\n", 0, end)) % 4
    if end == len(data):
        return end - place
    if data[end : end + 1] != b"=" or place < 2:
        return end
    after = _past(_LINE_BREAKS, data, end + 1)
    if place == 3 or after == len(data):
        return after
    return _past(_LINE_BREAKS, data, after + 1) if data[after : after + 1] == b"=" else after - 1


def _past(pattern: re.Pattern[bytes], data: bytes, start: int) -> int:
    found = pattern.match(data, start)
    return start if found is None else found.end()


def _from_json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise
    except ValueError as error:  # also of an integer of thousands of digits
        raise EvaluationError(f"fromJSON: {error}") from None


TEXT_FUNCTIONS: dict[str, Function] = {
    "string": Function((ANY,), 1, gives(natures.STRING), lambda budget, arguments: format_value(arguments[0], budget)),
    "trim": _of_strings("trim", _trim, natures.STRING, count=2, required=1, price=_price_of_trimming),
    "trimPrefix": _of_strings(
        "trimPrefix", lambda text, prefix=" ": text.removeprefix(prefix), natures.STRING, count=2, required=1
    ),
    "trimSuffix": _of_strings(
        "trimSuffix", lambda text, suffix=" ": text.removesuffix(suffix), natures.STRING, count=2, required=1
    ),
    "upper": _of_strings("upper", _upper, natures.STRING, count=1, price=_price_of_converting),
    "lower": _of_strings("lower", _lower, natures.STRING, count=1, price=_price_of_converting),
    "split": Function((STRING, STRING, INT), 2, gives(natures.STRINGS), _split),
    "splitAfter": Function((STRING, STRING, INT), 2, gives(natures.STRINGS), _split_after),
    "replace": Function((STRING, STRING, STRING, INT), 3, gives(natures.STRING), _replace),
    "repeat": Function((STRING, INT), 2, gives(natures.STRING), _repeat),
    "join": Function((ARRAY, STRING), 1, gives(natures.STRING), _join),
    # Positions are in bytes of UTF-8, as slices are.
    "indexOf": _of_strings(
        "indexOf",
        lambda text, part: text.encode().find(part.encode()),
        natures.INT,
        count=2,
        price=_price_of_finding,
    ),
    "lastIndexOf": _of_strings(
        "lastIndexOf",
        lambda text, part: text.encode().rfind(part.encode()),
        natures.INT,
        count=2,
        price=_price_of_finding_last,
    ),
    "hasPrefix": _of_strings("hasPrefix", str.startswith, natures.BOOL, count=2),
    "hasSuffix": _of_strings("hasSuffix", str.endswith, natures.BOOL, count=2),
    "toJSON": Function((ANY,), 1, gives(natures.STRING), lambda budget, arguments: to_json(arguments[0], budget)),
    "fromJSON": _of_strings("fromJSON", _from_json, natures.UNKNOWN, count=1),
    "toBase64": _of_strings("toBase64", lambda text: base64.b64encode(text.encode()).decode(), natures.STRING, count=1),
    "fromBase64": _of_strings("fromBase64", _from_base64, natures.STRING, count=1),
}
