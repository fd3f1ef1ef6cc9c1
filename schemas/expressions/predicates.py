"""The builtins that evaluate a predicate for each item of a list: `filter(event.postings, .amount > 100)`."""

from collections.abc import Callable, Iterator
from functools import cmp_to_key
from typing import Any, Final

from schemas.expressions.errors import EvaluationError
from schemas.expressions.limits import Budget
from schemas.expressions.operators import Groups, calculate, compare, to_bool, type_name

WITHOUT_PREDICATE: Final = frozenset({"count", "sum"})
"""Without a predicate, these take the item itself as its value."""
WITH_OPTION: Final = frozenset({"sortBy", "reduce"})
"""These take a third argument: the order, the first accumulated value."""


class Scope:
    """One run through a list: what `#`, `#index` and `#acc` are at the moment."""

    def __init__(self, items: list[Any], predicate: Callable[[], Any], option: Any, budget: Budget) -> None:
        self.items = items
        self.index = 0
        self.accumulated: Any = None
        self.option = option
        self.budget = budget
        self._predicate = predicate

    @property
    def item(self) -> Any:
        """The current item, `#`."""
        if self.index >= len(self.items):
            raise EvaluationError(f"index out of range: {self.index} (array length is {len(self.items)})")
        return self.items[self.index]

    def each(self, *, backwards: bool = False) -> Iterator[tuple[Any, Any]]:
        """Every item with its value of the predicate."""
        positions = range(self.index, len(self.items))
        for self.index in reversed(positions) if backwards else positions:
            yield self.item, self._predicate()

    def chosen(self, *, backwards: bool = False) -> Iterator[Any]:
        """The items whose predicate is true; a value that is not a boolean raises EvaluationError."""
        return (item for item, value in self.each(backwards=backwards) if to_bool(value))


def _filter(scope: Scope) -> list[Any]:
    result = list(scope.chosen())
    scope.budget.grow(len(result))
    return result


def _map(scope: Scope) -> list[Any]:
    scope.budget.grow(len(scope.items))
    return [value for _, value in scope.each()]


def _sum(scope: Scope) -> Any:
    total: Any = 0
    for _, value in scope.each():
        total = calculate("+", value, total, scope.budget)
    return total


def _index_of(scope: Scope, *, backwards: bool = False) -> int | None:
    for _ in scope.chosen(backwards=backwards):
        return scope.index
    return None


def _group_by(scope: Scope) -> Groups:
    groups = Groups()
    for item, key in scope.each():
        if isinstance(key, (list, dict)):
            raise EvaluationError(f"groupBy cannot use {type_name(key)} as a key")
        groups.setdefault(key, []).append(item)
    return groups


def _sort_by(scope: Scope) -> list[Any]:
    descending = is_descending("asc" if scope.option is None else scope.option)
    keyed = [(value, item) for item, value in scope.each()]
    scope.budget.grow(len(keyed))
    ordered = sorted(keyed, key=ordering(lambda pair: pair[0], scope.budget), reverse=descending)
    return [item for _, item in ordered]


def _reduce(scope: Scope) -> Any:
    if scope.option is None:
        scope.accumulated = scope.item
        scope.index = 1
    else:
        scope.accumulated = scope.option
    for _, value in scope.each():
        scope.accumulated = value
    return scope.accumulated


def is_descending(order: Any) -> bool:
    """What `asc` and `desc` mean; anything else is an error."""
    if order not in ("asc", "desc"):
        raise EvaluationError("unknown order, use asc or desc")
    return bool(order == "desc")


def ordering(value_of: Callable[[Any], Any], budget: Budget) -> Any:
    """A key for `sorted` that compares as `<` does: numbers with numbers, strings with strings."""

    def before(left: Any, right: Any) -> int:
        budget.spend()
        a, b = value_of(left), value_of(right)
        return -1 if compare("<", a, b, budget) else int(compare(">", a, b, budget))

    return cmp_to_key(before)


PREDICATES: dict[str, Callable[[Scope], Any]] = {
    "all": lambda scope: all(to_bool(value) for _, value in scope.each()),
    "none": lambda scope: not any(to_bool(value) for _, value in scope.each()),
    "any": lambda scope: any(to_bool(value) for _, value in scope.each()),
    "one": lambda scope: sum(1 for _ in scope.chosen()) == 1,
    "filter": _filter,
    "map": _map,
    "count": lambda scope: sum(1 for _ in scope.chosen()),
    "sum": _sum,
    "find": lambda scope: next(scope.chosen(), None),
    "findIndex": _index_of,
    "findLast": lambda scope: next(scope.chosen(backwards=True), None),
    "findLastIndex": lambda scope: _index_of(scope, backwards=True),
    "groupBy": _group_by,
    "sortBy": _sort_by,
    "reduce": _reduce,
}
