"""Builtins of lists and maps, and `len` and `type`, which take anything."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from schemas.expressions import natures
from schemas.expressions.errors import EvaluationError
from schemas.expressions.limits import COPIED_PER_STEP, Budget
from schemas.expressions.natures import Nature
from schemas.expressions.operators import Groups, equal, fetch, to_int, type_name
from schemas.expressions.predicates import is_descending, ordering
from schemas.expressions.signatures import ANY, ARRAY, INT, MAP, STRING, Function, element, gives, same, take_kind


def _end_nature(arguments: Sequence[Nature]) -> Nature:
    # expr-lang forgets what an array holds here, but of what `split` gives.
    return natures.STRING if arguments[0] is natures.STRINGS else natures.UNKNOWN


def _list(name: str, function: Callable[[Budget, list[Any]], Any], result: Nature = natures.ARRAY) -> Function:
    """A function of one list."""

    def call(budget: Budget, arguments: list[Any]) -> Any:
        items = take_kind(name, arguments[0], "array")
        budget.grow(len(items))
        return function(budget, items)

    return Function((ARRAY,), 1, gives(result), call)


def _of_map(name: str, function: Callable[[dict[Any, Any]], list[Any]]) -> Function:
    def call(budget: Budget, arguments: list[Any]) -> Any:
        members = take_kind(name, arguments[0], "map")
        budget.grow(len(members))
        return function(members)

    return Function((MAP,), 1, gives(natures.ARRAY), call)


def _length(budget: Budget, arguments: list[Any]) -> int:
    if not isinstance(arguments[0], (str, list, dict)):
        raise EvaluationError(f"invalid argument for len (type {type_name(arguments[0])})")
    return len(arguments[0])


def _end(index: int) -> Callable[[Budget, list[Any]], Any]:
    """The first or last item; nil for an empty list."""

    def call(budget: Budget, arguments: list[Any]) -> Any:
        try:
            return fetch(arguments[0], index, budget)
        except EvaluationError:
            return None

    return call


def _get(budget: Budget, arguments: list[Any]) -> Any:
    container, key = arguments
    if not isinstance(container, (dict, list, str)):
        return None
    if isinstance(container, dict):
        return fetch(container, key, budget)
    index = to_int(key)
    try:
        return fetch(container, index, budget)
    except EvaluationError:
        return None


def _take(budget: Budget, arguments: list[Any]) -> list[Any]:
    items, count = take_kind("take", arguments[0], "array"), take_kind("take", arguments[1], "int")
    if count < 0:
        raise EvaluationError(f"cannot take {count} elements")
    budget.grow(min(count, len(items)))
    return list(items[:count])


def _sort(budget: Budget, arguments: list[Any]) -> list[Any]:
    # As in expr-lang, what is not a list (a missing member, say) sorts to an empty list.
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
    flat: list[Any] = []
    for item in items:
        part = _flatten(budget, item) if isinstance(item, list) else [item]
        budget.spend(len(part) // COPIED_PER_STEP)
        flat += part
    return flat


def _concat(budget: Budget, arguments: list[Any]) -> list[Any]:
    budget.grow(sum(len(take_kind("concat", argument, "array")) for argument in arguments))
    return list(chain.from_iterable(arguments))


def _from_pairs(budget: Budget, items: list[Any]) -> Groups:
    budget.spend(len(items))
    for pair in items:
        if not isinstance(pair, list) or len(pair) != 2 or isinstance(pair[0], (list, dict)):
            raise EvaluationError("fromPairs takes a list of pairs of a key and a value")
    return Groups(items)


LIST_FUNCTIONS: dict[str, Function] = {
    "len": Function((("string", "array", "map"),), 1, gives(natures.INT), _length),
    "type": Function((ANY,), 1, gives(natures.STRING), lambda budget, arguments: type_name(arguments[0])),
    "first": Function((ARRAY,), 1, _end_nature, _end(0)),
    "last": Function((ARRAY,), 1, _end_nature, _end(-1)),
    "get": Function((ANY, ANY), 2, element, _get),
    "take": Function((ARRAY, INT), 2, same, _take),
    "keys": _of_map("keys", list),
    "values": _of_map("values", lambda members: list(members.values())),
    "toPairs": _of_map("toPairs", lambda members: [list(pair) for pair in members.items()]),
    "fromPairs": _list("fromPairs", _from_pairs, natures.ANY_KEY_MAP),
    "reverse": _list("reverse", lambda budget, items: items[::-1]),
    "uniq": _list("uniq", _unique),
    "flatten": _list("flatten", _flatten),
    "concat": Function((ARRAY,), 1, gives(natures.ARRAY), _concat, variadic=True),
    "sort": Function((ARRAY, STRING), 1, gives(natures.ARRAY), _sort),
}
